"""Recommend with a filter at 100,000 items × 128 factors, beside a bare gRPC echo. `make bench-serving`.

Beside the real service as many processes of a bare grpcio server answer each request with the very bytes that
the real one answered it with: an echo at once, a third server after it has burned as much CPU as the real one
takes. What latency that one has is the machine's and grpcio's. The load comes from this process, on the same
cores; "late" is the p99 of what it took itself to send a request that was due. Every answer is fresh: the
person is read, folded in and scored in the call.
"""

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any, Final

import grpc
import msgspec
import psutil

from models.registry import Registry
from service.config import GrpcConfig
from service.pb.onefold.v1 import common_pb2
from service.pb.onefold.v1 import recommendation_service_pb2 as pb
from service.rpc.process import settle
from service.rpc.served_models import ServedModels
from service.rpc.server import RpcServer, Served
from tests.bench.report import goal, machine
from tests.bench.serving_load import CHANNEL, Run, Servers, children, load
from tests.bench.serving_shop import FACTORS, FILTER, make
from tests.workspace import NOON, Workspace

RECOMMEND: Final = "/onefold.v1.RecommendationService/Recommend"
MODULE: Final = "tests.bench.serving_large"
ECHO: Final = "/echo.Echo/Recommend"
CLIENTS: Final = (1, 4, 16)
HALF_CLIENTS: Final = 64
"""Visitors do not wait for each other: with 16, one request in eight would be due while its client waits."""
WORKERS: Final = 4
REQUESTS: Final = 400
HALF_ROUNDS: Final = 2
P99_MS: Final = 10
SWAP_S: Final = 5.0
"""Until every process has loaded another kind of champion."""
GORSE_STALE_QPS: Final = 668
"""Gorse on two such cores, from lists that are minutes to an hour old; 32 from fresh ones (issue 7)."""


def requests_of(users: Sequence[str]) -> list[bytes]:
    """Requests, as bytes."""
    return [
        pb.RecommendRequest(
            lookup=common_pb2.Lookup(
                identifiers=[common_pb2.Identifier(type="user_id", value=user)]
            ),
            surface=pb.SURFACE_FOR_YOU,
            limit=10,
            filter_expression=FILTER,
        ).SerializeToString()
        for user in users[:REQUESTS]
    ]


def serve(folder: Path, port: int) -> None:
    """Child: the real service."""
    world = Workspace(folder)
    models = ServedModels(
        Registry(folder / "models"), world.store.catalog, refresh_s=0.2, aside=True
    )
    served = Served(
        store=world.store, keys=world.keys, rules=world.rules, reader=world.reader,
        recommending=models, now_ms=lambda: NOON,
    )  # fmt: skip
    models.refresh()
    settle()
    with RpcServer(served, GrpcConfig(port=port, reuse_port=True, workers=WORKERS)) as server:
        print(server.port, flush=True)
        sys.stdin.read()
    world.close()


def echo(path: Path, port: int, burn_us: int) -> None:
    """Child: a bare server that knows every reply by its request, and burns CPU first, a call at a time."""
    known = msgspec.msgpack.decode(path.read_bytes(), type=dict[bytes, bytes])

    def burned(request: bytes, _context: Any) -> bytes:
        end = time.thread_time() + burn_us / 1e6
        while time.thread_time() < end:
            pass
        return known[request]

    handler: Any = grpc.unary_unary_rpc_method_handler(
        burned if burn_us else lambda request, context: known[request]
    )
    pool = ThreadPoolExecutor(1 if burn_us else WORKERS)
    server = grpc.server(pool, options=[("grpc.so_reuseport", 1)])
    server.add_registered_method_handlers("echo.Echo", {"Recommend": handler})
    print(server.add_insecure_port(f"127.0.0.1:{port}"), flush=True)
    settle()
    server.start()
    sys.stdin.read()
    server.stop(0).wait()
    pool.shutdown()


def show(name: str, clients: str, runs: Sequence[Run]) -> tuple[float, float]:
    """A line of the table; requests per second, and the servers' CPU seconds for each."""
    whole = Run(
        latencies_ms=[ms for run in runs for ms in run.latencies_ms],
        late_ms=[ms for run in runs for ms in run.late_ms],
    )
    rate = median(run.requests / run.seconds for run in runs)
    cpu = median(run.cpu_s / max(1, run.requests) for run in runs)
    errors = sum((run.errors for run in runs), Counter[str]())
    print(
        f"{name:<12}{clients:>10}{rate:>9,.0f}{whole.at(0.5):>9.2f}{whole.at(0.99):>9.2f}"
        f"{whole.late_at(0.99):>9.2f}{cpu * 1e6:>10,.0f}  {dict(errors) or ''}",
        flush=True,
    )
    return rate, cpu


def swapping(
    servers: Servers, registry: Registry, requests: Sequence[bytes], seconds: float
) -> Run:
    """Load while the champion changes every half second."""
    ended = threading.Event()

    def swap() -> None:
        for n in range(1_000):
            if ended.wait(0.5):
                return
            registry.promote(f"v{2 - n % 2}", force="a benchmark")

    thread = threading.Thread(target=swap)
    thread.start()
    run = load(servers, RECOMMEND, requests, 4, seconds)
    ended.set()
    thread.join()
    return run


Figures = Mapping[tuple[str, int], tuple[float, float]]
"""Requests per second and CPU seconds for each, by server and number of clients."""


def measure(folder: Path, users: Sequence[str], options: argparse.Namespace) -> None:
    """Everything, in one run."""
    requests, seconds, together = requests_of(users), options.seconds, options.together
    began = time.perf_counter()
    with children(MODULE, 1, "--serve", str(folder)) as alone:
        known = collect(alone, requests)
    print(f"cold start of one process, to its first answers: {known.seconds - began:.1f} s")
    path = folder / "replies"
    path.write_bytes(msgspec.msgpack.encode(known.replies))
    echoes = ("--echo", str(path))
    print(
        f"{'':<12}{'clients':>10}{'QPS':>9}{'p50 ms':>9}{'p99 ms':>9}{'late ms':>9}{'CPU us':>10}"
    )
    with (
        children(MODULE, options.processes, "--serve", str(folder), together=together) as ours,
        children(MODULE, options.processes, *echoes, together=together) as bare,
    ):
        load(ours, RECOMMEND, requests, 16, 1.0)  # every process has seen the filter
        figures = closed(ours, bare, requests, options.rounds, seconds)
        best = max(figures["Recommend", clients][0] for clients in CLIENTS)
        burn_s = figures["Recommend", 4][1] - figures["echo", 4][1]
        burning = ("--burn-us", f"{burn_s * 1e6:.0f}")
        with children(MODULE, options.processes, *echoes, *burning, together=together) as busy:
            half = halved(ours, {"echo": bare, "burning": busy}, requests, best / 2, 2 * seconds)
        bearable = most_below(half, ours, requests, best, 2 * seconds)
        memory = [each.memory_full_info() for each in ours.processes]
        swap = swapping(ours, Registry(folder / "models"), requests, 2 * seconds)
        show("Recommend", "swapping", [swap])
        Registry(folder / "models").promote("blend", force="a benchmark")
        time.sleep(SWAP_S)
        load(ours, RECOMMEND, requests, 16, 1.0)
        _, blended = show("blend", "4", [load(ours, RECOMMEND, requests, 4, seconds)])
    for n, each in enumerate(memory, start=1):
        print(
            f"process {n}: {each.rss / 1e6:,.0f} MB resident, {each.uss / 1e6:,.0f} MB of its own, "
            f"{each.pss / 1e6:,.0f} MB with its share of what is shared"
        )
    for clients in CLIENTS:
        ratio = figures["echo", clients][1] / figures["Recommend", clients][1]
        print(f"Recommend/echo, {clients} clients (requests per server CPU second): {ratio:.2f}")
    ratio = figures["echo", 4][1] / blended
    print(f"Recommend/echo where the blend is the champion, 4 clients: {ratio:.2f}")
    print(f"most requests a second with p99 <= {P99_MS} ms, in steps of a tenth: {bearable:,.0f}")
    print(goal("Recommend with a filter, requests a second", best, ">=", GORSE_STALE_QPS))
    print(goal("p99 at half load, ms", half.at(0.99), "<=", P99_MS))
    print(goal("errors while models are swapped", sum(swap.errors.values()), "==", 0))


def closed(
    ours: Servers, bare: Servers, requests: Sequence[bytes], rounds: int, seconds: float
) -> Figures:
    """As fast as so many clients can, each waiting for its answer: the echo and the service, in turns."""
    seen: dict[tuple[str, int], list[Run]] = {}
    for _ in range(rounds):
        for clients in CLIENTS:
            for name, where, method in (("echo", bare, ECHO), ("Recommend", ours, RECOMMEND)):
                run = load(where, method, requests, clients, seconds)
                seen.setdefault((name, clients), []).append(run)
    return {key: show(key[0], str(key[1]), runs) for key, runs in seen.items()}


def halved(
    ours: Servers,
    others: Mapping[str, Servers],
    requests: Sequence[bytes],
    rate: float,
    seconds: float,
) -> Run:
    """At half of the full rate, Poisson arrivals: the others and the service, in turns."""
    seen: dict[str, list[Run]] = {}
    for _ in range(HALF_ROUNDS):
        for name, where in others.items():
            run = load(where, ECHO, requests, HALF_CLIENTS, seconds, rate)
            seen.setdefault(name, []).append(run)
        run = load(ours, RECOMMEND, requests, HALF_CLIENTS, seconds, rate)
        seen.setdefault("Recommend", []).append(run)
    for name, runs in seen.items():
        show(name, "half load", runs)
    return Run(latencies_ms=[ms for run in seen["Recommend"] for ms in run.latencies_ms])


def most_below(
    half: Run, ours: Servers, requests: Sequence[bytes], best: float, seconds: float
) -> float:
    """The highest rate, in tenths of the full one, whose p99 is within the goal; 0 if none is."""
    # Up from half load where that is within it, else down.
    within = half.at(0.99) <= P99_MS
    found = best / 2 if within else 0.0
    for tenths in (6, 7, 8, 9) if within else (4, 3, 2, 1):
        rate = best * tenths / 10
        run = load(ours, RECOMMEND, requests, HALF_CLIENTS, seconds, rate)
        show("Recommend", f"{tenths}/10 load", [run])
        if (run.at(0.99) <= P99_MS) is not within:
            return found if within else rate
        found = rate if within else 0.0
    return found


class Known(msgspec.Struct):
    """What the real service answers."""

    replies: dict[bytes, bytes]
    seconds: float
    """When the first answer was there."""


def collect(servers: Servers, requests: Sequence[bytes]) -> Known:
    """Ask everything once."""
    with grpc.insecure_channel(servers.target, options=CHANNEL) as channel:
        call: Any = channel.unary_unary(RECOMMEND)
        first = call(requests[0], wait_for_ready=True)
        at = time.perf_counter()
        reply = pb.RecommendResponse.FromString(first)
        assert (reply.model, len(reply.items)) == ("als", 10), reply
        return Known({request: call(request) for request in requests}, at)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.serving_large")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--people", type=int, default=500)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--serve", type=Path, metavar="FOLDER")
    parser.add_argument("--echo", type=Path, metavar="FILE")
    parser.add_argument("--burn-us", type=int, default=0)
    parser.add_argument(
        "--together", action="store_true", help="all processes on one port and all cores"
    )
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.port)
        return
    if options.echo:
        echo(options.echo, options.port, options.burn_us)
        return
    print(machine("grpcio", "numpy", "protobuf"))
    print(
        f"others want {psutil.getloadavg()[0]:.1f} cores of it: timings compare with the echo's only"
    )
    with tempfile.TemporaryDirectory() as name:
        users = make(Path(name), options.items, options.people)
        print(f"{options.items:,} items × {FACTORS} factors, {len(users)} people; {FILTER}")
        measure(Path(name), users, options)


if __name__ == "__main__":
    main()

"""Recommend with a filter at 100,000 items × 128 factors, beside a bare gRPC echo. `make bench-serving`.

Several processes of the real service share one port (SO_REUSEPORT), as many of a bare grpcio server another;
the echo answers each request with the very bytes that the real one answered it with. The load comes from this
process, on the same cores. Every answer is fresh: the person is read, folded in and scored in the call.
"""

import argparse
import gc
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
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
from tests.bench.serving_shop import FACTORS, FILTER, make
from tests.workspace import NOON, Workspace

RECOMMEND: Final = "/onefold.v1.RecommendationService/Recommend"
ECHO: Final = "/echo.Echo/Recommend"
CLIENTS: Final = (1, 4, 16)
HALF_CLIENTS: Final = 16
WORKERS: Final = 4
REQUESTS: Final = 400
CHANNEL: Final = [("grpc.use_local_subchannel_pool", 1)]
SWAP_S: Final = 5.0
"""Until every process has loaded another kind of champion."""
GORSE_STALE_QPS: Final = 668
"""Gorse on two such cores, from lists that are minutes to an hour old; 32 from fresh ones (issue 7)."""


class Run(msgspec.Struct):
    """What clients saw."""

    requests: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    latencies_ms: list[float] = []
    errors: Counter[str] = msgspec.field(default_factory=Counter)

    def at(self, share: float) -> float:
        """A latency that this share of the requests was not slower than."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


class Servers:
    """Processes that share a port."""

    def __init__(self, port: int, processes: Sequence[psutil.Process]) -> None:
        self.port = port
        self.processes = processes

    def cpu_s(self) -> float:
        """What they have used."""
        return sum(sum(each.cpu_times()[:2]) for each in self.processes)


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


def echo(path: Path, port: int) -> None:
    """Child: a bare server that knows every reply by its request."""
    known = msgspec.msgpack.decode(path.read_bytes(), type=dict[bytes, bytes])
    handler: Any = grpc.unary_unary_rpc_method_handler(lambda request, context: known[request])
    pool = ThreadPoolExecutor(WORKERS)
    server = grpc.server(pool, options=[("grpc.so_reuseport", 1)])
    server.add_registered_method_handlers("echo.Echo", {"Recommend": handler})
    print(server.add_insecure_port(f"127.0.0.1:{port}"), flush=True)
    gc.freeze()
    server.start()
    sys.stdin.read()
    server.stop(0).wait()
    pool.shutdown()


@contextmanager
def children(count: int, *arguments: str) -> Iterator[Servers]:
    """Servers in processes of their own, on one port."""
    with socket.socket() as free, ExitStack() as stack:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        processes = []
        for _ in range(count):
            command = [sys.executable, "-m", "tests.bench.serving_large", *arguments]
            made = stack.enter_context(
                subprocess.Popen(
                    [*command, "--port", str(port)],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                )
            )  # fmt: skip
            assert made.stdin
            assert made.stdout
            stack.callback(made.stdin.close)
            made.stdout.readline()
            processes.append(psutil.Process(made.pid))
        yield Servers(port, processes)


def load(
    servers: Servers, method: str, requests: Sequence[bytes], clients: int, seconds: float,
    rate: float = 0.0,
) -> Run:  # fmt: skip
    """Ask for a while, each client on a connection of its own.

    With a `rate` requests begin at times of their own, as from many visitors, and latency counts from then:
    an answer that comes late delays the next request of nobody.
    """
    run = Run()
    guard = threading.Lock()
    ready = threading.Barrier(clients + 1)
    until = [0.0]

    def ask(index: int) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{servers.port}", options=CHANNEL) as channel:
            call: Any = channel.unary_unary(method)
            call(requests[index], wait_for_ready=True)
            chance = random.Random(index)
            ready.wait()
            ready.wait()
            due = time.perf_counter()
            mine: list[float] = []
            errors: Counter[str] = Counter()
            count = index
            while due < until[0]:
                if rate:
                    due += chance.expovariate(rate / clients)
                    time.sleep(max(0.0, due - time.perf_counter()))
                else:
                    due = time.perf_counter()
                try:
                    call(requests[count % len(requests)])
                    mine.append((time.perf_counter() - due) * 1000)
                except grpc.RpcError as error:
                    errors[error.code().name] += 1
                count += clients
            with guard:
                run.latencies_ms += mine
                run.errors.update(errors)

    threads = [threading.Thread(target=ask, args=[index]) for index in range(clients)]
    for thread in threads:
        thread.start()
    ready.wait()
    cpu, began = servers.cpu_s(), time.perf_counter()
    until[0] = began + seconds
    ready.wait()
    for thread in threads:
        thread.join()
    run.seconds = time.perf_counter() - began
    run.cpu_s = servers.cpu_s() - cpu
    run.requests = len(run.latencies_ms)
    return run


def show(name: str, clients: str, runs: Sequence[Run]) -> tuple[float, float]:
    """A line of the table; requests per second, and the servers' CPU seconds for each."""
    whole = Run(latencies_ms=[ms for run in runs for ms in run.latencies_ms])
    rate = median(run.requests / run.seconds for run in runs)
    cpu = median(run.cpu_s / max(1, run.requests) for run in runs)
    errors = sum((run.errors for run in runs), Counter[str]())
    print(
        f"{name:<12}{clients:>10}{rate:>9,.0f}{whole.at(0.5):>9.2f}{whole.at(0.99):>9.2f}"
        f"{cpu * 1e6:>10,.0f}  {dict(errors) or ''}",
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


def measure(
    folder: Path, users: Sequence[str], processes: int, rounds: int, seconds: float
) -> None:
    """Everything, in one run."""
    requests = requests_of(users)
    began = time.perf_counter()
    with children(1, "--serve", str(folder)) as alone:
        known = collect(alone, requests)
    print(f"cold start of one process, to its first answers: {known.seconds - began:.1f} s")
    path = folder / "replies"
    path.write_bytes(msgspec.msgpack.encode(known.replies))
    print(f"{'':<12}{'clients':>10}{'QPS':>9}{'p50 ms':>9}{'p99 ms':>9}{'CPU us':>10}")
    with (
        children(processes, "--serve", str(folder)) as ours,
        children(processes, "--echo", str(path)) as bare,
    ):
        load(ours, RECOMMEND, requests, 16, 1.0)  # every process has seen the filter
        seen: dict[tuple[str, int], list[Run]] = {}
        for _ in range(rounds):
            for clients in CLIENTS:
                for name, where, method in (("echo", bare, ECHO), ("Recommend", ours, RECOMMEND)):
                    run = load(where, method, requests, clients, seconds)
                    seen.setdefault((name, clients), []).append(run)
        figures = {key: show(key[0], str(key[1]), runs) for key, runs in seen.items()}
        best = max(figures["Recommend", clients][0] for clients in CLIENTS)
        beside = load(bare, ECHO, requests, HALF_CLIENTS, seconds, rate=best / 2)
        show("echo", "as many", [beside])
        half = load(ours, RECOMMEND, requests, HALF_CLIENTS, 2 * seconds, rate=best / 2)
        show("Recommend", "half load", [half])
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
    print(goal("Recommend with a filter, requests a second", best, ">=", GORSE_STALE_QPS))
    print(goal("p99 at half load, ms", half.at(0.99), "<=", 10))
    print(goal("errors while models are swapped", sum(swap.errors.values()), "==", 0))


class Known(msgspec.Struct):
    """What the real service answers."""

    replies: dict[bytes, bytes]
    seconds: float
    """When the first answer was there."""


def collect(servers: Servers, requests: Sequence[bytes]) -> Known:
    """Ask everything once."""
    with grpc.insecure_channel(f"127.0.0.1:{servers.port}", options=CHANNEL) as channel:
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
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.port)
        return
    if options.echo:
        echo(options.echo, options.port)
        return
    print(machine("grpcio", "numpy", "protobuf"))
    print(
        f"others want {psutil.getloadavg()[0]:.1f} cores of it: timings compare with the echo's only"
    )
    with tempfile.TemporaryDirectory() as name:
        users = make(Path(name), options.items, options.people)
        print(f"{options.items:,} items × {FACTORS} factors, {len(users)} people; {FILTER}")
        measure(Path(name), users, options.processes, options.rounds, options.seconds)


if __name__ == "__main__":
    main()

"""GetProfile and Recommend beside a bare gRPC echo. `make bench-serving`.

Two child processes serve on loopback: one the real service over a real store, one a bare grpcio server
that answers each request with the very bytes that the real one answered it with. Both have as many
threads and the same options. Rounds are interleaved. What counts is the server's CPU time a request,
since the client shares the machine; requests per second and latencies are printed as the client saw them.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

import grpc
import msgspec
import psutil

from service.config import GrpcConfig
from service.pb.onefold.v1 import common_pb2, profile_service_pb2, recommendation_service_pb2
from service.rpc.process import settle
from service.rpc.server import RpcServer, Served
from simulator.shop import Shop
from tests.bench.report import goal, machine
from tests.bench.serving_models import served_models, train_models
from tests.workspace import NOON, Workspace

GET: Final = "/onefold.v1.ProfileService/GetProfile"
RECOMMEND: Final = "/onefold.v1.RecommendationService/Recommend"
ECHO_OF: Final = {GET: "/echo.Echo/GetProfile", RECOMMEND: "/echo.Echo/Recommend"}
GOALS: Final = {GET: ("GetProfile/echo", 0.6), RECOMMEND: ("Recommend/echo", 0.4)}
IN_FLIGHT: Final = (1, 8)
OPTIONS: Final = GrpcConfig(port=0)
Replies = dict[str, dict[bytes, bytes]]


class Run(msgspec.Struct, frozen=True):
    """One method, so many in flight, for a while."""

    requests: int
    seconds: float
    cpu_s: float
    latencies_ms: list[float]


def seed(folder: Path, people: int) -> list[str]:
    """A store of a simulated shop; the user ids in it."""
    world = Workspace(folder)
    shop = Shop(seed=5, people=people, days=30)
    world.take((event for event, _ in shop), batch=1000)
    named = sorted({i.value for i in shop.identifiers() if i.type == "user_id"})
    users = [user for user in named if world.find(user_id=user)]
    print(f"store: {world.store.timeline.count():,} events, {len(users):,} user ids")
    print(f"champion: {train_models(world, folder)}")
    world.close()
    return users


def requests_of(users: Sequence[str]) -> dict[str, list[bytes]]:
    """Requests of each method, as bytes."""
    lookups = [
        common_pb2.Lookup(identifiers=[common_pb2.Identifier(type="user_id", value=user)])
        for user in users
    ]
    return {
        GET: [
            profile_service_pb2.GetProfileRequest(lookup=each).SerializeToString()
            for each in lookups
        ],
        RECOMMEND: [
            recommendation_service_pb2.RecommendRequest(
                lookup=each, surface=recommendation_service_pb2.SURFACE_FOR_YOU, limit=10
            ).SerializeToString()
            for each in lookups
        ],
    }


def serve(folder: Path) -> None:
    """Child: the real service."""
    world = Workspace(folder)
    served = Served(
        store=world.store, keys=world.keys, rules=world.rules, reader=world.reader,
        recommending=served_models(world, folder), now_ms=lambda: NOON,
    )  # fmt: skip
    settle()
    with RpcServer(served, OPTIONS) as server:
        print(server.port, flush=True)
        sys.stdin.read()
    world.close()


def echo(path: Path) -> None:
    """Child: a bare server that knows every reply by its request."""
    replies = msgspec.msgpack.decode(path.read_bytes(), type=Replies)

    def handler(known: Mapping[bytes, bytes]) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda request, context: known[request])

    pool = ThreadPoolExecutor(OPTIONS.workers)
    server = grpc.server(pool)
    methods = {ECHO_OF[name].rpartition("/")[2]: handler(known) for name, known in replies.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.Echo", methods),))
    server.add_registered_method_handlers("echo.Echo", methods)
    port = server.add_insecure_port("127.0.0.1:0")
    settle()
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(0).wait()
    pool.shutdown()


@contextmanager
def child(*arguments: str) -> Iterator[tuple[int, psutil.Process]]:
    """A server in a process of its own: its port, and the process."""
    command = [sys.executable, "-m", "tests.bench.serving", *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as made:
        assert made.stdin
        assert made.stdout
        try:
            yield int(made.stdout.readline()), psutil.Process(made.pid)
        finally:
            made.stdin.close()


def load(port: int, process: psutil.Process, method: str, requests: Sequence[bytes], flight: int,
         seconds: float) -> Run:  # fmt: skip
    """Ask for a while, each of `flight` threads on a connection of its own."""
    until = 0.0
    latencies: list[list[float]] = [[] for _ in range(flight)]
    ready = threading.Barrier(flight + 1)

    def ask(index: int) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            call: Any = channel.unary_unary(method)
            call(requests[index])
            ready.wait()
            ready.wait()
            mine = latencies[index]
            count = index
            while (began := time.perf_counter()) < until:
                call(requests[count % len(requests)])
                mine.append((time.perf_counter() - began) * 1000)
                count += flight

    threads = [threading.Thread(target=ask, args=[index]) for index in range(flight)]
    for thread in threads:
        thread.start()
    ready.wait()
    cpu = sum(process.cpu_times()[:2])
    began = time.perf_counter()
    until = began + seconds
    ready.wait()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    used = sum(process.cpu_times()[:2]) - cpu
    flat = [each for mine in latencies for each in mine]
    return Run(len(flat), took, used, sorted(flat))


def collect(port: int, requests: Mapping[str, Sequence[bytes]]) -> Replies:
    """What the real service answers."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        replies: Replies = {}
        for method, each in requests.items():
            call: Any = channel.unary_unary(method)
            replies[method] = {request: call(request) for request in each}
    return replies


def report(runs: Mapping[tuple[str, int], Sequence[Run]]) -> None:
    """The table, and a line per goal."""
    print(
        f"{'method':<34}{'in flight':>10}{'CPU us':>9}{'min-max':>12}{'QPS':>8}{'p50 ms':>9}{'p99 ms':>9}"
    )
    cpu: dict[tuple[str, int], float] = {}
    for (method, flight), each in runs.items():
        costs = [run.cpu_s / run.requests * 1e6 for run in each]
        cpu[method, flight] = median(costs)
        latencies = sorted(ms for run in each for ms in run.latencies_ms)
        rate = median(run.requests / run.seconds for run in each)
        print(
            f"{method.split('.')[-1]:<34}{flight:>10}{cpu[method, flight]:>9,.0f}"
            f"{f'{min(costs):,.0f}-{max(costs):,.0f}':>12}{rate:>8,.0f}"
            f"{latencies[len(latencies) // 2]:>9.2f}{latencies[len(latencies) * 99 // 100]:>9.2f}"
        )
    for method, (name, limit) in GOALS.items():
        for flight in IN_FLIGHT:
            ratio = cpu[ECHO_OF[method], flight] / cpu[method, flight]
            print(
                goal(
                    f"{name}, {flight} in flight (requests per server CPU second)",
                    ratio,
                    ">=",
                    limit,
                )
            )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.serving")
    parser.add_argument("--people", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--serve", type=Path, metavar="FOLDER")
    parser.add_argument("--echo", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    if options.echo:
        echo(options.echo)
        return
    print(machine("grpcio", "protobuf", "msgspec"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        requests = requests_of(seed(folder, options.people))
        with child("--serve", name) as (port, process):
            replies = collect(port, requests)
            known = folder / "replies"
            known.write_bytes(msgspec.msgpack.encode(replies))
            for method, each in replies.items():
                sizes = sorted(map(len, each.values()))
                print(
                    f"{method}: replies of {sizes[0]:,} to {sizes[-1]:,} bytes, median {median(sizes):,.0f}"
                )
            with child("--echo", str(known)) as (echo_port, echo_process):
                runs: dict[tuple[str, int], list[Run]] = {}
                for _ in range(options.rounds):
                    for flight in IN_FLIGHT:
                        for method, each_request in requests.items():
                            for name_, where in (
                                (ECHO_OF[method], (echo_port, echo_process)),
                                (method, (port, process)),
                            ):
                                runs.setdefault((name_, flight), []).append(
                                    load(*where, name_, each_request, flight, options.seconds)
                                )
        report(runs)


if __name__ == "__main__":
    main()

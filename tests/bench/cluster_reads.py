"""GetProfile and Recommend on Cassandra, on one node and on three. `make bench-cluster-reads`.

A simulated shop is taken into an embedded store, models are trained on it, and `onefold copy`'s function takes
it to Cassandra. A child process serves it over gRPC; latencies are what one client on the same cores sees,
with one request and with eight in flight. Round trips are counted apart: calls of the store one after the
other, each of which asks several tables at the same time.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from deploy.servers.cluster import CassandraCluster
from identity.nodes import Identifier
from identity.rules import Rules
from models.registry import Registry
from service.config import GrpcConfig
from service.rpc.process import settle
from service.rpc.served_models import ServedModels
from service.rpc.server import RpcServer, Served
from storage.cassandra.schema import migrate
from storage.cassandra.settings import CassandraSettings
from storage.cassandra.store import CassandraStore
from storage.copying import copy
from storage.profiles import Lookup, ProfileReader
from tests.bench.report import goal, machine
from tests.bench.serving import load, requests_of, seed
from tests.faults.workers import ROOT
from tests.workspace import KEYS, NOON, Workspace

HEAP_MB: Final = {1: 1024, 3: 512}
ROUND_TRIPS_MAX: Final = 3


class Counting:
    """A part of the store that counts the calls that ask Cassandra something."""

    def __init__(self, part: Any, calls: list[str]) -> None:
        self._part = part
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._part, name)

        def counted(*arguments: Any, **named: Any) -> Any:
            self._calls.append(name)
            return method(*arguments, **named)

        return counted


def round_trips(store: CassandraStore, users: Sequence[str]) -> list[int]:
    """Calls one after the other, for each user's profile, fewest first."""
    calls: list[str] = []
    for name in ("lookups", "devices", "people", "identifiers", "parts", "evidence"):
        setattr(store, name, Counting(getattr(store, name), calls))
    reader = ProfileReader(store, Rules(), KEYS.hasher(), KEYS.vault())
    found = []
    for user in users:
        calls.clear()
        assert reader.get(Lookup(identifiers=(Identifier("user_id", user),)), NOON) is not None
        found.append(len(calls))
    return sorted(found)


def serve(settings: CassandraSettings, folder: Path) -> None:
    """Child: the real service on a cluster."""
    store = CassandraStore(settings, KEYS)
    rules = Rules()
    served = Served(
        store=store, keys=KEYS, rules=rules,
        reader=ProfileReader(store, rules, KEYS.hasher(), KEYS.vault()),
        recommending=ServedModels(Registry(folder / "models"), store.catalog, refresh_s=60.0),
        now_ms=lambda: NOON,
    )  # fmt: skip
    settle()
    with RpcServer(served, GrpcConfig(port=0, workers=16)) as server:
        print(server.port, flush=True)
        sys.stdin.read()
    store.close()


@contextmanager
def serving(settings: CassandraSettings, folder: Path) -> Iterator[tuple[int, psutil.Process]]:
    """The service in a process of its own: its port, and the process."""
    text = msgspec.json.encode(settings).decode()
    command = [sys.executable, "-m", "tests.bench.cluster_reads", "--serve", text, str(folder)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as made:
        assert made.stdin
        assert made.stdout
        try:
            yield int(made.stdout.readline()), psutil.Process(made.pid)
        finally:
            made.stdin.close()


def measure(
    nodes: int, source: Workspace, folder: Path, users: Sequence[str], seconds: float
) -> list[int]:
    """Print the figures of one cluster; the round trips of each profile."""
    with CassandraCluster(
        folder / f"cassandra{nodes}", nodes, heap_mb=HEAP_MB[nodes], first_compiler_only=False
    ) as cluster:
        settings = CassandraSettings(
            hosts=cluster.hosts, port=cluster.port, replication=nodes, timeout_s=10
        )
        migrate(settings)
        store = CassandraStore(settings, KEYS)
        copy(source.store, store)
        with serving(settings, folder) as (port, process):
            for method, requests in requests_of(users).items():
                for flight in (1, 8):
                    load(port, process, method, requests, flight, seconds / 3)  # warm up
                    run = load(port, process, method, requests, flight, seconds)
                    ordered = sorted(run.latencies_ms)
                    print(
                        f"{nodes:5}  {method.rpartition('/')[2]:10}  {flight:9}"
                        f"  {run.requests / run.seconds:10,.0f}  {run.cpu_s / run.requests * 1e3:6.2f}"
                        f"  {ordered[len(ordered) // 2]:7.1f}  {ordered[int(len(ordered) * 0.99)]:7.1f}"
                    )
        before = store.written.reads
        trips = round_trips(store, users)
        print(
            f"       one profile: {(store.written.reads - before) / len(users):.1f} requests in "
            f"{trips[0]} to {trips[-1]} round trips, half of them in {trips[len(trips) // 2]} or fewer"
        )
        store.close()
    return trips


def main() -> None:
    """Run, or be the child that serves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        text, folder = options.serve
        serve(msgspec.json.decode(text, type=CassandraSettings), Path(folder))
        return
    print(machine("grpcio", "cassandra-driver"), f"load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="onefold-bench-") as made:
        folder = Path(made)
        users = seed(folder, options.people)[:300]
        source = Workspace(folder)
        print("\nnodes  method      in flight  requests/s  CPU ms   p50 ms   p99 ms")
        trips = [
            trip
            for nodes in (1, 3)
            for trip in measure(nodes, source, folder, users, options.seconds)
        ]
        source.close()
    within = sum(trip <= ROUND_TRIPS_MAX for trip in trips) / len(trips)
    print()
    print(
        goal(
            "round trips of the median profile",
            sorted(trips)[len(trips) // 2],
            "<=",
            ROUND_TRIPS_MAX,
        )
    )
    print(
        f"{within:.0%} of profiles take at most {ROUND_TRIPS_MAX}; one more where others used a device"
    )


if __name__ == "__main__":
    main()

"""From Kafka to current profiles on Cassandra, beside the plain driver. `make bench-distributed`.

A simulated shop's stream is produced into the input topics and worked off by workers of each stage, in
batches of up to 1,000. How often a person comes up in a batch decides what it costs, so there are two streams:
a *busy hour*, in which hundreds of thousands shop, and *history*, in which a few hundred do for a month. The
goals are about the busy hour. All its people are new: each is a part, a device and links that nobody knew.

What counts is the CPU time of the workers: the servers have the same cores, and would have others. Rows and
bytes are what the workers sent, mutations what the server wrote: rows of one partition and batch are one.
Then the plain driver writes as many rows of the same size as the stream took, grouped and one by one: what
a program that did nothing else would need.
"""

import argparse
import os
import random
import resource
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Final

import msgspec
from cassandra.concurrent import execute_concurrent_with_args
from cassandra.query import BatchStatement, BatchType

from simulator.shop import EVENTS_PER_VISIT, Shop, people_for
from storage.cassandra.connection import Connection
from storage.cassandra.settings import CassandraSettings
from tests.bench.report import goal, machine
from tests.bench.servers import Servers, servers
from tests.faults.servers import rows_written
from tests.faults.stream import Message, message_of
from tests.faults.workers import ROOT, STAGES
from tests.faults.world import World
from tests.servers import Cassandra

GROUP: Final = 20
_ROWS: Final = "onefold_store_written_rows_total"
_BYTES: Final = "onefold_store_written_bytes_total"
_BATCHES: Final = 'onefold_store_request_duration_seconds_count{operation="write"}'
BUSY_PEOPLE: Final = 300_000
BUSY_FROM: Final = 0.6
"""Where in its only day the busy hour begins, as a share of the day's events."""
WARM_SHARE: Final = 0.1
"""The first part of the stream, before the clock starts: servers compile, workers join."""


class Run(msgspec.Struct, frozen=True):
    """What one run took."""

    stream: str
    workers: int
    distinct: float
    """People and browsers in 1,000 consecutive events."""
    events: int
    seconds: float
    cpu_s: dict[str, float]
    rows: int
    bytes: int
    batches: int
    mutations: int

    @property
    def per_core(self) -> float:
        """Events for each second of client CPU."""
        return self.events / sum(self.cpu_s.values())


def streams(events: int) -> dict[str, list[Message]]:
    """What is produced, by name."""
    busy = Shop(seed=12, people=BUSY_PEOPLE, days=1)
    begin = round(BUSY_FROM * EVENTS_PER_VISIT * len(busy.visits))
    history = Shop(seed=12, people=people_for(events), days=30)
    return {
        "busy hour": [message_of(event) for event, _ in islice(busy, begin, begin + events)],
        "history": [message_of(event) for event, _ in islice(history, events)],
    }


def run(on: Servers, name: str, messages: Sequence[Message], each: int) -> Run:
    """Take a stream with `each` workers of record and fold, and one of identify."""
    world = on.world(f"{name.split(maxsplit=1)[0]}{each}", partitions=4)
    with closing(world):
        world.start(*("record", "fold") * each, "identify")
        for stage, members in (("record", each), ("fold", each), ("identify", 1)):
            world.joined(stage, members)
        warm = round(len(messages) * WARM_SHARE)
        world.send(messages[:warm])
        world.settle(600)
        told = Cassandra(on.cassandra.hosts, on.cassandra.port, on.cassandra)
        names = world.cassandra.keyspaces(1)
        mutations = sum(rows_written(told, names).values())
        sent = _sent(world)
        cpu = {worker.pid: worker.cpu_s for worker in world.workers}
        began = time.monotonic()
        world.send(messages[warm:])
        world.settle(1_200)
        seconds = time.monotonic() - began
        used = dict.fromkeys(STAGES, 0.0)
        for worker in world.workers:
            used[worker.stage] += worker.cpu_s - cpu[worker.pid]
        after = _sent(world)
        thousands = [messages[at : at + 1000] for at in range(warm, len(messages) - 999, 1000)]
        return Run(
            stream=name,
            workers=each,
            distinct=sum(len({m.key for m in some}) for some in thousands) / len(thousands),
            events=len(messages) - warm,
            seconds=seconds,
            cpu_s=used,
            rows=after[_ROWS] - sent[_ROWS],
            bytes=after[_BYTES] - sent[_BYTES],
            batches=after[_BATCHES] - sent[_BATCHES],
            mutations=sum(rows_written(told, names).values()) - mutations,
        )


def _sent(world: World) -> dict[str, int]:
    """What the workers say that they sent."""
    found = dict.fromkeys((_ROWS, _BYTES, _BATCHES), 0)
    for worker in world.workers:
        url = worker.output.read_text().split("http://", 1)[1].split()[0]
        with urllib.request.urlopen(f"http://{url}", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        for line in lines:
            name, _, value = line.rpartition(" ")
            if name in found:
                found[name] += int(float(value))
    return found


def plain_driver(on: Servers, rows: int, size: int) -> dict[str, float]:
    """CPU seconds of a process that writes as many rows of that size, grouped and one by one."""
    found = {}
    for way in ("grouped", "one by one"):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.bench.distributed", "--plain", way),
                *("--host", on.cassandra.hosts[0], "--rows", str(rows), "--size", str(size)),
            ],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        found[way] = float(done.stdout.split()[-1])
    return found


def write_plainly(host: str, rows: int, size: int, way: str) -> float:
    """Write rows with the driver alone; CPU seconds of this process for it."""
    connection = Connection(CassandraSettings(hosts=(host,)))
    session = connection.cluster.connect()
    connection.run(
        "CREATE KEYSPACE IF NOT EXISTS plain WITH replication = "
        "{'class': 'NetworkTopologyStrategy', 'datacenter1': 1}"
    )
    connection.run("CREATE TABLE IF NOT EXISTS plain.rows (key blob PRIMARY KEY, value blob)")
    insert = session.prepare("INSERT INTO plain.rows (key, value) VALUES (?, ?)")
    value = random.Random(1).randbytes(size)

    def batches() -> Iterator[tuple[BatchStatement]]:
        for start in range(0, rows, GROUP):
            batch = BatchStatement(BatchType.UNLOGGED)
            for number in range(start, min(start + GROUP, rows)):
                batch.add(insert, (number.to_bytes(16), value))
            yield (batch,)

    began = _cpu_s()
    if way == "grouped":
        waiting = []
        for (batch,) in batches():
            waiting.append(session.execute_async(batch))
            if len(waiting) >= 32:
                waiting.pop(0).result()
        for future in waiting:
            future.result()
    else:
        keys = ((number.to_bytes(16), value) for number in range(rows))
        execute_concurrent_with_args(session, insert, keys, concurrency=128)
    used = _cpu_s() - began
    connection.close()
    return used


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Run, or be the child that writes plainly."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument("--plain", help=argparse.SUPPRESS)
    parser.add_argument("--host", help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        print(write_plainly(options.host, options.rows, options.size, options.plain))
        return
    print(machine("cassandra-driver", "confluent-kafka"), f"load {os.getloadavg()[0]:.1f}")
    told = streams(options.events)
    with servers() as on:
        first, two, history = (
            run(on, name, told[name], each)
            for name, each in (("busy hour", 1), ("busy hour", 2), ("history", 1))
        )
        size = round(first.bytes / first.rows)
        plain = plain_driver(on, first.rows, size)
    print(f"{options.events:,} events each, the first {WARM_SHARE:.0%} for warming up\n")
    print(
        "stream     workers  people/1000  events/s  events/CPU s   record     fold  identify"
        "  rows/event  mutations  bytes/event  rows/batch"
    )
    for each in (first, two, history):
        print(_line(each))
    print()
    for way, used in plain.items():
        print(
            f"plain driver, {way}: {used / first.rows * 1e6:.0f} us a row of {size} bytes, "
            f"at most {first.events / used:,.0f} events/CPU s at {first.rows / first.events:.2f} rows an event"
        )
    share = sum(first.cpu_s.values()) / plain["grouped"]
    print(
        f"the workers take {share:.1f} times the CPU of a program that only writes their rows, grouped"
    )
    print(
        f"two workers of each beside one: {_speed(two) / _speed(first):.2f} times the events/s, the servers "
        "on the same cores\n"
    )
    print(goal("events per second and client core", first.per_core, ">=", 2_000))
    print(goal("the same, stretch", first.per_core, ">=", 3_000))
    print(goal("rows an event", first.rows / first.events, "<=", 6))


def _line(each: Run) -> str:
    record, fold, identify = (each.cpu_s[stage] / each.events * 1e6 for stage in STAGES)
    return (
        f"{each.stream:9}  {f'{each.workers}+{each.workers}+1':7}  {each.distinct:11,.0f}"
        f"  {_speed(each):8,.0f}  {each.per_core:12,.0f}"
        f"  {record:4.0f} us  {fold:4.0f} us   {identify:4.0f} us"
        f"  {each.rows / each.events:10.2f}  {each.mutations / each.events:9.2f}"
        f"  {each.bytes / each.events:11,.0f}  {each.rows / max(each.batches, 1):10.1f}"
    )


def _speed(each: Run) -> float:
    return each.events / each.seconds


if __name__ == "__main__":
    main()

"""What segments cost `onefold serve`: SDK-like requests to two of them, one with segments in force.

Both stores begin with the same history. Then blocks of the newest events are sent over many connections at
once, as fast as they are answered, to the one and the other in turn; each one's CPU counts until nothing waits.
"""

import asyncio
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec
import psutil

from identity.event import Event
from ingest.decode import decode
from simulator.shop import Shop, people_for
from storage.sqlite import open_store
from tests.bench.segments_data import define, mixed
from tests.bench.served import COLLECTOR, started
from tests.workspace import DAY, Workspace

CONNECTIONS: Final = 64
"""SDKs that send at the same time: few enough that the sender is not what is measured."""
BLOCK: Final = 4_000
"""Events after which the other server has its turn."""
SIZES: Final = ((1, 70), (20, 20), (100, 10))
"""Events of a request, and how many of a hundred have so many: browsers, Node's and Python's SDKs."""
_AUTHORIZATION: Final = "Basic YW55Og=="
_BATCHES: Final = re.compile(
    r'onefold_batch_messages_(bucket|count|sum)\{(?:le="([^"]+)",)?stage="collect"\} (\S+)'
)


class Served(msgspec.Struct):
    """One server, and what it was seen to need."""

    name: str
    port: int
    process: psutil.Process
    store: Path
    events: int = 0
    requests: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    latencies_ms: list[float] = []
    batches: str = ""
    """How many events its transactions had."""

    def latency_ms(self, share: float) -> float:
        """What this share of the requests waited for at most."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def stream(events: int, days: int, now_ms: int) -> list[dict[str, Any]]:
    """A simulated stream that ends now."""
    shop = Shop(seed=11, people=people_for(events, days), days=days, start_ms=now_ms - days * DAY)
    return [event for event, _ in islice(shop, events)]


def all_at_once(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same events of each person in the same order, but those of different people in turn.

    A server at its limit has thousands of visitors at any moment; the simulated shop has a few.
    """
    seen: Counter[str] = Counter()
    ranked: list[tuple[int, int, dict[str, Any]]] = []
    for event in events:
        who = event.get("userId") or event.get("anonymousId") or ""
        ranked.append((seen[who], len(ranked), event))
        seen[who] += 1
    return [event for _, _, event in sorted(ranked, key=lambda each: each[:2])]


def requests(events: Sequence[dict[str, Any]], random: Random) -> list[tuple[int, bytes]]:
    """(events, the whole request) for each: the events in their order, some alone and some in batches."""
    made = []
    sizes, weights = zip(*SIZES, strict=True)
    left = iter(events)
    while some := list(islice(left, random.choices(sizes, weights)[0])):
        # The times of a shop's day within seconds: a server behind a queue states them so.
        told = [
            {k: v for k, v in event.items() if k not in ("receivedAt", "sentAt")}
            | {"timestamp": event["originalTimestamp"]}
            for event in some
        ]
        body = msgspec.json.encode({"batch": told})
        head = (
            f"POST /v1/batch HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {_AUTHORIZATION}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        made.append((len(some), head.encode() + body))
    return made


async def _send(served: Served, some: Iterator[tuple[int, bytes]]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    for events, request in some:
        started = time.monotonic()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 200"):
            raise AssertionError(f"{head[:40]!r} {body[:200]!r}")
        served.latencies_ms.append(1e3 * (time.monotonic() - started))
        served.events += events
        served.requests += 1
    writer.close()


async def _load(served: Served, some: Sequence[tuple[int, bytes]]) -> None:
    shared = iter(some)
    await asyncio.gather(*(_send(served, shared) for _ in range(CONNECTIONS)))


async def _page(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    page = await reader.read()
    writer.close()
    return page


def _batches(port: int) -> str:
    """How many events a server's transactions had: on average, and how many of them up to how many."""
    text = asyncio.run(_page(port, "/metrics")).decode()
    found = {le or what: float(value) for what, le, value in _BATCHES.findall(text)}
    spread, below = [], 0.0
    for le, value in found.items():
        if le not in ("count", "sum", "+Inf") and value > below:
            spread.append(f"to {float(le):.0f}: {value - below:.0f}")
            below = value
    return (
        f"{found['count']:.0f} transactions of {found['sum'] / found['count']:.0f} events "
        f"({', '.join(spread)})"
    )


def give(served: Served, some: Sequence[tuple[int, bytes]]) -> None:
    """Let a server have requests, and wait until it is done with all that follows."""
    cpu, wall = _cpu_s(served), time.monotonic()
    asyncio.run(_load(served, some))
    served.wall_s += time.monotonic() - wall
    _wait_until_settled(served)
    served.cpu_s += _cpu_s(served) - cpu


def _cpu_s(served: Served) -> float:
    return sum(served.process.cpu_times()[:2])


def _wait_until_settled(served: Served) -> None:
    store, _ = open_store(
        served.store / "onefold.sqlite", served.store / "onefold.keys", read_only=True
    )
    while store.pending.count():
        time.sleep(0.02)
    store.close()


def prepare(folder: Path, history: Sequence[dict[str, Any]], segments: int, now_ms: int) -> None:
    """A store in which all of the history happened, with so many segments in force since before it."""
    world = Workspace(folder)
    if segments:
        define(world.store.definitions, mixed(segments), 1, now_ms)
        world.segments.fill()
    for start in range(0, len(history), 1_000):
        decoded = [
            decode(msgspec.json.encode(event), now_ms, world.source, believe_received_at=True)
            for event in history[start : start + 1_000]
        ]
        some = [each for each in decoded if isinstance(each, Event)]
        world.now = some[-1].received_ms
        world.pipeline.process(some)
    world.now = now_ms
    world.segments.settle()
    world.close()


@contextmanager
def serving(name: str, folder: Path) -> Iterator[Served]:
    """`onefold serve` on a store, in a process of its own."""
    with started(["--data", str(folder)], folder / "serve.log") as (pid, port_of):
        yield Served(name, port_of(COLLECTOR), psutil.Process(pid), folder)


def compare_served(
    history: int, sent: int, segments: int, days: int, *, at_once: bool
) -> tuple[Served, Served]:
    """What the same events cost a server without and one with segments, both with the same history."""
    now_ms = time.time_ns() // 1_000_000
    every = stream(history + sent, days, now_ms)
    newest = all_at_once(every[-sent:]) if at_once else every[-sent:]
    random = Random(7)
    with ExitStack() as stack:
        served = []
        for name, count in (("without", 0), (f"with {segments}", segments)):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            prepare(folder, every[:-sent], count, now_ms)
            served.append(stack.enter_context(serving(name, folder)))
        for turn, start in enumerate(range(0, len(newest), BLOCK)):
            block = requests(newest[start : start + BLOCK], random)
            for one in (0, 1) if turn % 2 else (1, 0):
                give(served[one], block)
        for each in served:
            each.batches = _batches(each.port)
        return served[0], served[1]

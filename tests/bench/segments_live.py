"""What segments cost a live stream: the same events into two stores, one with segments in force."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from identity.event import Event
from ingest.decode import decode
from simulator.shop import Shop, people_for
from tests.bench.segments_data import define, mixed
from tests.workspace import NOON, Workspace

BLOCK: Final = 10_000
"""Events after which the other store has its turn: what else the machine does hits both alike."""


class Cost(msgspec.Struct):
    """CPU seconds of one store."""

    process_s: float = 0.0
    settle_s: float = 0.0

    @property
    def whole_s(self) -> float:
        """All of it."""
        return self.process_s + self.settle_s


def blocks(events: int, days: int, world: Workspace) -> Iterator[list[Event]]:
    """A simulated stream, decoded, a block at a time."""
    shop = Shop(seed=11, people=people_for(events, days), days=days)
    stream = islice(shop, events)
    while some := list(islice(stream, BLOCK)):
        decoded = (
            decode(msgspec.json.encode(event), NOON, world.source, believe_received_at=True)
            for event, _ in some
        )
        yield [each for each in decoded if isinstance(each, Event)]


def feed(world: Workspace, events: Sequence[Event], batch: int, cost: Cost) -> None:
    """Let a store have events, in batches, at the time at which they came."""
    started = time.process_time()
    for start in range(0, len(events), batch):
        some = events[start : start + batch]
        world.now = some[-1].received_ms
        world.pipeline.process(some)
    cost.process_s += time.process_time() - started


def compare(events: int, segments: int, batch: int, days: int = 30) -> tuple[Cost, Cost, int, int]:
    """What a stream costs without and with segments, and how many profiles and memberships there are then."""
    with ExitStack() as stack:
        worlds, costs = [], [Cost(), Cost()]
        for _ in range(2):
            worlds.append(Workspace(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
            stack.callback(worlds[-1].close)
        define(worlds[1].store.definitions, mixed(segments), 1, NOON)
        worlds[1].segments.fill()
        for turn, block in enumerate(blocks(events, days, worlds[0])):
            for one in (0, 1) if turn % 2 else (1, 0):
                feed(worlds[one], block, batch, costs[one])
        for world, cost in zip(worlds, costs, strict=True):
            started = time.process_time()
            world.segments.settle()
            cost.settle_s = time.process_time() - started
        store = worlds[1].store
        counts = store.memberships.count(list(worlds[1].segments.catalogue().segments))
        return costs[0], costs[1], store.parts.count(), sum(map(sum, counts.values()))

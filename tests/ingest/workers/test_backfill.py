"""History is read while nobody waits for live events, and never delays them by more than a batch."""

from itertools import pairwise

import pytest

from ingest.log import LogUnavailable, Message, next_offsets, nothing_lost
from ingest.memory_log import MemoryConsumer, MemoryLog
from ingest.workers.backfill import FOLD_LAG_MAX, LIVE_LAG_MAX, LOOK_EVERY_S, Prioritized
from ingest.workers.metering import Unmetered

BATCH = 10


class World:
    """Two topics, a fold lag to set, and a clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.fold_lag = 0
        self.paused: list[bool] = []
        self.log = MemoryLog({"live": 1, "history": 1})
        self.live: MemoryConsumer = self.log.consumer("g", ["live"], nothing_lost)
        self.history: MemoryConsumer = self.log.consumer("h", ["history"], nothing_lost)
        meter = Unmetered()
        meter.paused = self.paused.append  # type: ignore[method-assign,assignment]
        self.both = Prioritized(self.live, self.history, self.lag, meter, lambda: self.now)

    def lag(self) -> int:
        if self.fold_lag < 0:
            raise LogUnavailable("the broker is away")
        return self.fold_lag

    def send(self, topic: str, count: int) -> None:
        for n in range(count):
            self.log.append(topic, b"%d" % n, b"k")

    def poll(self, times: int = 1) -> list[str]:
        """The topic of each batch."""
        found = []
        for _ in range(times):
            self.now += LOOK_EVERY_S
            messages: list[Message] = self.both.poll(BATCH, 0.05)
            topics = {message.topic for message in messages}
            assert len(topics) <= 1, "a batch is live or history, never both"
            self.both.commit(next_offsets(messages))
            found += sorted(topics) or ["nothing"]
        return found


@pytest.fixture
def world() -> World:
    made = World()
    made.poll(2)
    return made


def test_history_is_read_when_nothing_is_live(world: World) -> None:
    world.send("history", 3 * BATCH)
    assert world.poll(8).count("history") == 3
    assert world.log.committed("h") == {("history", 0): 3 * BATCH}


def test_live_events_and_history_take_turns_while_few_are_live(world: World) -> None:
    world.send("history", 5 * BATCH)
    batches = []
    for _ in range(8):
        world.send("live", 2)
        batches += world.poll()
    assert batches.count("history") >= 3
    for before, after in pairwise(batches):
        assert (before, after) != ("history", "history"), "live events wait for one batch at most"
    assert world.log.lag("g", ["live"]) <= 4


def test_full_batches_of_live_events_leave_no_room_for_history(world: World) -> None:
    world.send("live", 6 * BATCH)
    assert world.poll(1) == ["live"]
    world.send("history", BATCH)
    assert world.poll(5) == ["live"] * 5


def test_history_waits_while_live_events_pile_up(world: World) -> None:
    world.send("history", BATCH)
    world.send("live", LIVE_LAG_MAX + 2 * BATCH)
    world.poll()
    assert world.both.paused
    assert world.paused[-1] is True
    while world.log.lag("g", ["live"]):
        assert "history" not in world.poll() or not world.both.paused
    assert "history" in world.poll(3)
    assert world.paused[-1] is False


def test_history_waits_while_fold_has_much_to_do(world: World) -> None:
    world.send("history", BATCH)
    world.fold_lag = FOLD_LAG_MAX + 1
    assert world.poll(5) == ["nothing"] * 5
    world.fold_lag = FOLD_LAG_MAX
    assert "history" in world.poll(3)


def test_history_waits_while_nobody_can_say_how_much_fold_has_to_do(world: World) -> None:
    world.send("history", BATCH)
    world.fold_lag = -1
    assert world.poll(3) == ["nothing"] * 3


def test_who_waits_stays_a_member(world: World) -> None:
    world.fold_lag = FOLD_LAG_MAX + 1
    world.poll(2)
    before = world.both.membership()
    world.log.evict(world.history)
    world.poll(2)
    after = world.both.membership()
    assert ("history", 0) in after.partitions
    assert after.generation > before.generation


def test_both_are_one_membership(world: World) -> None:
    assert world.both.membership().partitions == {("live", 0), ("history", 0)}
    world.send("live", 3)
    world.send("history", 2)
    assert world.both.lag() == {("live", 0): 3, ("history", 0): 2}
    world.both.leave()
    assert world.both.membership().partitions == frozenset()
    world.both.idle(0)
    assert len(world.both.membership().partitions) == 2
    world.both.close()

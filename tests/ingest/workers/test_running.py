"""The loop that all stages share: what it retries, what it gives up, how it ends, what it says of itself."""

import logging
from collections.abc import Callable, Sequence

import pytest

from ingest.log import LogUnavailable, Membership, Message, nothing_lost
from ingest.memory_log import MemoryConsumer, MemoryLog
from ingest.workers.metering import Unmetered
from ingest.workers.running import SILENT_S_MAX, Superseded, Worker
from storage.errors import Misconfigured, StoreUnavailable

TOPIC, GROUP = "t", "g"


class Stage:
    """Keeps what it is given; `fault` may raise before."""

    name = "test"

    def __init__(self, fault: Callable[[Sequence[Message]], None] = lambda messages: None) -> None:
        self.fault = fault
        self.done: list[bytes] = []
        self.given_up: list[tuple[bytes, str]] = []
        self.generations: list[int] = []
        self.closed = False

    def prepare(self, membership: Membership) -> None:
        if not self.generations or self.generations[-1] != membership.generation:
            self.generations.append(membership.generation)

    def process(self, messages: Sequence[Message]) -> None:
        self.fault(messages)
        self.done += [message.value for message in messages]

    def give_up(self, message: Message, error: Exception) -> None:
        self.given_up.append((message.value, type(error).__name__))

    def close(self) -> None:
        self.closed = True


class Heard(Unmetered):
    """What the meter was told."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.lags: list[tuple[str, int]] = []

    def batch(self, stage: str, messages: int, seconds: float) -> None:
        self.batches.append(messages)

    def lag(self, stage: str, topic: str, messages: int) -> None:
        self.lags.append((topic, messages))


class World:
    """One worker over a log in memory, with a clock that waiting moves."""

    def __init__(self, stage: Stage, partitions: int = 1, batch: int = 100) -> None:
        self.now = 0.0
        self.waited: list[float] = []
        self.log = MemoryLog({TOPIC: partitions}, sleep=self._sleep)
        self.stage = stage
        self.meter = Heard()
        self.consumer: MemoryConsumer = self.log.consumer(GROUP, [TOPIC], nothing_lost)
        self.worker = Worker(
            stage, self.consumer, self.meter, batch_messages=batch, chance=lambda: 1.0,
            clock=lambda: self.now,
        )  # fmt: skip

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        self.waited.append(seconds)

    def send(self, *values: bytes, key: bytes = b"k") -> None:
        for value in values:
            self.log.append(TOPIC, value, key)

    @property
    def committed(self) -> dict[tuple[str, int], int]:
        return self.log.committed(GROUP)


def failing(times: int, error: Exception) -> Callable[[Sequence[Message]], None]:
    left = [times]

    def fault(messages: Sequence[Message]) -> None:
        if left[0]:
            left[0] -= 1
            raise error

    return fault


def poisoned(*values: bytes) -> Callable[[Sequence[Message]], None]:
    def fault(messages: Sequence[Message]) -> None:
        if any(message.value in values for message in messages):
            raise ZeroDivisionError("asha@example.com")

    return fault


def test_a_batch_is_committed_when_it_is_done() -> None:
    world = World(Stage())
    world.send(b"a", b"b", b"c")
    assert world.worker.step() == 3
    assert world.stage.done == [b"a", b"b", b"c"]
    assert world.committed == {(TOPIC, 0): 3}
    assert world.meter.batches == [3]
    assert world.worker.step() == 0


@pytest.mark.parametrize(
    "error", [StoreUnavailable("down"), LogUnavailable("down"), Misconfigured("password")]
)
def test_what_the_store_or_the_log_cannot_do_is_tried_again_with_growing_pauses(
    error: Exception,
) -> None:
    world = World(Stage(failing(4, error)))
    world.send(b"a")
    assert world.worker.step() == 1
    assert world.stage.done == [b"a"]
    assert world.stage.given_up == []
    assert world.waited == [0.5, 1.0, 2.0, 4.0]


def test_pauses_have_a_limit_and_begin_anew_after_a_success() -> None:
    world = World(Stage(failing(12, StoreUnavailable("down"))))
    world.send(b"a")
    world.worker.step()
    assert max(world.waited) == 30.0
    world.waited.clear()
    world.stage.fault = failing(1, StoreUnavailable("down"))
    world.send(b"b")
    world.worker.step()
    assert world.waited == [0.5]


def test_trouble_is_told_while_it_lasts() -> None:
    told: list[tuple[bool, str]] = []
    stage = Stage()
    world = World(stage)
    worker = world.worker

    def fault(messages: Sequence[Message]) -> None:
        told.append((worker.ready, worker.trouble))
        if len(told) < 3:
            raise StoreUnavailable("no node answers")
        worker.stop()

    world.send(b"a")
    worker.step()
    stage.fault = fault
    world.send(b"b")
    worker.run()
    assert told == [(True, ""), (False, "no node answers"), (False, "no node answers")]
    assert not worker.ready


def test_a_poison_message_is_found_and_the_others_are_done_in_order(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(Stage(poisoned(b"3", b"17")))
    world.send(*(b"%d" % n for n in range(20)))
    with caplog.at_level(logging.INFO):
        assert world.worker.step() == 20
    assert world.stage.given_up == [(b"3", "ZeroDivisionError"), (b"17", "ZeroDivisionError")]
    assert world.stage.done == [b"%d" % n for n in range(20) if n not in (3, 17)]
    assert world.committed == {(TOPIC, 0): 20}
    assert "t:0:3 cannot be processed" in caplog.text
    assert "asha" not in caplog.text, "an error's text may quote a message"


def test_a_dead_letter_that_cannot_be_kept_yet_is_tried_again() -> None:
    world = World(Stage(poisoned(b"a")))
    keep, tries = world.stage.give_up, []

    def give_up(message: Message, error: Exception) -> None:
        tries.append(1)
        if len(tries) < 3:
            raise StoreUnavailable("down")
        keep(message, error)

    world.stage.give_up = give_up  # type: ignore[method-assign]
    world.send(b"a")
    world.worker.step()
    assert world.stage.given_up == [(b"a", "ZeroDivisionError")]
    assert world.committed == {(TOPIC, 0): 1}


def test_an_outage_amid_the_search_for_poison_is_no_poison() -> None:
    calls = [0]

    def fault(messages: Sequence[Message]) -> None:
        calls[0] += 1
        if calls[0] in (2, 3, 5):
            raise StoreUnavailable("down")
        poisoned(b"1")(messages)

    world = World(Stage(fault))
    world.send(*(b"%d" % n for n in range(4)))
    world.worker.step()
    assert [value for value, _ in world.stage.given_up] == [b"1"]
    assert world.stage.done == [b"0", b"2", b"3"]


def test_partitions_that_went_away_during_an_outage_are_not_worked_on() -> None:
    stage = Stage()
    world = World(stage, partitions=2)
    for key in (b"k0", b"k1", b"k2", b"k3"):
        world.send(key, key=key)
    other = world.log.consumer(GROUP, [TOPIC], nothing_lost)

    def fault(messages: Sequence[Message]) -> None:
        stage.fault = lambda _: None
        other.poll(100, 0)  # joins: a partition changes hands
        raise StoreUnavailable("down")

    stage.fault = fault
    world.worker.step()
    mine = world.consumer.membership().partitions
    assert len(mine) == 1
    elsewhere = {message.value for message in other.poll(100, 0)} | {
        message.value for message in world.log.messages(TOPIC)
        if (message.topic, message.partition) not in mine
    }  # fmt: skip
    assert stage.done
    assert elsewhere.isdisjoint(stage.done)
    assert world.committed.keys() == mine
    assert len(stage.generations) == 2, "the stage hears of it before it goes on"


def test_somebody_else_took_over_means_leaving_and_joining_again() -> None:
    world = World(Stage(failing(1, Superseded())))
    world.send(b"a")
    assert world.worker.step() == 0
    assert world.committed == {}
    assert world.worker.step() == 1
    assert world.stage.generations == [1, 3], "2 is without partitions"
    assert world.stage.done == [b"a"]


def test_stop_finishes_the_batch_commits_and_leaves() -> None:
    stage = Stage()
    world = World(stage, batch=2)

    def fault(messages: Sequence[Message]) -> None:
        world.worker.stop()

    stage.fault = fault
    world.send(b"a", b"b", b"c")
    world.worker.run()
    assert stage.done == [b"a", b"b"]
    assert world.committed == {(TOPIC, 0): 2}
    assert stage.closed
    assert not world.worker.healthy
    heir = world.log.consumer(GROUP, [TOPIC], nothing_lost)
    assert [message.value for message in heir.poll(10, 0)] == [b"c"]


def test_stop_does_not_wait_for_an_outage_to_end() -> None:
    world = World(Stage())

    def fault(messages: Sequence[Message]) -> None:
        world.worker.stop()
        raise StoreUnavailable("down")

    world.stage.fault = fault
    world.send(b"a")
    world.worker.run()
    assert world.committed == {}, "it comes again"


def test_an_error_that_is_nobodys_fault_ends_the_worker_tidily() -> None:
    world = World(Stage(failing(1, MemoryError())))
    world.send(b"a")
    with pytest.raises(MemoryError):
        world.worker.run()
    assert world.stage.closed
    assert world.committed == {}


def test_a_worker_that_has_not_begun_is_healthy_but_not_ready() -> None:
    worker = World(Stage()).worker
    assert worker.healthy
    assert not worker.ready


def test_a_loop_that_hangs_is_not_healthy() -> None:
    stage = Stage()
    world = World(stage)
    seen: list[bool] = []

    def fault(messages: Sequence[Message]) -> None:
        seen.append(world.worker.healthy)
        world.now += SILENT_S_MAX + 1
        seen.append(world.worker.healthy)
        world.worker.stop()

    stage.fault = fault
    world.send(b"a")
    world.worker.run()
    assert seen == [True, False]


def test_waiting_for_the_store_is_healthy() -> None:
    stage = Stage()
    world = World(stage)
    seen: list[bool] = []

    def fault(messages: Sequence[Message]) -> None:
        seen.append(world.worker.healthy)
        if len(seen) < 40:
            raise StoreUnavailable("down")
        world.worker.stop()

    stage.fault = fault
    world.send(b"a")
    world.worker.run()
    assert world.now > SILENT_S_MAX
    assert all(seen)


def test_a_worker_without_partitions_stands_by_ready() -> None:
    world = World(Stage())
    world.worker.step()
    spare = World(Stage())
    spare.consumer = world.log.consumer(GROUP, [TOPIC], nothing_lost)
    worker = Worker(spare.stage, spare.consumer, clock=lambda: 0.0)
    ready: list[bool] = []
    steps = [0]

    def prepare(membership: Membership) -> None:
        steps[0] += 1
        ready.append(worker.ready)
        if steps[0] == 3:
            worker.stop()

    spare.stage.prepare = prepare  # type: ignore[method-assign]
    worker.run()
    assert ready[0] is False, "it has not joined yet"
    assert ready[-1] is True


def test_lag_is_told_once_a_second() -> None:
    world = World(Stage(), batch=1)
    world.send(*(b"%d" % n for n in range(10)))
    world.now = 10.0
    for _ in range(10):
        world.worker.step()
        world.now += 0.3
    assert world.meter.lags == [(TOPIC, 9), (TOPIC, 5), (TOPIC, 1)]

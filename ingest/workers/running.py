"""The loop that all stages share: poll, process, make durable, commit (DESIGN §4).

What the store or the log cannot do now is tried again in place, as a member of the group. Any other error is
a message's fault: it is searched for by halves, kept as a dead letter, and the rest goes on.
"""

import logging
import random
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

from ingest.errors import IngestError
from ingest.log import Consumer, LogError, Membership, Message, Partition, next_offsets
from ingest.workers.metering import UNMETERED, Meter
from storage.errors import StoreError

BATCH_MESSAGES: Final = 1_000
"""Messages of one batch: past this, grouping reads and writes gains little, and delays the next ones."""
POLL_S: Final = 0.05
"""The longest wait for a message: so often is looked at the time, and at who the members are."""
PAUSE_FIRST_S: Final = 0.5
PAUSE_GROWTH: Final = 2.0
LAG_EVERY_S: Final = 1.0
SILENT_S_MAX: Final = 120.0
"""A loop that did not come round for so long hangs: no batch takes a tenth of it."""

_logger = logging.getLogger(__name__)

T = TypeVar("T")


class Stage(Protocol):
    """What is done with messages. Doing it twice is the same as once.

    Every method may raise StoreError or IngestError: then it is called again.
    """

    @property
    def name(self) -> str:
        """Of the stage, for metrics."""

    def prepare(self, membership: Membership) -> None:
        """Called before each batch, and while there is none; `membership` may have changed."""

    def process(self, messages: Sequence[Message]) -> None:
        """Make all that follows from messages durable. Superseded if this is another process's work now."""

    def give_up(self, message: Message, error: Exception) -> None:
        """Keep a message that cannot be processed, with the reason."""

    def close(self) -> None:
        """Let go of what the stage has."""


class Superseded(Exception):
    """Another process has taken over the work of this one."""


class _Moved(Exception):
    """Partitions went away while a batch was waiting."""


class _Stopped(Exception):
    """`stop` was called while a batch was waiting."""


class Worker:
    """One stage, running in the thread that calls `run`. Other threads may ask and `stop` it."""

    def __init__(
        self,
        stage: Stage,
        consumer: Consumer,
        meter: Meter = UNMETERED,
        *,
        batch_messages: int = BATCH_MESSAGES,
        retry_max_s: float = 30.0,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stage = stage
        self._consumer = consumer
        self._meter = meter
        self._batch_messages = batch_messages
        self._retry_max_s = retry_max_s
        self._chance = chance
        self._clock = clock
        self._stopping = threading.Event()
        self._running = self._ended = False
        self._joined = False
        self._trouble = ""
        self._failures = 0
        self._mine: frozenset[Partition] = frozenset()
        self._heard = clock()
        self._lag_at = 0.0

    @property
    def ready(self) -> bool:
        """Whether it is a member of its group, and nothing keeps it from working."""
        return self._running and self._joined and not self._trouble and not self._stopping.is_set()

    @property
    def healthy(self) -> bool:
        """Whether its loop comes round; what the store and the log do does not matter."""
        return not self._ended and self._clock() - self._heard < SILENT_S_MAX

    @property
    def trouble(self) -> str:
        """What keeps it from working now; empty: nothing."""
        return self._trouble

    def run(self) -> None:
        """Work until `stop` is called; what was taken is finished and committed then."""
        self._running = True
        try:
            while not self._stopping.is_set():
                self.step()
        finally:
            self._running, self._ended = False, True
            self._consumer.close()
            self.stage.close()

    def stop(self) -> None:
        """Finish the batch, leave the group, and return from `run`."""
        self._stopping.set()

    def step(self) -> int:
        """One batch; how many messages are done with."""
        try:
            messages = self._patiently(
                partial(self._consumer.poll, self._batch_messages, POLL_S), alone=True
            )
            self._mine = self._consumer.membership().partitions
            self._prepare()
            return self._batch(messages) if messages else 0
        except _Stopped:
            return 0
        except Superseded:
            _logger.warning("%s: another process has taken over; joining again", self.stage.name)
            self._consumer.leave()
            self._consumer.idle(self._pause_s())
            return 0
        finally:
            self._look_around()

    def _batch(self, messages: Sequence[Message]) -> int:
        started = self._clock()
        todo = [messages]
        while todo:
            run = [each for each in todo.pop() if (each.topic, each.partition) in self._mine]
            try:
                if run:
                    self._patiently(partial(self.stage.process, run))
            except _Moved:
                todo.append(run)
                self._prepare()
            except (Superseded, _Stopped, MemoryError):
                raise
            except Exception as error:
                if len(run) > 1:
                    todo += [run[len(run) // 2 :], run[: len(run) // 2]]
                else:
                    self._give_up(run[0], error)
        done = [each for each in messages if (each.topic, each.partition) in self._mine]
        self._commit(done)
        self._meter.batch(self.stage.name, len(done), self._clock() - started)
        return len(done)

    def _give_up(self, message: Message, error: Exception) -> None:
        # An error's text may quote the message, so the log says only where it was raised.
        _logger.error(
            "%s: %s cannot be processed and is kept as a dead letter: %s",
            self.stage.name, message.origin, place_of(error),
        )  # fmt: skip
        self._patiently(partial(self.stage.give_up, message, error), alone=True)

    def _prepare(self) -> None:
        self._patiently(lambda: self.stage.prepare(self._consumer.membership()), alone=True)

    def _commit(self, messages: Sequence[Message]) -> None:
        try:
            self._consumer.commit(next_offsets(messages))
        except LogError as error:
            # They come again, and change nothing.
            _logger.warning("%s: %s", self.stage.name, error)

    def _patiently(self, attempt: Callable[[], T], *, alone: bool = False) -> T:
        """What `attempt` returns, however often it takes. _Moved if partitions went away, unless `alone`."""
        while True:
            self._heard = self._clock()
            try:
                result = attempt()
            except (StoreError, IngestError) as error:
                self._wait(error)
            else:
                if self._failures:
                    _logger.info("%s: works again", self.stage.name)
                self._failures, self._trouble = 0, ""
                return result
            if self._stopping.is_set():
                raise _Stopped
            still = self._mine & self._consumer.membership().partitions
            if still != self._mine:
                self._mine = still
                if not alone:
                    raise _Moved

    def _wait(self, error: Exception) -> None:
        self._trouble = str(error)
        pause_s = self._pause_s()
        _logger.warning("%s: %s; trying again in %.1f s", self.stage.name, error, pause_s)
        self._consumer.idle(pause_s)

    def _pause_s(self) -> float:
        grown = PAUSE_FIRST_S * PAUSE_GROWTH ** min(self._failures, 30)
        self._failures += 1
        return min(grown, self._retry_max_s) * (0.5 + self._chance() / 2)

    def _look_around(self) -> None:
        self._heard = self._clock()
        membership = self._consumer.membership()
        self._joined = membership.joined
        if not self._failures:
            self._trouble = membership.trouble
        if self._heard - self._lag_at >= LAG_EVERY_S:
            self._lag_at = self._heard
            topics: dict[str, int] = {}
            for (topic, _), count in self._consumer.lag().items():
                topics[topic] = topics.get(topic, 0) + count
            for topic, count in topics.items():
                self._meter.lag(self.stage.name, topic, count)


def place_of(error: BaseException) -> str:
    """The kind of an error and the line that raised it, without its text."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    return type(error).__name__ + where

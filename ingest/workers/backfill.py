"""Live events first: history is read while nobody waits (DESIGN §4)."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from ingest.log import Consumer, LogError, Membership, Message, Partition
from ingest.workers.metering import Meter

LIVE_LAG_MAX: Final = 1_000
"""Live messages that may wait while history is read: one batch."""
FOLD_LAG_MAX: Final = 10_000
"""Activity that may wait to be folded: a live event stands behind it, some two seconds for one worker."""
LOOK_EVERY_S: Final = 0.5
"""Asking for the fold lag takes some milliseconds."""

_logger = logging.getLogger(__name__)


class Prioritized:
    """`ingest.log.Consumer` over two: `live`, and `backfill`, which waits while there is live lag.

    `fold_lag` asks how much recorded activity is not folded yet.
    """

    def __init__(
        self,
        live: Consumer,
        backfill: Consumer,
        fold_lag: Callable[[], int],
        meter: Meter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._live = live
        self._backfill = backfill
        self._fold_lag = fold_lag
        self._meter = meter
        self._clock = clock
        self._looked = -LOOK_EVERY_S
        self._open = False
        self._turn = False
        self._busy = False

    @property
    def paused(self) -> bool:
        """Whether the backfill waits for live events."""
        return not self._open

    def poll(self, limit: int, timeout_s: float) -> list[Message]:
        """Live messages, or history where it may be read; never both in one batch."""
        self._look()
        waiting = self._open and any(self._backfill.lag().values())
        if self._open and self._turn:
            self._turn = False
            history = self._backfill.poll(limit, timeout_s if waiting and not self._busy else 0)
            if history:
                return history
        messages = self._live.poll(limit, 0 if waiting else timeout_s)
        self._busy = bool(messages)
        # Full batches of live messages leave no room for history.
        self._turn = len(messages) < limit
        return messages

    def idle(self, seconds: float) -> None:
        """Stay a member of both groups."""
        self._backfill.idle(0)
        self._live.idle(seconds)

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Each its own."""
        history = self._backfill.membership().partitions
        for consumer, mine in ((self._live, False), (self._backfill, True)):
            some = {each: at for each, at in offsets.items() if (each in history) is mine}
            if some:
                consumer.commit(some)

    def membership(self) -> Membership:
        """Both together."""
        live, backfill = self._live.membership(), self._backfill.membership()
        return Membership(
            live.generation + backfill.generation,
            live.partitions | backfill.partitions,
            live.joined,
            live.trouble or backfill.trouble,
        )

    def lag(self) -> dict[Partition, int]:
        """Both together."""
        return self._live.lag() | self._backfill.lag()

    def leave(self) -> None:
        """Both."""
        self._live.leave()
        self._backfill.leave()

    def close(self) -> None:
        """Both."""
        self._live.close()
        self._backfill.close()

    def _look(self) -> None:
        if self._clock() - self._looked < LOOK_EVERY_S:
            return
        self._looked = self._clock()
        was, self._open = self._open, self._may_read()
        self._meter.paused(not self._open)
        if was != self._open:
            _logger.info("backfill %s", "goes on" if self._open else "waits for live events")
        if not (self._open and self._turn):
            # It stays a member of its group, though nobody polls it for long.
            self._backfill.idle(0)

    def _may_read(self) -> bool:
        if sum(self._live.lag().values()) > LIVE_LAG_MAX:
            return False
        try:
            return self._fold_lag() <= FOLD_LAG_MAX
        except LogError as error:
            _logger.warning("backfill: %s", error)
            return False

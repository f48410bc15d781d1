"""Everybody is looked at for what was defined or changed, while the stream goes on (DESIGN §4).

A message without an event goes to the log of each leaf. Fold brings the part up to date at that message's
position, for a part is written once at each, and has its profile evaluated. The owner of the first partition of
the evaluate stage sends them; somebody who no longer is may send some twice.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from ingest.kafka.settings import KafkaSettings
from ingest.log import Log, LogError, Producer
from ingest.messages import LOOK
from ingest.workers.metering import UNMETERED, SegmentMeter
from profiles.segments.catalogue import Catalogue
from storage.catalogues import WORKERS_AGE_S
from storage.ports import SharedStore
from storage.segment_ports import Backfill

LEAVES_AT_ONCE: Final = 500
LAG_MAX: Final = 2_000
"""Messages that may wait in front of the stages while more are sent: a live event stands behind them, some
0.4 s for one worker."""
LOOK_EVERY_S: Final = 0.1
"""Asking for the lag takes some milliseconds."""
WAIT_S: Final = 2 * WORKERS_AGE_S
"""From hearing of a definition on: every worker has heard of it by then, and touches what it folds itself."""

_logger = logging.getLogger(__name__)


class Filler:
    """Sends leaves on to be looked at, some at each step."""

    def __init__(
        self,
        log: Log,
        store: SharedStore,
        producer: Producer,
        settings: KafkaSettings,
        generation: int = 1,
        meter: SegmentMeter = UNMETERED,
        clock: Callable[[], float] = time.monotonic,
        wait_s: float = WAIT_S,
    ) -> None:
        """`generation` is that of the derived tables of `store`."""
        self._log = log
        self._store = store
        self._producer = producer
        self._activity = settings.topic("activity")
        self._waiting = (
            (settings.group("fold", generation), [self._activity]),
            (settings.group("evaluate"), [settings.topic("evaluate")]),
        )
        self._meter = meter
        self._clock = clock
        self._wait_s = wait_s
        self._state: Backfill | None = None
        self._heard_s = 0.0
        self._looked_s: float | None = None

    def forget(self) -> None:
        """Somebody else may have gone on: read how far it is."""
        self._state = None

    def step(self, catalogue: Catalogue) -> None:
        """Send the next leaves, if there are any and nobody else waits."""
        state = self._state or self._store.backfills.get()
        if state is None or state.revision < catalogue.revision:
            state = Backfill(catalogue.revision)
        if self._state is None or self._state.revision != state.revision:
            self._heard_s = self._clock()
        self._state = state
        if state.finished or not self._may_send(state):
            return
        leaves = self._store.parts.leaves(state.after, LEAVES_AT_ONCE)
        for leaf in leaves:
            self._producer.send(self._activity, b"", leaf, {LOOK: b"%d" % state.revision})
        self._producer.flush()
        finished = len(leaves) < LEAVES_AT_ONCE
        share = 1.0 if finished else self._store.parts.share(leaves[-1])
        after = leaves[-1] if leaves else state.after
        looked_at = state.profiles + len(leaves)
        self._state = Backfill(state.revision, after, looked_at, finished, share)
        self._store.backfills.put(self._state)
        self._meter.filled(share)
        if finished:
            _logger.info("segments of revision %d: %d leaves sent", state.revision, looked_at)

    def _may_send(self, state: Backfill) -> bool:
        now = self._clock()
        if state.after is None and now - self._heard_s < self._wait_s:
            return False
        if self._looked_s is not None and now - self._looked_s < LOOK_EVERY_S:
            return False
        self._looked_s = now
        try:
            return sum(self._log.lag(group, topics) for group, topics in self._waiting) <= LAG_MAX
        except LogError as error:
            _logger.warning("segments are not filled: %s", error)
            return False

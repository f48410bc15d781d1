"""A thread that keeps segments current in `onefold serve`: time passes, loads wait, definitions change."""

import logging
import threading
import time
from typing import Final

from ingest.segments.here import BATCH, Segments
from storage.errors import StoreError

LOOK_S: Final = 0.25
"""Who leaves a segment as time goes by has left within this."""
WAITING_S: Final = 1.0
"""Who waits for whoever asks is looked at after this if nobody does, for all that happened in between: a shop's
browser, or everybody when many requests come."""
TROUBLE_S: Final = 5.0
"""A store that cannot answer is asked again after this."""

_logger = logging.getLogger(__name__)


class KeepingCurrent:
    """`start`, then `stop`; what is under way is finished."""

    def __init__(self, segments: Segments) -> None:
        self._segments = segments
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="onefold-segments", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the transaction under way, and end."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._keep()
        finally:
            self._segments.stop_filling()

    def _keep(self) -> None:
        pause_s = next_s = 0.0
        while not self._stopping.wait(pause_s):
            try:
                # What happened comes first: filling a new segment takes its time.
                whole = time.monotonic() >= next_s
                looked_at = self._segments.step(whole=whole)
                if whole and looked_at < BATCH:
                    next_s = time.monotonic() + WAITING_S
                busy = looked_at or self._segments.fill_step() is not None
                pause_s = 0.0 if busy else LOOK_S
            except StoreError as error:
                _logger.warning("segments: %s; trying again", error)
                pause_s = TROUBLE_S

"""One process at a time, wherever it runs: a hold in the shared store that is kept while the work goes on."""

import logging
import threading
import time
from contextlib import suppress
from typing import Final

from storage.errors import StoreError
from storage.segment_ports import Holds

HOLD_S: Final = 60
"""So long after its holder died somebody else can go on."""
KEEP_S: Final = 15.0
"""How often a hold is prolonged: three times before it ends."""

_logger = logging.getLogger(__name__)


class HeldElsewhere(Exception):
    """Somebody else does it now."""


class Hold:
    """A hold of this process, prolonged by a thread of its own."""

    def __init__(
        self, holds: Holds, name: str, holder: str, hold_s: int = HOLD_S, keep_s: float = KEEP_S
    ) -> None:
        """HeldElsewhere if somebody holds it."""
        self._holds, self._name, self._holder = holds, name, holder
        self._hold_s, self._keep_s = hold_s, keep_s
        self._until = time.monotonic() + hold_s
        mark = holds.take(name, holder, hold_s)
        if mark is None:
            raise HeldElsewhere(holds.holder(name) or "somebody")
        self._mark = mark
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._prolong, name=f"hold-{name}", daemon=True)
        self._thread.start()

    def _prolong(self) -> None:
        while not self._ended.wait(self._keep_s):
            asked = time.monotonic()
            try:
                kept = self._holds.keep(self._name, self._holder, self._mark, self._hold_s)
            except StoreError as error:
                # The hold is ours until its time is over, whatever the store can do meanwhile.
                _logger.warning("%s: %s", self._name, error)
                continue
            self._until = asked + self._hold_s if kept else asked

    def check(self) -> None:
        """HeldElsewhere unless it is still ours."""
        if time.monotonic() >= self._until:
            raise HeldElsewhere("somebody")

    def end(self) -> None:
        """Let others have it."""
        self._ended.set()
        self._thread.join()
        with suppress(StoreError):  # It ends by itself.
            self._holds.end(self._name, self._mark)

"""Whether a process can do its work now: it can read the store, and nobody asked it to end."""

import threading
from collections.abc import Callable
from typing import Final

from storage.errors import StoreError
from storage.ports import Store

INTERVAL_S: Final = 1.0
FAILURES_MAX: Final = 2
"""A single slow answer is no outage: the driver gives up after 5 s, a failover takes less than two tries."""
_PROBE: Final = "readiness"


def reads(store: Store) -> Callable[[], object]:
    """The smallest read of a store."""
    return lambda: store.positions.get([_PROBE])


class Readiness:
    """Looks every second, in a thread of its own, for `/readyz` must answer at once."""

    def __init__(
        self,
        look: Callable[[], object],
        changed: Callable[[bool], None] = lambda ready: None,
        interval_s: float = INTERVAL_S,
    ) -> None:
        """`look` raises if the store cannot be read; `changed` is told when the answer is another."""
        self._look = look
        self._changed = changed
        self._interval_s = interval_s
        self._failures = 0
        self._ended = threading.Event()
        self._ready = False
        self._thread = threading.Thread(target=self._watch, name="onefold-ready", daemon=True)

    @property
    def ready(self) -> bool:
        """Whether work can be done now."""
        return self._ready and not self._ended.is_set()

    def start(self) -> None:
        """Look once, then every second."""
        self._once()
        self._thread.start()

    def end(self) -> None:
        """Not ready from now on."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(self._interval_s):
            self._once()

    def _once(self) -> None:
        try:
            self._look()
        except (StoreError, OSError):
            self._failures += 1
        else:
            self._failures = 0
        ready = self._failures == 0 or (self._ready and self._failures < FAILURES_MAX)
        if ready != self._ready:
            self._ready = ready
            if not self._ended.is_set():
                self._changed(ready)

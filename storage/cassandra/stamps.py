"""Write timestamps: each table has one domain of them, and none is a wall clock (DESIGN §§3.4, 4)."""

import time
from threading import Lock
from typing import Final

FIRST: Final = 1 << 62
"""Written `USING TIMESTAMP FIRST - value`, the smallest value stays."""
_SEQUENCE_BITS: Final = 42
"""A clock in milliseconds fits until 2109."""


def least(value: int) -> int:
    """The timestamp with which the smallest `value` wins."""
    return FIRST - value


class WriterClock:
    """Timestamps of the one writer of links and people: (epoch of its lease, sequence).

    Without a lease the epoch is 0, and the sequence, which starts at the wall clock, orders the writers.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self._last = 0
        self._lock = Lock()

    def next(self) -> int:
        """A timestamp above all that this clock gave, and above those of every earlier epoch."""
        return self.under(self.epoch)

    def under(self, epoch: int) -> int:
        """The same of an epoch that the caller holds."""
        with self._lock:
            self._last = max(self._last + 1, time.time_ns() // 1_000_000)
            return epoch << _SEQUENCE_BITS | self._last

"""Windows in time that move with the time of evaluation."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from profiles.segments.tree import DAY_MS, Ago, At, Moment, Window

FOREVER: Final = 1 << 62


class Span:
    """A window, ready to be asked: which times are in it, and when one comes in or goes out.

    Times come in, and go out, in the order in which they are: an older one first. By day, a window of 30 days
    begins at the midnight (UTC) 30 days before the last one, and what is before it ends there.
    """

    def __init__(self, window: Window, *, by_day: bool = False) -> None:
        self._by_day = by_day
        self.since_ms, self.since_ago = _bound(window.since, -FOREVER)
        self.until_ms, self._until_ago = _bound(window.until, FOREVER)
        self._newest: tuple[int, tuple[int, int]] = (-FOREVER, (0, 0))
        """The bounds that were asked for last: all profiles of a backfill are asked at one time."""

    @property
    def ever(self) -> bool:
        """Whether everything until now is in it."""
        return self.endless and self.since_ago is None and self.since_ms == -FOREVER

    @property
    def endless(self) -> bool:
        """Whether it goes on until now."""
        return self._until_ago is None and self.until_ms == FOREVER

    @property
    def age_ms_max(self) -> int:
        """An event that is as old, or older, is in it no more; FOREVER: it may be, however old."""
        if self.since_ago is None:
            return FOREVER
        return self.since_ago + (DAY_MS if self._by_day else 0)

    def bounds(self, now_ms: int) -> tuple[int, int]:
        """(low, high): the times from the one to before the other are in it now."""
        at_ms, bounds = self._newest
        if at_ms == now_ms:
            return bounds
        low, high = self.since_ms, min(self.until_ms, now_ms + 1)
        if self.since_ago is not None:
            low = self._edge(now_ms, self.since_ago)
        if self._until_ago is not None:
            high = min(high, self._edge(now_ms, self._until_ago))
        self._newest = (now_ms, (low, high))
        return low, high

    def _edge(self, now_ms: int, ago_ms: int) -> int:
        if self._by_day:
            return (now_ms - ago_ms) // DAY_MS * DAY_MS
        return now_ms - ago_ms + 1

    def _past(self, time_ms: int, ago_ms: int) -> int:
        """When the edge has passed a time."""
        if self._by_day:
            return (time_ms // DAY_MS + 1) * DAY_MS + ago_ms
        return time_ms + ago_ms

    def leaves_at(self, time_ms: int) -> int:
        """When a time that is in it goes out."""
        return FOREVER if self.since_ago is None else self._past(time_ms, self.since_ago)

    def enters_at(self, time_ms: int) -> int:
        """When a time comes in; FOREVER: never. It may be in, or out again, already."""
        if not self.since_ms <= time_ms < self.until_ms:
            return FOREVER
        if self._until_ago is None:
            return time_ms
        return max(time_ms, self._past(time_ms, self._until_ago))

    def next_entry(self, times: Sequence[int], low: int, high: int) -> int:
        """When the next of some times, in their order, comes in; `low` and `high` are `bounds` now."""
        place = bisect_left(times, max(low, high))
        return self.enters_at(times[place]) if place < len(times) else FOREVER

    def next_change(self, times: Sequence[int], low: int, high: int) -> int:
        """When the next of some times, in their order, comes in or goes out."""
        change = self.next_entry(times, low, high)
        if self.since_ago is not None:
            oldest = bisect_left(times, low)
            if oldest < len(times) and times[oldest] < high:
                change = min(change, self._past(times[oldest], self.since_ago))
        return change


def _bound(moment: Moment | None, none: int) -> tuple[int, int | None]:
    """(fixed bound, how long ago)."""
    if isinstance(moment, At):
        return moment.ms, None
    return none, moment.ms if isinstance(moment, Ago) else None

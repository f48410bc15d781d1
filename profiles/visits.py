"""Visits: a device's activity in runs without a gap of 30 minutes, however late an event comes.

Visits end at the turn of a month (UTC), and months more than VISIT_MONTHS before the device's newest
event fold into one body that is nobody's. Both depend on event times alone, not on their order.
"""

from bisect import bisect_left
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from profiles.body import merge
from profiles.part import DAY_MS, Body, Part, Visit

GAP_MS: Final = 30 * 60_000
"""The gap that ends a visit: the 30 minutes of Google Analytics' sessions. A rule of recording."""
VISIT_MONTHS: Final = 12
"""How long visits are told apart."""


def month_of(time_ms: int) -> int:
    """Months since year 0, UTC."""
    return _month_of_day(time_ms // DAY_MS)


@lru_cache(maxsize=4096)
def _month_of_day(day: int) -> int:
    at = datetime.fromtimestamp(day * DAY_MS / 1000, UTC)
    return at.year * 12 + at.month


def body_at(part: Part, time_ms: int) -> Body:
    """The body that an event of a device at `time_ms` folds into; visits that it bridges become one."""
    visits = part.visits
    month = month_of(time_ms)
    if visits and month < month_of(visits[-1].end_ms) - VISIT_MONTHS:
        part.body = part.body or Body()
        return part.body
    low = bisect_left(visits, time_ms - GAP_MS, key=lambda visit: visit.end_ms)
    high = low
    while high < len(visits) and visits[high].start_ms <= time_ms + GAP_MS:
        high += 1
    near = [visit for visit in visits[low:high] if month_of(visit.start_ms) == month]
    if not near:
        made = Visit.made(time_ms, time_ms, Body())
        visits.insert(bisect_left(visits, time_ms, key=lambda visit: visit.start_ms), made)
        return made.body
    first = near[0]
    for other in near[1:]:
        _absorb(first, other)
        visits.remove(other)
    first.start_ms = min(first.start_ms, time_ms)
    first.end_ms = max(first.end_ms, time_ms)
    return first.body


def settle_visits(part: Part) -> None:
    """Fold visits of months too old to be told apart into the device's own body."""
    oldest = month_of(part.visits[-1].end_ms) - VISIT_MONTHS if part.visits else 0
    while part.visits and month_of(part.visits[0].start_ms) < oldest:
        old = part.visits.pop(0)
        part.body = _merged(part.body, old.body)


def _absorb(visit: Visit, other: Visit) -> None:
    visit.start_ms = min(visit.start_ms, other.start_ms)
    visit.end_ms = max(visit.end_ms, other.end_ms)
    visit.body = _merged(visit.body, other.body)


def _merged(left: Body | None, right: Body) -> Body:
    return merge([left, right] if left is not None else [right])

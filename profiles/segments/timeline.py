"""Collected events in the order in which they happened, ready to be counted."""

from typing import Final

import msgspec

from profiles.segments.collect import HIT_DAYS_MAX, NEVER_MS, Collected, Hit
from profiles.segments.tree import DAY_MS

_LONG_AGO: Final = -(1 << 62)


class Timeline(msgspec.Struct, frozen=True, gc=False):
    """The events that matched one collector; of an order that was told more than once its earliest."""

    hits: list[Hit] = []
    """Those kept one by one, oldest first."""
    times: list[int] = []
    """Their times."""
    amounts: list[int] = []
    """What they add to a sum, where one is kept."""
    first_ms: int = NEVER_MS
    """Of the first event of all."""
    forgotten: int = 0
    """How many more there were."""
    forgotten_amount: int = 0
    forgotten_until_ms: int = _LONG_AGO
    """They were at this time, or before."""
    day_times: list[int] = []
    """First moments of the days for which forgotten events are counted, oldest first."""
    day_counts: list[tuple[int, int]] = []
    """(count, sum) of the forgotten events of those days."""
    days_since_ms: int = _LONG_AGO
    """From here on the days hold every forgotten event."""
    told_twice: bool = False
    """Orders have ids, and some are forgotten: one may be counted a second time."""
    known: dict[tuple[int, int], int] = {}
    """Values that were asked for, of hits from a place to before another: several conditions ask for one."""


NOTHING: Final = Timeline()


def timeline_of(collected: Collected | None) -> Timeline:
    """The timeline of what is collected."""
    if collected is None or not collected.hits:
        return NOTHING
    newest_first = collected.hits
    hits = newest_first[::-1]
    orders = [hit.order for hit in hits]
    told = any(orders)
    if told:
        hits = _told_once(hits)
    times = [hit.time_ms for hit in hits]
    amounts = []
    if isinstance(hits[0].value, int):
        amounts = [hit.value for hit in hits if isinstance(hit.value, int)]
    forgotten = collected.total - len(newest_first)
    if not forgotten:
        return Timeline(hits, times, amounts, collected.first_ms)
    days = sorted(collected.days.items())
    amount = sum(hit.value for hit in newest_first if isinstance(hit.value, int))
    all_days = forgotten == sum(count for _, (count, _) in days)
    newest_day = newest_first[0].time_ms // DAY_MS
    return Timeline(
        hits=hits,
        times=times,
        amounts=amounts,
        first_ms=collected.first_ms,
        forgotten=forgotten,
        forgotten_amount=collected.amount - amount,
        forgotten_until_ms=newest_first[-1].time_ms,
        day_times=[day * DAY_MS for day, _ in days],
        day_counts=[counted for _, counted in days],
        days_since_ms=_LONG_AGO if all_days else (newest_day - HIT_DAYS_MAX) * DAY_MS,
        told_twice=told,
    )


def _told_once(hits: list[Hit]) -> list[Hit]:
    orders: set[int] = set()
    found = []
    for hit in hits:
        if hit.order:
            if hit.order in orders:
                continue
            orders.add(hit.order)
        found.append(hit)
    return found

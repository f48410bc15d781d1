"""Collected events in the order in which they happened, ready to be counted."""

from collections.abc import Sequence
from typing import Final

import msgspec

from profiles.segments.collect import (
    HIT_DAYS_MAX,
    HITS_MAX,
    NEVER_MS,
    Collected,
    Hit,
    merged,
    newest_first,
)
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


def timeline_of_all(some: Sequence[Collected]) -> Timeline:
    """The timeline of what is collected in several parts, or in one."""
    if len(some) == 1:
        return timeline_of(some[0])
    kept = sum([len(each.hits) for each in some])
    if kept > HITS_MAX or kept < sum([each.total for each in some]):
        return timeline_of(merged(some))
    hits = [hit for each in newest_first(some) for hit in each.hits]
    hits.sort()
    return _of_kept(hits, min([each.first_ms for each in some])) if hits else NOTHING


def _of_kept(hits: list[Hit], first_ms: int) -> Timeline:
    """The timeline of hits, oldest first, none of which is forgotten."""
    if any(hit.order for hit in hits):
        hits = _told_once(hits)
    amounts = []
    if isinstance(hits[0].value, int):
        amounts = [hit.value for hit in hits if isinstance(hit.value, int)]
    return Timeline(hits, [hit.time_ms for hit in hits], amounts, first_ms)


def timeline_of(collected: Collected | None) -> Timeline:
    """The timeline of what is collected."""
    if collected is None or not collected.hits:
        return NOTHING
    newest_first = collected.hits
    hits = newest_first[::-1]
    forgotten = collected.total - len(newest_first)
    if not forgotten:
        return _of_kept(hits, collected.first_ms)
    told = any(hit.order for hit in hits)
    if told:
        hits = _told_once(hits)
    times = [hit.time_ms for hit in hits]
    amounts = []
    if isinstance(hits[0].value, int):
        amounts = [hit.value for hit in hits if isinstance(hit.value, int)]
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

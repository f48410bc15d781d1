"""Computed traits: what events come to, whenever somebody reads it."""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from profiles.money import MICROS
from profiles.segments.collect import Collector, Hit, collector_for, values_of
from profiles.segments.counting import beyond
from profiles.segments.subject import FOREVER, Subject
from profiles.segments.tree import ComputedTrait, Computes
from profiles.segments.windows import Span

UNIQUE_MAX: Final = 100
"""Values of a list, those seen last: more is no trait."""


class Computed(NamedTuple):
    """A value that holds at all times from now until before `valid_until_ms`; None: there is none."""

    value: Any
    valid_until_ms: int = FOREVER
    exact: bool = True
    """False: more events than are kept one by one lay in the window."""


class Computer:
    """A computed trait, ready to be asked."""

    def __init__(self, trait: ComputedTrait, numbers: Mapping[Collector, int]) -> None:
        """KeyError if nothing is collected for it."""
        self._number = numbers[collector_for(trait)]
        self._span = Span(trait.window)
        self._computes = trait.computes

    def of(self, subject: Subject, now_ms: int) -> Computed:
        """Its value now."""
        timeline = subject.timeline(self._number)
        low, high = self._span.bounds(now_ms)
        first, past = bisect_left(timeline.times, low), bisect_left(timeline.times, high)
        until = self._span.next_change(timeline.times, low, high)
        more = beyond(timeline, self._span, low, high)
        until = min(until, more.until_ms)
        inside = timeline.hits[first:past]
        if self._computes is Computes.COUNT:
            return Computed(len(inside) + more.events, until, more.exact)
        if self._computes is Computes.SUM:
            amount = more.amount + sum(hit.value for hit in inside if isinstance(hit.value, int))
            return Computed(_in_units(amount), until, more.exact)
        exact = not (timeline.forgotten and low <= timeline.forgotten_until_ms)
        return Computed(_VALUES[self._computes](inside), until, exact)


def _in_units(amount: int) -> int | float:
    return amount // MICROS if amount % MICROS == 0 else amount / MICROS


def _newest_first(hits: Sequence[Hit]) -> list[Any]:
    """Every value once, those seen last first; of one event in the order in which they stand."""
    found = {_key(each): each for hit in reversed(hits) for each in values_of(hit)}
    return list(found.values())


def _key(value: Any) -> tuple[type, Any]:
    # True is not 1.
    return (bool, value) if isinstance(value, bool) else (object, value)


def _most_frequent(hits: Sequence[Hit]) -> Any:
    counts: dict[tuple[type, Any], int] = {}
    for hit in hits:
        for each in values_of(hit):
            counts[_key(each)] = counts.get(_key(each), 0) + 1
    # The first of the largest: that which was seen last.
    return max(_newest_first(hits), key=lambda each: counts[_key(each)], default=None)


_VALUES: Final[Mapping[Computes, Callable[[Sequence[Hit]], Any]]] = {
    Computes.MOST_FREQUENT: _most_frequent,
    Computes.FIRST: lambda hits: values_of(hits[0])[0] if hits else None,
    Computes.LAST: lambda hits: values_of(hits[-1])[0] if hits else None,
    Computes.UNIQUE_LIST: lambda hits: _newest_first(hits)[:UNIQUE_MAX] or None,
}

"""What segments need an event of, and how new it must be: who has none is not asked about them."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from profiles.segments.collect import Collector, collector_of
from profiles.segments.tree import AllOf, AnyOf, Condition, Happened, InSegment, Of, Segment
from profiles.segments.windows import Span

CHOSEN_MAX: Final = 10_000
"""Combinations of collectors, and of how new what they keep is, that are remembered: some 2 MB."""

_T = TypeVar("_T")
Need = Mapping[int, int]
"""Numbers of collectors, each with an age: one event of one of them that is not as old must be there."""


class Needs:
    """What each of some segments needs."""

    def __init__(
        self,
        segments: Mapping[str, Segment],
        numbers: Mapping[Collector, int],
        nothing_fails: Callable[[Happened], bool],
    ) -> None:
        """`nothing_fails`: whether a condition on a number does not hold of none."""
        self._segments = segments
        self._numbers = numbers
        self._nothing_fails = nothing_fails
        self._known: dict[str, Need | None] = {}

    def of(self, segment_id: str) -> Need | None:
        """Who has none of it is not in the segment, and no time changes that. None: one may be without."""
        # A segment that many name is asked once: else diamonds of them would take forever.
        if segment_id not in self._known:
            segment = self._segments[segment_id]
            by_day = segment.granularity == "day"
            self._known[segment_id] = self._of(segment.who, by_day=by_day)
        return self._known[segment_id]

    def _of(self, condition: Condition, *, by_day: bool) -> Need | None:
        match condition:
            case AllOf(of):
                needs = [self._of(each, by_day=by_day) for each in of]
                return min([each for each in needs if each is not None], key=_broad, default=None)
            case AnyOf(of):
                return _any([self._of(each, by_day=by_day) for each in of])
            case InSegment(segment_id):
                return self.of(segment_id)
            case Happened() if condition.of in (Of.FIRST, Of.LAST) or self._nothing_fails(
                condition
            ):
                number = self._numbers[collector_of(condition.match, condition)]
                return {number: Span(condition.window, by_day=by_day).age_ms_max}
            case _:
                return None


def _broad(need: Need) -> tuple[int, int]:
    return len(need), max(need.values(), default=0)


def _any(needs: Sequence[Need | None]) -> Need | None:
    found: dict[int, int] = {}
    for need in needs:
        if need is None:
            return None
        for number, age_ms in need.items():
            found[number] = max(age_ms, found.get(number, age_ms))
    return found


class _Slots(NamedTuple, Generic[_T]):
    """What needs an event of one collector, by how new it must be."""

    first: int
    """The number of the first slot."""
    ages: list[int]
    """Of each slot, youngest first: an event of that age, or older, does not do for what only it holds."""
    held: list[list[tuple[str, _T]]]
    """What an event that is newer than that does for."""


class Choice(Generic[_T]):
    """Things by key, of which each has a need: those that what somebody has may do for."""

    def __init__(self, things: Iterable[tuple[str, _T]], need_of: Callable[[str], Need | None]):
        self._always: list[tuple[str, _T]] = []
        self._by_number: dict[int, _Slots[_T]] = {}
        self._slots: list[list[tuple[str, _T]]] = []
        self._chosen: dict[tuple[int, ...], list[tuple[str, _T]]] = {}
        needed: dict[int, list[tuple[int, tuple[str, _T]]]] = {}
        for pair in things:
            need = need_of(pair[0])
            if need is None:
                self._always.append(pair)
            for number, age_ms in (need or {}).items():
                needed.setdefault(number, []).append((age_ms, pair))
        for number, some in needed.items():
            ages = sorted({age_ms for age_ms, _ in some})
            held = [[pair for age_ms, pair in some if age_ms >= least] for least in ages]
            self._by_number[number] = _Slots(len(self._slots), ages, held)
            self._slots += held

    def of(self, newest: Mapping[int, int], now_ms: int) -> list[tuple[str, _T]]:
        """Those; `newest`: of each collector that keeps anything a time that nothing it keeps is past."""
        slots = []
        by_number = self._by_number
        for number, at_ms in newest.items():
            if (needed := by_number.get(number)) is not None:
                slot = bisect_right(needed.ages, now_ms - at_ms)
                if slot < len(needed.ages):
                    slots.append(needed.first + slot)
        slots.sort()
        key = tuple(slots)
        chosen = self._chosen.get(key)
        return self._choose(key) if chosen is None else chosen

    def _choose(self, key: tuple[int, ...]) -> list[tuple[str, _T]]:
        found = dict(self._always)
        for slot in key:
            found.update(self._slots[slot])
        if len(self._chosen) >= CHOSEN_MAX:
            self._chosen.clear()
        chosen = self._chosen[key] = list(found.items())
        return chosen

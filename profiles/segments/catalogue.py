"""What is defined: a log of edits, and the segments and collectors that it comes to (pure)."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Final

import msgspec

from profiles.facts import Facts
from profiles.segments.collect import Collecting, Collector, Hit, collectors_of
from profiles.segments.evaluate import Judges
from profiles.segments.tree import (
    ANY_EVENT,
    ComputedTrait,
    Consents,
    Definition,
    Happened,
    InSegment,
    Seen,
    Segment,
    TraitIs,
    conditions,
)

NOTHING: Final = 0
"""The revision before the first edit."""


class Put(msgspec.Struct, frozen=True, array_like=True):
    """One thing that an edit defines, as a plain tree: `profiles.segments.parse` reads it."""

    id: str
    tree: Any


class Edit(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """One change of what is defined: all of it or nothing."""

    revision: int
    """One past the edit before."""
    time_ms: int
    author: str
    note: str = ""
    put: tuple[Put, ...] = ()
    removed: tuple[str, ...] = ()


class Defined(msgspec.Struct, frozen=True):
    """A segment in force."""

    segment: Segment
    revision: int
    """Of the edit that gave it its present form."""


class Catalogue:
    """The segments in force at a revision, and what parts collect for them. Immutable.

    A collector has a number from the revision on at which something first needs it, until nothing does; one
    that is needed again has another, for what happened in between was not collected.
    """

    def __init__(
        self,
        revision: int = NOTHING,
        defined: Mapping[str, Defined] | None = None,
        computed: Mapping[str, ComputedTrait] | None = None,
        numbers: Mapping[Collector, tuple[int, int]] | None = None,
        numbered: int = 0,
    ) -> None:
        """`numbers` are (number, since which revision); so many were ever `numbered`."""
        self.revision = revision
        self.defined = dict(defined or {})
        self.computed = dict(computed or {})
        self._numbers = dict(numbers or {})
        self._numbered = numbered

    def after(
        self, revision: int, put: Iterable[Definition] = (), removed: Iterable[str] = ()
    ) -> "Catalogue":
        """The catalogue after an edit."""
        gone = set(removed)
        defined = {key: held for key, held in self.defined.items() if key not in gone}
        computed = {key: held for key, held in self.computed.items() if key not in gone}
        for each in put:
            if isinstance(each, ComputedTrait):
                computed[each.name] = each
                continue
            held = defined.get(each.id)
            if held is None or held.segment != each:
                defined[each.id] = Defined(each, revision)
        needed = dict.fromkeys(
            collector for each in defined.values() for collector in collectors_of(each.segment.who)
        )
        numbers = {each: self._numbers[each] for each in needed if each in self._numbers}
        numbered = self._numbered
        for collector in needed:
            if collector not in numbers:
                numbered += 1
                numbers[collector] = (numbered, revision)
        return Catalogue(revision, defined, computed, numbers, numbered)

    def __bool__(self) -> bool:
        """Whether any segment is in force."""
        return bool(self.defined)

    @cached_property
    def segments(self) -> dict[str, Segment]:
        """The segments in force, in order of id."""
        return {key: self.defined[key].segment for key in sorted(self.defined)}

    @cached_property
    def numbers(self) -> dict[Collector, int]:
        """The number of each collector in force."""
        return {collector: number for collector, (number, _) in self._numbers.items()}

    @cached_property
    def live(self) -> frozenset[int]:
        """The numbers in force."""
        return frozenset(self.numbers.values())

    @cached_property
    def collecting(self) -> Collecting:
        """The collectors in force, ready to be asked about events."""
        return Collecting({number: collector for collector, number in self.numbers.items()})

    def added_since(self, revision: int) -> Collecting:
        """Those of the collectors in force that a part of an earlier revision has not seen events with."""
        return Collecting(
            {n: collector for collector, (n, since) in self._numbers.items() if since > revision}
        )

    def ready_at(self, revision: int) -> list[str]:
        """The segments for which parts of a revision hold all that is needed."""
        return [key for key in self.segments if self._ready_from[key] <= revision]

    @cached_property
    def _ready_from(self) -> dict[str, int]:
        """The first revision at which parts hold what each segment needs, those that it names included."""
        found: dict[str, int] = {}
        for key in self.segments:
            left, seen, newest = [key], {key}, 0
            while left:
                who = self.segments[left.pop()].who
                for each in conditions(who):
                    if isinstance(each, InSegment) and each.id not in seen:
                        seen.add(each.id)
                        left.append(each.id)
                for collector in collectors_of(who):
                    newest = max(newest, self._numbers[collector][1])
            found[key] = newest
        return found

    @cached_property
    def judges(self) -> Judges:
        """The segments in force, ready to be asked."""
        return Judges(self.segments, self.numbers)

    def matters(self, facts: Facts, hits: Mapping[int, Hit]) -> bool:
        """Whether an event may change who is in a segment, beyond what it says about who is who."""
        if hits or self._any_event:
            return True
        if facts.consent and self.defined:
            return True
        return not self._traits.isdisjoint(facts.traits)

    @cached_property
    def _any_event(self) -> bool:
        return any(
            isinstance(each, Seen) or (isinstance(each, Happened) and each.match.event == ANY_EVENT)
            for segment in self.segments.values()
            for each in conditions(segment.who)
        )

    @cached_property
    def _traits(self) -> frozenset[str]:
        names = {
            each.name
            for segment in self.segments.values()
            for each in conditions(segment.who)
            if isinstance(each, TraitIs)
        }
        # A dotted name may lead into a trait that is an object.
        return frozenset(names | {name.partition(".")[0] for name in names})


def asks_for_consent(segment: Segment) -> bool:
    """Whether a segment itself has a condition on consent."""
    return any(isinstance(each, Consents) for each in conditions(segment.who))

"""What is defined: a log of edits, and the segments and collectors that it comes to (pure)."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Final

import msgspec

from profiles.facts import Facts
from profiles.segments.affects import Index
from profiles.segments.collect import Collecting, Collector, collector_for, collectors_of
from profiles.segments.computed import Computer
from profiles.segments.evaluate import Judges
from profiles.segments.references import references, sensitive
from profiles.segments.tree import ComputedTrait, Definition, Score, Segment, conditions

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
            [
                *(c for each in defined.values() for c in collectors_of(each.segment.who)),
                *map(collector_for, computed.values()),
            ]
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
        """The first revision at which parts hold what each segment needs, and what those it names need."""
        own = {
            key: max((self._numbers[c][1] for c in self._collectors(segment)), default=NOTHING)
            for key, segment in self.segments.items()
        }
        names = {key: [other for _, other in references(s)] for key, s in self.segments.items()}
        found = {}
        for key in self.segments:
            seen, left = {key}, [key]
            while left:
                more = [other for other in names[left.pop()] if other not in seen]
                seen.update(more)
                left.extend(more)
            found[key] = max(own[each] for each in seen)
        return found

    def _collectors(self, segment: Segment) -> Iterable[Collector]:
        return collectors_of(segment.who, self.computed)

    @cached_property
    def judges(self) -> Judges:
        """The segments in force, ready to be asked."""
        return Judges(self.segments, self.numbers, self.computed)

    @cached_property
    def computers(self) -> dict[str, Computer]:
        """The computed traits in force, ready to be asked, in order of name."""
        return {name: Computer(self.computed[name], self.numbers) for name in sorted(self.computed)}

    def computes_at(self, revision: int) -> dict[str, Computer]:
        """Those of which parts of a revision hold all that is needed."""
        return {
            name: computer
            for name, computer in self.computers.items()
            if self._numbers[collector_for(self.computed[name])][1] <= revision
        }

    @cached_property
    def sensitive(self) -> frozenset[str]:
        """The segments that are sensitive, by their own word or as they name one that is."""
        return sensitive(self.segments)

    @cached_property
    def asks_scores(self) -> bool:
        """Whether any segment asks for a model's score."""
        return any(
            isinstance(each, Score)
            for segment in self.segments.values()
            for each in conditions(segment.who)
        )

    @cached_property
    def _index(self) -> Index:
        return Index.of(self.segments, self.computed)

    def changed_by(self, facts: Facts) -> frozenset[str]:
        """The segments that an event can change, beyond what it says about who is who."""
        purposes = [purpose for purpose, _ in facts.consent]
        return frozenset(self._index.by(facts.event, facts.traits, purposes))

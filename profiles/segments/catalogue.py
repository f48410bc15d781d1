"""What is defined: a log of edits, and the segments and collectors that it comes to (pure)."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

import msgspec

from profiles.facts import Facts
from profiles.segments.affects import Index
from profiles.segments.collect import Collecting, Collector, collector_for, collectors_of
from profiles.segments.computed import Computer
from profiles.segments.evaluate import Judges
from profiles.segments.references import references, sensitive
from profiles.segments.tree import ComputedTrait, Definition, Has, Score, Segment, conditions

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


CHANGED_MAX: Final = 4_096
"""Kinds of events (traits, purposes and collectors) of which is remembered what they can change."""
OWN_NUMBERS: Final = 1 << 12
"""Numbers of one definition: more than it can have conditions and what must follow them."""
EDIT_NUMBERS: Final = OWN_NUMBERS << 11
"""Numbers of one edit: of more definitions than there can be."""


class Catalogue:
    """The segments in force at a revision, and what parts collect for them. Immutable.

    A collector has a number from the revision on at which something first needs it, until nothing does; one
    that is needed again has another, for what happened in between was not collected. Its number is made of
    the edit and the place in it, so that a definition that cannot be read shifts no other's.
    """

    def __init__(
        self,
        revision: int = NOTHING,
        defined: Mapping[str, Defined] | None = None,
        computed: Mapping[str, ComputedTrait] | None = None,
        numbers: Mapping[Collector, tuple[int, int]] | None = None,
        unread: Mapping[str, str] | None = None,
        apart: Mapping[str, Defined] | None = None,
    ) -> None:
        """`numbers` are (number, since which revision). `unread`: why each definition cannot be read.

        `apart` are segments that name one of those.
        """
        self.revision = revision
        self.defined = dict(defined or {})
        self.computed = dict(computed or {})
        self._numbers = dict(numbers or {})
        self._unread = dict(unread or {})
        self._apart = dict(apart or {})

    def after(
        self,
        revision: int,
        put: Iterable[Definition] = (),
        removed: Iterable[str] = (),
        unread: Mapping[str, str] = MappingProxyType({}),
    ) -> "Catalogue":
        """The catalogue after an edit; `unread` of it cannot be read, for the reason that stands there."""
        put = list(put)
        gone = {*removed, *unread}
        defined = {k: each for k, each in (self.defined | self._apart).items() if k not in gone}
        computed = {key: held for key, held in self.computed.items() if key not in gone}
        for each in put:
            if isinstance(each, ComputedTrait):
                computed[each.name] = each
                continue
            held = defined.get(each.id)
            if held is None or held.segment != each:
                defined[each.id] = Defined(each, revision)
        mended = gone | set(map(id_of, put))
        still = {key: why for key, why in self._unread.items() if key not in mended} | {**unread}
        apart = _naming_none(defined) if still or self._apart else {}
        needed = [
            *(c for each in defined.values() for c in collectors_of(each.segment.who)),
            *map(collector_for, computed.values()),
        ]
        numbers = {each: self._numbers[each] for each in needed if each in self._numbers}
        numbers = _numbered(revision, put, unread) | numbers
        defined = {key: each for key, each in defined.items() if key not in apart}
        return Catalogue(revision, defined, computed, numbers, still, apart)

    @property
    def broken(self) -> dict[str, str]:
        """Definitions that are left out, and why: this version cannot read them, or one that they name."""
        return self._unread | dict.fromkeys(
            self._apart, "it names a segment that is left out or gone"
        )

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
    def collects_since(self) -> int:
        """The newest revision at which something had to be collected: parts of it hold all that is needed."""
        return max((since for _, since in self._numbers.values()), default=NOTHING)

    @cached_property
    def _changed(self) -> dict[tuple[tuple[str | int, ...], ...], frozenset[str]]:
        """What events like those seen before can change."""
        return {}

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
    def asks_types(self) -> frozenset[str]:
        """The types of identifiers that some segment asks for."""
        return frozenset(
            each.identifier_type
            for segment in self.segments.values()
            for each in conditions(segment.who)
            if isinstance(each, Has)
        )

    @cached_property
    def _index(self) -> Index:
        return Index.of(self.segments, self.computed)

    @cached_property
    def _by_number(self) -> dict[int, frozenset[str]]:
        """The segments that a hit of each collector can change."""
        return {
            number: frozenset(self._index.by([collector]))
            for collector, number in self.numbers.items()
        }

    def changed_by(self, facts: Facts, hits: Iterable[int]) -> frozenset[str]:
        """The segments that an event which collectors keep can change, beyond what it says about who is who."""
        traits, purposes = tuple(facts.traits), tuple([name for name, _ in facts.consent])
        numbers = tuple(hits)
        asked = (traits, purposes, numbers)
        found = self._changed.get(asked)
        if found is None:
            by_facts = self._index.by((), traits, purposes, event=True)
            found = frozenset(by_facts.union(*[self._by_number[number] for number in numbers]))
            if len(self._changed) >= CHANGED_MAX:
                self._changed.clear()
            self._changed[asked] = found
        return found


def id_of(definition: Definition) -> str:
    """The id under which a definition is kept."""
    return definition.name if isinstance(definition, ComputedTrait) else definition.id


def _numbered(
    revision: int, put: Iterable[Definition], unread: Iterable[str]
) -> dict[Collector, tuple[int, int]]:
    """Numbers for what an edit defines, which do not depend on what could be read of it."""
    by_id = {id_of(each): each for each in put}
    numbers: dict[Collector, tuple[int, int]] = {}
    for place, key in enumerate(sorted({*by_id, *unread})):
        match by_id.get(key):
            case Segment(who=who):
                own = list(collectors_of(who))
            case ComputedTrait() as trait:
                own = [collector_for(trait)]
            case None:
                own = []
        for number, collector in enumerate(own, revision * EDIT_NUMBERS + place * OWN_NUMBERS):
            numbers.setdefault(collector, (number, revision))
    return numbers


def _naming_none(defined: Mapping[str, Defined]) -> dict[str, Defined]:
    """The segments that name one that is not there, however indirectly."""
    names = {key: {n for _, n in references(each.segment)} for key, each in defined.items()}
    there = set(defined)
    while without := {key for key in there if not names[key] <= there}:
        there -= without
    return {key: each for key, each in defined.items() if key not in there}

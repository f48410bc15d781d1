"""Which segments something that happened can change, so that only those are evaluated."""

from collections.abc import Iterable, Mapping

import msgspec

from profiles.segments.collect import Collector, collectors_of
from profiles.segments.references import references
from profiles.segments.tree import (
    ANY_EVENT,
    ComputedTrait,
    Consents,
    Has,
    Score,
    Seen,
    Segment,
    TraitIs,
    conditions,
)


class Affects(msgspec.Struct, frozen=True, kw_only=True):
    """All that can change who is in a segment, besides time, merges, splits and its own definition."""

    events: frozenset[str] = frozenset()
    """ANY_EVENT where whatever happens matters, as to what was seen last."""
    collectors: frozenset[Collector] = frozenset()
    """What keeps events for it: one that none of them keeps changes nothing."""
    traits: frozenset[str] = frozenset()
    """Names of traits; of one that is looked for in another, both."""
    purposes: frozenset[str] = frozenset()
    identifier_types: frozenset[str] = frozenset()
    scores: frozenset[str] = frozenset()

    def __or__(self, other: "Affects") -> "Affects":
        return Affects(
            events=self.events | other.events,
            collectors=self.collectors | other.collectors,
            traits=self.traits | other.traits,
            purposes=self.purposes | other.purposes,
            identifier_types=self.identifier_types | other.identifier_types,
            scores=self.scores | other.scores,
        )


def affects(segment: Segment, computed: Mapping[str, ComputedTrait] | None = None) -> Affects:
    """What can change one segment; those that it names not included."""
    computed = computed or {}
    events: set[str] = set()
    collectors = frozenset(collectors_of(segment.who, computed))
    found: dict[type, set[str]] = {TraitIs: set(), Consents: set(), Has: set(), Score: set()}
    for each in conditions(segment.who):
        match each:
            case Seen():
                events.add(ANY_EVENT)
            case TraitIs(name):
                found[TraitIs] |= {name, name.partition(".")[0]}
            case Consents(name) | Has(name) | Score(name):
                found[type(each)].add(name)
            case _:
                pass
    return Affects(
        events=frozenset(events),
        collectors=collectors,
        traits=frozenset(found[TraitIs]),
        purposes=frozenset(found[Consents]),
        identifier_types=frozenset(found[Has]),
        scores=frozenset(found[Score]),
    )


class Index:
    """Finds the segments that something can change: those and no fewer."""

    def __init__(self, affected: Mapping[str, Affects]) -> None:
        """`affected`: by segment, with what the segments that it names are affected by."""
        self._by: dict[tuple[str, str | Collector], set[str]] = {}
        for key, each in affected.items():
            for kind in Affects.__struct_fields__:
                for name in getattr(each, kind):
                    self._by.setdefault((kind, name), set()).add(key)

    @staticmethod
    def of(
        segments: Mapping[str, Segment], computed: Mapping[str, ComputedTrait] | None = None
    ) -> "Index":
        """The index of some segments, which may name one another."""
        own = {key: affects(segment, computed) for key, segment in segments.items()}
        names = {key: [other for _, other in references(each)] for key, each in segments.items()}
        whole = {}
        for key in segments:
            seen, left, total = {key}, [key], Affects()
            while left:
                here = left.pop()
                total |= own.get(here, Affects())
                more = [other for other in names.get(here, ()) if other not in seen]
                seen.update(more)
                left.extend(more)
            whole[key] = total
        return Index(whole)

    def by(
        self,
        collectors: Iterable[Collector] = (),
        trait_names: Iterable[str] = (),
        purposes: Iterable[str] = (),
        identifier_types: Iterable[str] = (),
        scores: Iterable[str] = (),
        *,
        event: bool = False,
    ) -> set[str]:
        """The segments that anything of this can change; `event`: that something happened at all."""
        asked: list[tuple[str, str | Collector]] = [
            *(("collectors", each) for each in collectors),
            *(("traits", name) for name in trait_names),
            *(("purposes", name) for name in purposes),
            *(("identifier_types", name) for name in identifier_types),
            *(("scores", name) for name in scores),
        ]
        if event:
            asked.append(("events", ANY_EVENT))
        found: set[str] = set()
        for one in asked:
            found |= self._by.get(one, set())
        return found

"""Define segments: what an edit would change, what is wrong with it, and making it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Self

import msgspec

from ingest.errors import IngestError
from profiles.segments.catalogue import Catalogue, Edit, Put, id_of
from profiles.segments.parse import parse_definition
from profiles.segments.problems import BadDefinition, SegmentError, near, shown
from profiles.segments.references import check_references
from profiles.segments.tree import Definition, Segment
from profiles.segments.write import write
from storage.segment_ports import Definitions

DEFINITIONS_MAX: Final = 2_000
"""Segments and computed traits of a workspace: each is asked about every profile that it may concern."""
AUTHOR_MAX: Final = 200
NOTE_MAX: Final = 2_000


class DefiningError(IngestError):
    """The root of what changing definitions fails with."""


class Outdated(DefiningError):
    """Somebody else changed the definitions meanwhile; plan again."""


class Refused(DefiningError):
    """Definitions are wrong: `problems` says where, by id."""

    def __init__(
        self, text: str, problems: Mapping[str, Sequence[SegmentError]] = MappingProxyType({})
    ) -> None:
        super().__init__(text)
        self.problems = problems

    @classmethod
    def of(cls, problems: Mapping[str, Sequence[SegmentError]]) -> Self:
        """Says the first of them, and how many more there are."""
        first = next(f"{key}: {each[0].text}" for key, each in sorted(problems.items()) if each)
        count = sum(map(len, problems.values()))
        return cls(first if count == 1 else f"{first} (and {count - 1} more)", problems)


class Plan(msgspec.Struct, frozen=True):
    """What applying definitions would change."""

    revision: int
    """Of what is in force: applying is refused if that has changed."""
    added: Mapping[str, Definition]
    changed: Mapping[str, Definition]
    removed: Sequence[str]
    unchanged: Sequence[str]

    def __bool__(self) -> bool:
        """Whether anything would change."""
        return bool(self.added or self.changed or self.removed)


def plan(
    catalogue: Catalogue,
    trees: Mapping[str, Any],
    *,
    removed: Iterable[str] = (),
    only: bool = False,
) -> Plan:
    """What applying `trees` by id would change; Refused with all that is wrong in all of them.

    With `only`, everything that is in force and not among them is removed.
    """
    held, broken = in_force(catalogue), catalogue.broken
    gone = set(removed)
    wanted = _parsed(trees, gone)
    _refuse_unknown(gone, held.keys() | broken.keys())
    if only:
        gone |= (held.keys() | broken.keys()) - wanted.keys()
    _refuse_set({key: each for key, each in held.items() if key not in gone}, wanted)
    return Plan(
        catalogue.revision,
        {key: each for key, each in sorted(wanted.items()) if key not in held},
        {key: each for key, each in sorted(wanted.items()) if key in held and held[key] != each},
        sorted(gone),
        sorted(key for key, each in wanted.items() if held.get(key) == each),
    )


def in_force(catalogue: Catalogue) -> dict[str, Definition]:
    """Every segment and computed trait by id."""
    return {**catalogue.segments, **catalogue.computed}


def apply(
    definitions: Definitions, made: Plan, *, author: str, note: str, now_ms: int
) -> Edit | None:
    """Make a plan true; the edit, or None if it changes nothing. Outdated if another edit came first."""
    if not made:
        return None
    edit = Edit(
        revision=made.revision + 1,
        time_ms=now_ms,
        author=author[:AUTHOR_MAX],
        note=note[:NOTE_MAX],
        put=tuple(
            Put(key, write(each)) for key, each in sorted({**made.added, **made.changed}.items())
        ),
        removed=tuple(made.removed),
    )
    if not definitions.append(edit):
        raise Outdated("somebody else changed the segments meanwhile; look at the plan again")
    return edit


def _parsed(trees: Mapping[str, Any], removed: Collection[str]) -> dict[str, Definition]:
    """The definitions by their own ids."""
    problems: dict[str, Sequence[SegmentError]] = {}
    wanted: dict[str, Definition] = {}
    for key, tree in trees.items():
        try:
            definition = parse_definition(tree, id=key)
        except BadDefinition as error:
            problems[key] = error.errors
            continue
        own = id_of(definition)
        if own in wanted:
            problems[key] = [SegmentError(("id",), f"{shown(own)} is defined twice")]
        elif own in removed:
            problems[key] = [SegmentError(("id",), f"{shown(own)} is to be removed, too")]
        wanted[own] = definition
    if problems:
        raise Refused.of(problems)
    return wanted


def _refuse_unknown(removed: Iterable[str], known: Collection[str]) -> None:
    """Refused if something is to be removed that is not in force."""
    unknown = [key for key in removed if key not in known]
    if unknown:
        text = "is not in force, so it cannot be removed"
        raise Refused.of({key: [SegmentError((), text, near(key, known))] for key in unknown})


def _refuse_set(held: Mapping[str, Definition], wanted: Mapping[str, Definition]) -> None:
    """Refused if definitions do not go together: references to nothing, cycles, one name for two things."""
    definitions = {**held, **wanted}
    segments = {key: each for key, each in definitions.items() if isinstance(each, Segment)}
    problems: dict[str, Sequence[SegmentError]] = dict(check_references(segments))
    for key in held.keys() & wanted.keys():
        if type(held[key]) is not type(wanted[key]):
            kind = "segment" if isinstance(held[key], Segment) else "computed trait"
            text = f"is the name of a {kind} that is in force; remove that first, or choose another"
            problems.setdefault(key, [SegmentError(("id",), text)])
    if len(definitions) > DEFINITIONS_MAX:
        text = f"more than {DEFINITIONS_MAX:,} segments and computed traits"
        problems.setdefault(max(definitions), [SegmentError((), text)])
    if problems:
        raise Refused.of(problems)

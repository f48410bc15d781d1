"""Define segments: what an edit would change, what is wrong with it, and making it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from ingest.errors import IngestError
from profiles.segments.catalogue import Catalogue, Edit, Put
from profiles.segments.parse import parse_definition
from profiles.segments.problems import BadDefinition, SegmentError
from profiles.segments.references import check_references
from profiles.segments.tree import ComputedTrait, Definition, Segment
from profiles.segments.write import write
from storage.ports import Definitions

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

    def __init__(self, problems: Mapping[str, Sequence[SegmentError]]) -> None:
        first = next(f"{key}: {each[0].text}" for key, each in sorted(problems.items()) if each)
        count = sum(map(len, problems.values()))
        super().__init__(first if count == 1 else f"{first} (and {count - 1} more)")
        self.problems = problems


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


def id_of(definition: Definition) -> str:
    """The id under which a definition is kept."""
    return definition.name if isinstance(definition, ComputedTrait) else definition.id


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
    problems: dict[str, Sequence[SegmentError]] = {}
    wanted: dict[str, Definition] = {}
    for key, tree in trees.items():
        try:
            definition = parse_definition(tree, id=key)
        except BadDefinition as error:
            problems[key] = error.errors
        else:
            wanted[id_of(definition)] = definition
    if problems:
        raise Refused(problems)
    held = in_force(catalogue)
    gone = set(removed) & held.keys()
    if only:
        gone |= held.keys() - wanted.keys()
    _refuse_set({key: each for key, each in held.items() if key not in gone} | wanted)
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


def _refuse_set(definitions: Mapping[str, Definition]) -> None:
    """Refused if definitions do not go together: references to nothing, cycles, too many."""
    segments = {key: each for key, each in definitions.items() if isinstance(each, Segment)}
    problems: dict[str, Sequence[SegmentError]] = dict(check_references(segments))
    if len(definitions) > DEFINITIONS_MAX:
        text = f"more than {DEFINITIONS_MAX:,} segments and computed traits"
        problems.setdefault(max(definitions), [SegmentError((), text)])
    if problems:
        raise Refused(problems)

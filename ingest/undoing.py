"""Taking back what runs of linking models joined: an undo of each change that they alone brought about."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from identity.changes import PersonChange
from identity.decisions import Decision, DecisionKind
from identity.evidence import Match
from identity.nodes import Node
from ingest.deciding import JOINING, DecisionRefused, Draft, split
from storage.chunks import chunks
from storage.ports import Store

CHANGES_AT_ONCE: Final = 500
"""Changes of the history that are looked through together."""
DRAFT_ID_MAX: Final = 31
"""Characters of the id that an undo of a whole run has: with that of a change it is the id of a decision."""


class RunUndone(msgspec.Struct, frozen=True):
    """What taking a run back would decide."""

    decisions: Sequence[Decision]
    """A split of each change that joined people for nothing but the runs, oldest first."""
    undone: int
    """Changes that are undone already."""
    helped: Sequence[str]
    """Ids of changes that other news brought about too, that another run says too, or that an operator
    stands by."""


def undo_run(store: Store, draft: Draft, *runs: str) -> RunUndone:
    """An undo of every change that joined people and that `runs` alone brought about. Nothing is written.

    The same draft id again gives the same decisions.
    """
    if not 0 < len(draft.id) <= DRAFT_ID_MAX:
        raise DecisionRefused(f"the id of an undo of a run has at most {DRAFT_ID_MAX} characters")
    decisions: list[Decision] = []
    helped: list[str] = []
    undone = 0
    mine = frozenset(runs)
    for some in chunks(_joined_by(store, mine), CHANGES_AT_ONCE):
        nodes = {node for change in some for side in change.before for node in side.members}
        standing = [each for each in store.decisions.of(sorted(nodes)) if each.standing]
        done = {each.undoes for each in standing}
        merged = [
            group for each in standing if each.kind is DecisionKind.MERGE for group in each.groups
        ]
        others = [m for m in store.evidence.matches_of(sorted(nodes)) if not m.runs <= mine]
        for change in some:
            alone = mine.issuperset(change.because) and not _is_said(change, others)
            if change.id in done:
                undone += 1
            elif alone and not _is_merged(change, merged):
                named = msgspec.structs.replace(draft, id=f"{draft.id}.{change.id}")
                sides = [side.members for side in change.before]
                decisions.append(split(named, sides, change.id))
            else:
                helped.append(change.id)
    return RunUndone(decisions, undone, helped)


def _joined_by(store: Store, runs: Collection[str]) -> Iterator[PersonChange]:
    """Each change that joined people because of any of `runs`, oldest first."""
    seen: set[str] = set()
    after = 0
    while page := store.changes.history(after, CHANGES_AT_ONCE):
        after = page[-1].position
        for change in (each.change for each in page):
            named = not set(runs).isdisjoint(change.because)
            if named and change.id not in seen and _joins(change):
                seen.add(change.id)  # It may have been published twice.
                yield change


def _joins(change: PersonChange) -> bool:
    return change.kind in JOINING and len(change.before) > 1


def _is_said(change: PersonChange, matches: Iterable[Match]) -> bool:
    """Whether any of `matches` is between two of the sides."""
    side_of = {node: number for number, side in enumerate(change.before) for node in side.members}
    ends = ((side_of.get(match.a), side_of.get(match.b)) for match in matches)
    return any(a is not None and b is not None and a != b for a, b in ends)


def _is_merged(change: PersonChange, groups: Sequence[frozenset[Node]]) -> bool:
    """Whether an operator says that two of the sides are one."""
    return any(
        sum(not group.isdisjoint(side.members) for side in change.before) > 1 for group in groups
    )

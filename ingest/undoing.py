"""Taking back what one run of a linking model joined: an undo of each change that it alone brought about."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from identity.changes import PersonChange
from identity.decisions import Decision, DecisionKind
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
    """A split of each change that joined people for nothing but the run, oldest first."""
    undone: int
    """Changes that are undone already."""
    helped: Sequence[str]
    """Ids of changes that other news brought about too, or that an operator stands by."""


def undo_run(store: Store, draft: Draft, run: str) -> RunUndone:
    """An undo of every change that joined people and that `run` alone brought about. Nothing is written.

    The same draft id again gives the same decisions.
    """
    if not 0 < len(draft.id) <= DRAFT_ID_MAX:
        raise DecisionRefused(f"the id of an undo of a run has at most {DRAFT_ID_MAX} characters")
    decisions: list[Decision] = []
    helped: list[str] = []
    undone = 0
    for some in chunks(_joined_by(store, run), CHANGES_AT_ONCE):
        nodes = {node for change in some for side in change.before for node in side.members}
        standing = [each for each in store.decisions.of(sorted(nodes)) if each.standing]
        done = {each.undoes for each in standing}
        merged = [
            group for each in standing if each.kind is DecisionKind.MERGE for group in each.groups
        ]
        for change in some:
            if change.id in done:
                undone += 1
            elif change.because == (run,) and not _is_merged(change, merged):
                mine = msgspec.structs.replace(draft, id=f"{draft.id}.{change.id}")
                sides = [side.members for side in change.before]
                decisions.append(split(mine, sides, change.id))
            else:
                helped.append(change.id)
    return RunUndone(decisions, undone, helped)


def _joined_by(store: Store, run: str) -> Iterator[PersonChange]:
    """Each change that joined people because of `run`, oldest first."""
    seen: set[str] = set()
    after = 0
    while page := store.changes.history(after, CHANGES_AT_ONCE):
        after = page[-1].position
        for change in (each.change for each in page):
            if run in change.because and change.id not in seen and _joins(change):
                seen.add(change.id)  # It may have been published twice.
                yield change


def _joins(change: PersonChange) -> bool:
    return change.kind in JOINING and len(change.before) > 1


def _is_merged(change: PersonChange, groups: Sequence[frozenset[Node]]) -> bool:
    """Whether an operator says that two of the sides are one."""
    return any(
        sum(not group.isdisjoint(side.members) for side in change.before) > 1 for group in groups
    )

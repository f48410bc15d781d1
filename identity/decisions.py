"""What operators decide about who is who: evidence that can be taken back (DESIGN §3.2). Pure."""

from enum import StrEnum
from typing import Final, Self

import msgspec

from identity.evidence import KeepApart, MustLink
from identity.nodes import Node

OPERATOR: Final = "operator"
"""The source of must-links that an operator's decision makes."""


class DecisionKind(StrEnum):
    """What is decided."""

    MERGE = "merge"
    """Each group is one person."""
    SPLIT = "split"
    """Members of different groups never share a profile."""
    BLOCK = "block"
    """Each group is one identifier that names nobody."""


class Retraction(msgspec.Struct, frozen=True):
    """Who took a decision back."""

    operator: str
    reason: str
    time_ms: int
    applied: tuple[str, ...] | None = None
    """Ids of the changes that it made; None until people are up to date with it."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A decision of an operator, kept for good. Only `retraction` and `applied` ever change."""

    id: str
    kind: DecisionKind
    operator: str
    reason: str
    time_ms: int
    groups: tuple[frozenset[Node], ...]
    undoes: str = ""
    """The change of people that it undoes."""
    retraction: Retraction | None = None
    applied: tuple[str, ...] | None = None
    """Ids of the changes that it made; None until people are up to date with it."""

    @property
    def standing(self) -> bool:
        """Whether nobody took it back."""
        return self.retraction is None

    @property
    def nodes(self) -> frozenset[Node]:
        """Everybody it is about."""
        return frozenset[Node]().union(*self.groups)

    def must_links(self) -> list[MustLink]:
        """A star around the smallest node of each group; of a standing merge only."""
        if self.kind is not DecisionKind.MERGE or not self.standing:
            return []
        links = []
        for group in self.groups:
            first, *others = sorted(group)
            links += [
                MustLink(
                    a=first, b=other, first_ms=self.time_ms, first_event=self.id, source=OPERATOR
                )
                for other in others
            ]
        return links

    def keep_apart(self) -> list[KeepApart]:
        """Of a standing split only."""
        if self.kind is not DecisionKind.SPLIT or not self.standing:
            return []
        return [KeepApart(id=self.id, groups=self.groups, since_ms=self.time_ms)]

    def blocked(self) -> frozenset[Node]:
        """Nodes that name nobody; of a standing block only."""
        stands = self.kind is DecisionKind.BLOCK and self.standing
        return self.nodes if stands else frozenset()

    def merge(self, other: Self) -> Self:
        """Both copies of one decision in one; the order of merging does not matter."""
        return msgspec.structs.replace(
            self,
            retraction=_retracted(self.retraction, other.retraction),
            applied=_later(self.applied, other.applied),
        )


def _retracted(one: Retraction | None, other: Retraction | None) -> Retraction | None:
    if one is None or other is None:
        return one or other
    first = min(one, other, key=lambda each: (each.time_ms, each.operator, each.reason))
    return msgspec.structs.replace(first, applied=_later(one.applied, other.applied))


def _later(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """What was applied: decided twice, all changes that either made."""
    if one is None or other is None:
        return one if other is None else other
    return tuple(sorted({*one, *other}))

"""Evidence: what events and operators say about who is who, as registers that merge in any order."""

from typing import Final, Self

import msgspec

from identity.nodes import Node

RUNS_MAX: Final = 20
"""Runs of linking models that a match remembers beside the one that is surest: who takes one back takes few."""
NEVER = 1 << 62
"""A time later than any: "not yet seen"."""


def pair(a: Node, b: Node) -> tuple[Node, Node]:
    """The two nodes in their one order."""
    return (a, b) if a <= b else (b, a)


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """Two person identifiers that one event named together. Keyed by its pair, `a < b`."""

    a: Node
    b: Node
    first_ms: int
    """The earliest `received_ms` of an event that named both."""
    first_event: str
    """That event's id (ties: the smallest id)."""
    source: str
    """That event's source."""
    trusted_ms: int = NEVER
    """The earliest `received_ms` among trusted sources."""
    last_ms: int = 0
    """The latest `received_ms`, to the day."""

    def merge(self, other: Self) -> Self:
        """Both registers in one; the order of merging does not matter."""
        early = min(self, other, key=lambda link: (link.first_ms, link.first_event, link.source))
        return msgspec.structs.replace(
            early,
            trusted_ms=min(self.trusted_ms, other.trusted_ms),
            last_ms=max(self.last_ms, other.last_ms),
        )


class MustLink(msgspec.Struct, frozen=True, kw_only=True):
    """An alias from a trusted source, or an operator, says that two identifiers are one person."""

    a: Node
    b: Node
    first_ms: int
    first_event: str
    """The alias's message id, or the id of the operator's decision, by which it can be retracted."""
    source: str


class KeepApart(msgspec.Struct, frozen=True, kw_only=True):
    """An operator says that members of different groups never share a profile."""

    id: str
    groups: tuple[frozenset[Node], ...]
    since_ms: int = 0


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A linking model says that two identifiers are probably one person. Keyed by its pair, `a < b`."""

    a: Node
    b: Node
    probability: float
    first_ms: int
    first_event: str = ""
    """The run of the model that said so."""
    also: tuple[str, ...] = ()
    """Other runs that said so, with less or no more probability; at most RUNS_MAX."""

    def merge(self, other: Self) -> Self:
        """The more probable of the two, then the earlier; with all runs that said so, in whatever order."""
        best = min(self, other, key=lambda m: (-m.probability, m.first_ms, m.first_event))
        also = sorted((self.runs | other.runs) - {best.first_event})
        return msgspec.structs.replace(best, also=tuple(also[:RUNS_MAX]))

    @property
    def runs(self) -> frozenset[str]:
        """The runs that said so."""
        return frozenset((self.first_event, *self.also))


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """A person used a device: keyed by device, person and hour (UTC) of event time.

    `person` empty means that a logout happened on the device.
    """

    device: Node
    person: Node
    hour: int
    """`time_ms // 3_600_000`."""
    first_ms: int
    last_ms: int

    def merge(self, other: Self) -> Self:
        """Both registers in one; the order of merging does not matter."""
        return msgspec.structs.replace(
            self,
            first_ms=min(self.first_ms, other.first_ms),
            last_ms=max(self.last_ms, other.last_ms),
        )


class Companion(msgspec.Struct, frozen=True, kw_only=True):
    """Two device identifiers that one event named together; keyed by the ordered pair (node, with_node)."""

    node: Node
    with_node: Node
    last_ms: int

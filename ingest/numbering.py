"""Nodes as numbers and evidence as columns, for what decides about everybody at once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from identity.evidence import KeepApart, Match, MustLink
from identity.nodes import NODE_BYTES, Node, nodes_in
from identity.resolve import Cluster, Evidence
from storage.columns import Columns, LinkColumns, columns_of, link_columns
from storage.evidence import all_decisions
from storage.ports import Store

NOBODY: Final = -1
_CODE: Final = 0x0FFF
_DEVICE: Final = 0x0800
"""Where a node's first 8 bytes have its type's code, and what of it says that it is a device."""

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int32]
"""Nodes, by their place in the order of all nodes."""
Some = npt.NDArray[np.integer[Any]]
"""Numbers of any width."""
_Words = npt.NDArray[np.uint64]

Progress = Callable[[str, int, int], None]
"""Hears (step, done, of how many or 0 where nobody knows)."""


def silent(step: str, done: int, total: int) -> None:
    """Nobody listens."""


class Nodes:
    """Distinct nodes in the order of their bytes; a node's number is its place."""

    def __init__(self, high: _Words, low: _Words) -> None:
        """Of the nodes' first and last 8 bytes, sorted."""
        self._high = high
        self._low = low

    def __len__(self) -> int:
        return len(self._high)

    @property
    def codes(self) -> npt.NDArray[np.int16]:
        """The code of each node's type."""
        return (self._high & np.uint64(_CODE)).astype(np.int16)

    @property
    def devices(self) -> Bools:
        """Which of them name devices."""
        found: Bools = (self._high & np.uint64(_DEVICE)) != 0
        return found

    def bytes_of(self, numbers: Some) -> bytes:
        """Those nodes, one after the other."""
        pairs = np.empty((len(numbers), 2), ">u8")
        pairs[:, 0], pairs[:, 1] = self._high[numbers], self._low[numbers]
        return pairs.tobytes()

    def at(self, numbers: Some) -> list[Node]:
        """Those nodes."""
        return nodes_in(self.bytes_of(numbers))

    def find(self, nodes: Sequence[Node]) -> Numbers:
        """The number of each of `nodes` that is one of these; -1 for the others."""
        high, low = _words(b"".join(nodes))
        start = np.searchsorted(self._high, high, "left").tolist()
        end = np.searchsorted(self._high, high, "right").tolist()
        found = np.full(len(nodes), NOBODY, np.int32)
        for place, (first, last) in enumerate(zip(start, end, strict=True)):
            here = first + np.flatnonzero(self._low[first:last] == low[place])
            found[place] = here[0] if len(here) else NOBODY
        return found


def number_all(pieces: Sequence[bytes]) -> tuple[Nodes, list[Numbers]]:
    """All nodes that stand in `pieces`, and each piece as their numbers."""
    high, low = _words(b"".join(pieces))
    order = np.argsort(high)
    if _begin_alike(high[order], low[order]):
        order = np.lexsort((low, high))
    high, low = high[order], low[order]
    new = np.ones(len(high), bool)
    new[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    numbers = np.empty(len(high), np.int32)
    numbers[order] = np.cumsum(new, dtype=np.int32) - 1
    ends = np.cumsum([len(each) // NODE_BYTES for each in pieces])
    return Nodes(high[new], low[new]), np.split(numbers, ends[:-1])


def _begin_alike(high: _Words, low: _Words) -> bool:
    """Whether two nodes share their first 8 bytes. Sorting by those alone is eight times as fast."""
    return bool(np.any((high[1:] == high[:-1]) & (low[1:] != low[:-1])))


def _words(joined: bytes) -> tuple[_Words, _Words]:
    pairs = np.frombuffer(joined, ">u8").reshape(-1, 2)
    return pairs[:, 0].astype(np.uint64), pairs[:, 1].astype(np.uint64)


def clusters_among(nodes: Nodes, profile: Numbers, some: Some) -> Iterator[Cluster]:
    """The clusters of `some` numbers, which hold all of their members, in the order of their ids.

    `profile` says for each node which one gives its person the id; -1 of those that are alone.
    """
    members = some[profile[some] != NOBODY]
    return clusters_of(nodes, members, profile[members])


def clusters_of(nodes: Nodes, member: Some, profile: Some) -> Iterator[Cluster]:
    """Clusters given as pairs of a member and the one that gives the id, in the order of their ids."""
    names, sizes = np.unique(profile, return_counts=True)
    whole, start = nodes.at(member[np.argsort(profile, kind="stable")]), 0
    for name, size in zip(nodes.at(names), sizes.tolist(), strict=True):
        yield Cluster(name, frozenset(whole[start : start + size]))
        start += size


class Told(NamedTuple):
    """All evidence: links first, then matches, then must-links."""

    left: Numbers
    right: Numbers
    first_ms: Ints
    trusted_ms: Ints
    """Of links."""
    probability: Floats
    """Of matches."""
    keep_apart: Sequence[KeepApart]
    blocked: frozenset[Node]

    @property
    def link_count(self) -> int:
        """How many are links."""
        return len(self.trusted_ms)

    @property
    def pair_count(self) -> int:
        """How many are links or matches."""
        return len(self.trusted_ms) + len(self.probability)


class Read(NamedTuple):
    """All evidence as it was read, before its nodes are numbered."""

    links: Sequence[LinkColumns]
    matches: Sequence[Match]
    must_links: Sequence[MustLink]
    keep_apart: Sequence[KeepApart]
    blocked: frozenset[Node]
    statements: int = 0
    """Links and must-links of events."""

    def ends(self) -> list[bytes]:
        """The first ends of everything in the order of `Told`, then the second ones."""
        others: list[Match | MustLink] = [*self.matches, *self.must_links]
        return [
            b"".join(chain((some.a for some in self.links), (each.a for each in others))),
            b"".join(chain((some.b for some in self.links), (each.b for each in others))),
        ]

    def told(self, left: Numbers, right: Numbers) -> Told:
        """With its ends numbered."""
        others = [
            *(match.first_ms for match in self.matches),
            *(must.first_ms for must in self.must_links),
        ]
        return Told(
            left=left,
            right=right,
            first_ms=joined([*(some.first_ms for some in self.links), others]),
            trusted_ms=joined([some.trusted_ms for some in self.links]),
            probability=np.array([each.probability for each in self.matches], np.float64),
            keep_apart=self.keep_apart,
            blocked=self.blocked,
        )


def joined(columns: Iterable[Any]) -> Ints:
    """Whole numbers, one column after the other."""
    return np.concatenate([np.asarray(each, np.int64) for each in (*columns, ())])


def read_evidence(
    store: Store, columns: Columns | None = None, progress: Progress = silent
) -> Read:
    """Everything that is stored about who is who."""
    decisions = list(all_decisions(store))
    told = [must for decision in decisions for must in decision.must_links()]
    links: list[LinkColumns] = []
    done = 0
    for some in (columns or columns_of(store)).links():
        links.append(some)
        done += len(some.first_ms)
        progress("links read", done, 0)
    aliases = list(store.evidence.scan_must_links())
    return Read(
        links=links,
        matches=list(store.evidence.scan_matches()),
        must_links=[*aliases, *told],
        keep_apart=[apart for decision in decisions for apart in decision.keep_apart()],
        blocked=frozenset[Node]().union(*(decision.blocked() for decision in decisions)),
        statements=done + len(aliases),
    )


def as_read(evidence: Evidence) -> Read:
    """Evidence that is in memory, as it would be read."""
    rows = ((link.a, link.b, link.first_ms, link.trusted_ms) for link in evidence.links)
    return Read(
        links=list(link_columns(rows)),
        matches=evidence.matches,
        must_links=evidence.standing_must_links(),
        keep_apart=[each for each in evidence.keep_apart if each.id not in evidence.retracted],
        blocked=frozenset(evidence.blocked),
    )

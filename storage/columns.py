"""Links and people in columns, for what reads all of them: no object for each (DESIGN §9)."""

from array import array
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Final, NamedTuple, Protocol, runtime_checkable

from identity.evidence import Link
from identity.nodes import NODE_BYTES
from identity.resolve import Cluster
from storage.chunks import chunks
from storage.ports import Store

ROWS: Final = 10_000
"""Rows of one piece."""
INT64: Final = "q"


class LinkColumns(NamedTuple):
    """Some links. Nodes stand one after the other, 16 bytes each."""

    a: bytes
    b: bytes
    first_ms: "array[int]"
    trusted_ms: "array[int]"


class ClusterColumns(NamedTuple):
    """Some people."""

    profiles: bytes
    """The profile id of each."""
    sizes: "array[int]"
    """How many members each has."""
    members: bytes
    """The members of the first, then of the next."""


class Columns(Protocol):
    """Reads what `Evidence.scan_links` and `People.scan` read, many rows at a time."""

    def links(self) -> Iterator[LinkColumns]:
        """Every link, once."""

    def clusters(self) -> Iterator[ClusterColumns]:
        """Every cluster of two members or more, as `People.scan` gives them."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Within it, all that this thread reads of the store is of one moment, if the store has such."""


@runtime_checkable
class _HasColumns(Protocol):
    @property
    def columns(self) -> Columns: ...


class ScannedColumns:
    """`Columns` of any store, made of its objects: some 6 us a link."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def links(self) -> Iterator[LinkColumns]:
        """Every link, once."""
        return link_columns(map(_link_row, self._store.evidence.scan_links()))

    def clusters(self) -> Iterator[ClusterColumns]:
        """Every cluster of two members or more."""
        return cluster_columns(map(cluster_row, self._store.people.scan()))

    def snapshot(self) -> AbstractContextManager[None]:
        """Writers go on."""
        return nullcontext()


def columns_of(store: Store) -> Columns:
    """How to read columns of `store`: its own way if it has one."""
    return store.columns if isinstance(store, _HasColumns) else ScannedColumns(store)


def link_columns(rows: Iterable[tuple[bytes, bytes, int, int]]) -> Iterator[LinkColumns]:
    """Columns of `(a, b, first_ms, trusted_ms)`."""
    for some in chunks(rows, ROWS):
        a, b, first_ms, trusted_ms = zip(*some, strict=True)
        yield LinkColumns(
            b"".join(a), b"".join(b), array(INT64, first_ms), array(INT64, trusted_ms)
        )


def cluster_columns(rows: Iterable[tuple[bytes, bytes]]) -> Iterator[ClusterColumns]:
    """Columns of `(profile id, members one after the other)`."""
    for some in chunks(rows, ROWS):
        profiles, members = zip(*some, strict=True)
        sizes = array(INT64, [len(each) // NODE_BYTES for each in members])
        yield ClusterColumns(b"".join(profiles), sizes, b"".join(members))


def _link_row(link: Link) -> tuple[bytes, bytes, int, int]:
    return link.a, link.b, link.first_ms, link.trusted_ms


def cluster_row(cluster: Cluster) -> tuple[bytes, bytes]:
    """A cluster, as `cluster_columns` takes it."""
    return cluster.profile_id, b"".join(sorted(cluster.members))

"""The ports of the store (DESIGN §6). Calls are synchronous and take batches; any thread may call.

Each promise in a docstring is a test of the contract suite (`tests/storage/contract`), which every
implementation passes. Writes outside `Store.transaction` are durable when they return.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from identity.nodes import Node
from storage.identity_ports import (
    Changes,
    Decisions,
    Devices,
    Evidence,
    Identifiers,
    Lookups,
    Owners,
    People,
)
from storage.segment_ports import (
    Backfills,
    Definitions,
    Deliveries,
    Evaluations,
    Memberships,
    Pending,
    Scores,
)


class TimelineRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One stored event. Its key is `(leaf, key_ms, message_id)`."""

    leaf: Node
    key_ms: int
    message_id: str
    offset: int
    """The lowest log offset that counted it."""
    time_ms: int
    received_ms: int
    type: str
    name: str
    source: str
    raw: bytes


class TimelineQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows of a timeline, newest key first."""

    limit: int = 100
    names: tuple[str, ...] = ()
    """Event names or types, compared without case; empty: all."""
    since_ms: int | None = None
    until_ms: int | None = None
    """Bounds on `time_ms`: since is included, until is not."""
    before: tuple[int, str, Node] | None = None
    """Only rows whose `(key_ms, message_id, leaf)` is smaller: the last row of the page before."""


class Timeline(Protocol):
    """What happened, under the identifier it happened to."""

    def add(
        self, rows: Sequence[TimelineRow], beyond: Mapping[Node, int] | None = None
    ) -> list[int]:
        """Store rows; the lowest offset stored for each row's key. Storing one twice is the same as once.

        `beyond` may give the largest `key_ms` that a leaf holds: a row past it is new, and a store need
        not look for it.
        """

    def read(self, leaves: Sequence[Node], query: TimelineQuery) -> list[TimelineRow]:
        """Rows of all `leaves` together, newest key first."""

    def scan(self, after: Node | None = None) -> Iterator[TimelineRow]:
        """Every row by leaf, in the store's order of leaves, then by key; from the first leaf past `after`."""

    def count(self) -> int:
        """How many rows there are."""


class Parts(Protocol):
    """What leaves fold to, as blobs."""

    def read(self, leaves: Iterable[Node]) -> dict[Node, bytes]:
        """The blobs of those leaves that have one."""

    def write(self, blobs: Mapping[Node, tuple[int, bytes]]) -> None:
        """Replace blobs, given as `(offset it stands at, blob)`.

        Where several may write, a blob of a lower offset never replaces one of a higher.
        """

    def leaves(self, after: Node | None, limit: int) -> list[Node]:
        """The next `limit` leaves past `after`, in the store's order of leaves."""

    def share(self, leaf: Node) -> float:
        """About how much of all leaves is not past this one in the store's order: they are hashes."""

    def count(self) -> int:
        """How many leaves have a part."""

    def about(self, most: int) -> tuple[int, float]:
        """The same, counted up to `most`; and by what share of it that may be off, with 95 % confidence."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was refused, kept with the reason."""

    id: int = 0
    received_ms: int
    source: str
    reason: str
    detail: str
    raw: bytes
    origin: str = ""
    """The file and line, or the endpoint."""


class DeadLetters(Protocol):
    """What was refused."""

    def add(self, letters: Sequence[DeadLetter]) -> None:
        """Keep letters; one with the same content, source and reason is kept once."""

    def list(self, limit: int, after_id: int = 0, reason: str | None = None) -> list[DeadLetter]:
        """Letters in the order of their ids."""

    def remove(self, ids: Sequence[int]) -> None:
        """Forget letters, after they were replayed."""

    def counts(self) -> dict[str, int]:
        """How many letters there are for each reason."""


class StoredPosition(msgspec.Struct, frozen=True, kw_only=True):
    """How far a file is loaded."""

    uri: str
    fingerprint: str
    """Size and time of change, or an ETag: another one is another file."""
    line: int
    finished: bool


class Positions(Protocol):
    """How far sources are read, written with what was read."""

    def get(self, uris: Sequence[str]) -> dict[str, StoredPosition]:
        """The positions of those sources that have one."""

    def put(self, positions: Sequence[StoredPosition]) -> None:
        """Replace positions."""


class CatalogItem(msgspec.Struct, frozen=True, kw_only=True):
    """One item that can be recommended."""

    id: str
    name: str = ""
    category: str = ""
    brand: str = ""
    price_micros: int | None = None
    currency: str = ""
    in_stock: bool = True
    sensitive: bool = False
    """Never a reason, never shown without a matching consent."""
    url: str = ""
    image_url: str = ""
    attributes: dict[str, str | int | float | bool] = {}
    updated_ms: int = 0


class Catalog(Protocol):
    """The items."""

    def upsert(self, items: Sequence[CatalogItem]) -> None:
        """Add or replace items; an item older than the stored one changes nothing."""

    def get(self, ids: Sequence[str]) -> dict[str, CatalogItem]:
        """Those of the items that are known."""

    def list(self, after_id: str, limit: int) -> list[CatalogItem]:
        """The next items above `after_id`, in the order of ids."""

    def version(self) -> int:
        """Grows with every change, so that a cache of the items knows when it is old."""

    def count(self) -> int:
        """How many items there are."""


class Leases(Protocol):
    """Who may write what has a single writer. An epoch fences those who had the lease before."""

    def take(self, name: str, holder: str) -> int:
        """Become the holder: an epoch above all before. What this store writes carries it from now on."""

    def epoch(self, name: str) -> int:
        """The newest epoch; 0 if nobody ever held the lease. A holder of an older one must stop."""

    def epochs(self, names: Iterable[str]) -> dict[str, int]:
        """The same of several leases, asked at the same time."""


class Store(Protocol):
    """One workspace's facts and what follows from them."""

    @property
    def timeline(self) -> Timeline: ...
    @property
    def parts(self) -> Parts: ...
    @property
    def evidence(self) -> Evidence: ...
    @property
    def decisions(self) -> Decisions: ...
    @property
    def devices(self) -> Devices: ...
    @property
    def owners(self) -> Owners: ...
    @property
    def people(self) -> People: ...
    @property
    def identifiers(self) -> Identifiers: ...
    @property
    def lookups(self) -> Lookups: ...
    @property
    def dead_letters(self) -> DeadLetters: ...
    @property
    def positions(self) -> Positions: ...
    @property
    def catalog(self) -> Catalog: ...
    @property
    def changes(self) -> Changes: ...
    @property
    def definitions(self) -> Definitions: ...
    @property
    def memberships(self) -> Memberships: ...
    @property
    def backfills(self) -> Backfills: ...
    @property
    def scores(self) -> Scores: ...
    @property
    def leases(self) -> Leases: ...
    @property
    def deliveries(self) -> Deliveries: ...
    @property
    def waits(self) -> bool:
        """Whether a read waits for other machines, so that several threads gain by reading at a time."""

    def close(self) -> None:
        """Let go of files and connections; closing twice is the same as once."""


class SharedStore(Store, Protocol):
    """A store that several processes write at a time, fenced by leases."""

    @property
    def evaluations(self) -> Evaluations: ...


class EmbeddedStore(Store, Protocol):
    """A store that is its own log, and commits what several stages write together."""

    @property
    def pending(self) -> Pending: ...

    def transaction(self) -> AbstractContextManager[None]:
        """All writes within are durable together when it ends, or none is if it raises."""

    def next_offset(self, count: int) -> int:
        """Take `count` log offsets; the first of them. Offsets only grow."""

    @property
    def opener(self) -> Callable[[], Store]:
        """Opens the store for reading in another process: it can be sent there."""

    def written_elsewhere(self) -> int:
        """Another number than before if another process wrote since; ask within a transaction."""

    def written_here(self) -> int:
        """Another number than before if this process wrote since; ask within a transaction."""

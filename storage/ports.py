"""The ports of the store (DESIGN §6). Calls are synchronous and take batches; any thread may call.

Each promise in a docstring is a test of the contract suite (`tests/storage/contract`), which every
implementation passes. Writes outside `Store.transaction` are durable when they return.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from identity.changes import PersonChange, Published
from identity.decisions import Decision
from identity.evidence import Companion, Link, Match, MustLink, Use
from identity.incremental import Around
from identity.nodes import Node
from identity.owning import Ownership
from identity.resolve import Cluster, Refusal
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


class Evidence(Protocol):
    """Links, must-links of events and matches: facts that merge as registers."""

    def merge_links(self, links: Sequence[Link]) -> list[Link]:
        """Merge links into the stored registers; those that are new, became earlier or trusted, as merged."""

    def merge_must_links(self, links: Sequence[MustLink]) -> list[MustLink]:
        """Store must-links, the earliest of a pair; those that are new or became earlier."""

    def links_of(self, nodes: Sequence[Node], limit_each: int | None = None) -> list[Link]:
        """Links that name any of `nodes`; at most about `limit_each` for each node where given."""

    def must_links_of(self, nodes: Sequence[Node]) -> list[MustLink]:
        """Must-links that name any of `nodes`."""

    def merge_matches(self, matches: Sequence[Match]) -> list[Match]:
        """Store matches, of a pair the most probable with all runs that said so; those that changed."""

    def matches_of(self, nodes: Sequence[Node]) -> list[Match]:
        """Matches that name any of `nodes`."""

    def scan_matches(self) -> Iterator[Match]:
        """Every match."""

    def scan_links(self) -> Iterator[Link]:
        """Every link."""

    def scan_must_links(self) -> Iterator[MustLink]:
        """Every must-link."""


class Decisions(Protocol):
    """What operators decided, and took back."""

    def put(self, decisions: Sequence[Decision]) -> list[Decision]:
        """Merge decisions into the stored copies; all of them as merged. A retraction stays."""

    def get(self, ids: Sequence[str]) -> dict[str, Decision]:
        """Those of the decisions that are known."""

    def of(self, nodes: Sequence[Node]) -> list[Decision]:
        """Decisions that name any of `nodes`, in order of id, those that were taken back too."""

    def blocked(self) -> frozenset[Node]:
        """What decisions that stand have blocked."""

    def list(self, limit: int, before: tuple[int, str] | None = None) -> list[Decision]:
        """The newest decisions by `(time_ms, id)`, or the next ones below `before`."""


class Devices(Protocol):
    """Who used which device when, and which device identifiers go together."""

    def merge_uses(self, uses: Sequence[Use]) -> None:
        """Merge uses into the stored registers."""

    def uses_of(self, devices: Iterable[Node]) -> dict[Node, list[Use]]:
        """The uses of each device, in order of time; logouts too."""

    def merge_companions(self, companions: Sequence[Companion]) -> None:
        """Merge companions into the stored registers, both ways."""

    def companions_of(self, nodes: Iterable[Node]) -> dict[Node, list[Companion]]:
        """Companions of each device identifier, newest first."""

    def scan_uses(self) -> Iterator[Use]:
        """Every use, grouped by device."""


class Owners(Protocol):
    """Whose each device was last told to be: written by whoever writes people."""

    def of(self, devices: Iterable[Node]) -> dict[Node, Ownership]:
        """What was told of those devices of which anything was."""

    def put(self, owners: Mapping[Node, Ownership]) -> None:
        """Replace what was told of devices; their users are found by `used_by` from then on."""

    def used_by(self, people: Iterable[Node]) -> set[Node]:
        """Devices that any of these person identifiers was a user of, when they were told of."""

    def scan(self) -> Iterator[tuple[Node, Ownership]]:
        """Every device that was told of."""


class People(Protocol):
    """The cache of `resolve`: which identifiers are one person."""

    def clusters_of(self, nodes: Iterable[Node]) -> dict[Node, Cluster]:
        """The cluster of each node that is in one of two members or more."""

    def write(
        self, resolved: Collection[Node], clusters: Sequence[Cluster], refusals: Sequence[Refusal]
    ) -> None:
        """Replace what is known of everybody in `resolved`, who hold all members and ends given.

        Those in none of `clusters` are alone.
        """

    def refusals_of(self, nodes: Iterable[Node]) -> list[Refusal]:
        """Refused links that name any of `nodes`."""

    def refusals(self, limit: int) -> list[Refusal]:
        """The newest refusals: the conflicts that an operator sees."""

    def scan(self) -> Iterator[Cluster]:
        """Every cluster of two members or more."""

    def counts(self) -> tuple[int, int]:
        """How many clusters and how many refusals there are."""


class Identifiers(Protocol):
    """The raw values of nodes, sealed."""

    def put(self, values: Mapping[Node, tuple[str, bytes]]) -> None:
        """Store `(type, sealed value)` for nodes that have none yet."""

    def get(self, nodes: Iterable[Node]) -> dict[Node, tuple[str, bytes]]:
        """`(type, sealed value)` of those nodes that are known."""

    def known(self, nodes: Iterable[Node]) -> set[Node]:
        """Which of `nodes` are known."""

    def count(self) -> dict[str, int]:
        """How many identifiers of each type there are."""


class Held(msgspec.Struct, frozen=True, gc=False):
    """What is stored about one known identifier."""

    type: str
    sealed: bytes
    part: bytes | None
    """The blob of its part, if anything happened under it."""


class Named(msgspec.Struct, frozen=True, gc=False):
    """What a known identifier leads to."""

    cluster: Cluster
    """One that is alone is a cluster of its own."""
    held: Held
    uses: Sequence[Use] = ()
    """For a device: who used it, in order of time."""


class Lookups(Protocol):
    """What reading a profile, explaining and deciding need, in as few round trips as there are steps."""

    def named(self, nodes: Iterable[Node]) -> dict[Node, Named]:
        """All about those nodes that are known."""

    def around(
        self, limits: Mapping[Node, int], as_one: Iterable[Collection[Node]] = ()
    ) -> tuple[Around, list[Decision]]:
        """All that is said of nodes, at most about so many links of each; and the decisions that name them.

        Decisions in order of id, those that were taken back too; their must-links are not among those said.
        `as_one` are people who were just read: of each, one member that says so may answer for the others.
        Whoever writes people gives none, for the others' rows may be left from a writer that ended half way.
        """


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


class Changes(Protocol):
    """Changes of people on their way to those who follow them: written before they take effect."""

    def announce(self, changes: Sequence[PersonChange]) -> None:
        """Keep changes until they are published; announcing one twice is the same as once."""

    def announced(self, limit: int) -> list[PersonChange]:
        """Changes that are not published yet, oldest first."""

    def published(self, changes: Sequence[PersonChange]) -> None:
        """Those changes are with their followers: move them to the history."""

    def history(self, after: int, limit: int) -> list[Published]:
        """Published changes in the order in which they were published, past the position `after`.

        Nothing is published later at a position that was passed. Publishing one again may give it twice.
        """

    def get(self, ids: Sequence[str]) -> dict[str, PersonChange]:
        """Those of the published changes that are known."""

    def of(self, profile_ids: Sequence[Node], limit: int) -> list[PersonChange]:
        """The newest published changes that any of `profile_ids` was or is a side of, newest first."""


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

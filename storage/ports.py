"""The ports of the store (DESIGN §6). Calls are synchronous and take batches; any thread may call.

Each promise in a docstring is a test of the contract suite (`tests/storage/contract`), which every
implementation passes. Writes outside `Store.transaction` are durable when they return.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

import msgspec

from identity.changes import PersonChange, Published
from identity.decisions import Decision
from identity.evidence import Companion, Link, Match, MustLink, Use
from identity.incremental import Around
from identity.nodes import Node
from identity.resolve import Cluster, Refusal
from profiles.segments.catalogue import Edit
from profiles.segments.membership import NEVER_MS, Cause, Standing, Transition


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
        """Store matches, the most probable of a pair; those that are new or became more probable."""

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

    def around(self, limits: Mapping[Node, int]) -> tuple[Around, list[Decision]]:
        """All that is said of nodes, at most about so many links of each; and the decisions that name them.

        Decisions in order of id, those that were taken back too; their must-links are not among those said.
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


class Definitions(Protocol):
    """What is defined, as a log of edits."""

    def append(self, edit: Edit) -> bool:
        """Add an edit whose revision is one past the newest; False if somebody else's took its place."""

    def since(self, revision: int) -> list[Edit]:
        """The edits past a revision, oldest first."""


class Told(msgspec.Struct, frozen=True):
    """A transition as those read it who follow them."""

    token: str
    """Where it stands: `Memberships.told` goes on after it."""
    transition: Transition


class Memberships(Protocol):
    """Who is in which segment."""

    def get(self, profile_ids: Iterable[Node]) -> dict[Node, Standing]:
        """The standings of those profiles that have one."""

    def write(self, standings: Sequence[Standing], told: Sequence[Transition]) -> None:
        """Replace standings, keep and tell transitions, list members. Writing again changes nothing.

        A standing that is empty is forgotten.
        """

    def members(self, segment: str, after: Node | None, limit: int) -> list[tuple[Node, int]]:
        """The next `(profile id, since_ms)` of a segment past `after`, in the store's order."""

    def count(self, segments: Sequence[str]) -> dict[str, tuple[int, int]]:
        """How many (people, devices that are nobody's) are in each segment."""

    def due(self, until_ms: int, limit: int) -> list[Node]:
        """Profiles whose standing is due by then, the longest overdue first."""

    def told(self, after: str, limit: int, segments: Sequence[str] = ()) -> list[Told]:
        """Transitions past a token ("" is before all), of these segments or all; each profile's in order.

        Nothing is told later before a token that was given. Where several evaluate, one that takes over
        may tell a profile's newest ones again: whoever has seen a sequence ignores what is not past it.
        """

    def newest(self) -> str:
        """The token past everything that is told by now."""

    def history(self, segment: str, since_ms: int, until_ms: int, every_ms: int) -> "list[Flow]":
        """How many entered and left in each span of time, oldest first; spans without any are left out."""


class Flow(msgspec.Struct, frozen=True):
    """What happened to a segment in a span of time."""

    from_ms: int
    reason: str
    entered: int
    left: int


class Pending(Protocol):
    """Profiles whose segments are to be evaluated: the log of an embedded store's evaluate stage."""

    def add(self, causes: Mapping[Node, Cause]) -> None:
        """Leaves, devices and profile ids that something happened to; causes add up."""

    def take(self, limit: int) -> list[tuple[int, Node, Cause]]:
        """The next `(ticket, node, cause)`, oldest first; they stay until `done`."""

    def done(self, taken: Sequence[tuple[int, Node, Cause]]) -> None:
        """Forget those that nothing happened to since they were taken."""

    def count(self) -> int:
        """How many wait."""

    def followed(self) -> int | None:
        """The position in the history of changes up to which profiles were evaluated; None: never yet."""

    def follow(self, position: int) -> None:
        """They are evaluated up to there."""


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """What an evaluation leaves of a profile where several processes evaluate."""

    standing: Standing
    told: tuple[Transition, ...] = ()
    """What it told when it last told something: who takes over tells it again."""
    timer_ms: int = NEVER_MS
    """The timer that is set, at or before the moment at which the standing is due."""


class Evaluations(Protocol):
    """The writing side of `Memberships` where several processes share a store, each some of the profiles.

    First everything is kept, then the writer makes sure that the profiles are still its own, then it tells.
    """

    def kept(self, profile_ids: Iterable[Node]) -> dict[Node, Kept]:
        """What is kept of those profiles of which something is."""

    def keep(self, changes: Sequence[tuple[Kept | None, Kept]], epoch: int) -> None:
        """Replace what is kept of profiles, given as (before, after), unless a later epoch has.

        With None before, everything that follows from it is written again.
        """

    def tell(self, log: int, epoch: int, told: Sequence[Transition]) -> None:
        """Tell transitions under an epoch of a log, whose one writer this is; telling again may tell twice."""

    def timers(
        self, shard: int, since_ms: int, until_ms: int, limit: int
    ) -> list[tuple[int, Node]]:
        """`(timer_ms, profile)` of the timers of a shard (of `TIMER_SHARDS`) in a span, the earliest first."""

    def forget_timers(self, shard: int, until_ms: int) -> None:
        """Drop timers before then that are no longer those that are kept."""


TIMER_SHARDS: Final = 16
"""Parts of the timers that several processes watch."""


class Backfill(msgspec.Struct, frozen=True, array_like=True):
    """How far everybody is evaluated for a revision of what is defined."""

    revision: int
    after: Node | None = None
    """The last leaf that was looked at."""
    profiles: int = 0
    finished: bool = False
    share: float = 0.0
    """Of all leaves, about, where their order does not say it."""


class Backfills(Protocol):
    """How far segments that were defined or changed are filled."""

    def get(self) -> Backfill | None:
        """The newest one."""

    def put(self, backfill: Backfill) -> None:
        """Replace it."""


class ScoreRow(msgspec.Struct, frozen=True, gc=False):
    """What a model said of an identifier."""

    node: Node
    name: str
    """Of the score, such as `churn`."""
    value: float
    at_ms: int
    """When it was computed."""


class Scores(Protocol):
    """What batch models say of people, under the identifier that they know them by."""

    def put(self, scores: Sequence[ScoreRow]) -> None:
        """Keep scores; of one name and identifier the one that was computed last."""

    def of(self, nodes: Iterable[Node]) -> list[ScoreRow]:
        """All scores of those identifiers."""


class Leases(Protocol):
    """Who may write what has a single writer. An epoch fences those who had the lease before."""

    def take(self, name: str, holder: str) -> int:
        """Become the holder: an epoch above all before. What this store writes carries it from now on."""

    def epoch(self, name: str) -> int:
        """The newest epoch; 0 if nobody ever held the lease. A holder of an older one must stop."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One run of an export: who sent which segments where, and what came of it. Names no person."""

    id: str
    destination: str
    kind: str
    mode: str
    """`full`: every member; `delta`: what changed."""
    who: str
    started_ms: int
    ended_ms: int | None = None
    """None: under way, or broken off without a word."""
    segments: tuple[str, ...] = ()
    result: str = "begun"
    place: str = ""
    people: int = 0
    """Sent."""
    rows: int = 0
    withheld: dict[str, int] = {}
    """People who were not sent, by reason."""
    checksum: str = ""
    files: tuple[str, ...] = ()
    detail: str = ""
    """What went wrong, and what to do."""


class Deliveries(Protocol):
    """What was sent to destinations, and how far."""

    def put(self, deliveries: Sequence[Delivery]) -> None:
        """Keep runs by their ids; the end of a run replaces its beginning, whichever is written first."""

    def list(
        self, limit: int, destination: str | None = None, before: tuple[int, str] | None = None
    ) -> list[Delivery]:
        """The newest runs by `(started_ms, id)`, or the next ones below `before`."""

    def positions(self, destination: str) -> dict[str, str]:
        """Up to which token each segment's transitions are acknowledged there; none for one never sent."""

    def acknowledge(self, destination: str, positions: Mapping[str, str], at: int) -> None:
        """Transitions up to these tokens are delivered; of two for a segment that of the larger `at` stays."""


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

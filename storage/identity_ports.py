"""The ports of the store that tell who is who: evidence, decisions, devices, people, and their changes."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from identity.changes import PersonChange, Published
from identity.decisions import Decision
from identity.evidence import Companion, Link, Match, MustLink, Use
from identity.incremental import Around
from identity.nodes import Node
from identity.owning import Ownership
from identity.resolve import Cluster, Refusal


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
    users: Mapping[Node, Node] = {}
    """Today's profile ids of those who did, where they came along; of others `people` is asked."""


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

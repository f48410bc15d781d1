"""The ports of the store that segments need: definitions, who is in them, whom to look at, what was sent.

As `storage.ports`; each promise in a docstring is a test of the contract suites.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Final, Protocol

import msgspec

from identity.nodes import Node
from profiles.segments.catalogue import Edit
from profiles.segments.membership import NEVER_MS, Cause, Standing, Transition


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
        """The next `(profile id, since_ms)` of a segment past `after`, in order of profile id."""

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

    def tell(self, told: Mapping[tuple[int, int], Sequence[Transition]]) -> None:
        """Tell transitions in logs, each under an epoch of it, whose one writer this is.

        Telling again may tell twice.
        """

    def timers(
        self, since_ms: Mapping[int, int], until_ms: int, limit: int
    ) -> dict[int, list[tuple[int, Node]]]:
        """`(timer_ms, profile)` of the timers of some shards (of `TIMER_SHARDS`), the earliest first.

        Of each those from a moment on until another, `limit` at most.
        """

    def forget_timers(self, shard: int, until_ms: int) -> None:
        """Drop timers before then that are no longer those that are kept."""


TIMER_SHARDS: Final = 16
"""Parts of the timers that several processes watch."""


class Turn(IntEnum):
    """Whose turn it is in a backfill."""

    ALL = 0
    """Everybody's, in the order of leaves."""
    PEOPLE = 1
    """People's, and with them that of devices which they used."""
    DEVICES = 2


class Backfill(msgspec.Struct, frozen=True, array_like=True):
    """How far everybody is evaluated for a revision of what is defined."""

    revision: int
    after: Node | None = None
    """The last leaf that was looked at."""
    profiles: int = 0
    finished: bool = False
    share: float = 0.0
    """Of all leaves, about, where their order does not say it."""
    turn: Turn = Turn.ALL


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


class Holds(Protocol):
    """Who does what only one process may do at a time: a lease that ends by itself."""

    def take(self, name: str, holder: str, seconds: int) -> str | None:
        """Hold it for so long, unless somebody does; the mark of this hold, or None."""

    def keep(self, name: str, holder: str, mark: str, seconds: int) -> bool:
        """Hold it for so long from now on; False if it ended, and whoever thought to hold it must stop."""

    def end(self, name: str, mark: str) -> None:
        """Let others have it, unless they do already."""

    def holder(self, name: str) -> str | None:
        """Who holds it now."""

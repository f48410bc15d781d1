"""Who is in which segments, as exports read it; `MemoryAudience` is the twin that ships."""

import hashlib
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import msgspec

from identity.nodes import Identifier, Node

T = TypeVar("T")
BATCH: Final = 1_000
"""Recipients that the twin gives at a time."""
CONSENT: Final = "consent"
MERGED: Final = "merged"


class SegmentInfo(msgspec.Struct, frozen=True):
    """What exports need to know of a segment."""

    id: str
    name: str = ""
    sensitive: bool = False


class Recipient(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A person, or a device's activity that belongs to nobody, as destinations may name them."""

    profile_id: Node
    identifiers: tuple[Identifier, ...] = ()
    """Normalized raw values, of the person, of devices, of their companions; by type and value."""
    consent: Mapping[str, bool] = {}
    """By purpose. What is not stated is not granted."""
    segments: Mapping[str, int] = {}
    """Every segment of which it is a member, and since when."""
    traits: Mapping[str, Any] = {}
    platforms: Mapping[str, str] = {}
    """`ios` or `android` by advertising id, where it is known."""


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """A profile entered or left a segment, or its consent changed while it is a member."""

    segment: str
    profile_id: Node
    entered: bool
    """For `reason: consent`: whether the purpose was granted."""
    at_ms: int
    message_id: str
    """The same whoever computes it."""
    sequence: int
    """Grows for each profile and segment; consumers ignore what is not above the one they hold."""
    reason: str = "event"
    """`event`, `time`, `merged`, `split`, `edited`, `consent`, …"""
    purpose: str = ""
    """For `reason: consent`: of which purpose."""


class Audience(Protocol):
    """Who is in which segments, and how that changes. Reads see each batch whole."""

    def segments(self) -> Sequence[str]:
        """The ids of all segments."""

    def segment(self, segment: str) -> SegmentInfo | None:
        """What is known of a segment; None if there is none."""

    def members(
        self, segments: Collection[str], purposes: Collection[str] = ()
    ) -> Iterator[Sequence[Recipient]]:
        """Members of any of `segments` in batches, in an order that they alone decide; each profile once.

        An identifier is listed for one recipient only: a shared device is its present owner's. Of who does
        not grant all of `purposes`, identifiers and traits need not be read.
        """

    def each(
        self,
        segments: Collection[str],
        purposes: Collection[str],
        work: Callable[[Sequence[Recipient]], T],
    ) -> Generator[T, None, None]:
        """`work` on every batch of `members`, in their order.

        Other processes may do it: it can be sent there, and so can what it finds.
        """

    def recipients(self, profile_ids: Collection[Node]) -> Mapping[Node, Recipient]:
        """Those that ids lead to today: after a merge, a lost id leads to the profile that it became."""

    def newest(self) -> str:
        """The token past all transitions by now."""

    def changes(
        self, segments: Collection[str], after: str, limit: int
    ) -> tuple[Sequence[Transition], str]:
        """The next transitions of `segments` past a token, at most `limit`, and the token past the last one.

        Each profile's come in order. A withdrawal of consent is one of every segment that the profile is in.
        With none left, the token is the one that was given.
        """


class MemoryAudience:
    """`Audience` in memory: state a recipient anew, and what changed becomes transitions."""

    def __init__(self, segments: Iterable[SegmentInfo] = (), *, batch: int = BATCH) -> None:
        self._segments = {each.id: each for each in segments}
        self._batch = batch
        self._held: dict[Node, Recipient] = {}
        self._became: dict[Node, Node] = {}
        self._history: list[Transition] = []
        self._sequences: dict[tuple[str, Node], int] = {}

    def put(self, recipient: Recipient, at_ms: int = 0, reason: str = "event") -> None:
        """`recipient` is so from now on."""
        held = self._held.get(recipient.profile_id)
        before: Mapping[str, int] = held.segments if held else {}
        said: Mapping[str, bool] = held.consent if held else {}
        for segment in sorted(recipient.segments.keys() - before.keys()):
            self._happened(segment, recipient.profile_id, True, at_ms, reason)
        for segment in sorted(before.keys() - recipient.segments.keys()):
            self._happened(segment, recipient.profile_id, False, at_ms, reason)
        for purpose in sorted(said.keys() | recipient.consent.keys()):
            granted = recipient.consent.get(purpose, False)
            if held is not None and granted != said.get(purpose, False):
                for segment in sorted(before.keys() & recipient.segments.keys()):
                    self._happened(segment, recipient.profile_id, granted, at_ms, CONSENT, purpose)
        self._held[recipient.profile_id] = recipient

    def lose(self, profile_id: Node, into: Node | None, at_ms: int = 0) -> None:
        """`profile_id` was merged into another profile, or erased."""
        for segment in sorted(self._held.pop(profile_id).segments):
            self._happened(segment, profile_id, False, at_ms, MERGED if into else "erased")
        if into is not None:
            self._became[profile_id] = into

    def _happened(
        self, segment: str, profile: Node, entered: bool, at_ms: int, reason: str, purpose: str = ""
    ) -> None:
        sequence = self._sequences[segment, profile] = (
            self._sequences.get((segment, profile), 0) + 1
        )
        self._history.append(
            Transition(
                segment=segment, profile_id=profile, entered=entered,
                at_ms=at_ms, sequence=sequence, reason=reason, purpose=purpose,
                message_id=message_id_of(segment, profile, f"{sequence}:{reason}"),
            )
        )  # fmt: skip

    def segments(self) -> list[str]:
        """See `Audience`."""
        return sorted(self._segments)

    def segment(self, segment: str) -> SegmentInfo | None:
        """See `Audience`."""
        return self._segments.get(segment)

    def members(
        self, segments: Collection[str], purposes: Collection[str] = ()
    ) -> Iterator[list[Recipient]]:
        """See `Audience`: with all that is known, whatever is granted."""
        wanted = set(segments)
        found = [
            recipient
            for _, recipient in sorted(self._held.items())
            if not wanted.isdisjoint(recipient.segments)
        ]
        for start in range(0, len(found), self._batch):
            yield found[start : start + self._batch]

    def each(
        self,
        segments: Collection[str],
        purposes: Collection[str],
        work: Callable[[Sequence[Recipient]], T],
    ) -> Generator[T, None, None]:
        """See `Audience`: here."""
        for batch in self.members(segments, purposes):
            yield work(batch)

    def recipients(self, profile_ids: Collection[Node]) -> dict[Node, Recipient]:
        """See `Audience`."""
        found = {}
        for asked in profile_ids:
            now = asked
            while now in self._became:
                now = self._became[now]
            if now in self._held:
                found[asked] = self._held[now]
        return found

    def newest(self) -> str:
        """See `Audience`."""
        return str(len(self._history))

    def changes(
        self, segments: Collection[str], after: str, limit: int
    ) -> tuple[list[Transition], str]:
        """See `Audience`."""
        found: list[Transition] = []
        for place, transition in enumerate(self._history[int(after or 0) :], int(after or 0) + 1):
            if transition.segment in segments:
                found.append(transition)
                after = str(place)
                if len(found) == limit:
                    break
        return found, after


def message_id_of(segment: str, profile_id: Node, what: str) -> str:
    """A message id that is the same whoever computes it."""
    content = b"\0".join((segment.encode(), profile_id, what.encode()))
    return hashlib.blake2b(content, digest_size=16).hexdigest()

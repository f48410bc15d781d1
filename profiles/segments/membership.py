"""Who is in which segment: what is kept of a profile, and what is told when that changes (pure)."""

import hashlib
from collections.abc import Mapping
from enum import IntFlag, StrEnum
from typing import Final

import msgspec

from identity.nodes import Node

NEVER_MS: Final = 1 << 62
"""No passing of time changes anything."""


class Cause(IntFlag):
    """What may have changed a profile's segments. Bits: several may come together."""

    EVENT = 1
    MERGED = 2
    SPLIT = 4
    TIME = 8
    DEFINED = 16
    """The segment was defined, changed or removed."""


class Reason(StrEnum):
    """Why a profile entered or left, for those who count."""

    EVENT = "event"
    MERGED = "merged"
    """Profiles became one: what ended left, what goes on may have entered."""
    SPLIT = "split"
    TIME = "time"
    DEFINED = "defined"
    CONSENT = "consent"
    """It was in and still is; what changed is whether it grants a purpose, which destinations must hear."""


_REASONS: Final = (
    # What people did beats what happened to them, and that beats what we did.
    (Cause.MERGED, Reason.MERGED),
    (Cause.SPLIT, Reason.SPLIT),
    (Cause.EVENT, Reason.EVENT),
    (Cause.TIME, Reason.TIME),
)


def reason_of(cause: Cause) -> Reason:
    """The one reason that is told."""
    return next((reason for bit, reason in _REASONS if bit in cause), Reason.DEFINED)


class Standing(msgspec.Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """What is kept of a profile between evaluations."""

    profile_id: Node
    segments: dict[str, int] = {}
    """Segments that it is in, and since when (milliseconds)."""
    due_ms: int = NEVER_MS
    """When time alone may change that: evaluate it then."""
    sequence: int = 0
    """How often it entered or left one."""
    consent: dict[str, bool] = {}
    """The newest statement for each purpose."""
    reach: tuple[Node, ...] = ()
    """Identifiers that a destination may know it by: its own, its devices' and their companions'."""
    kiosk: bool = False
    """A device of more people than a device has owners."""
    dues: dict[str, int] = {}
    """When time alone may change whether it is in which segment; `due_ms` is the first of them."""

    @property
    def knows_dues(self) -> bool:
        """Whether `dues` says all of it: older standings had one time only."""
        return min(self.dues.values(), default=NEVER_MS) == self.due_ms

    @property
    def empty(self) -> bool:
        """Whether nothing would be lost by forgetting it."""
        nothing = not self.segments and not self.sequence and not self.kiosk
        return nothing and self.due_ms == NEVER_MS


class Transition(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A profile entered or left a segment."""

    profile_id: Node
    sequence: int
    """Grows with each of the profile's; whoever has seen a later one ignores an earlier one."""
    segment: str
    entered: bool
    """Of a consent: whether it was granted."""
    at_ms: int
    reason: Reason
    purpose: str = ""
    """Of a consent: to what."""

    @property
    def message_id(self) -> str:
        """The same whoever tells it, however often."""
        text = f"{self.profile_id.hex()}|{self.sequence}|{self.segment}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def changed(
    held: Standing, now_in: Mapping[str, bool], at_ms: int, reason: Reason
) -> tuple[dict[str, int], list[Transition]]:
    """Segments after an evaluation, and what is told of it; a segment not in `now_in` stays as it was."""
    segments = dict(held.segments)
    told = []
    sequence = held.sequence
    for segment in sorted(
        [each for each, member in now_in.items() if member != (each in segments)]
    ):
        member = now_in[segment]
        sequence += 1
        told.append(Transition(held.profile_id, sequence, segment, member, at_ms, reason))
        if member:
            segments[segment] = at_ms
        else:
            del segments[segment]
    return segments, told


def consent_told(
    held: Standing,
    segments: Mapping[str, int],
    consent: Mapping[str, bool],
    at_ms: int,
    sequence: int,
) -> list[Transition]:
    """What is told of purposes that members grant from now on, or no longer; numbered past `sequence`."""
    if consent == held.consent:
        return []
    stayed = sorted(held.segments.keys() & segments.keys())
    granted = {purpose for purpose, given in consent.items() if given}
    before = {purpose for purpose, given in held.consent.items() if given}
    return [
        Transition(
            held.profile_id,
            sequence + n,
            segment,
            purpose in granted,
            at_ms,
            Reason.CONSENT,
            purpose,
        )
        for n, (segment, purpose) in enumerate(
            ((segment, purpose) for segment in stayed for purpose in sorted(granted ^ before)),
            start=1,
        )
    ]

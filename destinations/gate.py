"""The gate: who may be sent where. It fails closed: what is not stated is not granted."""

from collections.abc import Collection, Mapping
from enum import StrEnum
from itertools import pairwise
from typing import Final

import msgspec

from destinations.audience import CONSENT, Audience, Transition
from destinations.errors import ExportRefused

EVERY: Final = "*"
"""Stands for all segments in a destination's file."""


class Withheld(StrEnum):
    """Why somebody, or a segment, was not sent."""

    NO_CONSENT = "no_consent"
    REFUSED = "consent_refused"
    NO_IDENTIFIER = "no_identifier"
    DUPLICATE = "identifier_sent_before"
    SENSITIVE = "sensitive"
    SUPERSEDED = "changed_since"
    GONE = "gone"
    CANNOT_REMOVE = "cannot_be_removed"
    REFUSED_THERE = "refused_by_destination"


IN_WORDS: Final[Mapping[str, str]] = {
    Withheld.NO_CONSENT: "no consent stated",
    Withheld.REFUSED: "consent refused or withdrawn",
    Withheld.NO_IDENTIFIER: "no identifier that the destination knows",
    Withheld.DUPLICATE: "identifiers that were in the file before",
    Withheld.SENSITIVE: "segments marked sensitive",
    Withheld.SUPERSEDED: "changes that a later one undid",
    Withheld.GONE: "profiles that are no more",
    Withheld.CANNOT_REMOVE: "left, which the destination has no words for",
    Withheld.REFUSED_THERE: "refused for good by the destination (`onefold deadletters list`)",
}


class Tally:
    """How many were sent, and how many were not and why."""

    def __init__(self) -> None:
        self.people = 0
        self.rows = 0
        self.withheld: dict[str, int] = {}

    def withhold(self, why: Withheld, count: int = 1) -> None:
        """So many were not sent."""
        if count:
            self.withheld[why] = self.withheld.get(why, 0) + count

    @property
    def stopped(self) -> int:
        """How many people were withheld: not rows that were there before."""
        return sum(self.withheld.values()) - self.withheld.get(Withheld.DUPLICATE, 0)


class Gate(msgspec.Struct, frozen=True):
    """Whose consent a destination needs: all of its purposes."""

    purposes: tuple[str, ...]

    def stops(self, consent: Mapping[str, bool]) -> Withheld | None:
        """Why a person may not be sent; None: they may."""
        why = None
        for purpose in self.purposes:
            granted = consent.get(purpose)
            if granted is not True:
                if granted is False:
                    return Withheld.REFUSED
                why = Withheld.NO_CONSENT
        return why

    def concerns(self, transition: Transition) -> bool:
        """Whether a destination may have to hear of it: not of consent to what it does not do."""
        return transition.reason != CONSENT or transition.purpose in self.purposes

    def withdrawn_by(self, transition: Transition, consent: Mapping[str, bool]) -> bool:
        """Whether this transition is what closed the gate: up to it the person may have been sent.

        Then the destination must hear that they left. Of nobody else who may not be sent it must: that they
        left would tell it that they were in.
        """
        return (
            transition.reason == CONSENT
            and not transition.entered
            and transition.purpose in self.purposes
            and all(
                consent.get(purpose) is True
                for purpose in self.purposes
                if purpose != transition.purpose
            )
        )


class Permission(msgspec.Struct, frozen=True, kw_only=True):
    """Which segments a destination's file lets out, and under which names."""

    segments: tuple[str, ...]
    allow_sensitive: tuple[str, ...] = ()
    aliases: Mapping[str, str] = {}
    alias_sensitive: bool = False
    """A sensitive segment goes under another name only: its own tells what people have."""
    file: str = ""


def permitted(
    permission: Permission, audience: Audience, tally: Tally, asked: Collection[str] = ()
) -> dict[str, str]:
    """The name at the destination of every segment that is sent; ExportRefused says what may not be.

    `asked` are the segments of this run; none: all that the file names.
    """
    every = EVERY in permission.segments
    wanted = sorted(asked) or (
        list(audience.segments()) if every else sorted(set(permission.segments))
    )
    found: dict[str, str] = {}
    for segment in wanted:
        info = audience.segment(segment)
        if info is None:
            raise ExportRefused(f"{permission.file}: segments: there is no segment {segment}")
        if info.sensitive and segment not in permission.allow_sensitive:
            if not asked and every:
                tally.withhold(Withheld.SENSITIVE)
                continue
            raise ExportRefused(
                f"segment {segment} is marked sensitive; allow it by name in {permission.file} "
                "(allow_sensitive)"
            )
        if not every and segment not in permission.segments:
            raise ExportRefused(f"segment {segment} is not among `segments` of {permission.file}")
        if info.sensitive and permission.alias_sensitive and segment not in permission.aliases:
            raise ExportRefused(
                f"segment {segment} is marked sensitive: give it a name that tells nothing in "
                f"{permission.file} (aliases)"
            )
        found[segment] = permission.aliases.get(segment, segment)
    names = sorted(found.values())
    twice = {name for name, after in pairwise(names) if name == after}
    if twice:
        raise ExportRefused(
            f"{permission.file}: aliases: {', '.join(sorted(twice))} is there twice"
        )
    return found

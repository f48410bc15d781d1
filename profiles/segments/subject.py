"""What conditions ask about a profile, and what they answer."""

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec

from profiles.part import Body, Consent, Trait, collected_in, consent_of, traits_of
from profiles.segments.collect import Collected
from profiles.segments.timeline import NOTHING, Timeline, timeline_of_all

FOREVER: Final = 1 << 62
"""No passing of time changes the verdict."""
_last_ms = attrgetter("last_ms")


class Verdict(NamedTuple):
    """Whether a profile is a member at all times from now until before `valid_until_ms`."""

    member: bool
    valid_until_ms: int = FOREVER
    exact: bool = True
    """False: more events than are kept one by one lay in a window, and were counted by days."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What conditions ask about a profile."""

    bodies: Sequence[Body] = ()
    """Its parts, newest first; nothing may change them afterwards."""
    first_ms: int | None = None
    last_ms: int | None = None
    newest: Mapping[int, int] = {}
    """Of each collector that keeps anything, by number, a time that none of its events is past."""
    identifier_types: frozenset[str] = frozenset()
    scores: Mapping[str, tuple[float, int]] = {}
    """(value, when it was computed) of each model."""
    timelines: dict[tuple[int, int], Timeline] = {}
    """Those that were asked for, by collector and number of parts: several conditions share one."""
    known: dict[Any, Verdict] = {}
    """Verdicts on segments that others name."""
    opened: dict[tuple[int, int], list[Collected]] = {}
    """What was asked for of what collectors keep, likewise."""
    stated: dict[str, Any] = {}
    """Traits and consent, once asked for: of most profiles nobody asks for any."""

    def parts_since(self, time_ms: int) -> int:
        """In how many parts, the newest, all is that happened at a time or later."""
        found = 0
        for body in self.bodies:
            if body.last_ms < time_ms:
                break
            found += 1
        return found

    def kept(self, number: int, parts: int) -> list[Collected] | None:
        """What a collector keeps in each of so many parts, the newest; None: nothing in any part."""
        if number not in self.newest:
            return None
        found = self.opened.get((number, parts))
        if found is None:
            found = self.opened[number, parts] = [
                collected_in(some)
                for body in self.bodies[:parts]
                if (some := body.collected.get(number)) is not None
            ]
        return found

    def timeline(self, number: int, parts: int | None = None) -> Timeline:
        """The events of a collector, ready to be asked: those of so many parts, the newest, or of all."""
        parts = len(self.bodies) if parts is None else parts
        found = self.timelines.get((number, parts))
        if found is None:
            some = self.kept(number, parts)
            found = self.timelines[number, parts] = timeline_of_all(some) if some else NOTHING
        return found

    @property
    def traits(self) -> Mapping[str, Any]:
        """The newest value of each trait."""
        found: Mapping[str, Any] | None = self.stated.get("traits")
        if found is None:
            found = self.stated["traits"] = _newest_traits(self.bodies)
        return found

    @property
    def consent(self) -> Mapping[str, bool]:
        """The newest statement about each purpose."""
        found: Mapping[str, bool] | None = self.stated.get("consent")
        if found is None:
            found = self.stated["consent"] = _newest_consent(self.bodies)
        return found


def subject_of(
    bodies: Sequence[Body],
    identifier_types: Iterable[str],
    scores: Mapping[str, tuple[float, int]] | None = None,
) -> Subject:
    """The subject whose parts are `bodies`; their order does not matter."""
    newest: dict[int, int] = {}
    first_ms = last_ms = None
    if len(bodies) > 1:
        bodies = sorted(bodies, key=_last_ms, reverse=True)
    # What is newer overwrites what is older.
    for body in reversed(bodies):
        newest |= dict.fromkeys(body.collected, body.last_ms)
        if body.events:
            last_ms = body.last_ms
            if first_ms is None or body.first_ms < first_ms:
                first_ms = body.first_ms
    return Subject(
        bodies=bodies,
        first_ms=first_ms,
        last_ms=last_ms,
        newest=newest,
        identifier_types=frozenset(identifier_types),
        scores=scores or {},
    )


def _newest_traits(bodies: Sequence[Body]) -> dict[str, Any]:
    newest: dict[str, Trait] = {}
    for body in bodies:
        for name, trait in traits_of(body).items():
            held = newest.get(name)
            if held is None or (trait.time_ms, trait.message) > (held.time_ms, held.message):
                newest[name] = trait
    return {name: trait.value for name, trait in newest.items() if trait.value is not None}


def _newest_consent(bodies: Sequence[Body]) -> dict[str, bool]:
    newest: dict[str, Consent] = {}
    for body in bodies:
        stated = consent_of(body)
        if not newest:
            newest = {**stated}
            continue
        for purpose, each in stated.items():
            held = newest.get(purpose)
            # Bodies come newest first: most statements are older than what is known.
            if held is None or (each.time_ms >= held.time_ms and each.beats(held)):
                newest[purpose] = each
    return {purpose: each.granted for purpose, each in newest.items()}

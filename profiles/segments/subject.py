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
    """Its parts; nothing may change them afterwards."""
    first_ms: int | None = None
    last_ms: int | None = None
    newest: Mapping[int, int] = {}
    """Of each collector that keeps anything, by number, a time that none of its events is past."""
    identifier_types: frozenset[str] = frozenset()
    scores: Mapping[str, tuple[float, int]] = {}
    """(value, when it was computed) of each model."""
    timelines: dict[int, Timeline] = {}
    """Those that were asked for: several conditions share one."""
    known: dict[Any, Verdict] = {}
    """Verdicts on segments that others name."""
    opened: dict[int, list[Collected]] = {}
    """What was asked for of what collectors keep."""
    stated: dict[str, Any] = {}
    """Traits and consent, once asked for: of most profiles nobody asks for any."""

    def kept(self, number: int) -> list[Collected] | None:
        """What a collector keeps, in one part or in several; None: nothing."""
        found = self.opened.get(number)
        if found is None and number in self.newest:
            found = self.opened[number] = [
                collected_in(some)
                for body in self.bodies
                if (some := body.collected.get(number)) is not None
            ]
        return found

    def timeline(self, number: int) -> Timeline:
        """The events of a collector, ready to be asked."""
        found = self.timelines.get(number)
        if found is None:
            some = self.kept(number)
            found = self.timelines[number] = timeline_of_all(some) if some else NOTHING
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
    # What is newer overwrites what is older.
    for body in sorted(bodies, key=_last_ms) if len(bodies) > 1 else bodies:
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
        for purpose, stated in consent_of(body).items():
            held = newest.get(purpose)
            if held is None or stated.beats(held):
                newest[purpose] = stated
    return {purpose: stated.granted for purpose, stated in newest.items()}

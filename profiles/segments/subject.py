"""What conditions ask about a profile, and what they answer."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from profiles.part import Body
from profiles.segments.collect import Collected, merged
from profiles.segments.timeline import Timeline, timeline_of

FOREVER: Final = 1 << 62
"""No passing of time changes the verdict."""


class Verdict(NamedTuple):
    """Whether a profile is a member at all times from now until before `valid_until_ms`."""

    member: bool
    valid_until_ms: int = FOREVER
    exact: bool = True
    """False: more events than are kept one by one lay in a window, and were counted by days."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What conditions ask about a profile."""

    traits: Mapping[str, Any] = {}
    first_ms: int | None = None
    last_ms: int | None = None
    collected: Mapping[int, Sequence[Collected]] = {}
    """What each collector keeps, in one part or in several."""
    consent: Mapping[str, bool] = {}
    identifier_types: frozenset[str] = frozenset()
    scores: Mapping[str, tuple[float, int]] = {}
    """(value, when it was computed) of each model."""
    timelines: dict[int, Timeline] = {}
    """Those that were asked for: several conditions share one."""
    known: dict[Any, Verdict] = {}
    """Verdicts on segments that others name."""

    def timeline(self, number: int) -> Timeline:
        """The events of a collector, ready to be asked; do not change what is `collected` afterwards."""
        found = self.timelines.get(number)
        if found is None:
            some = self.collected.get(number)
            whole = some and (some[0] if len(some) == 1 else merged(some))
            found = self.timelines[number] = timeline_of(whole or None)
        return found


def subject_of(
    bodies: Iterable[Body],
    identifier_types: Iterable[str],
    scores: Mapping[str, tuple[float, int]] | None = None,
) -> Subject:
    """The subject whose parts are `bodies`; their order does not matter."""
    parts = list(bodies)
    collected: dict[int, list[Collected]] = {}
    for body in parts:
        for number, some in body.collected.items():
            collected.setdefault(number, []).append(some)
    if len(parts) == 1:
        traits, consent = parts[0].traits, parts[0].consent
    else:
        traits, consent = {}, {}
        for body in parts:
            for name, trait in body.traits.items():
                held = traits.get(name)
                if held is None or (trait.time_ms, trait.message) > (held.time_ms, held.message):
                    traits[name] = trait
            for purpose, stated in body.consent.items():
                known = consent.get(purpose)
                if known is None or stated.beats(known):
                    consent[purpose] = stated
    events = any(body.events for body in parts)
    return Subject(
        traits={name: trait.value for name, trait in traits.items() if trait.value is not None},
        first_ms=min(body.first_ms for body in parts) if events else None,
        last_ms=max(body.last_ms for body in parts) if events else None,
        collected=collected,
        consent={purpose: stated.granted for purpose, stated in consent.items()},
        identifier_types=frozenset(identifier_types),
        scores=scores or {},
    )

"""What conditions ask about a profile, and what they answer."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from profiles.part import Body, Trait, collected_as_stored, collected_in, traits_of
from profiles.segments.collect import Collected
from profiles.segments.timeline import NOTHING, Timeline, timeline_of_all

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
            found = self.timelines[number] = timeline_of_all(some) if some else NOTHING
        return found


def subject_of(
    bodies: Iterable[Body],
    identifier_types: Iterable[str],
    scores: Mapping[str, tuple[float, int]] | None = None,
) -> Subject:
    """The subject whose parts are `bodies`; their order does not matter."""
    parts = list(bodies)
    collected: dict[int, list[Collected]] = {}
    first_ms = last_ms = None
    if len(parts) == 1:
        body = parts[0]
        consent = body.consent
        collected = {number: [some] for number, some in body.collected.items()}
        if body.events:
            first_ms, last_ms = body.first_ms, body.last_ms
    else:
        consent = {}
        for body in parts:
            for number, some in body.collected.items():
                if (more := collected.get(number)) is None:
                    collected[number] = [some]
                else:
                    more.append(some)
            for purpose, stated in body.consent.items():
                known = consent.get(purpose)
                if known is None or stated.beats(known):
                    consent[purpose] = stated
        if any(body.events for body in parts):
            first_ms = min([body.first_ms for body in parts])
            last_ms = max([body.last_ms for body in parts])
    return Subject(
        traits=_Newest(parts),
        first_ms=first_ms,
        last_ms=last_ms,
        collected=_Opened(collected) if any(map(collected_as_stored, parts)) else collected,
        consent={purpose: stated.granted for purpose, stated in consent.items()},
        identifier_types=frozenset(identifier_types),
        scores=scores or {},
    )


class _Opened(dict[int, list[Collected]]):
    """What collectors keep, by number; that of one is decoded when somebody gets it."""

    __slots__ = ("_open",)

    def __init__(self, stored: dict[int, list[Collected]]) -> None:
        super().__init__(stored)
        self._open: set[int] = set()

    def get(self, number: int, default: Any = None) -> Any:
        some = super().get(number, default)
        if some and number not in self._open:
            self._open.add(number)
            some = self[number] = [collected_in(each) for each in some]
        return some


class _Newest(Mapping[str, Any]):
    """The newest value of each trait: of most profiles nobody asks for any."""

    __slots__ = ("_bodies", "_made")

    def __init__(self, bodies: Sequence[Body]) -> None:
        self._bodies = bodies
        self._made: dict[str, Any] | None = None

    def _all(self) -> dict[str, Any]:
        if self._made is None:
            newest: dict[str, Trait] = {}
            for body in self._bodies:
                for name, trait in traits_of(body).items():
                    held = newest.get(name)
                    if held is None or (trait.time_ms, trait.message) > (
                        held.time_ms,
                        held.message,
                    ):
                        newest[name] = trait
            self._made = {n: trait.value for n, trait in newest.items() if trait.value is not None}
        return self._made

    def __getitem__(self, name: str) -> Any:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

"""Names in a definition that nothing ever had: perhaps mistyped, perhaps of events to come."""

from collections.abc import Iterator

import msgspec

from profiles.segments.problems import Path, SegmentError, near, shown
from profiles.segments.tree import (
    ANY_EVENT,
    AllOf,
    AnyOf,
    ComputedTrait,
    Condition,
    Consents,
    Definition,
    Follow,
    Happened,
    Has,
    Match,
    Not,
    Score,
    TraitIs,
)


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """Names that were seen; None: nobody knows which, and nothing is said."""

    events: frozenset[str] | None = None
    """As they are written; case does not matter."""
    traits: frozenset[str] = frozenset()
    """Computed ones too."""
    purposes: frozenset[str] | None = None
    identifier_types: frozenset[str] | None = None
    scores: frozenset[str] | None = None


def unseen(definition: Definition, known: Known) -> list[SegmentError]:
    """A warning for every name that was never seen, with what is near."""
    if isinstance(definition, ComputedTrait):
        return list(_event(definition.match, (), known))
    found: list[SegmentError] = []
    left: list[tuple[Path, Condition]] = [((), definition.who)]
    while left:
        path, each = left.pop()
        match each:
            case AllOf(of) | AnyOf(of):
                kind = "all" if isinstance(each, AllOf) else "any"
                left.extend(((*path, kind, n), below) for n, below in reversed([*enumerate(of)]))
            case Not(of):
                left.append(((*path, "not"), of))
            case Happened(match=match, follow=follow):
                found.extend(_event(match, path, known))
                found.extend(_follows(follow, path, known))
            case TraitIs(name):
                if known.traits and not {name, name.partition(".")[0]} & known.traits:
                    found.append(_warning(name, "trait", (*path, "trait"), known.traits))
            case Consents(name):
                found.extend(_one(name, "purpose", (*path, "consent"), known.purposes))
            case Has(name):
                found.extend(_one(name, "identifier", (*path, "has"), known.identifier_types))
            case Score(name):
                found.extend(_one(name, "model's score", (*path, "score"), known.scores))
            case _:
                pass
    return found


def _follows(follow: Follow | None, path: Path, known: Known) -> Iterator[SegmentError]:
    while follow is not None:
        path = (*path, "then_not" if follow.negated else "then")
        yield from _event(follow.match, path, known)
        follow = follow.then


def _event(match: Match, path: Path, known: Known) -> Iterator[SegmentError]:
    if known.events is None or match.event == ANY_EVENT:
        return
    if match.event not in {name.lower() for name in known.events}:
        yield _warning(match.spelling, "event", (*path, "event"), known.events)


def _one(name: str, what: str, path: Path, known: frozenset[str] | None) -> Iterator[SegmentError]:
    if known is not None and name not in known:
        yield _warning(name, what, path, known)


def _warning(name: str, what: str, path: Path, known: frozenset[str]) -> SegmentError:
    return SegmentError(path, f"no {what} {shown(name)} was ever seen", near(name, known))

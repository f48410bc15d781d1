"""Segments by brute force: every event of a person is looked at again for every question.

Written from what the language says (docs/segments.md and the docstrings of `tree`), without the code that
collects, counts or compares: the two agree, or one of them is wrong.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from identity.event import Event
from profiles.facts import amount_of, hash64
from profiles.money import currency_of, micros
from profiles.segments.tree import (
    Ago,
    AllOf,
    AnyOf,
    At,
    Check,
    ComputedTrait,
    Computes,
    Condition,
    Consents,
    Follow,
    Happened,
    Has,
    InSegment,
    Match,
    Moment,
    Not,
    Of,
    Op,
    Score,
    Seen,
    Segment,
    TraitIs,
    Truth,
    Window,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of one: every message once."""

    events: Sequence[Event]
    identifier_types: frozenset[str] = frozenset()
    scores: Mapping[str, tuple[float, int]] = {}


class World(msgspec.Struct, frozen=True, kw_only=True):
    """What is defined."""

    segments: Mapping[str, Segment]
    computed: Mapping[str, ComputedTrait] = {}


def is_member(segment_id: str, person: Person, now_ms: int, world: World) -> bool:
    """Whether a person is in a segment at a moment."""
    segment = world.segments[segment_id]
    return _holds(segment.who, person, now_ms, world, by_day=segment.granularity == "day")


def _holds(condition: Condition, person: Person, now: int, world: World, *, by_day: bool) -> bool:
    def holds(each: Condition) -> bool:
        return _holds(each, person, now, world, by_day=by_day)

    match condition:
        case AllOf(of):
            return all(holds(each) for each in of)
        case AnyOf(of):
            return any(holds(each) for each in of)
        case Not(of):
            return not holds(of)
        case TraitIs(name, checks):
            if name in world.computed:
                value = compute(world.computed[name], person, now)
            else:
                value = _trait(person, name)
            return all(_passes(value, check, now) for check in checks)
        case Happened():
            return _happened(condition, person, now, by_day=by_day)
        case Seen(which, window):
            times = [event.time_ms for event in person.events]
            if not times:
                return False
            at = min(times) if which == "first" else max(times)
            return _inside(min(at, now), window, now, by_day=by_day)
        case Has(identifier_type):
            return identifier_type in person.identifier_types
        case Consents(purpose, granted):
            return _consent(person, purpose) is granted
        case Score(name, checks, max_age_ms):
            if name not in person.scores:
                return False
            score, at = person.scores[name]
            young = max_age_ms is None or now - at < max_age_ms
            return young and all(_passes(score, check, now) for check in checks)
        case InSegment(segment_id):
            return is_member(segment_id, person, now, world)


# --- what a person states


def _trait(person: Person, name: str) -> Any:
    stated = sorted(
        (
            (e.time_ms, hash64(e.message_id), e.traits)
            for e in person.events
            if e.type == "identify"
        ),
        key=lambda each: each[:2],
    )
    traits: dict[str, Any] = {}
    for _, _, values in stated:
        traits.update(values)
    traits = {key: value for key, value in traits.items() if value is not None}
    if name in traits:
        return traits[name]
    value: Any = traits
    for step in name.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _consent(person: Person, purpose: str) -> bool | None:
    # The newest counts; of two at one time the withdrawal.
    stated = [
        (e.time_ms, not granted) for e in person.events for p, granted in e.consent if p == purpose
    ]
    return None if not stated else not max(stated)[1]


# --- time


def _day(ms: int) -> date:
    return (EPOCH + timedelta(milliseconds=ms)).date()


def _inside(at: int, window: Window, now: int, *, by_day: bool) -> bool:
    """In `(now - since, now - until]`, or between fixed moments, the first included."""
    if at > now:
        return False
    since, until = window.since, window.until
    if isinstance(since, At) and at < since.ms:
        return False
    if isinstance(until, At) and at >= until.ms:
        return False
    if isinstance(since, Ago):
        if by_day and _day(at) < _day(now - since.ms):
            return False
        if not by_day and now - at >= since.ms:
            return False
    if isinstance(until, Ago):
        if by_day and _day(at) >= _day(now - until.ms):
            return False
        if not by_day and now - at < until.ms:
            return False
    return True


# --- events


def _name(event: Event) -> str:
    return event.name[:200].lower() if event.type == "track" else "$" + event.type


def _matching(match: Match, person: Person) -> list[Event]:
    """In the order in which they happened."""
    found = [
        event
        for event in person.events
        if match.event in ("*", _name(event)) and _where(event.properties, match.where)
    ]
    return sorted(found, key=lambda event: (event.time_ms, hash64(event.message_id)))


def _once(match: Match, events: Iterable[Event]) -> list[Event]:
    """An order that is told again is no second one."""
    told: set[str] = set()
    found = []
    for event in events:
        order = event.properties.get("order_id", event.properties.get("orderId"))
        if match.event == "order completed" and not isinstance(order, bool | float | None):
            if str(order).strip() in told:
                continue
            if str(order).strip():
                told.add(str(order).strip())
        found.append(event)
    return found


def _happened(condition: Happened, person: Person, now: int, *, by_day: bool) -> bool:
    of, match, window = condition.of, condition.match, condition.window
    events = _matching(match, person)
    if of is Of.SUM:
        events = [e for e in events if _amount(e, condition.path, condition.currency) is not None]
    if of is Of.DISTINCT:
        events = [e for e in events if _values(e, condition.path)]
    events = [event for event in _once(match, events) if event.time_ms <= now]
    if of in (Of.FIRST, Of.LAST):
        if not events:
            return False
        one = events[0] if of is Of.FIRST else events[-1]
        return _inside(one.time_ms, window, now, by_day=by_day)
    events = [event for event in events if _inside(event.time_ms, window, now, by_day=by_day)]
    if condition.follow is not None:
        follow = condition.follow
        events = [event for event in events if _followed(event.time_ms, follow, person, now)]
    if of is Of.SUM:
        total = sum(_amount(e, condition.path, condition.currency) or 0 for e in events)
        return all(_passes(total, _in_millionths(check), now) for check in condition.checks)
    if of is Of.DISTINCT:
        count = len({json.dumps(each) for e in events for each in _values(e, condition.path)})
    else:
        count = len(events)
    return all(_passes(count, check, now) for check in condition.checks)


def _followed(at: int, follow: Follow, person: Person, now: int) -> bool:
    found = any(
        at < event.time_ms <= min(at + follow.within_ms, now)
        and (follow.then is None or _followed(event.time_ms, follow.then, person, now))
        for event in _once(follow.match, _matching(follow.match, person))
    )
    if follow.negated:
        return now >= at + follow.within_ms and not found
    return found


def _amount(event: Event, path: str, currency: str) -> int | None:
    if currency and currency_of(event.properties.get("currency")) != currency:
        return None
    if path == "revenue":
        return amount_of(event.properties)
    numbers = [
        micros(value)
        for value in _at(event.properties, path.split("."))
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    readable = [number for number in numbers if number is not None]
    return sum(readable) if readable else None


def _values(event: Event, path: str) -> list[Any]:
    """Different ones, in their order; at most 100."""
    found: dict[str, Any] = {}
    for value in _at(event.properties, path.split(".")):
        whole = int(value) if isinstance(value, float) and value == int(value) else value
        found.setdefault(json.dumps(whole), whole)
    return list(found.values())[:100]


def _at(value: Any, steps: Sequence[str]) -> Iterator[Any]:
    """Texts, numbers and truths at a path, through lists and in them."""
    head, *rest = steps
    inner = value.get(head) if isinstance(value, dict) else None
    for each in inner if isinstance(inner, list) else [inner]:
        if rest:
            yield from _at(each, rest)
        elif isinstance(each, str | int | float):
            yield _money(each, head)


def _money(value: Any, name: str) -> Any:
    """Numbers that shops write as texts."""
    if name in ("revenue", "total", "value", "price", "quantity") and isinstance(value, str):
        read = micros(value)
        if read is not None:
            return read // 10**6 if read % 10**6 == 0 else read / 10**6
    return value


def _where(properties: Any, where: Iterable[tuple[str, tuple[Check, ...]]]) -> bool:
    """All checks hold; of those that lead through one list, for one and the same element."""
    below: dict[str, list[tuple[str, tuple[Check, ...]]]] = {}
    for path, checks in where:
        head, _, rest = path.partition(".")
        if rest:
            below.setdefault(head, []).append((rest, checks))
        elif not all(_passes(_money(properties.get(head), head), check, 0) for check in checks):
            return False
    for head, inner in below.items():
        value = properties.get(head)
        if isinstance(value, list):
            if not any(isinstance(each, dict) and _where(each, inner) for each in value):
                return False
        elif not _where(value if isinstance(value, dict) else {}, inner):
            return False
    return True


# --- checks


def _in_millionths(check: Check) -> Check:
    if isinstance(check.value, tuple):
        return Check(check.op, tuple(micros(each) for each in check.value))
    return Check(check.op, micros(check.value))


def _equal(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Truth):
        return isinstance(value, bool) and value == (wanted is Truth.TRUE)
    if isinstance(wanted, str):
        return isinstance(value, str) and value == wanted
    return _number(value) and bool(value == wanted)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _instant(value: Any) -> int | None:
    if not isinstance(value, str) or len(value) < 10 or "-" not in value:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return round((at - EPOCH).total_seconds() * 1000)


def _passes(value: Any, check: Check, now: int) -> bool:
    op, wanted = check.op, check.value
    if op is Op.EXISTS:
        return bool((value is not None) == wanted)
    if value is None:
        return False
    match op:
        case Op.EQ:
            return _equal(value, wanted)
        case Op.NOT_EQUAL:
            return not _equal(value, wanted)
        case Op.IN:
            return any(_equal(value, each) for each in wanted)
        case Op.NOT_IN:
            return not any(_equal(value, each) for each in wanted)
        case Op.CONTAINS:
            if isinstance(value, list):
                return any(_equal(each, wanted) for each in value)
            return isinstance(value, str) and isinstance(wanted, str) and wanted in value
        case Op.STARTS_WITH:
            return isinstance(value, str) and value.startswith(wanted)
        case Op.ENDS_WITH:
            return isinstance(value, str) and value.endswith(wanted)
        case Op.BEFORE | Op.AFTER:
            at = _instant(value)
            return at is not None and (_after(at, wanted, now) is (op is Op.AFTER))
    if not _number(value):
        return False
    match op:
        case Op.AT_LEAST:
            return bool(value >= wanted)
        case Op.AT_MOST:
            return bool(value <= wanted)
        case Op.MORE_THAN:
            return bool(value > wanted)
        case Op.LESS_THAN:
            return bool(value < wanted)
    return bool(wanted[0] <= value <= wanted[1])


def _after(at: int, bound: Moment, now: int) -> bool:
    if isinstance(bound, At):
        return at >= bound.ms
    return bool(now - at < bound.ms)


# --- computed traits


def compute(trait: ComputedTrait, person: Person, now: int) -> Any:
    """The value of a computed trait at a moment."""
    events = _matching(trait.match, person)
    if trait.computes is Computes.SUM:
        events = [e for e in events if _amount(e, trait.path, trait.currency) is not None]
    elif trait.computes is not Computes.COUNT:
        events = [e for e in events if _kept(e, trait.path)]
    events = [
        event
        for event in _once(trait.match, events)
        if _inside(event.time_ms, trait.window, now, by_day=False)
    ]
    if trait.computes is Computes.COUNT:
        return len(events)
    if trait.computes is Computes.SUM:
        total = sum(_amount(event, trait.path, trait.currency) or 0 for event in events)
        return total // 10**6 if total % 10**6 == 0 else total / 10**6
    if not events:
        return None
    if trait.computes is Computes.FIRST:
        return _kept(events[0], trait.path)[0]
    if trait.computes is Computes.LAST:
        return _kept(events[-1], trait.path)[0]
    newest_first: list[Any] = []
    counts: dict[str, int] = {}
    for event in reversed(events):
        for value in _kept(event, trait.path):
            text = json.dumps(value)
            if text not in counts:
                newest_first.append(value)
            counts[text] = counts.get(text, 0) + 1
    if trait.computes is Computes.UNIQUE_LIST:
        return newest_first[:100]
    most = max(counts.values())
    return next(value for value in newest_first if counts[json.dumps(value)] == most)


def _kept(event: Event, path: str) -> list[Any]:
    """Values that are kept: texts cut, empty ones left out."""
    found: dict[str, Any] = {}
    for value in _at(event.properties, path.split(".")):
        kept = value[:200].strip() if isinstance(value, str) else value
        kept = int(kept) if isinstance(kept, float) and kept == int(kept) else kept
        found.setdefault(json.dumps(kept), kept)
    return [value for value in list(found.values())[:100] if value != ""]

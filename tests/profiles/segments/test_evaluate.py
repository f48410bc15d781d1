"""Who is in a segment, and until when: the edges, one by one."""

from collections.abc import Sequence
from typing import Any

import pytest
import yaml

from identity.event import Event
from profiles.segments.collect import collector_for, collectors_of
from profiles.segments.computed import Computer
from profiles.segments.evaluate import FOREVER, Judges, Subject, Verdict, subject_of
from profiles.segments.parse import parse_computed, parse_segment
from tests.profiles.segments.strategies import DAY, HOUR, START
from tests.profiles.segments.test_exactness import folded

NOON = START + 12 * HOUR


def did(name: str, at: int, **properties: Any) -> Event:
    return Event(
        type="track",
        message_id=f"{name}{at}{properties}",
        received_ms=at,
        time_ms=at,
        key_ms=at,
        source="test",
        name=name,
        properties=properties,
    )


def verdict(text: str, now: int, events: Sequence[Event] = (), **known: Any) -> Verdict:
    segment = parse_segment(yaml.safe_load(text), id="s")
    numbers = {each: n for n, each in enumerate(dict.fromkeys(collectors_of(segment.who)))}
    subject = subject_of([folded(events, numbers)], known.pop("has", ()), known.pop("scores", None))
    assert not known
    return Judges({"s": segment}, numbers).verdict("s", subject, now)


def test_a_window_holds_an_event_for_as_long_as_it_is() -> None:
    events = [did("Login", NOON)]
    text = "{event: Login, within: 3d}"
    assert verdict(text, NOON - 1, events) == (False, NOON, True)
    assert verdict(text, NOON, events) == (True, NOON + 3 * DAY, True)
    assert verdict(text, NOON + 3 * DAY - 1, events) == (True, NOON + 3 * DAY, True)
    assert verdict(text, NOON + 3 * DAY, events) == (False, FOREVER, True)


def test_what_is_not_within_and_what_is_until_meet() -> None:
    events = [did("Login", NOON)]
    then = NOON + 3 * DAY
    assert verdict("{event: Login, not_within: 3d}", then - 1, events) == (False, then, True)
    assert verdict("{event: Login, not_within: 3d}", then, events) == (True, FOREVER, True)
    assert verdict("{event: Login, until: 3d}", then - 1, events) == (False, then, True)
    assert verdict("{event: Login, until: 3d}", then, events) == (True, FOREVER, True)


@pytest.mark.parametrize("count", ["{at_least: 1}", "{more_than: 0}"])
def test_a_fixed_window_begins_with_its_first_moment_and_ends_before_its_last(count: str) -> None:
    since, until = "2025-10-10T00:00:00Z", "2025-10-11T00:00:00Z"
    text = f"{{event: Login, since: '{since}', until: '{until}', count: {count}}}"
    open_ended = f"{{event: Login, since: '{since}', count: {count}}}"
    for at, inside in [
        (START - 1, False),
        (START, True),
        (START + DAY - 1, True),
        (START + DAY, False),
    ]:
        assert verdict(text, START + 9 * DAY, [did("Login", at)]) == (inside, FOREVER, True)
        later = at >= START
        assert verdict(open_ended, START + 9 * DAY, [did("Login", at)]) == (later, FOREVER, True)


def test_of_many_the_newest_that_are_enough_decide_when_it_ends() -> None:
    events = [did("Login", NOON + n * DAY) for n in range(5)]
    text = "{event: Login, count: {at_least: 2}, within: 30d}"
    assert verdict(text, NOON + 10 * DAY, events) == (True, NOON + 33 * DAY, True)
    assert verdict(text, NOON + 33 * DAY, events) == (False, FOREVER, True)
    few = "{event: Login, count: {at_most: 2}, within: 30d}"
    assert verdict(few, NOON + 10 * DAY, events) == (False, NOON + 32 * DAY, True)


def test_by_day_a_window_begins_at_midnight() -> None:
    events = [did("Login", NOON)]
    text = "{event: Login, within: 3d, granularity: day}"
    assert verdict(text, START + 4 * DAY - 1, events) == (True, START + 4 * DAY, True)
    assert verdict(text, START + 4 * DAY, events) == (False, FOREVER, True)


def test_what_must_not_follow_is_known_when_its_time_is_over() -> None:
    text = "{event: View, then_not: {event: Buy, within: 3d}}"
    viewed = did("View", NOON)
    assert verdict(text, NOON, [viewed]) == (False, NOON + 3 * DAY, True)
    assert verdict(text, NOON + 3 * DAY, [viewed]) == (True, FOREVER, True)
    bought = [viewed, did("Buy", NOON + 3 * DAY)]
    assert not verdict(text, NOON + 3 * DAY, bought).member
    too_late = [viewed, did("Buy", NOON + 3 * DAY + 1)]
    assert verdict(text, NOON + 4 * DAY, too_late) == (True, FOREVER, True)
    at_once = [viewed, did("Buy", NOON)]
    assert verdict(text, NOON + 3 * DAY, at_once).member


def test_an_order_that_is_told_twice_counts_once_at_its_earlier_time() -> None:
    events = [
        did("Order Completed", NOON, order_id=7, revenue=10),
        did("Order Completed", NOON + DAY, order_id=" 7", revenue=12),
        did("Order Completed", NOON + DAY, revenue=1),
    ]
    now = NOON + 2 * DAY
    assert verdict("{event: order completed, count: 2}", now, events).member
    assert verdict("{event: Order Completed, sum: {of: revenue, eq: 11}}", now, events).member
    assert verdict("{event: Order Completed, count: 1, within: 2d}", now, events).member


def test_a_score_counts_until_it_is_too_old() -> None:
    scores = {"churn": (0.8, NOON)}
    text = "{score: churn, at_least: .7, max_age: 7d}"
    assert verdict(text, NOON, scores=scores) == (True, NOON + 7 * DAY, True)
    assert verdict(text, NOON + 7 * DAY, scores=scores) == (False, FOREVER, True)
    assert verdict("{score: churn, more_than: .8}", NOON, scores=scores) == (False, FOREVER, True)
    assert verdict("{score: churn}", NOON + 900 * DAY, scores=scores) == (True, FOREVER, True)
    assert verdict("{score: uplift}", NOON, scores=scores) == (False, FOREVER, True)


def test_a_clock_that_is_ahead_has_been_seen_by_now() -> None:
    events = [did("Login", NOON + HOUR)]
    assert verdict("{seen: last, within: 1d}", NOON, events) == (True, NOON + HOUR, True)
    assert verdict("{seen: last, not_within: 1d}", NOON, events) == (False, NOON + HOUR, True)
    assert verdict("{event: Login}", NOON, events) == (False, NOON + HOUR, True)


def test_what_does_not_hold_for_longest_says_until_when_all_do_not() -> None:
    events = [did("Login", NOON), did("Order Completed", NOON)]
    text = "all: [{event: Login, not_within: 3d}, {event: Order Completed, not_within: 5d}]"
    assert verdict(text, NOON + DAY, events) == (False, NOON + 5 * DAY, True)
    text = "any: [{event: Login, within: 3d}, {event: Order Completed, within: 5d}]"
    assert verdict(text, NOON + DAY, events) == (True, NOON + 5 * DAY, True)


def test_somebody_of_whom_nothing_is_known_is_where_nothing_is_asked() -> None:
    for text, member in [
        ("has: email", False),
        ("{consent: ads, granted: false}", False),
        ("{trait: x, exists: false}", True),
        ("{event: Login, count: 0}", True),
        ("{event: Login, first: {within: 3d}}", False),
        ("{seen: first, until: 3d}", False),
    ]:
        segment = parse_segment(yaml.safe_load(text), id="s")
        numbers = {each: n for n, each in enumerate(collectors_of(segment.who))}
        judged = Judges({"s": segment}, numbers).verdict("s", Subject(), NOON)
        assert judged == (member, FOREVER, True), text


def test_a_computed_trait_says_until_when_it_holds() -> None:
    events = [
        did("Order Completed", NOON, products=[{"category": "pain"}, {"category": "skin"}]),
        did("Order Completed", NOON + DAY, products=[{"category": "skin"}, {"category": "pain"}]),
        did("Order Completed", NOON + 2 * DAY, products=[{"category": "vitamins"}]),
    ]
    found = {}
    for what in ["most_frequent", "first", "last", "unique_list"]:
        trait = parse_computed(
            {"trait": "t", "event": "Order Completed", what: "products.category", "within": "30d"}
        )
        numbers = {collector_for(trait): 1}
        subject = subject_of([folded(events, numbers)], ())
        found[what] = Computer(trait, numbers).of(subject, NOON + 3 * DAY)
    assert {what: each.value for what, each in found.items()} == {
        # Both were bought twice; of the newer order skin stands first.
        "most_frequent": "skin",
        "first": "pain",
        "last": "vitamins",
        "unique_list": ["vitamins", "skin", "pain"],
    }
    assert {each.valid_until_ms for each in found.values()} == {NOON + 30 * DAY}


@pytest.mark.parametrize(
    ("text", "grows"),
    [
        ("{event: Login, within: 7d}", True),
        ("{event: Login, within: 7d, distinct: {of: plan, at_least: 2}}", True),
        ("{all: [{consent: ads}, {has: email}, {seen: last, within: 7d}]}", True),
        # Of an order that is told again the earlier copy counts, which may be too old.
        ("{event: Order Completed, within: 7d}", False),
        ("{event: Login, within: 7d, count: {at_most: 2}}", False),
        ("{event: Login, then_not: {event: Logout, within: 1d}}", False),
        ("{event: Refunded, sum: {of: price, at_least: 5}}", False),
        ("{seen: first, within: 7d}", False),
        ("{any: [{event: Login}, {trait: {city: Pune}}]}", False),
        ("{not: {event: Login}}", False),
    ],
)
def test_nobody_leaves_a_growing_segment_because_more_happened(text: str, grows: bool) -> None:
    segment = parse_segment(yaml.safe_load(text), id="s")
    numbers = {each: n for n, each in enumerate(collectors_of(segment.who))}
    assert ("s" in Judges({"s": segment}, numbers).growing) is grows

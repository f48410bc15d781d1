"""What is collected and evaluated agrees with brute force over the events, at all times."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st

from identity.event import Event
from profiles import body as bodies
from profiles.facts import facts_of
from profiles.part import Body
from profiles.segments.collect import Collected, Collecting, Collector, add, collectors_of, trim
from profiles.segments.evaluate import FOREVER, Judges, Subject, subject_of
from profiles.segments.parse import parse_computed, parse_segment
from profiles.segments.problems import BadDefinition
from profiles.segments.tree import ComputedTrait, Segment
from tests.profiles.segments.brute import Person, World, is_member
from tests.profiles.segments.strategies import (
    DAY,
    EVENT_KINDS,
    SHOP,
    START,
    Vocabulary,
    computed_trees,
    event_trees,
    leaf_trees,
    made_history,
    made_moments,
    made_person,
    segment_trees,
)

WITH_COMPUTED = msgspec.structs.replace(SHOP, computed=["made"])


def numbered(
    segments: Mapping[str, Segment], computed: Mapping[str, ComputedTrait] | None = None
) -> dict[Collector, int]:
    """Numbers for all that some segments need."""
    needed = dict.fromkeys(
        each for segment in segments.values() for each in collectors_of(segment.who, computed)
    )
    return {collector: n for n, collector in enumerate(needed, 1)}


def folded(events: Sequence[Event], numbers: Mapping[Collector, int]) -> Body:
    """A body of some events."""
    collecting = Collecting({n: collector for collector, n in numbers.items()})
    body = Body()
    collected: dict[int, Collected] = {}
    for event in events:
        facts = facts_of(event, None)
        bodies.add(body, facts)
        for number, hit in collecting.hits(
            facts.event, facts.message, event.time_ms, event.properties
        ).items():
            add(collected.setdefault(number, Collected()), hit)
    bodies.trim(body)
    for each in collected.values():
        trim(each)
    body.collected = dict(sorted(collected.items()))
    return body


def lived(
    events: Sequence[Event], numbers: Mapping[Collector, int], random: Random, person: Person
) -> Subject:
    """The subject of events that came in any order to any leaves."""
    shuffled = random.sample(list(events), len(events))
    leaves: list[list[Event]] = [[], [], []]
    for event in shuffled:
        random.choice(leaves).append(event)
    return subject_of(
        [folded(leaf, numbers) for leaf in leaves], person.identifier_types, person.scores
    )


def check_agreement(
    judges: Judges,
    segment_id: str,
    subject: Subject,
    person: Person,
    moments: Sequence[int],
    world: World,
) -> None:
    """The verdict is brute force's now, and until it says otherwise."""
    truth = {at: is_member(segment_id, person, at, world) for at in moments}
    for now in moments:
        member, until, exact = judges.verdict(segment_id, subject, now)
        assert exact
        assert member == truth[now], now
        assert until > now
        if segment_id not in dict(judges.may_hold(subject.newest, now)):
            # Not to ask is to say that.
            assert (member, until) == (False, FOREVER)
        for later, answer in truth.items():
            assert not now < later < until or answer == member, (now, later, until)
        if until < FOREVER:
            assert is_member(segment_id, person, until - 1, world) == member
            at_last = is_member(segment_id, person, until, world)
            assert judges.verdict(segment_id, subject, until).member == at_last


def check_world(world: World, segment_id: str, trees: Any, seed: int) -> None:
    """Several people, each looked at at many moments."""
    random = Random(seed)
    numbers = numbered(world.segments, world.computed)
    judges = Judges(world.segments, numbers, world.computed)
    for _ in range(8):
        person = made_person(random, made_history(random, trees))
        subject = lived(person.events, numbers, random, person)
        moments = made_moments(random, person.events, trees)
        check_agreement(judges, segment_id, subject, person, moments, world)


seeds = st.integers(0, 1 << 30)
many = settings(deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])


@pytest.mark.parametrize("kind", EVENT_KINDS)
@given(data=st.data(), by_day=st.booleans(), seed=seeds)
@settings(many, max_examples=30)
def test_every_kind_of_condition_on_events_agrees_with_brute_force(
    kind: str, data: st.DataObject, by_day: bool, seed: int
) -> None:
    tree = data.draw(event_trees(SHOP, by_day=by_day, kinds=[kind]))
    tree["granularity"] = "day" if by_day else "exact"
    check_world(World(segments={"s": parse_segment(tree, id="s")}), "s", tree, seed)


@given(segment_trees(SHOP), seeds)
@settings(many, max_examples=100)
def test_the_verdict_is_what_brute_force_says_until_it_says_otherwise(tree: Any, seed: int) -> None:
    check_world(World(segments={"s": parse_segment(tree, id="s")}), "s", tree, seed)


@given(leaf_trees(WITH_COMPUTED, kinds=["computed"]), computed_trees(SHOP, "made"), seeds)
@settings(many, max_examples=40)
def test_conditions_on_computed_traits_agree_with_brute_force(
    tree: Any, made: Any, seed: int
) -> None:
    world = World(
        segments={"s": parse_segment(tree, id="s")}, computed={"made": parse_computed(made)}
    )
    check_world(world, "s", [tree, made], seed)


@given(
    segment_trees(WITH_COMPUTED),
    segment_trees(WITH_COMPUTED, ["a"]),
    computed_trees(SHOP, "made"),
    seeds,
)
@settings(many, max_examples=40)
def test_segments_of_segments_and_computed_traits_agree_too(
    first: Any, second: Any, made: Any, seed: int
) -> None:
    segments = {"a": parse_segment(first, id="a"), "b": parse_segment(second, id="b")}
    world = World(segments=segments, computed={"made": parse_computed(made)})
    check_world(world, "b", [first, second, made], seed)


def is_growing(tree: Any) -> bool:
    """Whether nobody leaves a segment because more happened."""
    segments = {"s": parse_segment(tree, id="s")}
    return "s" in Judges(segments, numbered(segments)).growing


growing = st.one_of(
    event_trees(SHOP, kinds=["plain", "count", "distinct"]).filter(is_growing),
    leaf_trees(SHOP, kinds=["seen"]).filter(is_growing),
    leaf_trees(SHOP, kinds=["has", "consent"]),
)


@given(
    st.tuples(st.sampled_from(["all", "any"]), st.lists(growing, min_size=1, max_size=3)).map(
        lambda pair: {pair[0]: pair[1]}
    ),
    seeds,
)
@settings(many, max_examples=60)
def test_whatever_more_happens_a_member_of_a_growing_segment_stays_as_long_as_was_said(
    tree: Any, seed: int
) -> None:
    segments = {"s": parse_segment(tree, id="s")}
    numbers, random = numbered(segments), Random(seed)
    judges = Judges(segments, numbers)
    assert judges.growing == {"s"}
    for _ in range(8):
        person = made_person(random, made_history(random, tree))
        later = {n for n in range(len(person.events)) if random.random() < 0.3}
        sooner = [each for n, each in enumerate(person.events) if n not in later]
        before = lived(sooner, numbers, random, person)
        after = lived(person.events, numbers, random, person)
        if before.consent != after.consent:
            continue
        moments = made_moments(random, person.events, tree)
        for now in moments:
            member, until, _ = judges.verdict("s", before, now)
            for at in (each for each in [*moments, until - 1] if now <= each < until):
                assert not member or judges.verdict("s", after, at).member, (now, at, until)


def many_events(random: Random, count: int, days: int) -> list[Event]:
    """More than are kept one by one, without order ids."""
    return [
        Event(
            type="track",
            message_id=f"m{n}",
            received_ms=0,
            time_ms=START + random.randrange(days * DAY),
            key_ms=0,
            source="test",
            name=random.choice(["Login"] * 9 + ["Order Completed"]),
            properties={"revenue": random.choice([1, 2.5])},
        )
        for n in range(count)
    ]


LONG = Vocabulary(
    events=["Login", "*"],
    properties={},
    numbers=["revenue"],
    traits={},
    days=390,
)
large = st.one_of(st.integers(300, 500), st.sampled_from([1, 2, 499, 500]))
large_checks = st.one_of(
    st.fixed_dictionaries({"at_least": large}),
    st.fixed_dictionaries({"at_most": large}),
    st.fixed_dictionaries({"eq": large}),
)


@st.composite
def large_trees(draw: st.DrawFn, *, by_day: bool) -> dict[str, Any]:
    tree = draw(
        event_trees(LONG, by_day=by_day, kinds=["plain", "first", "last", "sum"] + 6 * ["count"])
    )
    if "count" in tree:
        tree["count"] = draw(large_checks)
    if "sum" in tree:
        tree["sum"] = {"of": "revenue", "at_least": 2 * draw(large)}
    return tree


@pytest.mark.parametrize("by_day", [False, True])
@given(data=st.data(), seed=seeds)
@settings(many, max_examples=40)
def test_beyond_what_is_kept_one_by_one_an_answer_that_claims_to_be_exact_is(
    by_day: bool, data: st.DataObject, seed: int
) -> None:
    tree = {**data.draw(large_trees(by_day=by_day)), "granularity": "day" if by_day else "exact"}
    try:
        world = World(segments={"s": parse_segment(tree, id="s")})
    except BadDefinition:
        # Windows of more than 400 days.
        reject()
    random = Random(seed)
    days = random.choice([30, 200, 390])
    person = Person(events=many_events(random, random.choice([400, 900, 900]), days))
    numbers = numbered(world.segments)
    subject = lived(person.events, numbers, random, person)
    judges = Judges(world.segments, numbers)
    for now in made_moments(random, person.events, tree, 6):
        member, until, exact = judges.verdict("s", subject, now)
        # All those days are counted: by day nothing is lost, but for what happened later than now.
        assert exact or not by_day or now < max(event.time_ms for event in person.events)
        if "s" not in dict(judges.may_hold(subject.newest, now)):
            assert (member, until) == (False, FOREVER)
        if not exact:
            continue
        assert is_member("s", person, now, world) == member
        assert until > now
        assert is_member("s", person, min(until - 1, now + 200 * DAY), world) == member

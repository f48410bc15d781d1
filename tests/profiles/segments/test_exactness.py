"""What is collected and evaluated agrees with brute force over the events, at all times."""

from collections.abc import Mapping, Sequence
from random import Random

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from identity.event import Event
from profiles import body as bodies
from profiles.facts import facts_of
from profiles.part import Body
from profiles.segments.collect import Collected, Collecting, Collector, add, collectors_of, trim
from profiles.segments.evaluate import FOREVER, Judges, Subject, subject_of
from profiles.segments.parse import parse_computed, parse_segment
from profiles.segments.tree import ComputedTrait, Segment
from tests.profiles.segments.brute import Person, World, is_member
from tests.profiles.segments.strategies import (
    SHOP,
    computed_trees,
    histories,
    identifiers,
    instants,
    scores,
    segment_trees,
)


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
            facts.event, facts.message, facts.time_ms, event.properties
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
        for later, answer in truth.items():
            assert not now < later < until or answer == member, (now, later, until)
        if until < FOREVER:
            assert is_member(segment_id, person, until - 1, world) == member
            at_last = is_member(segment_id, person, until, world)
            assert judges.verdict(segment_id, subject, until).member == at_last


@given(st.data())
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_verdict_is_what_brute_force_says_until_it_says_otherwise(data: st.DataObject) -> None:
    tree = data.draw(segment_trees(SHOP))
    segments = {"s": parse_segment(tree, id="s")}
    check_world(data, World(segments=segments), "s")


def check_world(data: st.DataObject, world: World, segment_id: str) -> None:
    happened = data.draw(histories)
    person = Person(
        events=happened, identifier_types=data.draw(identifiers), scores=data.draw(scores)
    )
    numbers = numbered(world.segments, world.computed)
    subject = lived(happened, numbers, data.draw(st.randoms(use_true_random=False)), person)
    judges = Judges(world.segments, numbers, world.computed)
    check_agreement(judges, segment_id, subject, person, data.draw(instants(happened)), world)


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_segments_of_segments_and_computed_traits_agree_too(data: st.DataObject) -> None:
    words = msgspec.structs.replace(SHOP, computed=["made"])
    computed = {"made": parse_computed(data.draw(computed_trees(SHOP, "made")))}
    segments = {
        "a": parse_segment(data.draw(segment_trees(words)), id="a"),
        "b": parse_segment(data.draw(segment_trees(words, ["a"])), id="b"),
    }
    check_world(data, World(segments=segments, computed=computed), "b")

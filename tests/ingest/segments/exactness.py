"""Segments over a simulated stream beside brute force over its events: what both stores are held to."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgspec
from hypothesis import HealthCheck, Phase, given, seed, settings

from identity.event import Event
from identity.nodes import Node, type_code
from identity.rules import Rules
from ingest.decode import decode
from profiles.segments.catalogue import Catalogue
from profiles.segments.parse import parse_definition
from profiles.segments.problems import BadDefinition
from service.rpc.parsing import type_names
from simulator.shop import START_MS, Shop
from storage.attribution import Attribution
from storage.ports import Store, TimelineRow
from tests.profiles.segments.brute import Person, World, is_member
from tests.profiles.segments.strategies import Vocabulary, computed_trees, segment_trees
from tests.workspace import DAY

COMPUTED = "favourite"
DAYS = 40
WORDS = Vocabulary(
    events=["Order Completed", "Product Viewed", "Product Added", "Logged Out", "$page", "*"],
    properties={
        "products.category": ["vitamins", "pain-relief", "oral-care", "ayurveda"],
        "category": ["vitamins", "pain-relief", "skin-care"],
        "currency": ["INR"],
        "products.price": [178.5, 300, 592.5],
    },
    numbers=["revenue", "products.price", "price", "quantity"],
    traits={"name": ["Asha"], "email": ["a@example.com"], "city": ["Pune"]},
    purposes=["ads", "functional"],
    identifier_types=["email", "phone", "device_id"],
    computed=[COMPUTED],
    start_ms=START_MS,
    days=DAYS,
)


def made_trees(count: int, seeded: int) -> dict[str, Any]:
    """So many definitions that parse: a computed trait, and segments of which some name others."""
    trees: list[dict[str, Any]] = []
    named = [f"s{n}" for n in range(5)]

    @seed(seeded)
    @settings(
        max_examples=2 * count, database=None, phases=[Phase.generate], deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(segment_trees(WORDS), segment_trees(WORDS, named))
    def draw(first: dict[str, Any], later: dict[str, Any]) -> None:
        tree = first if len(trees) < len(named) else later
        try:
            parse_definition(tree, id="s")
        except BadDefinition:
            return
        trees.append(tree)

    draw()
    return {f"s{n}": tree for n, tree in enumerate(trees[:count])} | {
        COMPUTED: made_computed(seeded)
    }


def made_computed(seeded: int) -> dict[str, Any]:
    """A computed trait that is a number."""
    found: list[dict[str, Any]] = []

    @seed(seeded)
    @settings(max_examples=30, database=None, phases=[Phase.generate], deadline=None)
    @given(computed_trees(WORDS, COMPUTED))
    def draw(tree: dict[str, Any]) -> None:
        if "count" in tree:
            found.append(tree)

    draw()
    return found[-1]


def made_stream(random: Random, people: int, kiosks: int) -> list[dict[str, Any]]:
    """A shop's messages, a third of them late, some told twice."""
    shop = Shop(seed=random.randrange(1000), people=people, days=DAYS, kiosks=kiosks)
    events = [event for event, _ in shop]
    places = [
        n + (random.randrange(len(events)) if random.random() < 0.3 else 0)
        for n in range(len(events))
    ]
    order = sorted(range(len(events)), key=lambda n: (places[n], n))
    return [events[n] for n in order]


def truth(
    store: Store,
    rules: Rules,
    catalogue: Catalogue,
    now_ms: int,
    event_of: Callable[[TimelineRow], Event],
) -> dict[str, set[Node]]:
    """Who is in each segment, by brute force over every stored event."""
    attribution = Attribution(store, rules)
    events: dict[Node, list[Event]] = {}
    for row in store.timeline.scan():
        owner = attribution.profile(row.leaf, row.time_ms) or row.leaf
        events.setdefault(owner, []).append(event_of(row))
    names = type_names(rules)
    members = {each.profile_id: each.members for each in store.people.scan()}
    world = World(segments=catalogue.segments, computed=catalogue.computed)
    found: dict[str, set[Node]] = {key: set() for key in catalogue.segments}
    for owner, some in events.items():
        own = members.get(owner, {owner})
        devices = _devices(store, own)
        types = frozenset(names[type_code(node)] for node in {*own, *devices})
        person = Person(events=some, identifier_types=types)
        for key, inside in found.items():
            if is_member(key, person, now_ms, world):
                inside.add(owner)
    return found


def _devices(store: Store, members: Sequence[Node] | set[Node] | frozenset[Node]) -> set[Node]:
    """The devices that people were seen on, by their parts' own word."""
    from profiles.part import decode as decode_part

    found: set[Node] = set()
    for blob in store.parts.read(members).values():
        body = decode_part(blob).body
        found.update(map(Node, body.devices if body else ()))
    return found


def stored_event(row: TimelineRow, source: Any) -> Event:
    """The event of a row, at the time that counts."""
    event = decode(row.raw, row.received_ms, source, row.type)
    assert isinstance(event, Event)
    return msgspec.structs.replace(
        event, time_ms=row.time_ms, key_ms=row.key_ms, message_id=row.message_id
    )


def moments(random: Random, count: int) -> list[int]:
    """Moments, in order, from the beginning of the stream until long after it."""
    return sorted(START_MS + random.randrange(3 * DAY, (2 * DAYS + 20) * DAY) for _ in range(count))

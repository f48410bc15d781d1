"""Segments over a simulated stream beside brute force over its events: what both stores are held to."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Protocol

import msgspec
from hypothesis import HealthCheck, Phase, given, seed, settings

from identity.decisions import Decision
from identity.event import Event, Source
from identity.nodes import Node, names_device, type_code
from identity.rules import Rules
from ingest.deciding import Draft, merge, split
from ingest.decode import decode
from ingest.segments.evaluating import Evaluator, profile_of
from profiles.segments.catalogue import Catalogue
from profiles.segments.parse import parse_definition
from profiles.segments.problems import BadDefinition
from service.rpc.parsing import type_names
from simulator.shop import START_MS, Shop
from storage.attribution import Attribution
from storage.gathering import Gatherer
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


class Side(Protocol):
    """A workspace on some store, as this check drives it."""

    rules: Rules
    source: Source
    now: int
    """The time by every clock of it."""

    @property
    def store(self) -> Store:
        """What it knows."""

    def take(self, events: Sequence[dict[str, Any]], batch: int = 500) -> Any:
        """Feed messages."""

    def define_trees(self, trees: dict[str, Any], *, fill: bool = True) -> None:
        """Define segments by id, and have everybody looked at for them."""

    def decide(self, decision: Decision) -> None:
        """An operator decides."""

    def catalogue(self) -> Catalogue:
        """What is in force."""

    def settle(self) -> None:
        """Until nothing is left to do: everybody is looked at, for everything, by now."""


def check(
    side: Side,
    seeded: int,
    *,
    people: int,
    trees: int,
    instants: int,
    kiosks: int = 0,
    meanwhile: Callable[[Random], None] = lambda random: None,
) -> tuple[int, int]:
    """A stream in pieces, definitions in pieces, merges and splits, and time that passes.

    How many segments were compared at the last moment, and how many at all moments together.
    """
    random = Random(seeded)
    side.now = 0
    stream = made_stream(random, people, kiosks)
    waiting = list(made_trees(trees, seeded).items())
    # The computed trait comes first: segments ask for it.
    waiting.sort(key=lambda entry: entry[0] != COMPUTED)
    segments = compared = fed = 0
    for n, now in enumerate(moments(random, instants)):
        side.now = now
        some = waiting[: max(10, len(waiting) // 2)] if n % 3 == 0 else []
        del waiting[: len(some)]
        upto = len(stream) * (n + 1) // max(1, instants // 2)
        middle = (fed + upto) // 2
        side.take(stream[fed:middle], batch=random.choice([1, 7, 500]))
        if some:
            side.define_trees(dict(some), fill=random.random() < 0.5)
        side.take(stream[middle:upto], batch=random.choice([1, 7, 500]))
        fed = upto
        operate(side, random, n)
        meanwhile(random)
        side.settle()
        segments = compare(side)
        compared += segments
    return segments, compared


def operate(side: Side, random: Random, n: int) -> None:
    """An operator merges two people, or splits one."""
    store = side.store
    leaves = [leaf for leaf in sorted(store.parts.leaves(None, 10_000)) if not names_device(leaf)]
    if len(leaves) < 4:
        return
    people = store.people.clusters_of(leaves)
    draft = Draft(f"d{n}", "op", "test", side.now)
    if n % 2:
        one, other = random.sample(leaves, 2)
        sides = [people[each].members if each in people else {each} for each in (one, other)]
        if not sides[0] & sides[1] and not store.decisions.of(sorted(sides[0] | sides[1])):
            side.decide(merge(store, draft, [one, other]))
    else:
        large = sorted({tuple(sorted(c.members)) for c in people.values() if len(c.members) > 1})
        if large:
            members = random.choice(large)
            side.decide(split(draft, [members[:1], members[1:]]))


def compare(side: Side) -> int:
    """Every segment holds whom brute force says, at this moment; how many segments those are."""
    catalogue, now = side.catalogue(), side.now
    wanted = truth(
        side.store, side.rules, catalogue, now, lambda row: stored_event(row, side.source)
    )
    for key, right in wanted.items():
        found = {node for node, _ in side.store.memberships.members(key, None, 100_000)}
        wrong = {node for node in found ^ right if claims_exact(side, node, key, catalogue)}
        assert not wrong, (key, catalogue.segments[key], _hex(wrong), now)
    return len(wanted)


def claims_exact(side: Side, node: Node, key: str, catalogue: Catalogue) -> bool:
    """Whether a verdict is said to be exact: that of a kiosk may need more events than are kept one by one."""
    named = side.store.lookups.named([node])
    gathered = Gatherer(side.store, side.rules).gather([profile_of(node, named[node])], named)
    ((subject, _),) = Evaluator(side.store, side.rules).subjects(gathered, catalogue)
    return subject is None or catalogue.judges.verdict(key, subject, side.now).exact


def _hex(nodes: set[Node]) -> list[str]:
    return sorted(node.hex() for node in nodes)[:5]


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

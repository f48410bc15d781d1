"""The storefront's stream beside its truth: which identifiers ended up together.

What messages name together is read from them here by a few lines that share nothing with `identity/`, so
that the truth does not lean on what is measured.
"""

import itertools
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from identity.event import Event, Source
from identity.evidence import Link, MustLink
from identity.extract import Extractor
from identity.nodes import DEVICE_TYPES, Node, NodeHasher
from identity.resolve import Cluster, Evidence, Refusal
from identity.rules import Rules
from ingest.decode import Refused, decode
from ingest.pipeline import Pipeline
from ingest.record import Recorded, record
from ingest.segments.here import Segments
from ingest.sources import Sources
from models.scores import Ints, closure
from simulator.shop import Scenario
from simulator.truth import Source as Origin
from tests.bench.people import people_joined_by_a_device
from tests.workspace import NOON, Workspace

BATCH: Final = 2_000
SOURCES: Final = Sources(
    {one.value: Source(name=one.value, trusted=one is Origin.BACK_END) for one in Origin}
)
"""As a shop would configure them: only the back end's claims are trusted."""

Told = tuple[dict[str, Any], str]
"""A message, and the name of the source that it came from."""
Name = tuple[str, str]
"""(type, normalized value)."""


def told(shop: Scenario) -> Iterator[Told]:
    """Every delivery of a simulated stream."""
    for message, truth in shop:
        yield message, truth.source.value


def decoded(messages: Iterable[Told], sources: Sources = SOURCES) -> Iterator[list[Event]]:
    """Batches of events, as the service decodes them."""
    events: list[Event] = []
    for message, name in messages:
        event = decode(
            msgspec.json.encode(message), NOON, sources.named(name), believe_received_at=True
        )
        if isinstance(event, Refused):
            raise TypeError(f"this is no event: {event.reason}, {event.detail}")
        events.append(event)
        if len(events) == BATCH:
            yield events
            events = []
    if events:
        yield events


class Said(NamedTuple):
    """What a stream says about who is who."""

    evidence: Evidence
    named: frozenset[Node]
    """Every identifier that was believed."""
    uses: int
    events: int


def said_by(messages: Iterable[Told], extractor: Extractor, sources: Sources = SOURCES) -> Said:
    """All that messages say, by the record stage."""
    links: dict[tuple[Node, Node], Link] = {}
    must_links: list[MustLink] = []
    named: set[Node] = set()
    uses: set[tuple[Node, Node, int]] = set()
    count = 0
    for events in decoded(messages, sources):
        said: Recorded = record(events, (), extractor, sources.named)
        count += len(events)
        named.update(said.identifiers)
        uses.update(said.uses)
        must_links += said.must_links
        for pair, link in said.links.items():
            held = links.get(pair)
            links[pair] = link if held is None else held.merge(link)
    evidence = Evidence(links=list(links.values()), must_links=must_links)
    return Said(evidence, frozenset(named), len(uses), count)


class Stored(NamedTuple):
    """What the embedded store holds after a stream."""

    people: frozenset[Cluster]
    refusals: frozenset[Refusal]
    joined_by_a_device: int
    """Pairs of people in one cluster who have no person identifier in common."""


def stored(shop: Scenario, rules: Rules) -> Stored:
    """The same stream through the pipeline into SQLite: people are decided batch by batch."""
    whose = {each.value: each.people for each in shop.identifiers()}
    with tempfile.TemporaryDirectory() as folder:
        world = Workspace(Path(folder), rules)
        pipeline = Pipeline(
            world.store, world.keys, rules, SOURCES, Segments(world.store, rules, lambda: NOON)
        )
        for events in decoded(told(shop)):
            pipeline.process(events)
        found = Stored(
            frozenset(world.store.people.scan()),
            frozenset(world.store.people.refusals(1 << 40)),
            people_joined_by_a_device(world, whose),
        )
        world.close()
    return found


class Truths(NamedTuple):
    """Person identifiers of one person each that some message named, in the order of `nodes`."""

    nodes: Sequence[Node]
    owner: Ints
    """Whose each is."""
    reachable: Ints
    """The same for two identifiers of one person that messages connect."""
    union: Ints
    """The field's answer: whatever a message names together is one person, devices too."""
    shared: dict[Node, tuple[str, ...]]
    """Person identifiers of several people, who have no one right cluster and are not scored."""


def truths(shop: Scenario, hasher: NodeHasher) -> Truths:
    """Whose the identifiers are that messages named.

    Nobody can know whose an e-mail is that only ever stood alone in a newsletter form. So recall is measured
    against everything that is one person's, and against what is *reachable*: the identifiers of one person
    that messages connect by naming two of them together.
    """
    people = {(each.type, each.value): each.people for each in shop.identifiers()}
    number: dict[Name, int] = {}
    together: set[tuple[int, int]] = set()
    for message, _ in shop:
        places = [number.setdefault(name, len(number)) for name in names_in(message)]
        together.update(itertools.combinations(places, 2))
    names = list(number)
    persons = [place for place, name in enumerate(names) if name[0] not in DEVICE_TYPES]
    whose = {p: people[names[p]][0] for p in persons if len(people.get(names[p], ())) == 1}
    one_person = [(a, b) for a, b in together if a in whose and whose[a] == whose.get(b)]
    place_of = {person: place for place, person in enumerate(sorted(set(whose.values())))}
    scored = list(whose)
    return Truths(
        nodes=[hasher.node(*names[place]) for place in scored],
        owner=np.array([place_of[person] for person in whose.values()], np.int64),
        reachable=_closure(len(names), one_person)[scored],
        union=_closure(len(names), list(together))[scored],
        shared={
            hasher.node(*names[place]): people[names[place]]
            for place in persons
            if len(people.get(names[place], ())) > 1
        },
    )


def _closure(count: int, pairs: Sequence[tuple[int, int]]) -> Ints:
    left, right = np.array(pairs, np.int64).reshape(-1, 2).T
    return closure(count, left, right)


def names_in(message: dict[str, Any]) -> list[Name]:
    """The identifiers that a message of the simulator names, normalized; junk too."""
    context = message["context"]
    traits = context.get("traits") or {}
    device = context.get("device") or {}
    found = {
        "user_id": message.get("userId"),
        "email": traits.get("email", "").strip().lower(),
        "phone": _phone(traits.get("phone", "")),
        "anonymous_id": message.get("anonymousId"),
        "device_id": device.get("id"),
        "advertising_id": device.get("advertisingId"),
    }
    names = [(kind, value) for kind, value in found.items() if value]
    if message["type"] == "alias":
        names.append(("user_id", message["previousId"]))
    return names


def _phone(text: str) -> str:
    """The simulator's numbers are Indian, some written without their country's code."""
    digits = "".join(filter(str.isdigit, text))
    return f"+91{digits[-10:]}" if digits else ""


def labels(nodes: Sequence[Node], clusters: Iterable[Cluster]) -> Ints:
    """The cluster of each node; one that is in none is alone."""
    place = {node: number for number, cluster in enumerate(clusters) for node in cluster.members}
    alone = len(place)
    return np.array([place.get(node, alone + n) for n, node in enumerate(nodes)], np.int64)


def people_in_one(clusters: Iterable[Cluster], truth: Truths) -> int:
    """Pairs of people who are one cluster, for whatever reason."""
    owner = dict(zip(truth.nodes, truth.owner.tolist(), strict=True))
    mixed = 0
    for cluster in clusters:
        found = len({owner[node] for node in cluster.members if node in owner})
        mixed += found * (found - 1) // 2
    return mixed

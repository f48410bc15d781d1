"""Segments on Kafka and Cassandra: who is in them, and what is told, as in one process (real servers)."""

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from identity.nodes import Node
from ingest.segments.here import Segments
from profiles.segments.catalogue import Edit
from simulator.shop import Shop
from storage.ports import Store
from tests.faults.embedded import Embedded
from tests.faults.log import until
from tests.faults.stream import disordered
from tests.faults.workers import STAGES
from tests.faults.world import World
from tests.ingest.workers.test_segments import edit
from tests.servers import Cassandra, Kafka

FIRST = """
lookers: {event: Product Viewed, count: {at_least: 3}}
buyers: {event: Order Completed}
known: {has: email}
"""
SECOND = """
loyal: {all: [{event: Order Completed, count: {at_least: 2}}, {event: Product Viewed}]}
lookers: {all: [{event: Product Viewed}, {not: {event: Order Completed}}]}
known: null
"""
SEGMENTS = ("lookers", "buyers", "loyal", "known")


@pytest.fixture
def world(
    cassandra: Cassandra, kafka: Kafka, cassandra_keyspace: str, topic_prefix: str, tmp_path: Path
) -> Iterator[World]:
    with World(
        tmp_path / "world",
        hosts=cassandra.hosts,
        brokers=kafka.brokers,
        keyspace=cassandra_keyspace,
        prefix=topic_prefix,
    ) as made:
        yield made.make()


def members_of(store: Store) -> dict[str, set[Node]]:
    return {
        segment: {node for node, _ in store.memberships.members(segment, None, 10**5)}
        for segment in SEGMENTS
    }


def define(world: World, made: Edit) -> None:
    assert world.store.definitions.append(made)


def settle(world: World, revision: int) -> None:
    """Until everybody was looked at for a revision, and nothing more comes."""

    def filled() -> bool:
        world.check()
        state = world.store.backfills.get()
        return state is not None and state.revision == revision and state.finished

    until(filled, f"segments of revision {revision} are filled", 120)
    world.settle()


def test_servers_know_who_is_in_a_segment_as_one_process_does(world: World, tmp_path: Path) -> None:
    stream = disordered(Shop(seed=41, people=40, days=8), 7)
    half = len(stream.messages) // 2
    embedded = Embedded(tmp_path / "embedded", stream.messages)
    segments = Segments(embedded.store, embedded.rules, lambda: time.time_ns() // 1_000_000)
    world.start(*STAGES, "evaluate")
    world.send(stream.messages[:half])
    world.settle()
    for revision, text in ((1, FIRST), (2, SECOND)):
        define(world, edit(revision, text))
        assert embedded.store.definitions.append(edit(revision, text))
        if revision == 1:
            # One that owns half of the profiles dies without a word while everybody is looked at.
            world.send(stream.messages[half:])
            world.kill(world.of("evaluate")[0])
            world.start("evaluate")
        settle(world, revision)
        segments.fill()
        expected = members_of(embedded.store)
        assert members_of(world.store) == expected
        assert sum(map(bool, expected.values())) >= 3
        counts = world.store.memberships.count(SEGMENTS)
        assert counts == embedded.store.memberships.count(SEGMENTS)
    assert followed(world) == expected
    world.verify()
    embedded.close()


def followed(world: World) -> dict[str, set[Node]]:
    """Members as somebody knows them who reads the topic; each profile's transitions are without holes."""
    heard: dict[Node, dict[int, tuple[str, str]]] = {}
    for message in world.log.read(world.kafka.topic("segments")):
        value = msgspec.json.decode(message.value() or b"")
        profile = Node(bytes.fromhex(value.get("userId") or value["anonymousId"]))
        said = (value["properties"]["audience_key"], value["event"])
        number = value["context"]["onefold"]["sequence"]
        assert heard.setdefault(profile, {}).setdefault(number, said) == said
    members: dict[str, set[Node]] = {segment: set() for segment in SEGMENTS}
    for profile, some in heard.items():
        assert sorted(some) == list(range(1, len(some) + 1))
        for _, (segment, event) in sorted(some.items()):
            if event == "Audience Entered":
                members[segment].add(profile)
            elif event == "Audience Exited":
                members[segment].discard(profile)
    return members

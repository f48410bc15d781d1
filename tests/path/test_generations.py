"""Another generation of derived tables is built beside the live one, while events come, and switched to."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from identity.nodes import Node
from ingest.messages import encode_transition
from ingest.segments.here import Segments
from profiles.segments.membership import NEVER_MS, Reason, Standing, Transition
from simulator.shop import Shop
from storage.cassandra.store import CassandraStore
from storage.ports import Store
from storage.profiles import ProfileReader
from storage.segment_ports import Kept
from tests.faults.embedded import Embedded, Expected
from tests.faults.log import Sender, until
from tests.faults.picture import picture
from tests.faults.stream import BACK_END, WEB, Stream, disordered
from tests.faults.workers import STAGES, Worker
from tests.faults.world import World
from tests.ingest.workers.test_segments import edit
from tests.path.test_segments_on_servers import (
    FIRST,
    SECOND,
    SEGMENTS,
    define,
    followed,
    members_of,
    settle,
)
from tests.servers import Cassandra, Kafka
from tests.workspace import KEYS

pytestmark = pytest.mark.slow


def since(store: Store) -> dict[str, dict[Node, int]]:
    """Who is in each segment, and since when."""
    return {key: dict(store.memberships.members(key, None, 10**5)) for key in SEGMENTS}


def in_one_process(folder: Path, stream: Stream) -> tuple[Expected, dict[str, set[Node]]]:
    """What it makes of the stream, and who is in which segment then, all of them defined afterwards."""
    embedded = Embedded(folder, stream.messages)
    segments = Segments(embedded.store, embedded.rules, lambda: time.time_ns() // 1_000_000)
    for made in (edit(1, FIRST), edit(2, SECOND)):
        assert embedded.store.definitions.append(made)
    segments.fill()
    members = members_of(embedded.store)
    found = picture(embedded.store, embedded.reader, {kind: kind for kind in (WEB, BACK_END)})
    embedded.close()
    return Expected(stream, found, folder), members


def enter_as_nobody(world: World) -> None:
    """Under other rules some identifier without events of its own was a profile's id."""
    gone = Node(bytes(range(16)))
    entered = Transition(
        segment="lookers", profile_id=gone, entered=True, at_ms=1, sequence=1, reason=Reason.EVENT
    )
    standing = Standing(profile_id=gone, segments={"lookers": 1}, sequence=1)
    world.store.evaluations.keep([(None, Kept(standing, (), NEVER_MS))], 1)
    world.store.evaluations.tell({(0, 1): [entered]})
    key, value = encode_transition(entered)
    Sender(world.kafka.brokers).send([(world.kafka.topic("segments"), key, value)])
    assert gone in since(world.store)["lookers"]


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


def test_a_generation_built_while_events_come_equals_one_process(
    world: World, tmp_path: Path
) -> None:
    stream = disordered(Shop(seed=31, people=60, days=12), 3)
    expected, members = in_one_process(tmp_path / "embedded", stream)
    third = len(stream.messages) // 3
    define(world, edit(1, FIRST))
    world.start(*STAGES)
    world.send(stream.messages[:third])
    settle(world, 1)

    # What comes from here on is folded twice: into the live generation and into the one being built.
    world.send(stream.messages[third : 2 * third])
    world.onefold("replay", "--into", "2")
    refused = world.try_onefold("replay", "--into", "1")
    assert refused[0] != 0
    assert "1 is the live generation" in refused[1]
    building = Worker("fold", world.config, world.folder / "building.log", "--generation", "2")
    world.workers.append(building)
    world.send(stream.messages[2 * third :])
    world.settle()
    topics = world.topics_of("fold")
    until(lambda: not world.log.lag(world.kafka.group("fold", 2), topics), "generation 2 is level")

    before = since(world.store)
    assert all(before[each] for each in ("lookers", "buyers", "known"))
    enter_as_nobody(world)
    world.onefold("replay", "--switch", "2")
    world.stop()
    world.start(*STAGES)
    world.joined("identify", 1)
    switched = CassandraStore(world.cassandra, world.keys)
    try:
        assert switched.generation == 2
        assert world.keys == KEYS
        reader = ProfileReader(switched, world.rules, KEYS.hasher(), KEYS.vault())
        world.store.close()
        world._opened, world.generation = (switched, reader), 2
        # Everybody is looked at again, and is in what they were in, since they were; nobody is told so. Who is
        # no profile any more left, and that was told.
        settle(world, 1)
        assert since(switched) == before
        assert followed(world) == members_of(switched)
        # What is new is told after what was.
        define(world, edit(2, SECOND))
        settle(world, 2)
        told = followed(world)
        assert told == members_of(switched) == members
        assert told["loyal"]
        world.compare(expected, command=True)
    finally:
        switched.close()

"""Another generation of derived tables is built beside the live one, while events come, and switched to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.shop import Shop
from storage.cassandra.store import CassandraStore
from storage.profiles import ProfileReader
from tests.faults.embedded import expect
from tests.faults.log import until
from tests.faults.stream import disordered
from tests.faults.workers import STAGES, Worker
from tests.faults.world import World
from tests.servers import Cassandra, Kafka
from tests.workspace import KEYS

pytestmark = pytest.mark.slow


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
    expected = expect(stream, tmp_path / "embedded")
    third = len(stream.messages) // 3
    world.start(*STAGES)
    world.send(stream.messages[:third])
    world.settle()

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

    world.onefold("replay", "--switch", "2")
    world.stop()
    world.start(*STAGES)
    world.joined("identify", 1)
    switched = CassandraStore(world.cassandra, world.keys)
    try:
        assert switched.generation == 2
        assert world.keys == KEYS
        reader = ProfileReader(switched, world.rules, KEYS.hasher(), KEYS.vault())
        world._opened = switched, reader
        world.compare(expected, command=True)
    finally:
        switched.close()

"""One stream through one process and through Kafka and Cassandra: the same people, ids and profiles."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.shop import Shop, people_for
from tests.faults.embedded import Expected, expect
from tests.faults.recommending import compare_recommendations
from tests.faults.stream import disordered
from tests.faults.test_replay import replay
from tests.faults.workers import STAGES
from tests.faults.world import World
from tests.servers import Cassandra, Kafka

EVENTS = 200_000
"""Messages of the full differential, copies included."""


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


def compare(world: World, expected: Expected) -> None:
    """Everything is equal, down to what the service answers."""
    world.compare(expected, command=True)
    assert compare_recommendations(world, expected), "nobody got a recommendation"


def test_servers_give_what_one_process_gives(world: World, tmp_path: Path) -> None:
    stream = disordered(Shop(seed=23, people=130, days=20), 7)
    expected = expect(stream, tmp_path / "embedded")
    world.start(*STAGES, *STAGES)
    world.send(stream.messages[: len(stream.messages) // 2])
    world.look()
    world.send(stream.messages[len(stream.messages) // 2 :])
    world.settle()
    # And all of it again, from the start of the topics.
    assert replay(world, "record") == {"record": len(stream.messages)}
    compare(world, expected)


@pytest.mark.faults
def test_servers_give_what_one_process_gives_for_two_hundred_thousand_events(
    world: World, tmp_path: Path
) -> None:
    repeated = 0.3
    shop = Shop(seed=24, people=people_for(round(1.1 * EVENTS / (1 + repeated))), days=30)
    stream = disordered(shop, 8, repeated=repeated)
    assert len(stream.messages) >= EVENTS
    expected = expect(stream, tmp_path / "embedded")
    world.start(*STAGES, *STAGES)
    world.send(stream.messages)
    world.settle(timeout_s=1_200)
    compare(world, expected)

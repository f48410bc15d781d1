"""The stream that the quick fault tests share, what it gives in one process, and workspaces for it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from simulator.shop import Shop
from tests.faults.embedded import Expected, expect
from tests.faults.stream import disordered
from tests.faults.world import World
from tests.servers import Cassandra, Kafka

Make = Callable[..., World]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Expected:
    """Some 2,500 messages in disorder."""
    stream = disordered(Shop(seed=21, people=60, days=10), 5, poison=False)
    return expect(stream, tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def logins(tmp_path_factory: pytest.TempPathFactory) -> Expected:
    """What says who is who, and nothing else: some 1,500 messages of 600 people."""
    shop = Shop(seed=25, people=600, days=14)
    stream = disordered(shop, 7, poison=False, types=("identify", "alias"))
    return expect(stream, tmp_path_factory.mktemp("logins"))


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Expected:
    """Some 60,000 messages in disorder, for faults that take minutes."""
    stream = disordered(Shop(seed=22, people=650, days=30), 6, poison=False)
    return expect(stream, tmp_path_factory.mktemp("large"))


@pytest.fixture
def make_world(
    cassandra: Cassandra, kafka: Kafka, cassandra_keyspace: str, topic_prefix: str, tmp_path: Path
) -> Iterator[Make]:
    """Makes the test's workspace on the session's servers."""
    made: list[World] = []

    def make(**settings: Any) -> World:
        settings = {"hosts": cassandra.hosts, "brokers": kafka.brokers} | settings
        world = World(tmp_path, keyspace=cassandra_keyspace, prefix=topic_prefix, **settings)
        made.append(world)
        return world.make()

    yield make
    for world in made:
        world.close()


@pytest.fixture
def world(make_world: Make) -> World:
    """A workspace as most tests need it: small batches, so that a fault falls into one."""
    return make_world(worker={"batch_events": 100})

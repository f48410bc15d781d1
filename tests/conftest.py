"""Fixtures for every test. Servers start when the first test asks for one: import nothing slow here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.servers import Cassandra, Kafka


@pytest.fixture(scope="session")
def cassandra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cassandra]:
    """A real Cassandra of one node: `.hosts`, `.port`."""
    from tests.servers import cassandra_server

    with cassandra_server(tmp_path_factory.mktemp("cassandra")) as server:
        yield server


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A real Kafka broker: `.brokers`. Topics are not made by use."""
    from tests.servers import kafka_server

    with kafka_server(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.fixture
def cassandra_keyspace(cassandra: Cassandra) -> Iterator[str]:
    """A workspace name of this test's own; keyspaces named so, or `<name>_…`, are dropped afterwards."""
    from tests.servers import drop_keyspaces, fresh_name

    name = fresh_name()
    yield name
    drop_keyspaces(cassandra, name)


@pytest.fixture
def topic_prefix(request: pytest.FixtureRequest) -> Iterator[str]:
    """A prefix for topics of this test's own; they are deleted afterwards if it used `kafka`."""
    from tests.servers import delete_topics, fresh_name

    name = fresh_name()
    yield name
    if "kafka" in request.fixturenames:
        delete_topics(request.getfixturevalue("kafka"), name)


QUICK_FAULTS = ("test_cut_off.py",)
"""Faults that take seconds; the others take a minute or many each and are `make test-faults`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of `tests/faults` that `make test` leaves out."""
    for item in items:
        if item.path.parent.name == "faults" and item.path.name not in QUICK_FAULTS:
            item.add_marker(pytest.mark.faults)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """In `make test` one process runs whatever needs a server, so that there is one of each."""
    from tests.splitting import ServersTogether

    return ServersTogether(config, log)

"""Every implementation of the store runs the same suite; Cassandra is a real one."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.cassandra.schema import migrate
from storage.cassandra.settings import CassandraSettings
from storage.cassandra.store import CassandraStore
from storage.ports import Store
from storage.sqlite import open_store
from tests.servers import Cassandra
from tests.storage.emptying import empty_cassandra
from tests.workspace import KEYS

pytest.register_assert_rewrite("tests.storage.identity_machine", "tests.storage.identity_told")


@pytest.fixture(scope="session")
def cassandra_settings(cassandra: Cassandra) -> CassandraSettings:
    """A migrated workspace of this session's own."""
    settings = CassandraSettings(
        hosts=cassandra.hosts,
        port=cassandra.port,
        keyspace=f"contract_{uuid.uuid4().hex[:12]}",
        replication=1,
        # A machine that is busy with other things is no failure of ours.
        timeout_s=30,
    )
    migrate(settings)
    return settings


@pytest.fixture
def cassandra_store(cassandra_settings: CassandraSettings) -> Iterator[CassandraStore]:
    """A store with nothing in it."""
    made = CassandraStore(cassandra_settings, KEYS)
    empty_cassandra(made, cassandra_settings, kept=("meta",))
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "cassandra"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "cassandra":
        yield request.getfixturevalue("cassandra_store")
        return
    made, _ = open_store(tmp_path / "onefold.sqlite", tmp_path / "onefold.keys")
    yield made
    made.close()

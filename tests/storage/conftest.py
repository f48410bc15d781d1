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
from tests.workspace import KEYS

pytest.register_assert_rewrite("tests.storage.identity_machine")


@pytest.fixture(scope="session")
def cassandra_settings(cassandra: Cassandra) -> CassandraSettings:
    """A migrated workspace of this session's own."""
    settings = CassandraSettings(
        hosts=cassandra.hosts,
        port=cassandra.port,
        keyspace=f"contract_{uuid.uuid4().hex[:12]}",
        replication=1,
    )
    migrate(settings)
    return settings


@pytest.fixture
def cassandra_store(cassandra_settings: CassandraSettings) -> Iterator[CassandraStore]:
    """A store with nothing in it."""
    made = CassandraStore(cassandra_settings, KEYS)
    for name in cassandra_settings.keyspaces(1):
        for table in made.connection.cluster.metadata.keyspaces[name].tables:
            # Truncating takes 20 ms a table, so only where something is.
            if table != "meta" and made.connection.execute(f"SELECT * FROM {name}.{table} LIMIT 1"):
                made.connection.run(f"TRUNCATE {name}.{table}")
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

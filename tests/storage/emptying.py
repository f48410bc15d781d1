"""Stores as if nothing was ever said to them."""

from collections.abc import Collection

from storage.cassandra.settings import CassandraSettings
from storage.cassandra.store import CassandraStore
from storage.sqlite import SqliteStore

KEPT: Collection[str] = ("meta", "leases")
"""Epochs go on: a process remembers where it stands in its own."""


def tables_of(store: SqliteStore) -> list[str]:
    """Every table but those kept."""
    rows = store.database.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
    return [name for (name,) in rows if name not in KEPT and not name.startswith("sqlite")]


def empty_sqlite(store: SqliteStore) -> None:
    """Forget everything but epochs."""
    with store.transaction():
        for table in tables_of(store):
            store.database.write(f"DELETE FROM {table}")


def empty_cassandra(
    store: CassandraStore, settings: CassandraSettings, kept: Collection[str] = KEPT
) -> None:
    """Forget everything but what is in tables that are kept."""
    for keyspace in settings.keyspaces(1):
        for table in store.connection.cluster.metadata.keyspaces[keyspace].tables:
            # Truncating takes 20 ms a table, so only where something is.
            rows = f"{keyspace}.{table}"
            if table not in kept and store.connection.execute(f"SELECT * FROM {rows} LIMIT 1"):
                store.connection.run(f"TRUNCATE {rows}")

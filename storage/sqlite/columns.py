"""Links and people of SQLite in columns."""

from collections.abc import Iterator
from contextlib import contextmanager

from storage.columns import ClusterColumns, LinkColumns, cluster_columns, link_columns
from storage.sqlite.database import Database


class SqliteColumns:
    """`storage.columns.Columns`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def links(self) -> Iterator[LinkColumns]:
        return link_columns(self._database.each("SELECT a, b, first_ms, trusted_ms FROM links"))

    def clusters(self) -> Iterator[ClusterColumns]:
        return cluster_columns(self._database.each("SELECT profile, members FROM clusters"))

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        connection = self._database.connection()
        if connection.in_transaction:
            yield  # the writer's own, or that of a snapshot around this one
            return
        with self._database.mapped_errors:
            connection.execute("BEGIN")
        try:
            yield
        finally:
            connection.execute("COMMIT")

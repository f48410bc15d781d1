"""Who does what only one may do at a time, in Cassandra: a lease that ends by itself.

Conditional writes of rows that live for a while, in the table of leases, under names that no worker's has.
"""

import uuid
from typing import Final

from storage.cassandra.connection import Connection
from storage.errors import StoreUnavailable

_NAMED: Final = "hold:"
_EPOCH: Final = 0
"""Of every row: nothing is written under these leases."""


class CassandraHolds:
    """`storage.segment_ports.Holds`."""

    def __init__(self, connection: Connection, keyspace: str) -> None:
        self._connection = connection
        table = f"{keyspace}.leases"
        self._take = (
            f"INSERT INTO {table} (name, epoch, holder, attempt) VALUES (?, ?, ?, ?) "
            "IF NOT EXISTS USING TTL ?"
        )
        self._keep = (
            f"UPDATE {table} USING TTL ? SET epoch = ?, holder = ?, attempt = ? "
            "WHERE name = ? IF attempt = ?"
        )
        self._end = f"DELETE FROM {table} WHERE name = ? IF attempt = ?"
        self._held = f"SELECT attempt FROM {table} WHERE name = ?"
        self._who = f"SELECT holder FROM {table} WHERE name = ?"

    def take(self, name: str, holder: str, seconds: int) -> str | None:
        mark = uuid.uuid4().hex
        values = (_NAMED + name, _EPOCH, holder, mark, seconds)
        try:
            taken = bool(self._connection.execute(self._take, values)[0][0])
        except StoreUnavailable:
            # Nobody said whether it was done: the mark says.
            rows = self._connection.execute_serial(self._held, (_NAMED + name,))
            taken = bool(rows) and rows[0][0] == mark
        return mark if taken else None

    def keep(self, name: str, holder: str, mark: str, seconds: int) -> bool:
        values = (seconds, _EPOCH, holder, mark, _NAMED + name, mark)
        return bool(self._connection.execute(self._keep, values)[0][0])

    def end(self, name: str, mark: str) -> None:
        self._connection.execute(self._end, (_NAMED + name, mark))

    def holder(self, name: str) -> str | None:
        rows = self._connection.execute_serial(self._who, (_NAMED + name,))
        return str(rows[0][0]) if rows else None

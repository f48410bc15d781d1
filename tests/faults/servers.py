"""What the servers themselves know of what was done to them."""

from collections.abc import Iterable

from tests.servers import Cassandra


def rows_written(cassandra: Cassandra, keyspaces: Iterable[str]) -> dict[str, int]:
    """Rows that one node has written since it started, by table; a row of a batch counts as one."""
    wanted = set(keyspaces)
    counted = cassandra.query(
        "SELECT keyspace_name, table_name, count FROM system_views.local_write_latency"
    )
    return {
        (table or b"").decode(): int.from_bytes(count or b"")
        for keyspace, table, count in counted
        if (keyspace or b"").decode() in wanted
    }

"""Take what is known of segments along into another generation of derived tables.

Everybody is evaluated again there. But since when they are in a segment, and the numbers of what was told,
nobody can work out again: followers would take what follows for old news.
"""

from collections.abc import Callable, Iterator
from typing import Final

from identity.nodes import Node
from storage.cassandra.grouped import Write
from storage.cassandra.store import CassandraStore
from storage.chunks import chunks

ROWS_AT_ONCE: Final = 2_000
STAMPED: Final = 1
"""Timestamp of what is carried: below that of every worker."""
_TABLES: Final[tuple[tuple[str, tuple[str, ...], bool], ...]] = (
    ("segment_members", ("segment_bucket", "profile"), True),
    ("timer_windows", ("shard", "quarter"), False),
    ("timers", ("shard_window", "timer_ms", "profile"), True),
    ("standings", ("profile", "kept"), True),
    ("told_logs", ("bucket", "log"), False),
    ("told_epochs", ("log", "epoch"), False),
    ("told", ("log_chunk", "number", "transition"), False),
    ("segment_days", ("segment", "day"), False),
    (
        "segment_flows",
        ("segment_day", "at_ms", "profile", "sequence", "entered", "reason"),
        False,
    ),
    ("segment_counts", ("segment", "until_ms", "people", "devices"), True),
)
"""(table, columns, whether its rows have timestamps of their own); what leads to a standing comes before it."""


def carry_segments(
    live: CassandraStore,
    target: CassandraStore,
    progress: Callable[[int], None] = lambda rows: None,
) -> int:
    """Copy all of it while nobody evaluates; how many rows. Repeating it changes nothing."""
    written = 0
    for table, columns, stamped in _TABLES:
        for some in chunks(_writes(live, target, table, columns, stamped=stamped), ROWS_AT_ONCE):
            target.derived.write(some)
            written += len(some)
            progress(written)
    return written


def carried_ids(target: CassandraStore) -> Iterator[Node]:
    """Whose standing was carried."""
    rows = target.derived.connection.each(
        f"SELECT profile FROM {target.derived.keyspace}.standings"
    )
    return (Node(profile) for (profile,) in rows)


def _writes(
    live: CassandraStore,
    target: CassandraStore,
    table: str,
    columns: tuple[str, ...],
    *,
    stamped: bool,
) -> Iterator[Write]:
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    insert = f"INSERT INTO {target.derived.keyspace}.{table} ({names}) VALUES ({marks})"
    insert += f" USING TIMESTAMP {STAMPED}" if stamped else ""
    for row in live.derived.connection.each(f"SELECT {names} FROM {live.derived.keyspace}.{table}"):
        # A row of which only the key is left says nothing.
        if all(value is not None for value in row):
            yield Write(row[0] if isinstance(row[0], bytes) else str(row[0]).encode(), insert, row)

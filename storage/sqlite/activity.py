"""Timelines and parts in SQLite."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from identity.nodes import Node
from storage.ports import TimelineQuery, TimelineRow
from storage.sqlite.database import Database

_COLUMNS: Final = (
    "leaf, key_ms, message_id, log_offset, time_ms, received_ms, type, name, source, raw"
)


class SqliteTimeline:
    """`storage.ports.Timeline`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, rows: Sequence[TimelineRow], beyond: Mapping[Node, int] | None = None
    ) -> list[int]:
        # Inserting finds copies by itself: nothing is gained by knowing which rows are new.
        if not rows:
            return []
        low, high = min(row.offset for row in rows), max(row.offset for row in rows)
        with self._database.transaction():
            self._database.insert_many(
                "INSERT OR IGNORE INTO events",
                [
                    (
                        row.offset, row.leaf, row.key_ms, row.message_id, row.time_ms,
                        row.received_ms, row.type, row.name, row.source, row.raw,
                    )
                    for row in rows
                ],
            )  # fmt: skip
            stored = {
                offset
                for (offset,) in self._database.rows(
                    "SELECT log_offset FROM events WHERE log_offset BETWEEN ? AND ?", (low, high)
                )
            }
            return [row.offset if row.offset in stored else self._offset_of(row) for row in rows]

    def _offset_of(self, row: TimelineRow) -> int:
        ((offset,),) = self._database.rows(
            "SELECT log_offset FROM events WHERE leaf = ? AND key_ms = ? AND message_id = ?",
            (row.leaf, row.key_ms, row.message_id),
        )
        return int(offset)

    def read(self, leaves: Sequence[Node], query: TimelineQuery) -> list[TimelineRow]:
        conditions, parameters = _conditions(query)
        found = self._database.rows_in(
            lambda marks: (
                f"SELECT {_COLUMNS} FROM events WHERE leaf IN ({marks}){conditions} "
                "ORDER BY key_ms DESC, message_id DESC, leaf DESC LIMIT ?"
            ),
            leaves,
            (*parameters, query.limit),
        )
        rows = {row[:3]: row for row in found}
        newest = sorted(rows.values(), key=lambda row: (row[1], row[2], row[0]), reverse=True)
        return [_row(row) for row in newest[: query.limit]]

    def scan(self, after: Node | None = None) -> Iterator[TimelineRow]:
        for row in self._database.each(
            f"SELECT {_COLUMNS} FROM events WHERE leaf > ? ORDER BY leaf, key_ms, message_id",
            (after or b"",),
        ):
            yield _row(row)

    def count(self) -> int:
        return int(self._database.rows("SELECT count(*) FROM events")[0][0])


class SqliteParts:
    """`storage.ports.Parts`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, leaves: Iterable[Node]) -> dict[Node, bytes]:
        return dict(
            self._database.rows_in(
                lambda marks: f"SELECT leaf, part FROM parts WHERE leaf IN ({marks})", leaves
            )
        )

    def write(self, blobs: Mapping[Node, tuple[int, bytes]]) -> None:
        self._database.insert_many(
            "INSERT INTO parts",
            [(leaf, blob) for leaf, (_, blob) in sorted(blobs.items())],
            "ON CONFLICT (leaf) DO UPDATE SET part = excluded.part",
        )

    def leaves(self, after: Node | None, limit: int) -> list[Node]:
        return [
            leaf
            for (leaf,) in self._database.rows(
                "SELECT leaf FROM parts WHERE leaf > ? ORDER BY leaf LIMIT ?", (after or b"", limit)
            )
        ]

    def share(self, leaf: Node) -> float:
        return int.from_bytes(leaf[:8]) / (1 << 64)

    def count(self) -> int:
        return int(self._database.rows("SELECT count(*) FROM parts")[0][0])

    def about(self, most: int) -> tuple[int, float]:
        return self.count(), 0.0


def _row(row: tuple[Any, ...]) -> TimelineRow:
    leaf, key_ms, message_id, offset, time_ms, received_ms, type_, name, source, raw = row
    return TimelineRow(
        leaf=leaf, key_ms=key_ms, message_id=message_id, offset=offset, time_ms=time_ms,
        received_ms=received_ms, type=type_, name=name, source=source, raw=raw,
    )  # fmt: skip


def _conditions(query: TimelineQuery) -> tuple[str, list[Any]]:
    conditions = ""
    parameters: list[Any] = []
    if query.names:
        marks = ",".join("?" * len(query.names))
        names = [name.lower() for name in query.names]
        conditions += f" AND (lower(name) IN ({marks}) OR type IN ({marks}))"
        parameters += [*names, *names]
    if query.since_ms is not None:
        conditions += " AND time_ms >= ?"
        parameters.append(query.since_ms)
    if query.until_ms is not None:
        conditions += " AND time_ms < ?"
        parameters.append(query.until_ms)
    if query.before is not None:
        conditions += " AND (key_ms, message_id, leaf) < (?, ?, ?)"
        parameters += query.before
    return conditions, parameters

"""Decisions of operators and changes of people in SQLite."""

from collections.abc import Sequence
from typing import Final

import msgspec

from identity.changes import PersonChange, Published
from identity.decisions import Decision
from identity.nodes import Node
from storage.sqlite.database import Database

_encode = msgspec.msgpack.Encoder().encode
_decision = msgspec.msgpack.Decoder(Decision).decode
_change = msgspec.msgpack.Decoder(PersonChange).decode
_FIRST: Final = (1 << 62, "")


class SqliteDecisions:
    """`storage.identity_ports.Decisions`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, decisions: Sequence[Decision]) -> list[Decision]:
        merged = []
        with self._database.transaction():
            for decision in decisions:
                held = self.get([decision.id]).get(decision.id)
                merged.append(decision if held is None else held.merge(decision))
                self._write(merged[-1])
        return merged

    def _write(self, decision: Decision) -> None:
        write = self._database.write_many
        write(
            "INSERT OR REPLACE INTO decisions VALUES (?, ?, ?)",
            [(decision.id, decision.time_ms, _encode(decision))],
        )
        write(
            "INSERT OR IGNORE INTO decision_nodes VALUES (?, ?)",
            [(node, decision.id) for node in sorted(decision.nodes)],
        )
        write("DELETE FROM blocked_nodes WHERE id = ?", [(decision.id,)])
        write(
            "INSERT INTO blocked_nodes VALUES (?, ?)",
            [(node, decision.id) for node in sorted(decision.blocked())],
        )

    def get(self, ids: Sequence[str]) -> dict[str, Decision]:
        rows = self._database.rows_in(
            lambda marks: f"SELECT id, decision FROM decisions WHERE id IN ({marks})", ids
        )
        return {decision_id: _decision(blob) for decision_id, blob in rows}

    def of(self, nodes: Sequence[Node]) -> list[Decision]:
        rows = self._database.rows_in(
            lambda marks: f"SELECT id FROM decision_nodes WHERE node IN ({marks})", nodes
        )
        return [decision for _, decision in sorted(self.get([i for (i,) in set(rows)]).items())]

    def blocked(self) -> frozenset[Node]:
        return frozenset(node for (node,) in self._database.rows("SELECT node FROM blocked_nodes"))

    def list(self, limit: int, before: tuple[int, str] | None = None) -> list[Decision]:
        rows = self._database.rows(
            "SELECT decision FROM decisions WHERE (time_ms, id) < (?, ?) "
            "ORDER BY time_ms DESC, id DESC LIMIT ?",
            (*(before or _FIRST), limit),
        )
        return [_decision(blob) for (blob,) in rows]


class SqliteChanges:
    """`storage.identity_ports.Changes`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def announce(self, changes: Sequence[PersonChange]) -> None:
        self._database.write_many(
            "INSERT OR REPLACE INTO changes_announced VALUES (?, ?, ?)",
            [(each.id, each.time_ms, _encode(each)) for each in changes],
        )

    def announced(self, limit: int) -> list[PersonChange]:
        rows = self._database.rows(
            "SELECT change FROM changes_announced ORDER BY time_ms, id LIMIT ?", (limit,)
        )
        return [_change(blob) for (blob,) in rows]

    def published(self, changes: Sequence[PersonChange]) -> None:
        write = self._database.write_many
        with self._database.transaction():
            write(
                "INSERT OR IGNORE INTO changes (id, change) VALUES (?, ?)",
                [(each.id, _encode(each)) for each in changes],
            )
            write(
                "INSERT OR IGNORE INTO change_profiles SELECT ?, position FROM changes WHERE id = ?",
                [(profile, each.id) for each in changes for profile in sorted(each.profiles)],
            )
            write("DELETE FROM changes_announced WHERE id = ?", [(each.id,) for each in changes])

    def history(self, after: int, limit: int) -> list[Published]:
        rows = self._database.rows(
            "SELECT position, change FROM changes WHERE position > ? ORDER BY position LIMIT ?",
            (after, limit),
        )
        return [Published(position, _change(blob)) for position, blob in rows]

    def get(self, ids: Sequence[str]) -> dict[str, PersonChange]:
        rows = self._database.rows_in(
            lambda marks: f"SELECT id, change FROM changes WHERE id IN ({marks})", ids
        )
        return {change_id: _change(blob) for change_id, blob in rows}

    def of(self, profile_ids: Sequence[Node], limit: int) -> list[PersonChange]:
        found: dict[int, bytes] = {}
        for profile in profile_ids:
            found |= dict(
                self._database.rows(
                    "SELECT position, change FROM change_profiles JOIN changes USING (position) "
                    "WHERE profile = ? ORDER BY position DESC LIMIT ?",
                    (profile, limit),
                )
            )
        return [_change(blob) for _, blob in sorted(found.items(), reverse=True)[:limit]]

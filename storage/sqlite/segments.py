"""Segments in SQLite: what is defined, who is in them, and whom to look at next."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from identity.nodes import Node
from profiles.segments.catalogue import Edit
from profiles.segments.membership import NEVER_MS, Cause, Reason, Standing, Transition
from storage.segment_ports import Backfill, Flow, ScoreRow, Told
from storage.sqlite.database import Database

_encode = msgspec.msgpack.Encoder().encode
_edit = msgspec.msgpack.Decoder(Edit).decode
_standing = msgspec.msgpack.Decoder(Standing).decode
_backfill = msgspec.msgpack.Decoder(Backfill).decode
_DEVICE: Final = "0x08"
_TOLD: Final = "position, profile, sequence, segment, entered, at_ms, reason, purpose"


class SqliteDefinitions:
    """`storage.ports.Definitions`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, edit: Edit) -> bool:
        return bool(
            self._database.write(
                "INSERT INTO segment_edits SELECT ?1, ?2 "
                "WHERE ?1 = (SELECT coalesce(max(revision), 0) + 1 FROM segment_edits)",
                (edit.revision, _encode(edit)),
            )
        )

    def since(self, revision: int) -> list[Edit]:
        rows = self._database.rows(
            "SELECT edit FROM segment_edits WHERE revision > ? ORDER BY revision", (revision,)
        )
        return [_edit(blob) for (blob,) in rows]


class SqliteMemberships:
    """`storage.ports.Memberships`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, profile_ids: Iterable[Node]) -> dict[Node, Standing]:
        rows = self._database.rows_in(
            lambda marks: f"SELECT standing FROM standings WHERE profile IN ({marks})", profile_ids
        )
        return {each.profile_id: each for (blob,) in rows for each in (_standing(blob),)}

    def write(self, standings: Sequence[Standing], told: Sequence[Transition]) -> None:
        insert, write = self._database.insert_many, self._database.write_many
        moved = [each for each in told if each.reason is not Reason.CONSENT]
        with self._database.transaction():
            insert(
                "INSERT OR REPLACE INTO standings",
                [
                    (
                        each.profile_id,
                        None if each.due_ms == NEVER_MS else each.due_ms,
                        _encode(each),
                    )
                    for each in standings
                    if not each.empty
                ],
            )
            write(
                "DELETE FROM standings WHERE profile = ?",
                [(each.profile_id,) for each in standings if each.empty],
            )
            # Told twice is told once: a profile's sequence numbers each of its transitions.
            insert(
                "INSERT OR IGNORE INTO transitions (profile, sequence, segment, entered, at_ms, reason, "
                "purpose)",
                [
                    (
                        t.profile_id,
                        t.sequence,
                        t.segment,
                        t.entered,
                        t.at_ms,
                        t.reason.value,
                        t.purpose,
                    )
                    for t in told
                ],
            )
            insert(
                "INSERT OR REPLACE INTO segment_members",
                sorted((t.segment, t.profile_id, t.at_ms) for t in moved if t.entered),
            )
            write(
                "DELETE FROM segment_members WHERE segment = ? AND profile = ?",
                sorted((t.segment, t.profile_id) for t in moved if not t.entered),
            )

    def members(self, segment: str, after: Node | None, limit: int) -> list[tuple[Node, int]]:
        return self._database.rows(
            "SELECT profile, since_ms FROM segment_members WHERE segment = ? AND profile > ? "
            "ORDER BY profile LIMIT ?",
            (segment, after or b"", limit),
        )

    def count(self, segments: Sequence[str]) -> dict[str, tuple[int, int]]:
        rows = self._database.rows_in(
            # The fourth hexadecimal pair's high bit of a node says that it names a device.
            lambda marks: (
                "SELECT segment, count(*), sum(instr('89ABCDEF', substr(hex(profile), 14, 1)) > 0) "
                f"FROM segment_members WHERE segment IN ({marks}) GROUP BY segment"
            ),
            segments,
        )
        found = {segment: (every - devices, devices) for segment, every, devices in rows}
        return {segment: found.get(segment, (0, 0)) for segment in segments}

    def due(self, until_ms: int, limit: int) -> list[Node]:
        rows = self._database.rows(
            "SELECT profile FROM standings WHERE due_ms <= ? ORDER BY due_ms LIMIT ?",
            (until_ms, limit),
        )
        return [profile for (profile,) in rows]

    def told(self, after: str, limit: int, segments: Sequence[str] = ()) -> list[Told]:
        marks = ",".join("?" * len(segments))
        only = f"AND segment IN ({marks})" if segments else ""
        rows = self._database.rows(
            f"SELECT {_TOLD} FROM transitions WHERE position > ? {only} ORDER BY position LIMIT ?",
            (int(after or 0), *segments, limit),
        )
        return [_told(row) for row in rows]

    def newest(self) -> str:
        return str(self._database.rows("SELECT coalesce(max(position), 0) FROM transitions")[0][0])

    def history(self, segment: str, since_ms: int, until_ms: int, every_ms: int) -> list[Flow]:
        rows = self._database.rows(
            "SELECT at_ms / ?1 * ?1, reason, sum(entered), sum(NOT entered) FROM transitions "
            "WHERE segment = ?2 AND at_ms >= ?3 AND at_ms < ?4 AND reason != ?5 "
            "GROUP BY 1, 2 ORDER BY 1, 2",
            (every_ms, segment, since_ms, until_ms, Reason.CONSENT.value),
        )
        return [Flow(*row) for row in rows]


class SqlitePending:
    """`storage.ports.Pending`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, causes: Mapping[Node, Cause]) -> None:
        if not causes:
            return
        with self._database.transaction():
            ((newest,),) = self._database.rows("SELECT coalesce(max(ticket), 0) FROM pending")
            self._database.write_many(
                "INSERT INTO pending VALUES (?, ?, ?) ON CONFLICT (node) DO UPDATE SET "
                "ticket = excluded.ticket, cause = cause | excluded.cause",
                [
                    (node, newest + n, int(cause))
                    for n, (node, cause) in enumerate(causes.items(), start=1)
                ],
            )

    def take(self, limit: int) -> list[tuple[int, Node, Cause]]:
        rows = self._database.rows(
            "SELECT ticket, node, cause FROM pending ORDER BY ticket LIMIT ?", (limit,)
        )
        return [(ticket, node, Cause(cause)) for ticket, node, cause in rows]

    def done(self, taken: Sequence[tuple[int, Node, Cause]]) -> None:
        self._database.write_many(
            "DELETE FROM pending WHERE node = ? AND ticket = ?",
            [(node, ticket) for ticket, node, _ in taken],
        )

    def count(self) -> int:
        return int(self._database.rows("SELECT count(*) FROM pending")[0][0])

    def followed(self) -> int | None:
        rows = self._database.rows("SELECT value FROM meta WHERE key = 'segments_followed'")
        return int(rows[0][0]) if rows else None

    def follow(self, position: int) -> None:
        self._database.write(
            "INSERT OR REPLACE INTO meta VALUES ('segments_followed', ?)", (position,)
        )


class SqliteBackfills:
    """`storage.ports.Backfills`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self) -> Backfill | None:
        rows = self._database.rows("SELECT value FROM meta WHERE key = 'segments_backfill'")
        return _backfill(rows[0][0]) if rows else None

    def put(self, backfill: Backfill) -> None:
        self._database.write(
            "INSERT OR REPLACE INTO meta VALUES ('segments_backfill', ?)", (_encode(backfill),)
        )


class SqliteScores:
    """`storage.ports.Scores`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, scores: Sequence[ScoreRow]) -> None:
        self._database.write_many(
            "INSERT INTO scores VALUES (?, ?, ?, ?) ON CONFLICT (node, name) DO UPDATE SET "
            "value = excluded.value, at_ms = excluded.at_ms WHERE excluded.at_ms >= at_ms",
            [(each.node, each.name, each.value, each.at_ms) for each in scores],
        )

    def of(self, nodes: Iterable[Node]) -> list[ScoreRow]:
        rows = self._database.rows_in(
            lambda marks: f"SELECT node, name, value, at_ms FROM scores WHERE node IN ({marks})",
            nodes,
        )
        return [ScoreRow(*row) for row in dict.fromkeys(rows)]


def _told(row: tuple[Any, ...]) -> Told:
    position, profile, sequence, segment, entered, at_ms, reason, purpose = row
    return Told(
        str(position),
        Transition(profile, sequence, segment, bool(entered), at_ms, Reason(reason), purpose),
    )

"""Dead letters, positions, the catalogue, changes and leases in SQLite."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from storage.ports import CatalogItem, DeadLetter, StoredPosition
from storage.sqlite.database import Database

_LETTER: Final = "id, received_ms, source, reason, detail, raw, origin"


class SqliteDeadLetters:
    """`storage.ports.DeadLetters`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, letters: Sequence[DeadLetter]) -> None:
        self._database.write_many(
            "INSERT OR IGNORE INTO dead_letters (digest, received_ms, source, reason, detail, origin, raw) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    _digest(letter),
                    letter.received_ms,
                    letter.source,
                    letter.reason,
                    letter.detail,
                    letter.origin,
                    letter.raw,
                )
                for letter in letters
            ],
        )

    def list(self, limit: int, after_id: int = 0, reason: str | None = None) -> list[DeadLetter]:
        rows = self._database.rows(
            f"SELECT {_LETTER} FROM dead_letters WHERE id > ? AND (? IS NULL OR reason = ?) "
            "ORDER BY id LIMIT ?",
            (after_id, reason, reason, limit),
        )
        return [
            DeadLetter(
                id=id_, received_ms=received_ms, source=source, reason=reason_, detail=detail,
                raw=raw, origin=origin,
            )
            for id_, received_ms, source, reason_, detail, raw, origin in rows
        ]  # fmt: skip

    def remove(self, ids: Sequence[int]) -> None:
        self._database.write_many("DELETE FROM dead_letters WHERE id = ?", [(id_,) for id_ in ids])

    def counts(self) -> dict[str, int]:
        return dict(
            self._database.rows(
                "SELECT reason, count(*) FROM dead_letters GROUP BY reason ORDER BY 1"
            )
        )


class SqlitePositions:
    """`storage.ports.Positions`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, uris: Sequence[str]) -> dict[str, StoredPosition]:
        rows = self._database.rows_in(
            lambda marks: (
                f"SELECT uri, fingerprint, line, finished FROM positions WHERE uri IN ({marks})"
            ),
            uris,
        )
        return {
            uri: StoredPosition(
                uri=uri, fingerprint=fingerprint, line=line, finished=bool(finished)
            )
            for uri, fingerprint, line, finished in rows
        }

    def put(self, positions: Sequence[StoredPosition]) -> None:
        self._database.write_many(
            "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?)",
            [(p.uri, p.fingerprint, p.line, p.finished) for p in positions],
        )


class SqliteCatalog:
    """`storage.ports.Catalog`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def upsert(self, items: Sequence[CatalogItem]) -> None:
        if not items:
            return
        with self._database.transaction():
            self._database.write_many(
                "INSERT INTO items VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                "updated_ms = excluded.updated_ms, item = excluded.item "
                "WHERE excluded.updated_ms >= updated_ms",
                [(item.id, item.updated_ms, msgspec.msgpack.encode(item)) for item in items],
            )
            self._database.write(
                "INSERT INTO meta VALUES ('catalog_version', 1) "
                "ON CONFLICT (key) DO UPDATE SET value = value + 1"
            )

    def get(self, ids: Sequence[str]) -> dict[str, CatalogItem]:
        rows = self._database.rows_in(
            lambda marks: f"SELECT id, item FROM items WHERE id IN ({marks})", ids
        )
        return {id_: _item(blob) for id_, blob in rows}

    def list(self, after_id: str, limit: int) -> list[CatalogItem]:
        return [
            _item(blob)
            for (blob,) in self._database.rows(
                "SELECT item FROM items WHERE id > ? ORDER BY id LIMIT ?", (after_id, limit)
            )
        ]

    def version(self) -> int:
        found = self._database.rows("SELECT value FROM meta WHERE key = 'catalog_version'")
        return int(found[0][0]) if found else 0

    def count(self) -> int:
        return int(self._database.rows("SELECT count(*) FROM items")[0][0])


class SqliteLeases:
    """`storage.ports.Leases`: one file has one writer, so the epoch alone is kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, name: str, holder: str) -> int:
        with self._database.transaction():
            epoch = self.epoch(name) + 1
            self._database.write(
                "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (f"lease:{name}", epoch),
            )
        return epoch

    def epoch(self, name: str) -> int:
        found = self._database.rows("SELECT value FROM meta WHERE key = ?", (f"lease:{name}",))
        return int(found[0][0]) if found else 0

    def epochs(self, names: Iterable[str]) -> dict[str, int]:
        return {name: self.epoch(name) for name in names}


def _digest(letter: DeadLetter) -> bytes:
    content = "\0".join((letter.source, letter.reason, letter.origin)).encode() + b"\0" + letter.raw
    return hashlib.blake2b(content, digest_size=16).digest()


def _item(blob: bytes) -> CatalogItem:
    return msgspec.msgpack.decode(blob, type=CatalogItem)

"""Dead letters, positions, the catalogue and leases in Cassandra."""

import hashlib
import heapq
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from storage.cassandra.connection import Connection
from storage.cassandra.grouped import Grouped, Write
from storage.cassandra.stamps import WriterClock
from storage.errors import StoreUnavailable
from storage.ports import CatalogItem, DeadLetter, StoredPosition

BUCKETS: Final = 16
"""Partitions of what is listed in an order of its own: that many requests a page."""
LEASE_TRIES_MAX: Final = 20
_DIGEST_BITS: Final = 22
_EVERY: Final = "all"

_encode = msgspec.msgpack.Encoder().encode


class CassandraDeadLetters:
    """`storage.ports.DeadLetters`. An id is (received_ms, 22 bits of the content's hash)."""

    def __init__(self, facts: Grouped) -> None:
        self._facts = facts
        keyspace = facts.keyspace
        self._ids = f"SELECT digest, id FROM {keyspace}.dead_letter_ids WHERE digest IN ?"
        self._add_id = f"INSERT INTO {keyspace}.dead_letter_ids (digest, id) VALUES (?, ?)"
        self._add = (
            f"INSERT INTO {keyspace}.dead_letters (bucket, id, reason, letter) VALUES (?, ?, ?, ?)"
        )
        self._page = (
            f"SELECT id, reason, letter FROM {keyspace}.dead_letters WHERE bucket = ? AND id > ?"
        )
        self._select = f"SELECT letter FROM {keyspace}.dead_letters WHERE bucket = ? AND id = ?"
        self._delete = f"DELETE FROM {keyspace}.dead_letters WHERE bucket = ? AND id = ?"
        self._delete_id = f"DELETE FROM {keyspace}.dead_letter_ids WHERE digest = ?"

    def add(self, letters: Sequence[DeadLetter]) -> None:
        by_digest = {_digest(letter): letter for letter in reversed(letters)}
        held = {digest for digest, _ in self._facts.read(self._ids, by_digest)}
        new = {
            digest: msgspec.structs.replace(letter, id=_letter_id(letter, digest))
            for digest, letter in by_digest.items()
            if digest not in held
        }
        # The letter first: if only it gets written, the next try gives it the same id.
        self._facts.write(
            Write(_bucket_key(each.id), self._add, (each.id % BUCKETS, each.id, each.reason, _encode(each)))
            for each in new.values()
        )  # fmt: skip
        self._facts.write(
            Write(digest, self._add_id, (digest, each.id)) for digest, each in new.items()
        )

    def list(self, limit: int, after_id: int = 0, reason: str | None = None) -> list[DeadLetter]:
        found: list[DeadLetter] = []
        pages = [self._letters(bucket, after_id, reason, limit) for bucket in range(BUCKETS)]
        for letter in heapq.merge(*pages, key=lambda letter: letter.id):
            found.append(letter)
            if len(found) == limit:
                break
        return found

    def _letters(
        self, bucket: int, after_id: int, reason: str | None, page: int
    ) -> Iterator[DeadLetter]:
        for _, why, blob in self._facts.connection.each(self._page, (bucket, after_id), page):
            if reason is None or reason == why:
                yield msgspec.msgpack.decode(blob, type=DeadLetter)

    def remove(self, ids: Sequence[int]) -> None:
        connection = self._facts.connection
        places = [(id_ % BUCKETS, id_) for id_ in ids]
        letters = [
            msgspec.msgpack.decode(blob, type=DeadLetter)
            for (blob,) in connection.gather(connection.bind(self._select, at) for at in places)
        ]
        self._facts.write(
            Write(digest, self._delete_id, (digest,)) for digest in map(_digest, letters)
        )
        self._facts.write(
            Write(_bucket_key(id_), self._delete, (bucket, id_)) for bucket, id_ in places
        )

    def counts(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for (reason,) in self._facts.connection.each(
            f"SELECT reason FROM {self._facts.keyspace}.dead_letters"
        ):
            found[reason] = found.get(reason, 0) + 1
        return dict(sorted(found.items()))


class CassandraPositions:
    """`storage.ports.Positions`."""

    def __init__(self, facts: Grouped) -> None:
        self._facts = facts
        table = f"{facts.keyspace}.positions"
        self._select = f"SELECT position FROM {table} WHERE uri = ?"
        self._insert = f"INSERT INTO {table} (uri, position) VALUES (?, ?)"

    def get(self, uris: Sequence[str]) -> dict[str, StoredPosition]:
        connection = self._facts.connection
        rows = connection.gather(
            connection.bind(self._select, (uri,)) for uri in dict.fromkeys(uris)
        )
        held = [msgspec.msgpack.decode(blob, type=StoredPosition) for (blob,) in rows]
        return {position.uri: position for position in held}

    def put(self, positions: Sequence[StoredPosition]) -> None:
        self._facts.write(
            Write(each.uri.encode(), self._insert, (each.uri, _encode(each))) for each in positions
        )


class CassandraCatalog:
    """`storage.ports.Catalog`. One importer at a time: items are compared, then written."""

    def __init__(self, facts: Grouped) -> None:
        self._facts = facts
        keyspace = facts.keyspace
        self._select = (
            f"SELECT id, item, updated_ms FROM {keyspace}.items WHERE bucket = ? AND id IN ?"
        )
        self._insert = (
            f"INSERT INTO {keyspace}.items (bucket, id, updated_ms, item) VALUES (?, ?, ?, ?)"
        )
        self._page = f"SELECT id, item FROM {keyspace}.items WHERE bucket = ? AND id > ?"
        self._versions = f"SELECT version FROM {keyspace}.item_versions WHERE key = ?"
        self._set_version = f"INSERT INTO {keyspace}.item_versions (key, version) VALUES (?, ?)"

    def upsert(self, items: Sequence[CatalogItem]) -> None:
        if not items:
            return
        updated = {id_: at for id_, _, at in self._rows([item.id for item in items])}
        newest: dict[str, CatalogItem] = {}
        for item in items:
            if item.updated_ms >= updated.get(item.id, item.updated_ms):
                updated[item.id] = item.updated_ms
                newest[item.id] = item
        writes = []
        for item in newest.values():
            bucket = _item_bucket(item.id)
            values = (bucket, item.id, item.updated_ms, _encode(item))
            writes.append(Write(_bucket_key(bucket), self._insert, values))
        self._facts.write(writes)
        version = max(self.version() + 1, time.time_ns() // 1_000)
        self._facts.write([Write(b"items", self._set_version, (_EVERY, version))])

    def _rows(self, ids: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        by_bucket: dict[int, list[str]] = {}
        for id_ in dict.fromkeys(ids):
            by_bucket.setdefault(_item_bucket(id_), []).append(id_)
        connection = self._facts.connection
        return connection.gather(
            connection.bind(self._select, (bucket, some[at : at + 50]))
            for bucket, some in by_bucket.items()
            for at in range(0, len(some), 50)
        )

    def get(self, ids: Sequence[str]) -> dict[str, CatalogItem]:
        return {id_: _item(blob) for id_, blob, _ in self._rows(ids)}

    def list(self, after_id: str, limit: int) -> list[CatalogItem]:
        pages = [
            self._facts.connection.each(self._page, (bucket, after_id), limit)
            for bucket in range(BUCKETS)
        ]
        found = []
        for _, blob in heapq.merge(*pages, key=lambda row: row[0].encode()):
            found.append(_item(blob))
            if len(found) == limit:
                break
        return found

    def version(self) -> int:
        rows = self._facts.connection.execute(self._versions, (_EVERY,))
        return int(rows[0][0]) if rows else 0

    def count(self) -> int:
        (number,) = self._facts.connection.execute(
            f"SELECT count(*) FROM {self._facts.keyspace}.items"
        )
        return int(number[0])


class CassandraLeases:
    """`storage.ports.Leases`: conditional writes, and nothing but them, on one small table.

    `may_take` raises what forbids it to take a lease now.
    """

    def __init__(
        self,
        connection: Connection,
        keyspace: str,
        clock: WriterClock,
        may_take: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._may_take = may_take
        self._table = f"{keyspace}.leases"
        self._held = f"SELECT epoch, attempt FROM {self._table} WHERE name = ?"

    def take(self, name: str, holder: str) -> int:
        self._may_take()
        # An attempt's own mark tells, after an answer that never came, whether it was applied.
        attempt = uuid.uuid4().hex
        for _ in range(LEASE_TRIES_MAX):
            held = self._read(name)
            epoch = (held[0] if held else 0) + 1
            try:
                if self._try(name, holder, attempt, epoch, first=held is None):
                    break
            except StoreUnavailable:
                held = self._read(name)
                if held == (epoch, attempt):
                    break
        else:
            raise StoreUnavailable(f"the lease {name} is fought over; try later")
        self._clock.epoch = epoch
        return epoch

    def epoch(self, name: str) -> int:
        return self.epochs([name])[name]

    def epochs(self, names: Iterable[str]) -> dict[str, int]:
        requests = {name: self._connection.send_serial(self._held, (name,)) for name in names}
        found = {}
        for name, request in requests.items():
            rows = list(self._connection.rows_of(request))
            found[name] = int(rows[0][0]) if rows else 0
        return found

    def _try(self, name: str, holder: str, attempt: str, epoch: int, *, first: bool) -> bool:
        if first:
            rows = self._connection.execute(
                f"INSERT INTO {self._table} (name, epoch, holder, attempt) VALUES (?, ?, ?, ?) IF NOT EXISTS",
                (name, epoch, holder, attempt),
            )
        else:
            rows = self._connection.execute(
                f"UPDATE {self._table} SET epoch = ?, holder = ?, attempt = ? WHERE name = ? IF epoch = ?",
                (epoch, holder, attempt, name, epoch - 1),
            )
        return bool(rows[0][0])

    def _read(self, name: str) -> tuple[int, str] | None:
        # A serial read finishes what a conditional write has begun.
        rows = self._connection.execute_serial(self._held, (name,))
        return (int(rows[0][0]), str(rows[0][1])) if rows else None


def _digest(letter: DeadLetter) -> bytes:
    content = "\0".join((letter.source, letter.reason, letter.origin)).encode() + b"\0" + letter.raw
    return hashlib.blake2b(content, digest_size=16).digest()


def _letter_id(letter: DeadLetter, digest: bytes) -> int:
    mark = int.from_bytes(digest[:4]) >> (32 - _DIGEST_BITS)
    return max(letter.received_ms, 0) << _DIGEST_BITS | mark


def _bucket_key(number: int) -> bytes:
    return (number % BUCKETS).to_bytes(4)


def _item_bucket(item_id: str) -> int:
    return (
        hashlib.blake2b(item_id.encode("utf-8", "surrogatepass"), digest_size=4).digest()[0]
        % BUCKETS
    )


def _item(blob: bytes) -> CatalogItem:
    return msgspec.msgpack.decode(blob, type=CatalogItem)

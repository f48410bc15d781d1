"""Timelines and parts in Cassandra."""

import heapq
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from typing import Final

import msgspec
from cassandra.metadata import Murmur3Token

from identity.nodes import NODE_BYTES, Node
from storage.cassandra.connection import Request
from storage.cassandra.grouped import Grouped, Write
from storage.cassandra.stamps import least
from storage.chunks import chunks
from storage.ports import TimelineQuery, TimelineRow

MONTH_MS: Final = 2_629_746_000
"""A twelfth of the Gregorian year: how a leaf's rows are cut into partitions."""
MONTHS_KNOWN_MAX: Final = 200_000
"""(leaf, month) pairs that are remembered as written: some 25 MB."""
LOOKED_FOR_MAX: Final = 100
"""Keys that one request looks for: each is tried in each of its partitions."""
SCAN_PARTITIONS: Final = 32
"""Partitions under way at the same time in a scan."""
SPREAD_95: Final = 1.96
"""Standard deviations of a 95 % interval; that of a count of n that come at random is its root."""
_BIAS: Final = 1 << 63
_LEAST_TOKEN: Final = -(1 << 63)

_Key = tuple[bytes, int, str]


class _Stored(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a timeline's cell holds beside the row's key and position."""

    time_ms: int
    received_ms: int
    type: str
    name: str
    source: str
    raw: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Stored)


class CassandraTimeline:
    """`storage.ports.Timeline`."""

    def __init__(self, facts: Grouped) -> None:
        self._facts = facts
        self._months_known: dict[bytes, None] = {}
        keyspace = facts.keyspace
        self._lowest = (
            f"SELECT leaf_month, key_ms, message_id, position FROM {keyspace}.timeline "
            "WHERE leaf_month IN ? AND key_ms IN ?"
        )
        self._insert = (
            f"INSERT INTO {keyspace}.timeline (leaf_month, key_ms, message_id, position, event) "
            "VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?"
        )
        self._add_month = f"INSERT INTO {keyspace}.leaf_months (leaf, month) VALUES (?, ?)"
        self._page = f"SELECT key_ms, message_id, position, event FROM {keyspace}.timeline WHERE leaf_month = ?"
        self._months = f"SELECT leaf, month FROM {keyspace}.leaf_months WHERE leaf IN ?"
        self._all_months = f"SELECT leaf, month FROM {keyspace}.leaf_months WHERE token(leaf) > ?"

    def add(
        self, rows: Sequence[TimelineRow], beyond: Mapping[Node, int] | None = None
    ) -> list[int]:
        keys = [(_partition(row.leaf, row.key_ms), row.key_ms, row.message_id) for row in rows]
        first: dict[_Key, TimelineRow] = {}
        for key, row in zip(keys, rows, strict=True):
            held = first.get(key)
            if held is None or row.offset < held.offset:
                first[key] = row
        known = beyond or {}
        looked_for = [
            key
            for key, row in first.items()
            if row.leaf not in known or row.key_ms <= known[row.leaf]
        ]
        stored = self._stored(looked_for)
        new = {
            key: row for key, row in first.items() if key not in stored or row.offset < stored[key]
        }
        # Months first: a row that is found is not written again, and without its month nobody reads it.
        self._facts.write(self._new_months(new))
        self._facts.write(map(self._row, new, new.values()))
        self._months_known.update(dict.fromkeys(key[0] for key in new))
        for partition in list(self._months_known)[: len(self._months_known) - MONTHS_KNOWN_MAX]:
            del self._months_known[partition]
        return [min(first[key].offset, stored.get(key, first[key].offset)) for key in keys]

    def _stored(self, keys: Sequence[_Key]) -> dict[_Key, int]:
        """The positions of those rows that are stored."""
        found: dict[_Key, int] = {}
        wanted = set(keys)
        by_partition: dict[bytes, list[int]] = {}
        for partition, key_ms, _ in keys:
            by_partition.setdefault(partition, []).append(key_ms)
        # Few keys a request, for the server tries every key in every partition.
        few = {p: times for p, times in by_partition.items() if len(times) <= 5}
        for some in chunks(few, LOOKED_FOR_MAX // 5):
            times = sorted({time for partition in some for time in few[partition]})
            found |= self._among(some, times, wanted)
        for partition in by_partition.keys() - few.keys():
            for times in chunks(sorted(set(by_partition[partition])), LOOKED_FOR_MAX):
                found |= self._among([partition], times, wanted)
        return found

    def _among(
        self, partitions: Iterable[bytes], times: list[int], wanted: set[_Key]
    ) -> dict[_Key, int]:
        return {
            (partition, key_ms, message_id): position
            for partition, key_ms, message_id, position in self._facts.read(
                self._lowest, partitions, times
            )
            if (partition, key_ms, message_id) in wanted
        }

    def _new_months(self, keys: Iterable[_Key]) -> list[Write]:
        new = {partition for partition, _, _ in keys} - self._months_known.keys()
        return [
            Write(partition[:NODE_BYTES], self._add_month, _leaf_and_month(partition))
            for partition in sorted(new)
        ]

    def _row(self, key: _Key, row: TimelineRow) -> Write:
        event = _encoder.encode(
            _Stored(row.time_ms, row.received_ms, row.type, row.name, row.source, row.raw)
        )
        return Write(key[0], self._insert, (*key, row.offset, event, least(row.offset)))

    def read(self, leaves: Sequence[Node], query: TimelineQuery) -> list[TimelineRow]:
        months: dict[int, list[bytes]] = {}
        for leaf, month in self._facts.read(self._months, leaves):
            months.setdefault(month, []).append(leaf)
        names = {name.lower() for name in query.names}
        found: list[TimelineRow] = []
        for month in sorted(months, reverse=True):
            if query.before is not None and month > query.before[0] // MONTH_MS:
                continue
            each = [self._newest_first(Node(leaf), month, query) for leaf in months[month]]
            for row in heapq.merge(*each, key=_order, reverse=True):
                if query.before is not None and _order(row) >= query.before:
                    continue
                if _asked_for(row, query, names):
                    found.append(row)
                if len(found) == query.limit:
                    return found
        return found

    def _newest_first(self, leaf: Node, month: int, query: TimelineQuery) -> Iterator[TimelineRow]:
        partition = _partition_of(leaf, month)
        cql = self._page
        values: tuple[bytes | int | str, ...] = (partition,)
        if query.before is not None:
            cql += " AND (key_ms, message_id) <= (?, ?)"
            values = (partition, *query.before[:2])
        bound = self._facts.bind(cql, values, partition)
        bound.fetch_size = max(query.limit, 100)
        # Sent now, so that all leaves of a month answer at the same time; read when merged.
        return self._rows(leaf, self._facts.connection.send(bound))

    def _rows(self, leaf: Node, request: Request) -> Iterator[TimelineRow]:
        for key_ms, message_id, position, event in self._facts.connection.rows_of(request):
            yield _row(leaf, key_ms, message_id, position, event)

    def scan(self, after: Node | None = None) -> Iterator[TimelineRow]:
        oldest_first = self._page + " ORDER BY key_ms ASC, message_id ASC"
        waiting: deque[Iterator[TimelineRow]] = deque()
        for leaf, month in self._facts.connection.each(self._all_months, (_token(after),)):
            if len(waiting) >= SCAN_PARTITIONS:
                yield from waiting.popleft()
            partition = _partition_of(leaf, month)
            request = self._facts.connection.send(
                self._facts.bind(oldest_first, (partition,), partition)
            )
            waiting.append(self._rows(Node(leaf), request))
        for rows in waiting:
            yield from rows

    def count(self) -> int:
        return count(self._facts, "timeline", "leaf_month")


class CassandraParts:
    """`storage.ports.Parts`."""

    def __init__(self, derived: Grouped) -> None:
        self._derived = derived
        table = f"{derived.keyspace}.nodes"
        self._select = f"SELECT node, part FROM {table} WHERE node IN ?"
        self._update = f"UPDATE {table} USING TIMESTAMP ? SET part = ? WHERE node = ?"
        # Whether there is a part, without reading it.
        self._next = f"SELECT node, writetime(part) FROM {table} WHERE token(node) > ?"

    def read(self, leaves: Iterable[Node]) -> dict[Node, bytes]:
        rows = self._derived.read(self._select, leaves)
        return {Node(leaf): part for leaf, part in rows if part is not None}

    def write(self, blobs: Mapping[Node, tuple[int, bytes]]) -> None:
        self._derived.write(
            Write(leaf, self._update, (offset, blob, leaf))
            for leaf, (offset, blob) in blobs.items()
        )

    def leaves(self, after: Node | None, limit: int) -> list[Node]:
        return list(islice(self._all(after), limit))

    def share(self, leaf: Node) -> float:
        return (_token(leaf) - _LEAST_TOKEN) / (1 << 64)

    def count(self) -> int:
        return sum(1 for _ in self._all(None))

    def about(self, most: int) -> tuple[int, float]:
        # Leaves are spread evenly over tokens: how far so many reach says how many there are.
        some = self.leaves(None, most)
        found = len(some)
        if not some or found < most:
            return found, 0.0
        return round(found / self.share(some[-1])), SPREAD_95 / math.sqrt(found)

    def _all(self, after: Node | None) -> Iterator[Node]:
        for leaf, written in self._derived.connection.each(self._next, (_token(after),)):
            if written is not None:
                yield Node(leaf)


def count(grouped: Grouped, table: str, key: str, ranges: int = 32) -> int:
    """How many rows a table has, counted by ranges of tokens so that no request takes long."""
    cql = f"SELECT count(*) FROM {grouped.keyspace}.{table} WHERE token({key}) > ? AND token({key}) <= ?"
    step = (1 << 64) // ranges
    bounds = [_LEAST_TOKEN + n * step for n in range(ranges)] + [(1 << 63) - 1]
    statements = (grouped.connection.bind(cql, pair) for pair in pairwise(bounds))
    return sum(number for (number,) in grouped.connection.gather(statements))


def _token(after: bytes | None) -> int:
    return _LEAST_TOKEN if after is None else int(Murmur3Token.from_key(after).value)


def _partition(leaf: bytes, key_ms: int) -> bytes:
    return _partition_of(leaf, key_ms // MONTH_MS)


def _partition_of(leaf: bytes, month: int) -> bytes:
    return leaf + (month + _BIAS).to_bytes(8)


def _leaf_and_month(partition: bytes) -> tuple[bytes, int]:
    return partition[:NODE_BYTES], int.from_bytes(partition[NODE_BYTES:]) - _BIAS


def _row(leaf: Node, key_ms: int, message_id: str, position: int, event: bytes) -> TimelineRow:
    held = _decoder.decode(event)
    return TimelineRow(
        leaf=leaf, key_ms=key_ms, message_id=message_id, offset=position, time_ms=held.time_ms,
        received_ms=held.received_ms, type=held.type, name=held.name, source=held.source,
        raw=held.raw,
    )  # fmt: skip


def _order(row: TimelineRow) -> tuple[int, str, Node]:
    return row.key_ms, row.message_id, row.leaf


def _asked_for(row: TimelineRow, query: TimelineQuery, names: set[str]) -> bool:
    if names and row.name.lower() not in names and row.type not in names:
        return False
    if query.since_ms is not None and row.time_ms < query.since_ms:
        return False
    return query.until_ms is None or row.time_ms < query.until_ms

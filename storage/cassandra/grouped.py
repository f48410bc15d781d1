"""Reads and writes of a batch grouped by replica set: one request for some 20 partitions (DESIGN §6).

The driver spends 250-440 µs of CPU on a request and 20-60 µs on a row of a grouped one
(facts/cassandra-kafka-security.md), so how many requests there are decides how fast a batch is.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

from cassandra.metadata import Murmur3Token
from cassandra.query import BatchStatement, BatchType

from storage.cassandra.connection import Connection, Routed
from storage.chunks import chunks

PARTITIONS_MAX: Final = 20
"""Partitions of one request: beyond this a row costs no less, and one slow node delays more of them."""
BATCH_BYTES_MAX: Final = 40 * 1024
"""Bytes of one unlogged batch; the server warns above its threshold, 5 KiB unless it is raised."""
SMALL_PARTITIONS_MAX: Final = 50
"""Partitions of a read of small rows, such as what is said of identifiers: a person of 100 takes a quarter
less CPU than by 20 (9.8 ms, not 13.5), and hardly less again by 100."""
LIMIT_MAX: Final = (1 << 31) - 1
"""The largest LIMIT there is."""
_ROW_BYTES: Final = 60
"""What a row costs beside its values, about."""

T = TypeVar("T")


class Written:
    """What a store has sent, for benchmarks and metrics."""

    def __init__(self) -> None:
        self.rows = 0
        self.bytes = 0
        self.batches = 0
        self.reads = 0

    def __repr__(self) -> str:
        return f"Written(rows={self.rows}, bytes={self.bytes}, batches={self.batches}, reads={self.reads})"


class Write:
    """One row to write: where it goes, and the statement's values."""

    __slots__ = ("cql", "key", "size", "values")

    def __init__(self, key: bytes, cql: str, values: Sequence[Any]) -> None:
        self.key = key
        self.cql = cql
        self.values = values
        self.size = _ROW_BYTES + sum(
            len(value) for value in values if isinstance(value, bytes | str)
        )


class Grouped:
    """Sends batches of reads and writes to one keyspace, grouped by the replicas that hold them."""

    def __init__(self, connection: Connection, keyspace: str, written: Written) -> None:
        self.connection = connection
        self.keyspace = keyspace
        self._written = written

    def read(
        self,
        cql: str,
        keys: Iterable[bytes],
        *others: Any,
        partitions: int = PARTITIONS_MAX,
    ) -> Iterator[tuple[Any, ...]]:
        """Rows of a query whose first place holder is `IN ?` over so many partition keys; any order."""

        def statements() -> Iterator[Routed]:
            for group in self._groups((key, key) for key in dict.fromkeys(keys)):
                for chunk in chunks(group, partitions):
                    yield self.bind(cql, (chunk, *others), chunk[0])

        return self.connection.gather(statements())

    def bind(self, cql: str, values: Sequence[Any], key: bytes) -> Routed:
        """A read that goes to the replicas of `key`."""
        self._written.reads += 1
        return self.connection.bind(cql, values, key)

    def write(self, writes: Iterable[Write]) -> None:
        """Write rows; all are durable when this returns. If it raises, some may be: write all again."""
        for _ in self.connection.gather(self._batches(writes)):
            pass

    def _batches(self, writes: Iterable[Write]) -> Iterator[BatchStatement | Routed]:
        for group in self._groups((write.key, write) for write in writes):
            for some in _by_size(group):
                self._count(len(some), sum(write.size for write in some))
                bound = [self.connection.bind(each.cql, each.values, each.key) for each in some]
                if len(bound) == 1:
                    yield bound[0]
                    continue
                # Unlogged: rows are idempotent and written again if the batch fails.
                batch = BatchStatement(BatchType.UNLOGGED)
                batch.is_idempotent = True
                batch.keyspace, batch.routing_key = self.keyspace, some[0].key
                for statement in bound:
                    batch.add(statement)
                yield batch

    def _count(self, rows: int, size: int) -> None:
        self._written.rows += rows
        self._written.bytes += size
        self._written.batches += 1
        self.connection.meter.wrote(rows, size)

    def _groups(self, keyed: Iterable[tuple[bytes, T]]) -> Iterable[list[T]]:
        """Values by the replica set of their key, each group in the order of tokens."""
        metadata = self.connection.cluster.metadata
        token_map = metadata.token_map
        groups: dict[Hashable, list[T]] = {}
        if token_map is None or len(metadata.all_hosts()) == 1:
            groups[()] = [value for _, value in keyed]
        else:
            for key, value in keyed:
                replicas = token_map.get_replicas(self.keyspace, Murmur3Token.from_key(key))
                # Who is first differs from range to range; who is in it decides where it may go.
                groups.setdefault(frozenset(host.host_id for host in replicas), []).append(value)
        return [group for group in groups.values() if group]


def _by_size(writes: Sequence[Write]) -> Iterator[list[Write]]:
    some: list[Write] = []
    size = 0
    for write in writes:
        if some and (len(some) >= PARTITIONS_MAX or size + write.size > BATCH_BYTES_MAX):
            yield some
            some, size = [], 0
        some.append(write)
        size += write.size
    if some:
        yield some

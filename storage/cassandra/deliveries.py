"""What was sent to destinations, in Cassandra."""

import heapq
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from storage.cassandra.grouped import Grouped, Write
from storage.segment_ports import Delivery

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Delivery).decode
_FIRST: Final = ((1 << 62) - 1, "")
_BEGUN: Final = 1
_ENDED: Final = 2


class CassandraDeliveries:
    """`storage.ports.Deliveries`: a partition for each destination."""

    def __init__(self, facts: Grouped) -> None:
        self._facts = facts
        keyspace = facts.keyspace
        self._add = (
            f"INSERT INTO {keyspace}.deliveries (destination, started_ms, id, delivery) "
            "VALUES (?, ?, ?, ?) USING TIMESTAMP ?"
        )
        self._page = (
            f"SELECT delivery FROM {keyspace}.deliveries "
            "WHERE destination = ? AND (started_ms, id) < (?, ?) LIMIT ?"
        )
        self._destinations = f"SELECT DISTINCT destination FROM {keyspace}.deliveries"
        self._positions = (
            f"SELECT segment, told_to FROM {keyspace}.delivery_positions WHERE destination = ?"
        )
        self._acknowledge = (
            f"INSERT INTO {keyspace}.delivery_positions (destination, segment, told_to) "
            "VALUES (?, ?, ?) USING TIMESTAMP ?"
        )

    def put(self, deliveries: Sequence[Delivery]) -> None:
        self._facts.write(
            Write(
                each.destination.encode(),
                self._add,
                (
                    each.destination,
                    each.started_ms,
                    each.id,
                    _encode(each),
                    _BEGUN if each.ended_ms is None else _ENDED,
                ),
            )
            for each in deliveries
        )

    def list(
        self, limit: int, destination: str | None = None, before: tuple[int, str] | None = None
    ) -> list[Delivery]:
        execute = self._facts.connection.execute
        names = [destination] if destination is not None else [
            name for (name,) in self._facts.connection.each(self._destinations)
        ]  # fmt: skip
        found = [
            _decode(blob)
            for name in names
            for (blob,) in execute(self._page, (name, *(before or _FIRST), limit))
        ]
        return heapq.nlargest(limit, found, key=lambda each: (each.started_ms, each.id))

    def positions(self, destination: str) -> dict[str, str]:
        rows = self._facts.connection.execute(self._positions, (destination,))
        return {segment: str(token) for segment, token in rows}

    def acknowledge(self, destination: str, positions: Mapping[str, str], at: int) -> None:
        self._facts.write(
            Write(destination.encode(), self._acknowledge, (destination, segment, token, at))
            for segment, token in sorted(positions.items())
        )

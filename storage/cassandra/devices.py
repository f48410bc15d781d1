"""Who used which device, and which device identifiers go together, in Cassandra."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from identity.evidence import Companion, Use
from identity.nodes import Node
from identity.owning import Ownership
from storage.cassandra.grouped import SMALL_PARTITIONS_MAX, Grouped, Write
from storage.cassandra.stamps import WriterClock, least

_ownership = msgspec.msgpack.Decoder(Ownership).decode


class CassandraDevices:
    """`storage.identity_ports.Devices`: registers that any number of workers write without reading."""

    def __init__(self, facts: Grouped) -> None:
        self._facts = facts
        keyspace = facts.keyspace
        where = "WHERE device = ? AND hour = ? AND person = ?"
        self._first = f"UPDATE {keyspace}.uses USING TIMESTAMP ? SET first_ms = ? {where}"
        self._last = f"UPDATE {keyspace}.uses USING TIMESTAMP ? SET last_ms = ? {where}"
        self._uses = f"SELECT device, first_ms, last_ms, hour, person FROM {keyspace}.uses"
        self._together = (
            f"UPDATE {keyspace}.companions USING TIMESTAMP ? SET last_ms = ? "
            "WHERE node = ? AND with_node = ?"
        )
        self._companions = (
            f"SELECT node, with_node, last_ms FROM {keyspace}.companions WHERE node IN ?"
        )

    def merge_uses(self, uses: Sequence[Use]) -> None:
        writes = []
        for use in uses:
            key = (use.device, use.hour, use.person)
            writes.append(Write(use.device, self._first, (least(use.first_ms), use.first_ms, *key)))
            writes.append(Write(use.device, self._last, (use.last_ms, use.last_ms, *key)))
        self._facts.write(writes)

    def uses_of(self, devices: Iterable[Node]) -> dict[Node, list[Use]]:
        found: dict[Node, list[Use]] = {}
        rows = self._facts.read(self._uses + " WHERE device IN ?", devices)
        for row in sorted(filter(_whole, rows)):
            found.setdefault(Node(row[0]), []).append(_use(row))
        return found

    def merge_companions(self, companions: Sequence[Companion]) -> None:
        self._facts.write(
            Write(node, self._together, (c.last_ms, c.last_ms, node, with_node))
            for c in companions
            for node, with_node in ((c.node, c.with_node), (c.with_node, c.node))
        )

    def companions_of(self, nodes: Iterable[Node]) -> dict[Node, list[Companion]]:
        found: dict[Node, list[Companion]] = {}
        rows = self._facts.read(self._companions, nodes)
        for node, with_node, last_ms in sorted(rows, key=lambda row: (-row[2], row[1])):
            found.setdefault(Node(node), []).append(
                Companion(node=Node(node), with_node=Node(with_node), last_ms=last_ms)
            )
        return found

    def scan_uses(self) -> Iterator[Use]:
        return map(_use, filter(_whole, self._facts.connection.each(self._uses)))


def _whole(row: tuple[Any, ...]) -> bool:
    """Whether both registers of a use are written; a batch may be under way between them."""
    return row[1] is not None and row[2] is not None


def _use(row: tuple[Any, ...]) -> Use:
    device, first_ms, last_ms, hour, person = row
    return Use(
        device=Node(device), person=Node(person), hour=hour, first_ms=first_ms, last_ms=last_ms
    )


class CassandraOwners:
    """`storage.identity_ports.Owners`."""

    def __init__(self, facts: Grouped, clock: WriterClock) -> None:
        self._facts = facts
        self._clock = clock
        keyspace = facts.keyspace
        self._select = f"SELECT device, ownership FROM {keyspace}.device_owners"
        self._update = (
            f"UPDATE {keyspace}.device_owners USING TIMESTAMP ? SET ownership = ? WHERE device = ?"
        )
        self._add_user = (
            f"INSERT INTO {keyspace}.device_users (person, device) VALUES (?, ?) USING TIMESTAMP ?"
        )
        self._used_by = f"SELECT device FROM {keyspace}.device_users WHERE person IN ?"

    def of(self, devices: Iterable[Node]) -> dict[Node, Ownership]:
        rows = self._facts.read(
            self._select + " WHERE device IN ?", devices, partitions=SMALL_PARTITIONS_MAX
        )
        return {Node(device): _ownership(blob) for device, blob in rows}

    def put(self, owners: Mapping[Node, Ownership]) -> None:
        stamp = self._clock.next()
        # Before what is told: whose people change is looked for by its users.
        self._facts.write(
            Write(person, self._add_user, (person, device, stamp))
            for device, held in owners.items()
            for person in held.users
        )
        self._facts.write(
            Write(device, self._update, (stamp, msgspec.msgpack.encode(held), device))
            for device, held in owners.items()
        )

    def used_by(self, people: Iterable[Node]) -> set[Node]:
        rows = self._facts.read(self._used_by, people, partitions=SMALL_PARTITIONS_MAX)
        return {Node(device) for (device,) in rows}

    def scan(self) -> Iterator[tuple[Node, Ownership]]:
        for device, blob in self._facts.connection.each(self._select):
            yield Node(device), _ownership(blob)

"""Who used which device, and which device identifiers go together, in Cassandra."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from identity.evidence import Companion, Use
from identity.nodes import Node
from storage.cassandra.grouped import Grouped, Write
from storage.cassandra.stamps import least


class CassandraDevices:
    """`storage.ports.Devices`: registers that any number of workers write without reading."""

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

"""Scores of batch models in Cassandra."""

from collections.abc import Iterable, Sequence

from identity.nodes import Node
from storage.cassandra.grouped import SMALL_PARTITIONS_MAX, Grouped, Write
from storage.segment_ports import ScoreRow


class CassandraScores:
    """`storage.ports.Scores`: registers, of which the one that was computed last stays."""

    def __init__(self, facts: Grouped) -> None:
        self._facts = facts
        table = f"{facts.keyspace}.scores"
        self._insert = (
            f"INSERT INTO {table} (node, name, value, at_ms) VALUES (?, ?, ?, ?) USING TIMESTAMP ?"
        )
        self._select = f"SELECT node, name, value, at_ms FROM {table} WHERE node IN ?"

    def put(self, scores: Sequence[ScoreRow]) -> None:
        self._facts.write(
            Write(s.node, self._insert, (s.node, s.name, s.value, s.at_ms, s.at_ms)) for s in scores
        )

    def of(self, nodes: Iterable[Node]) -> list[ScoreRow]:
        rows = self._facts.read(self._select, nodes, partitions=SMALL_PARTITIONS_MAX)
        return [ScoreRow(Node(node), name, value, at_ms) for node, name, value, at_ms in rows]

"""People and identifiers in Cassandra."""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from identity.nodes import Node
from identity.resolve import Cluster, Refusal
from storage.cassandra.grouped import LIMIT_MAX, SMALL_PARTITIONS_MAX, Grouped, Write
from storage.cassandra.stamps import WriterClock, least

CONFLICT_BUCKETS: Final = 16


class NodeBlob(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Whom a node belongs to; all empty: to nobody else."""

    profile_id: bytes = b""
    members: tuple[bytes, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    refused: tuple[bytes, ...] | None = None
    """The members that refusals name, which are told in their own rows; None: written before this was kept."""


_encode = msgspec.msgpack.Encoder().encode
_node_blob = msgspec.msgpack.Decoder(NodeBlob)


class CassandraPeople:
    """`storage.identity_ports.People`: one cell a node, all written by the holder of the lease."""

    def __init__(self, derived: Grouped, clock: WriterClock) -> None:
        self._derived = derived
        self._clock = clock
        keyspace = derived.keyspace
        self._select = f"SELECT node, state FROM {keyspace}.nodes"
        self._all_of = f"SELECT node, state, part FROM {keyspace}.nodes WHERE node IN ?"
        self._update = f"UPDATE {keyspace}.nodes USING TIMESTAMP ? SET state = ? WHERE node = ?"
        self._add_conflict = (
            f"INSERT INTO {keyspace}.conflicts (bucket, since_ms, a, b) VALUES (?, ?, ?, ?) "
            "USING TIMESTAMP ?"
        )
        self._end_conflict = (
            f"DELETE FROM {keyspace}.conflicts USING TIMESTAMP ? "
            "WHERE bucket = ? AND since_ms = ? AND a = ? AND b = ?"
        )
        self._newest = f"SELECT since_ms, a, b FROM {keyspace}.conflicts WHERE bucket = ?"

    def ask(self, nodes: Iterable[Node]) -> Iterator[tuple[Node, NodeBlob, bytes | None]]:
        """Whom nodes belong to, and their parts; asked for now, answered when iterated."""
        rows = self._derived.read(self._all_of, nodes)
        return ((Node(node), _state(blob), part) for node, blob, part in rows)

    def ask_states(self, nodes: Iterable[Node]) -> Iterator[tuple[Node, NodeBlob]]:
        """Whom nodes belong to; asked for now, answered when iterated."""
        cql = self._select + " WHERE node IN ?"
        rows = self._derived.read(cql, nodes, partitions=SMALL_PARTITIONS_MAX)
        return ((Node(node), _state(blob)) for node, blob in rows)

    def ask_states_of(
        self, nodes: Iterable[Node], as_one: Iterable[Collection[Node]]
    ) -> Iterator[tuple[Node, NodeBlob]]:
        """What `ask_states` gives; of who were one person, the row of one that says so answers for all."""
        left = dict.fromkeys(nodes)
        firsts: dict[Node, set[Node]] = {}
        for members in as_one:
            mine = sorted(left.keys() & members)
            if len(mine) > 1:
                firsts[mine[0]] = set(mine[1:])
                for other in mine[1:]:
                    del left[other]
        return self._answered(self.ask_states(left), firsts)

    def _answered(
        self, rows: Iterable[tuple[Node, NodeBlob]], firsts: dict[Node, set[Node]]
    ) -> Iterator[tuple[Node, NodeBlob]]:
        for node, state in rows:
            yield node, state
            others = firsts.get(node, set())
            if state.refused is not None and others <= set(state.members):
                alike = others.difference(map(Node, state.refused))
                yield from ((other, NodeBlob(state.profile_id, state.members)) for other in alike)
                others -= alike
        # Told in rows of their own, or no longer one person.
        yield from self.ask_states({node for others in firsts.values() for node in others})

    def clusters_of(self, nodes: Iterable[Node]) -> dict[Node, Cluster]:
        return clusters_in(self.ask_states(nodes))

    def write(
        self, resolved: Collection[Node], clusters: Sequence[Cluster], refusals: Sequence[Refusal]
    ) -> None:
        cluster_with = {node: cluster for cluster in clusters for node in cluster.members}
        refusals_with: dict[Node, list[Refusal]] = {}
        for refusal in refusals:
            for end in {refusal.a, refusal.b}:
                refusals_with.setdefault(end, []).append(refusal)
        ended = {each for each in self.refusals_of(resolved) if each not in set(refusals)}
        # One may end where another begins: its place must stay listed.
        ending, stamp = self._clock.next(), self._clock.next()
        # Listed before it stands: a list may name too much, which is looked up, but never too little.
        self._derived.write(
            Write(_bucket_key(each), self._add_conflict, (*_place(each), stamp))
            for each in refusals
        )
        writes = []
        # Empty ones too: what a former holder of the lease still writes must lose everywhere.
        for node in resolved:
            mine = cluster_with.get(node)
            state = NodeBlob(
                mine.profile_id if mine else b"",
                tuple(sorted(mine.members)) if mine else (),
                tuple(sorted(refusals_with.get(node, ()), key=lambda each: (each.a, each.b))),
                tuple(sorted(refusals_with.keys() & mine.members)) if mine else (),
            )
            writes.append(Write(node, self._update, (stamp, _encode(state), node)))
        self._derived.write(writes)
        self._derived.write(
            Write(_bucket_key(each), self._end_conflict, (ending, *_place(each))) for each in ended
        )

    def refusals_of(self, nodes: Iterable[Node]) -> list[Refusal]:
        return refusals_in(state for _, state in self.ask_states(nodes))

    def refusals(self, limit: int) -> list[Refusal]:
        if limit <= 0:
            return []
        listed = sorted(
            (
                (-since_ms, a, b)
                for bucket in range(CONFLICT_BUCKETS)
                for since_ms, a, b in self._of_bucket(bucket, limit)
            )
        )[:limit]
        standing = set(self.refusals_of({Node(a) for _, a, _ in listed}))
        by_place = {(-each.since_ms, each.a, each.b): each for each in standing}
        return [by_place[place] for place in listed if place in by_place]

    def _of_bucket(self, bucket: int, limit: int) -> list[tuple[Any, ...]]:
        rows = self._derived.connection.each(
            self._newest + " LIMIT ?", (bucket, min(limit, LIMIT_MAX))
        )
        return list(rows)

    def scan(self) -> Iterator[Cluster]:
        for node, blob in self._derived.connection.each(self._select):
            state = _state(blob)
            if state.members and state.profile_id == node:
                yield cluster_of(state)

    def counts(self) -> tuple[int, int]:
        return sum(1 for _ in self.scan()), len(self.refusals(LIMIT_MAX))


class CassandraIdentifiers:
    """`storage.identity_ports.Identifiers`."""

    def __init__(self, facts: Grouped) -> None:
        self._facts = facts
        table = f"{facts.keyspace}.identifiers"
        self._select = f"SELECT node, type, sealed FROM {table} WHERE node IN ?"
        self._known = f"SELECT node FROM {table} WHERE node IN ?"
        self._types = f"SELECT type FROM {table}"
        self._insert = f"UPDATE {table} USING TIMESTAMP ? SET type = ?, sealed = ? WHERE node = ?"

    def put(self, values: Mapping[Node, tuple[str, bytes]]) -> None:
        first_wins = least(time.time_ns() // 1_000)
        self._facts.write(
            Write(node, self._insert, (first_wins, type_, sealed, node))
            for node, (type_, sealed) in values.items()
        )

    def ask(self, nodes: Iterable[Node]) -> Iterator[tuple[Node, tuple[str, bytes]]]:
        """What `get` gives; asked for now, answered when iterated."""
        rows = self._facts.read(self._select, nodes)
        return ((Node(node), (type_, sealed)) for node, type_, sealed in rows)

    def get(self, nodes: Iterable[Node]) -> dict[Node, tuple[str, bytes]]:
        return dict(self.ask(nodes))

    def known(self, nodes: Iterable[Node]) -> set[Node]:
        return {Node(node) for (node,) in self._facts.read(self._known, nodes)}

    def count(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for (type_,) in self._facts.connection.each(self._types):
            found[type_] = found.get(type_, 0) + 1
        return dict(sorted(found.items()))


def _state(blob: bytes | None) -> NodeBlob:
    return _node_blob.decode(blob) if blob is not None else NodeBlob()


def refusals_in(states: Iterable[NodeBlob]) -> list[Refusal]:
    """The refusals that nodes' cells name, each once."""
    found = {each for state in states for each in state.refusals}
    return sorted(found, key=lambda each: (each.a, each.b))


def clusters_in(states: Iterable[tuple[Node, NodeBlob]]) -> dict[Node, Cluster]:
    """The cluster of each node that is in one, made once for all its members: of 100, that is a millisecond."""
    made: dict[tuple[bytes, tuple[bytes, ...]], Cluster] = {}
    found = {}
    for node, state in states:
        if state.members:
            key = state.profile_id, state.members
            found[node] = made.get(key) or made.setdefault(key, cluster_of(state))
    return found


def cluster_of(state: NodeBlob) -> Cluster:
    """The cluster that a node's cell names."""
    return Cluster(Node(state.profile_id), frozenset(map(Node, state.members)))


def _place(refusal: Refusal) -> tuple[int, int, Node, Node]:
    return _bucket(refusal), refusal.since_ms, refusal.a, refusal.b


def _bucket(refusal: Refusal) -> int:
    return refusal.a[-1] % CONFLICT_BUCKETS


def _bucket_key(refusal: Refusal) -> bytes:
    return _bucket(refusal).to_bytes(4)

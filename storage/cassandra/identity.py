"""Evidence, people and identifiers in Cassandra."""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from identity.evidence import Link, Match, MustLink
from identity.nodes import Node
from identity.resolve import Cluster, Refusal
from storage.cassandra.grouped import SMALL_PARTITIONS_MAX, Grouped, Write
from storage.cassandra.schema import BESIDE_STAMP
from storage.cassandra.stamps import WriterClock, least

CONFLICT_BUCKETS: Final = 16
_LIMIT_MAX: Final = (1 << 31) - 1


class _LinkBlob(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A link beside its two ends."""

    first_ms: int
    first_event: str
    source: str
    trusted_ms: int
    last_ms: int


class _MustBlob(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A must-link beside its two ends."""

    first_ms: int
    first_event: str
    source: str


class NodeBlob(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Whom a node belongs to; all empty: to nobody else."""

    profile_id: bytes = b""
    members: tuple[bytes, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    refused: tuple[bytes, ...] | None = None
    """The members that refusals name, which are told in their own rows; None: written before this was kept."""


_encode = msgspec.msgpack.Encoder().encode
_link_blob = msgspec.msgpack.Decoder(_LinkBlob)
_must_blob = msgspec.msgpack.Decoder(_MustBlob)
_node_blob = msgspec.msgpack.Decoder(NodeBlob)


class CassandraEvidence:
    """`storage.ports.Evidence`. Links have one writer: they are read, merged and written back."""

    def __init__(self, facts: Grouped, clock: WriterClock) -> None:
        self._facts = facts
        self._clock = clock

    def merge_links(self, links: Sequence[Link]) -> list[Link]:
        merged: dict[tuple[Node, Node], Link] = {}
        for link in links:
            held = merged.get((link.a, link.b))
            merged[link.a, link.b] = link if held is None else held.merge(link)
        stored = self._between(merged)
        changed, write = [], []
        for key, link in merged.items():
            held = stored.get(key)
            now = link if held is None else held.merge(link)
            if now == held:
                continue
            write.append(now)
            if held is None or (now.first_ms, now.trusted_ms) != (held.first_ms, held.trusted_ms):
                changed.append(now)
        self._write("links", [(link.a, link.b, _encode(_link_state(link))) for link in write])
        return changed

    def _between(self, pairs: Iterable[tuple[Node, Node]]) -> dict[tuple[Node, Node], Link]:
        wanted = set(pairs)
        cql = f"SELECT node, other, link FROM {self._facts.keyspace}.links WHERE node IN ? AND other IN ?"
        found = {}
        ends = sorted({a for a, _ in wanted})
        others: dict[Node, set[Node]] = {}
        for a, b in wanted:
            others.setdefault(a, set()).add(b)
        for start in range(0, len(ends), 20):
            some = ends[start : start + 20]
            named = sorted(set().union(*(others[a] for a in some)))
            for at in range(0, len(named), 100):
                for a, b, blob in self._facts.read(cql, some, named[at : at + 100]):
                    if (a, b) in wanted:
                        found[Node(a), Node(b)] = _link(Node(a), Node(b), blob)
        return found

    def merge_must_links(self, links: Sequence[MustLink]) -> list[MustLink]:
        if not links:
            return []
        stored = {(held.a, held.b): held for held in self.must_links_of([link.a for link in links])}
        changed: dict[tuple[Node, Node], MustLink] = {}
        for link in links:
            held = changed.get((link.a, link.b)) or stored.get((link.a, link.b))
            if held is None or (link.first_ms, link.first_event) < (
                held.first_ms,
                held.first_event,
            ):
                changed[link.a, link.b] = link
        self._write_beside(
            "must_links",
            [
                (m.a, m.b, _encode(_MustBlob(m.first_ms, m.first_event, m.source)))
                for m in changed.values()
            ],
        )
        return list(changed.values())

    def note_beside(self, nodes: Iterable[Node]) -> None:
        """Say that something else than links names nodes; before it does, for what says so is asked first.

        Every question about people would else read three tables more, in which it seldom finds anything.
        """
        cql = f"UPDATE {self._facts.keyspace}.links USING TIMESTAMP ? SET beside = true WHERE node = ?"
        self._facts.write(Write(node, cql, (BESIDE_STAMP, node)) for node in sorted(set(nodes)))

    def _write_beside(self, table: str, pairs: Sequence[tuple[Node, Node, bytes]]) -> None:
        self.note_beside(node for a, b, _ in pairs for node in (a, b))
        self._write(table, pairs)

    def _write(self, table: str, pairs: Sequence[tuple[Node, Node, bytes]]) -> None:
        if not pairs:
            return
        cql = (
            f"UPDATE {self._facts.keyspace}.{table} USING TIMESTAMP ? SET link = ? "
            "WHERE node = ? AND other = ?"
        )
        stamp = self._clock.next()
        # Under `a` last, for there it is looked for: what is found there stands under `b` as well.
        for far in (True, False):
            ends = (((b, a) if far else (a, b), blob) for a, b, blob in pairs)
            self._facts.write(
                Write(end, cql, (stamp, blob, end, other)) for (end, other), blob in ends
            )

    def links_of(self, nodes: Sequence[Node], limit_each: int | None = None) -> list[Link]:
        return list(self.ask_links(nodes, limit_each))

    def ask_links(
        self, nodes: Sequence[Node], limit_each: int | None = None, beside: set[Node] | None = None
    ) -> Iterator[Link]:
        """What `links_of` gives; asked for now, answered when iterated.

        `beside` then gets those of `nodes` that must-links, matches or decisions may name as well.
        """
        cql = (
            f"SELECT node, other, link, beside FROM {self._facts.keyspace}.links WHERE node IN ? "
            "PER PARTITION LIMIT ?"
        )
        limit = limit_each or _LIMIT_MAX
        rows = self._facts.read(cql, nodes, limit, partitions=SMALL_PARTITIONS_MAX)
        return _links_in(rows, set() if beside is None else beside)

    def must_links_of(self, nodes: Sequence[Node]) -> list[MustLink]:
        return list(self.ask_must_links(nodes))

    def ask_must_links(self, nodes: Sequence[Node]) -> Iterator[MustLink]:
        """What `must_links_of` gives; asked for now, answered when iterated."""
        rows = self._ask("must_links", nodes)
        return (_must_link(a, b, blob) for (a, b), blob in _once(rows))

    def _ask(self, table: str, nodes: Sequence[Node]) -> Iterator[tuple[Any, ...]]:
        cql = f"SELECT node, other, link FROM {self._facts.keyspace}.{table} WHERE node IN ?"
        return self._facts.read(cql, nodes, partitions=SMALL_PARTITIONS_MAX)

    def merge_matches(self, matches: Sequence[Match]) -> list[Match]:
        if not matches:
            return []
        held = {(m.a, m.b): m for m in self.matches_of(sorted({m.a for m in matches}))}
        changed: dict[tuple[Node, Node], Match] = {}
        for match in matches:
            before = changed.get((match.a, match.b)) or held.get((match.a, match.b))
            now = match if before is None else before.merge(match)
            if now != before:
                changed[match.a, match.b] = now
        self._write_beside("matches", [(m.a, m.b, _encode(m)) for m in changed.values()])
        return list(changed.values())

    def matches_of(self, nodes: Sequence[Node]) -> list[Match]:
        return list(self.ask_matches(nodes))

    def ask_matches(self, nodes: Sequence[Node]) -> Iterator[Match]:
        """What `matches_of` gives; asked for now, answered when iterated."""
        rows = self._ask("matches", nodes)
        return (msgspec.msgpack.decode(blob, type=Match) for _, blob in _once(rows))

    def scan_matches(self) -> Iterator[Match]:
        return (msgspec.msgpack.decode(blob, type=Match) for _, _, blob in self._scan("matches"))

    def scan_links(self) -> Iterator[Link]:
        return (_link(a, b, blob) for a, b, blob in self._scan("links"))

    def scan_must_links(self) -> Iterator[MustLink]:
        return (_must_link(a, b, blob) for a, b, blob in self._scan("must_links"))

    def _scan(self, table: str) -> Iterator[tuple[Node, Node, bytes]]:
        for node, other, blob in self._facts.connection.each(
            f"SELECT node, other, link FROM {self._facts.keyspace}.{table}"
        ):
            # Of a node that is only named otherwise, there is no other end.
            if other is not None and node < other:
                yield Node(node), Node(other), blob


class CassandraPeople:
    """`storage.ports.People`: one cell a node, all written by the holder of the lease."""

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
            self._newest + " LIMIT ?", (bucket, min(limit, _LIMIT_MAX))
        )
        return list(rows)

    def scan(self) -> Iterator[Cluster]:
        for node, blob in self._derived.connection.each(self._select):
            state = _state(blob)
            if state.members and state.profile_id == node:
                yield cluster_of(state)

    def counts(self) -> tuple[int, int]:
        return sum(1 for _ in self.scan()), len(self.refusals(_LIMIT_MAX))


class CassandraIdentifiers:
    """`storage.ports.Identifiers`."""

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


def _link_state(link: Link) -> _LinkBlob:
    return _LinkBlob(link.first_ms, link.first_event, link.source, link.trusted_ms, link.last_ms)


def _links_in(rows: Iterable[tuple[Any, ...]], beside: set[Node]) -> Iterator[Link]:
    """Each link once, though it stands under both ends; `beside` gets the nodes that are named otherwise."""
    seen: set[tuple[Node, Node]] = set()
    for node, other, blob, named_otherwise in rows:
        if named_otherwise:
            beside.add(Node(node))
        if other is not None and (pair := _pair(node, other)) not in seen:
            seen.add(pair)
            yield _link(*pair, blob)


def _once(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[tuple[Node, Node], bytes]]:
    """Each pair once, though it stands under both ends."""
    seen: set[tuple[Node, Node]] = set()
    for node, other, blob in rows:
        pair = _pair(node, other)
        if pair not in seen:
            seen.add(pair)
            yield pair, blob


def _pair(node: bytes, other: bytes) -> tuple[Node, Node]:
    return (Node(node), Node(other)) if node < other else (Node(other), Node(node))


def _link(a: Node, b: Node, blob: bytes) -> Link:
    held = _link_blob.decode(blob)
    return Link(
        a=a, b=b, first_ms=held.first_ms, first_event=held.first_event, source=held.source,
        trusted_ms=held.trusted_ms, last_ms=held.last_ms,
    )  # fmt: skip


def _must_link(a: Node, b: Node, blob: bytes) -> MustLink:
    held = _must_blob.decode(blob)
    return MustLink(
        a=a, b=b, first_ms=held.first_ms, first_event=held.first_event, source=held.source
    )


def _place(refusal: Refusal) -> tuple[int, int, Node, Node]:
    return _bucket(refusal), refusal.since_ms, refusal.a, refusal.b


def _bucket(refusal: Refusal) -> int:
    return refusal.a[-1] % CONFLICT_BUCKETS


def _bucket_key(refusal: Refusal) -> bytes:
    return _bucket(refusal).to_bytes(4)

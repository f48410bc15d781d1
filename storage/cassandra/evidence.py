"""Evidence in Cassandra."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from identity.evidence import Link, Match, MustLink
from identity.nodes import Node
from storage.cassandra.grouped import LIMIT_MAX, SMALL_PARTITIONS_MAX, Grouped, Write
from storage.cassandra.schema import BESIDE_STAMP
from storage.cassandra.stamps import WriterClock


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


_encode = msgspec.msgpack.Encoder().encode
_link_blob = msgspec.msgpack.Decoder(_LinkBlob)
_must_blob = msgspec.msgpack.Decoder(_MustBlob)


class CassandraEvidence:
    """`storage.identity_ports.Evidence`. Links have one writer: they are read, merged and written back."""

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
        limit = limit_each or LIMIT_MAX
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

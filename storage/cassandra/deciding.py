"""Decisions of operators and changes of people in Cassandra: written by the holder of the lease alone."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from identity.changes import PersonChange, Published
from identity.decisions import Decision
from identity.nodes import Node
from storage.cassandra.grouped import SMALL_PARTITIONS_MAX, Grouped, Write
from storage.cassandra.stamps import WriterClock

CHUNK: Final = 5_000
"""Changes in one partition: some megabytes."""
_NUMBER_BITS: Final = 40
"""A position is (epoch of the lease, number within it from 1 on)."""
_EVERY: Final = 0
_ALL: Final = "all"
_FIRST: Final = ((1 << 62) - 1, "")

_encode = msgspec.msgpack.Encoder().encode
_decision = msgspec.msgpack.Decoder(Decision).decode
_change = msgspec.msgpack.Decoder(PersonChange).decode
_changes = msgspec.msgpack.Decoder(list[PersonChange]).decode


class CassandraDecisions:
    """`storage.identity_ports.Decisions`."""

    def __init__(
        self, facts: Grouped, clock: WriterClock, note: Callable[[Iterable[Node]], None]
    ) -> None:
        """`note` hears whom a decision names, before it does."""
        self._facts = facts
        self._clock = clock
        self._note = note
        keyspace = facts.keyspace
        self._add = (
            f"UPDATE {keyspace}.decisions_by_id USING TIMESTAMP ? SET decision = ? WHERE id = ?"
        )
        self._add_node = (
            f"UPDATE {keyspace}.decisions_by_node USING TIMESTAMP ? SET decision = ? "
            "WHERE node = ? AND id = ?"
        )
        self._add_time = (
            f"INSERT INTO {keyspace}.decisions_by_time (bucket, time_ms, id) VALUES (?, ?, ?) "
            "USING TIMESTAMP ?"
        )
        self._block = (
            f"INSERT INTO {keyspace}.blocked_nodes (bucket, node, id) VALUES (?, ?, ?) "
            "USING TIMESTAMP ?"
        )
        self._unblock = (
            f"DELETE FROM {keyspace}.blocked_nodes USING TIMESTAMP ? "
            "WHERE bucket = ? AND node = ? AND id = ?"
        )
        self._by_id = f"SELECT id, decision FROM {keyspace}.decisions_by_id WHERE id IN ?"
        self._by_node = f"SELECT id, decision FROM {keyspace}.decisions_by_node WHERE node IN ?"
        self._blocked = f"SELECT node FROM {keyspace}.blocked_nodes WHERE bucket = ?"
        self._newest = (
            f"SELECT id FROM {keyspace}.decisions_by_time "
            "WHERE bucket = ? AND (time_ms, id) < (?, ?) LIMIT ?"
        )

    def put(self, decisions: Sequence[Decision]) -> list[Decision]:
        merged: dict[str, Decision] = {}
        held = self.get([decision.id for decision in decisions])
        for decision in decisions:
            before = merged.get(decision.id) or held.get(decision.id)
            merged[decision.id] = decision if before is None else before.merge(decision)
        for decision in merged.values():
            self._write(decision)
        return [merged[decision.id] for decision in decisions]

    def _write(self, decision: Decision) -> None:
        self._note(decision.nodes)
        stamp, blob = self._clock.next(), _encode(decision)
        writes = [
            Write(node, self._add_node, (stamp, blob, node, decision.id))
            for node in sorted(decision.nodes)
        ]
        writes.append(
            Write(b"times", self._add_time, (_EVERY, decision.time_ms, decision.id, stamp))
        )
        blocked = decision.blocked()
        for node in sorted(decision.nodes):
            if node in blocked:
                writes.append(Write(b"blocked", self._block, (_EVERY, node, decision.id, stamp)))
            elif not decision.standing:
                writes.append(Write(b"blocked", self._unblock, (stamp, _EVERY, node, decision.id)))
        self._facts.write(writes)
        # Last, for by its id a decision is looked for: what is found there is found everywhere.
        key = decision.id.encode()
        self._facts.write([Write(key, self._add, (stamp, blob, decision.id))])

    def get(self, ids: Sequence[str]) -> dict[str, Decision]:
        return {
            decision_id: _decision(blob)
            for start in range(0, len(ids), 50)
            for decision_id, blob in self._facts.connection.execute(
                self._by_id, (list(ids[start : start + 50]),)
            )
        }

    def of(self, nodes: Sequence[Node]) -> list[Decision]:
        return list(self.ask(nodes))

    def ask(self, nodes: Sequence[Node]) -> Iterator[Decision]:
        """What `of` gives; asked for now, answered when iterated."""
        rows = self._facts.read(self._by_node, nodes, partitions=SMALL_PARTITIONS_MAX)
        return (_decision(blob) for _, blob in _sorted(rows))

    def blocked(self) -> frozenset[Node]:
        rows = self._facts.connection.execute(self._blocked, (_EVERY,))
        return frozenset(Node(node) for (node,) in rows)

    def list(self, limit: int, before: tuple[int, str] | None = None) -> list[Decision]:
        time_ms, decision_id = before or _FIRST
        rows = self._facts.connection.execute(self._newest, (_EVERY, time_ms, decision_id, limit))
        found = self.get([found_id for (found_id,) in rows])
        return sorted(found.values(), key=lambda each: (each.time_ms, each.id), reverse=True)


def _sorted(rows: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Each decision once, in order of id; read when iterated."""
    yield from sorted(dict(rows).items())


class CassandraChanges:
    """`storage.identity_ports.Changes`: announced in one row, published as a log with a part for each epoch.

    What is not published yet is one row that is replaced: a queue of rows would leave a tombstone each.
    """

    def __init__(self, facts: Grouped, clock: WriterClock) -> None:
        self._facts = facts
        self._clock = clock
        self._numbering: tuple[int, int] | None = None
        """The epoch in which this process publishes, and the number of the next change in it."""
        keyspace = facts.keyspace
        self._pending = f"SELECT changes FROM {keyspace}.changes_announced WHERE key = ?"
        self._set_pending = (
            f"UPDATE {keyspace}.changes_announced USING TIMESTAMP ? SET changes = ? WHERE key = ?"
        )
        self._add = (
            f"INSERT INTO {keyspace}.changes_log (epoch, chunk, number, change) VALUES (?, ?, ?, ?) "
            "USING TIMESTAMP ?"
        )
        self._add_id = (
            f"INSERT INTO {keyspace}.changes_by_id (id, change) VALUES (?, ?) USING TIMESTAMP ?"
        )
        self._add_profile = (
            f"INSERT INTO {keyspace}.changes_by_profile (profile, time_ms, id) VALUES (?, ?, ?) "
            "USING TIMESTAMP ?"
        )
        self._add_epoch = f"INSERT INTO {keyspace}.changes_epochs (bucket, epoch) VALUES (?, ?)"
        self._epochs = (
            f"SELECT epoch FROM {keyspace}.changes_epochs WHERE bucket = ? AND epoch >= ?"
        )
        self._last = (
            f"SELECT number FROM {keyspace}.changes_log WHERE epoch = ? AND chunk = ? "
            "ORDER BY number DESC LIMIT 1"
        )
        self._page = (
            f"SELECT number, change FROM {keyspace}.changes_log "
            "WHERE epoch = ? AND chunk = ? AND number >= ? LIMIT ?"
        )
        self._by_id = f"SELECT id, change FROM {keyspace}.changes_by_id WHERE id IN ?"
        self._by_profile = (
            f"SELECT time_ms, id FROM {keyspace}.changes_by_profile WHERE profile IN ? "
            "PER PARTITION LIMIT ?"
        )

    def announce(self, changes: Sequence[PersonChange]) -> None:
        self._replace({each.id: each for each in (*self._all_announced(), *changes)})

    def announced(self, limit: int) -> list[PersonChange]:
        return self._all_announced()[:limit]

    def published(self, changes: Sequence[PersonChange]) -> None:
        if not changes:
            return
        stamp = self._clock.next()
        self._facts.write(
            Write(each.id.encode(), self._add_id, (each.id, _encode(each), stamp))
            for each in changes
        )
        self._facts.write(
            Write(profile, self._add_profile, (profile, each.time_ms, each.id, stamp))
            for each in changes
            for profile in sorted(each.profiles)
        )
        self._append(changes, stamp)
        left = {each.id: each for each in self._all_announced()}
        for each in changes:
            left.pop(each.id, None)
        self._replace(left)

    def _append(self, changes: Sequence[PersonChange], stamp: int) -> None:
        epoch, first = self._next_number()
        self._facts.write(
            Write(
                b"%d:%d" % (epoch, number // CHUNK),
                self._add,
                (epoch, number // CHUNK, number, _encode(each), stamp),
            )
            for number, each in enumerate(changes, first)
        )
        # If that failed half way, the next try writes the same numbers: there are no holes to wait at.
        self._numbering = (epoch, first + len(changes))

    def _next_number(self) -> tuple[int, int]:
        epoch = self._clock.epoch
        if self._numbering is not None and self._numbering[0] == epoch:
            return self._numbering
        execute = self._facts.connection.execute
        execute(self._add_epoch, (_EVERY, epoch))
        chunk, number = 0, 1
        while rows := execute(self._last, (epoch, chunk)):
            number, chunk = rows[0][0] + 1, chunk + 1
        # Read once in an epoch: after a write that failed half way, the last one is past a hole.
        self._numbering = (epoch, number)
        return self._numbering

    def history(self, after: int, limit: int) -> list[Published]:
        found: list[Published] = []
        epochs = self._facts.connection.execute(
            self._epochs, (_EVERY, max(after, 0) >> _NUMBER_BITS)
        )
        for (epoch,) in epochs:
            start = epoch << _NUMBER_BITS
            last = epoch == epochs[-1][0]
            found += self._of_epoch(epoch, max(after + 1 - start, 1), limit - len(found), last=last)
            if len(found) >= limit:
                break
        return found

    def _of_epoch(self, epoch: int, number: int, limit: int, *, last: bool) -> list[Published]:
        """Changes of an epoch from `number` on; of the last one, up to the first that is still to come."""
        found: list[Published] = []
        while len(found) < limit:
            rows = self._facts.connection.execute(
                self._page, (epoch, number // CHUNK, number, limit - len(found))
            )
            for stored, blob in rows:
                if last and stored != number:
                    return found
                found.append(Published(epoch << _NUMBER_BITS | stored, _change(blob)))
                number = stored + 1
            if number % CHUNK or not rows:
                break
        return found

    def get(self, ids: Sequence[str]) -> dict[str, PersonChange]:
        return {
            change_id: _change(blob)
            for start in range(0, len(ids), 50)
            for change_id, blob in self._facts.connection.execute(
                self._by_id, (list(ids[start : start + 50]),)
            )
        }

    def of(self, profile_ids: Sequence[Node], limit: int) -> list[PersonChange]:
        rows = set(self._facts.read(self._by_profile, profile_ids, limit))
        newest = sorted(rows, reverse=True)[:limit]
        found = self.get([change_id for _, change_id in newest])
        return [found[change_id] for _, change_id in newest if change_id in found]

    def _all_announced(self) -> list[PersonChange]:
        rows = self._facts.connection.execute(self._pending, (_ALL,))
        return _changes(rows[0][0]) if rows else []

    def _replace(self, changes: dict[str, PersonChange]) -> None:
        ordered = sorted(changes.values(), key=lambda each: (each.time_ms, each.id))
        write = (self._clock.next(), _encode(ordered), _ALL)
        self._facts.write([Write(b"announced", self._set_pending, write)])

"""Segments in Cassandra: what is defined, who is in them, and when time changes that.

A profile's row in `standings` decides. It is written under the epoch of whoever owns the profile, before
anything is told: what a former owner still writes loses, and what it kept and did not tell, the next one tells.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from identity.nodes import Node
from profiles.segments.catalogue import Edit
from profiles.segments.membership import NEVER_MS, Standing, Transition
from storage.cassandra.grouped import Grouped, Write
from storage.cassandra.stamps import FIRST, WriterClock
from storage.cassandra.transitions import CassandraTransitions
from storage.errors import StoreUnavailable
from storage.segment_ports import TIMER_SHARDS, Backfill, Flow, Kept, Told

BUCKETS: Final = 256
"""Partitions of one segment's members: 100 million of them are 20 MB each."""
BUCKETS_FIRST: Final = 4
"""Partitions that are read at first for a page: a large segment has enough in one, a small one in none."""
WINDOW_MS: Final = 900_000
"""Timers of a shard within so long are one partition: of a million an hour, 16,000."""
WINDOWS_KNOWN_MAX: Final = 50_000
TIMERS_AT_ONCE: Final = 1_000
APPEND_TRIES: Final = 3
_EVERY: Final = 0
_ONE: Final = "all"
_BIAS: Final = 1 << 63

_encode = msgspec.msgpack.Encoder().encode
_edit = msgspec.msgpack.Decoder(Edit).decode
_kept = msgspec.msgpack.Decoder(Kept).decode
_backfill = msgspec.msgpack.Decoder(Backfill).decode


class CassandraDefinitions:
    """`storage.ports.Definitions`: conditional writes of rows that never change again."""

    def __init__(self, facts: Grouped) -> None:
        self._facts = facts
        table = f"{facts.keyspace}.segment_edits"
        self._newest = (
            f"SELECT revision FROM {table} WHERE bucket = ? ORDER BY revision DESC LIMIT 1"
        )
        self._one = f"SELECT attempt FROM {table} WHERE bucket = ? AND revision = ?"
        self._add = f"INSERT INTO {table} (bucket, revision, edit, attempt) VALUES (?, ?, ?, ?) IF NOT EXISTS"
        self._since = f"SELECT edit FROM {table} WHERE bucket = ? AND revision > ?"

    def append(self, edit: Edit) -> bool:
        connection = self._facts.connection
        # A serial read finishes what another conditional write has begun.
        rows = connection.execute_serial(self._newest, (_EVERY,))
        if edit.revision != (int(rows[0][0]) if rows else 0) + 1:
            return False
        # An attempt's own mark tells, after an answer that never came, whether it was applied.
        attempt = uuid.uuid4().hex
        values = (_EVERY, edit.revision, _encode(edit), attempt)
        for _ in range(APPEND_TRIES):
            with suppress(StoreUnavailable):
                if connection.execute(self._add, values)[0][0]:
                    return True
            held = connection.execute_serial(self._one, (_EVERY, edit.revision))
            if held:
                return bool(held[0][0] == attempt)
        raise StoreUnavailable("nobody knows whether the segments were changed: look at them again")

    def since(self, revision: int) -> list[Edit]:
        rows = self._facts.connection.execute(self._since, (_EVERY, revision))
        return [_edit(blob) for (blob,) in rows]


class CassandraBackfills:
    """`storage.ports.Backfills`. Its writer changes rarely: a late write has some leaves looked at twice."""

    def __init__(self, derived: Grouped) -> None:
        self._derived = derived
        table = f"{derived.keyspace}.segment_backfill"
        self._select = f"SELECT backfill FROM {table} WHERE key = ?"
        self._insert = f"INSERT INTO {table} (key, backfill) VALUES (?, ?)"

    def get(self) -> Backfill | None:
        rows = self._derived.connection.execute(self._select, (_ONE,))
        return _backfill(rows[0][0]) if rows else None

    def put(self, backfill: Backfill) -> None:
        self._derived.write([Write(_ONE.encode(), self._insert, (_ONE, _encode(backfill)))])


class CassandraMemberships:
    """`storage.ports.Memberships`, and `storage.ports.Evaluations` for workers that share it."""

    def __init__(self, derived: Grouped, clock: WriterClock) -> None:
        self._derived = derived
        self._clock = clock
        self._transitions = CassandraTransitions(derived)
        self._windows_known: dict[tuple[int, int], None] = {}
        keyspace = derived.keyspace
        self._select = f"SELECT profile, kept FROM {keyspace}.standings WHERE profile IN ?"
        self._set = f"UPDATE {keyspace}.standings USING TIMESTAMP ? SET kept = ? WHERE profile = ?"
        self._forget = f"DELETE kept FROM {keyspace}.standings USING TIMESTAMP ? WHERE profile = ?"
        members = f"{keyspace}.segment_members"
        self._enter = (
            f"INSERT INTO {members} (segment_bucket, profile) VALUES (?, ?) USING TIMESTAMP ?"
        )
        self._leave = (
            f"DELETE FROM {members} USING TIMESTAMP ? WHERE segment_bucket = ? AND profile = ?"
        )
        self._page = (
            f"SELECT profile FROM {members} WHERE segment_bucket = ? AND profile > ? LIMIT ?"
        )
        timers, windows = f"{keyspace}.timers", f"{keyspace}.timer_windows"
        self._set_timer = (
            f"INSERT INTO {timers} (shard_window, timer_ms, profile) VALUES (?, ?, ?) "
            "USING TIMESTAMP ?"
        )
        self._end_timer = (
            f"DELETE FROM {timers} USING TIMESTAMP ? "
            "WHERE shard_window = ? AND timer_ms = ? AND profile = ?"
        )
        self._timers = (
            f"SELECT shard_window, timer_ms, profile FROM {timers} "
            "WHERE shard_window = ? AND timer_ms >= ? AND timer_ms <= ? LIMIT ?"
        )
        self._add_window = f"INSERT INTO {windows} (shard, quarter) VALUES (?, ?)"
        self._end_window = f"DELETE FROM {windows} WHERE shard = ? AND quarter = ?"
        self._windows = (
            f"SELECT shard, quarter FROM {windows} "
            "WHERE shard IN ? AND quarter >= ? AND quarter <= ?"
        )

    # --- what readers ask -------------------------------------------------------------------------

    def get(self, profile_ids: Iterable[Node]) -> dict[Node, Standing]:
        return {node: kept.standing for node, kept in self.kept(profile_ids).items()}

    def members(self, segment: str, after: Node | None, limit: int) -> list[tuple[Node, int]]:
        found: list[tuple[Node, int]] = []
        bucket = after[0] if after else 0
        past = after or b""
        many = BUCKETS_FIRST
        while bucket < BUCKETS and len(found) < limit:
            some = range(bucket, min(bucket + many, BUCKETS))
            found += self._members(segment, some, past, limit)
            bucket, past, many = some.stop, b"", many * 4
        return found[:limit]

    def _members(
        self, segment: str, buckets: Iterable[int], past: bytes, limit: int
    ) -> Iterator[tuple[Node, int]]:
        """The first `limit` members at least of those that stand in these partitions, if there are as many."""
        connection = self._derived.connection
        requests = [
            connection.send(self._derived.bind(self._page, (key, past, limit), key))
            for key in (_segment_bucket(segment, bucket) for bucket in buckets)
        ]
        got = 0
        for request in requests:
            mine = [Node(profile) for (profile,) in connection.rows_of(request)]
            while mine:
                standings = self.get(mine)
                for node in mine:
                    standing = standings.get(node)
                    if standing is not None and segment in standing.segments:
                        got += 1
                        yield node, standing.segments[segment]
                if len(mine) < limit or got >= limit:
                    break
                # Rows that no standing confirms left too few.
                key = _segment_bucket(segment, mine[-1][0])
                rows = connection.execute(self._page, (key, mine[-1], limit))
                mine = [Node(profile) for (profile,) in rows]
            if got >= limit:
                return

    def count(self, segments: Sequence[str]) -> dict[str, tuple[int, int]]:
        return {segment: self._transitions.count(segment) for segment in segments}

    def due(self, until_ms: int, limit: int) -> list[Node]:
        shards = self.timers(dict.fromkeys(range(TIMER_SHARDS), 0), until_ms, limit)
        held = self.get({node for timers in shards.values() for _, node in timers})
        found = {(each.due_ms, node) for node, each in held.items() if each.due_ms <= until_ms}
        return [node for _, node in sorted(found)[:limit]]

    def told(self, after: str, limit: int, segments: Sequence[str] = ()) -> list[Told]:
        return self._transitions.told(after, limit, segments)

    def newest(self) -> str:
        return self._transitions.newest()

    def history(self, segment: str, since_ms: int, until_ms: int, every_ms: int) -> list[Flow]:
        return self._transitions.history(segment, since_ms, until_ms, every_ms)

    # --- what is written --------------------------------------------------------------------------

    def write(self, standings: Sequence[Standing], told: Sequence[Transition]) -> None:
        news: dict[Node, list[Transition]] = {}
        for each in told:
            news.setdefault(each.profile_id, []).append(each)
        held = self.kept(each.profile_id for each in standings)
        self.keep(
            [
                (
                    held.get(each.profile_id),
                    Kept(each, tuple(news.get(each.profile_id, ())), each.due_ms),
                )
                for each in standings
            ],
            self._clock.epoch,
        )
        self.tell({(0, self._clock.epoch): self._transitions.untold(told)})

    def kept(self, profile_ids: Iterable[Node]) -> dict[Node, Kept]:
        rows = self._derived.read(self._select, profile_ids)
        return {Node(profile): _kept(blob) for profile, blob in rows if blob is not None}

    def keep(self, changes: Sequence[tuple[Kept | None, Kept]], epoch: int) -> None:
        stamp = self._clock.under(epoch)
        # What leads to a standing is there before it, and goes after it: none is ever without.
        self._derived.write(
            write for before, after in changes for write in self._new_ways(before, after, stamp)
        )
        self._windows_known.update(
            dict.fromkeys(_place(after) for _, after in changes if after.timer_ms != NEVER_MS)
        )
        for window in list(self._windows_known)[: len(self._windows_known) - WINDOWS_KNOWN_MAX]:
            del self._windows_known[window]
        self._derived.write(self._standing(after, stamp) for _, after in changes)
        self._derived.write(
            write
            for before, after in changes
            if before is not None
            for write in self._old_ways(before, after, stamp)
        )

    def _new_ways(self, before: Kept | None, after: Kept, stamp: int) -> Iterator[Write]:
        profile_id = after.standing.profile_id
        held = before.standing.segments if before else {}
        for segment in after.standing.segments.keys() - held.keys():
            key = _segment_bucket(segment, profile_id[0])
            yield Write(key, self._enter, (key, profile_id, stamp))
        timer_ms = after.timer_ms
        if timer_ms == NEVER_MS or (before and before.timer_ms == timer_ms):
            return
        shard, window = _place(after)
        if (shard, window) not in self._windows_known:
            yield Write(b"window", self._add_window, (shard, window))
        key = _shard_window(shard, window)
        yield Write(key, self._set_timer, (key, timer_ms, profile_id, stamp))

    def _standing(self, after: Kept, stamp: int) -> Write:
        profile_id = after.standing.profile_id
        if after.standing.empty:
            return Write(profile_id, self._forget, (stamp, profile_id))
        return Write(profile_id, self._set, (stamp, _encode(after), profile_id))

    def _old_ways(self, before: Kept, after: Kept, stamp: int) -> Iterator[Write]:
        profile_id = after.standing.profile_id
        for segment in before.standing.segments.keys() - after.standing.segments.keys():
            key = _segment_bucket(segment, profile_id[0])
            yield Write(key, self._leave, (stamp, key, profile_id))
        if before.timer_ms not in (NEVER_MS, after.timer_ms):
            key = _shard_window(*_place(before))
            yield Write(key, self._end_timer, (stamp, key, before.timer_ms, profile_id))

    def tell(self, told: Mapping[tuple[int, int], Sequence[Transition]]) -> None:
        self._transitions.tell(told)

    # --- timers -----------------------------------------------------------------------------------

    def timers(
        self, since_ms: Mapping[int, int], until_ms: int, limit: int
    ) -> dict[int, list[tuple[int, Node]]]:
        found: dict[int, list[tuple[int, Node]]] = {shard: [] for shard in since_ms}
        windows = self._windows_of(since_ms, min(since_ms.values(), default=0), until_ms)
        # The earliest windows of all shards together, then the next of those that have room.
        while windows:
            keys = {shard: _shard_window(shard, some.pop(0)) for shard, some in windows.items()}
            rows = self._derived.connection.gather(
                self._derived.bind(
                    self._timers,
                    (key, since_ms[shard], until_ms, limit - len(found[shard])),
                    key,
                )
                for shard, key in keys.items()
            )
            for key, timer_ms, profile in rows:
                found[key[0]].append((timer_ms, Node(profile)))
            windows = {s: some for s, some in windows.items() if some and len(found[s]) < limit}
        return found

    def forget_timers(self, shard: int, until_ms: int) -> None:
        last = until_ms // WINDOW_MS - 1
        windows = self._windows_of([shard], -_BIAS, last * WINDOW_MS)
        for window in windows.get(shard, ()):
            if not self._true_timers(shard, window):
                self._derived.write([Write(b"window", self._end_window, (shard, window))])
                self._windows_known.pop((shard, window), None)

    def _true_timers(self, shard: int, window: int) -> int:
        """Drop the timers of a window that are nobody's; how many are left."""
        key = _shard_window(shard, window)
        start = window * WINDOW_MS
        values = (key, start, start + WINDOW_MS, TIMERS_AT_ONCE)
        timers = [
            (timer_ms, Node(profile))
            for _, timer_ms, profile in self._derived.connection.execute(self._timers, values)
        ]
        kept = self.kept(node for _, node in timers)
        false = [
            (timer_ms, node)
            for timer_ms, node in timers
            if node not in kept or kept[node].timer_ms != timer_ms
        ]
        # Above every epoch: nobody sets a timer for a time that is long past.
        self._derived.write(
            Write(key, self._end_timer, (FIRST, key, timer_ms, node)) for timer_ms, node in false
        )
        return len(timers)

    def _windows_of(
        self, shards: Iterable[int], since_ms: int, until_ms: int
    ) -> dict[int, list[int]]:
        """The windows of each shard that has some in a span, the earliest first."""
        values = (list(shards), since_ms // WINDOW_MS, until_ms // WINDOW_MS)
        found: dict[int, list[int]] = {}
        for shard, window in self._derived.connection.execute(self._windows, values):
            found.setdefault(int(shard), []).append(int(window))
        return found


def _segment_bucket(segment: str, bucket: int) -> bytes:
    return bytes([bucket]) + segment.encode()


def _place(kept: Kept) -> tuple[int, int]:
    """The shard and window of a timer."""
    # The last byte of a node is of its hash; the first says where its standing is among members.
    return kept.standing.profile_id[-1] % TIMER_SHARDS, kept.timer_ms // WINDOW_MS


def _shard_window(shard: int, window: int) -> bytes:
    return bytes([shard]) + (window + _BIAS).to_bytes(8)

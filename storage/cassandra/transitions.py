"""What was told of segments: logs that are followed, and flows that are counted.

A log belongs to one partition of the evaluate stage and has a part for each epoch of its owner, numbered
without holes. A token is where a reader stands in each log. What an owner told half, the next one tells again.
"""

import heapq
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from identity.nodes import Node, names_device
from profiles.segments.membership import Reason, Transition
from storage.cassandra.grouped import Grouped, Write
from storage.segment_ports import Flow, Told

CHUNK: Final = 10_000
"""Transitions of a log in one partition: a megabyte."""
DAY_MS: Final = 86_400_000
FLOW_BUCKETS: Final = 16
"""Partitions of a segment's day: a million transitions are 4 MB each."""
LATE_MS_MAX: Final = 600_000
"""How far the clocks of workers may be apart: what is older is counted once and for all."""
COUNT_AGAIN_MS: Final = 3_600_000
"""A count that is so old is replaced by a newer one: a call reads an hour of transitions."""
KNOWN_MAX: Final = 50_000
_EVERY: Final = 0
_BIAS: Final = 1 << 63

_encode = msgspec.msgpack.Encoder().encode
_transition = msgspec.msgpack.Decoder(Transition).decode

Places = dict[int, tuple[int, int]]
"""(epoch, number of the last one read) in each log."""


class CassandraTransitions:
    """Logs and flows of one keyspace."""

    def __init__(self, derived: Grouped) -> None:
        self._derived = derived
        self._numbering: dict[tuple[int, int], int] = {}
        """The number of the next transition in each log and epoch that this process tells in."""
        self._unfinished: dict[tuple[int, int], tuple[int, Sequence[Transition]]] = {}
        """What was written half: the same numbers get the same transitions."""
        self._days_known: dict[tuple[str, int], None] = {}
        keyspace = derived.keyspace
        self._add_log = f"INSERT INTO {keyspace}.told_logs (bucket, log) VALUES (?, ?)"
        self._add_epoch = f"INSERT INTO {keyspace}.told_epochs (log, epoch) VALUES (?, ?)"
        self._add = f"INSERT INTO {keyspace}.told (log_chunk, number, transition) VALUES (?, ?, ?)"
        self._logs = f"SELECT log FROM {keyspace}.told_logs WHERE bucket = ?"
        self._epochs = f"SELECT epoch FROM {keyspace}.told_epochs WHERE log = ? AND epoch >= ?"
        self._last = (
            f"SELECT number FROM {keyspace}.told WHERE log_chunk = ? ORDER BY number DESC LIMIT 1"
        )
        self._page = (
            f"SELECT number, transition FROM {keyspace}.told "
            "WHERE log_chunk = ? AND number >= ? LIMIT ?"
        )
        self._add_day = f"INSERT INTO {keyspace}.segment_days (segment, day) VALUES (?, ?)"
        self._days = (
            f"SELECT day FROM {keyspace}.segment_days WHERE segment = ? AND day >= ? AND day <= ?"
        )
        flows = f"{keyspace}.segment_flows"
        self._add_flow = (
            f"INSERT INTO {flows} (segment_day, at_ms, profile, sequence, entered, reason) "
            "VALUES (?, ?, ?, ?, ?, ?)"
        )
        self._flow = (
            f"SELECT sequence FROM {flows} "
            "WHERE segment_day = ? AND at_ms = ? AND profile = ? AND sequence = ?"
        )
        self._flows = (
            f"SELECT at_ms, profile, entered, reason FROM {flows} "
            "WHERE segment_day IN ? AND at_ms >= ? AND at_ms < ?"
        )
        counts = f"{keyspace}.segment_counts"
        self._counted = f"SELECT until_ms, people, devices FROM {counts} WHERE segment = ?"
        self._set_count = (
            f"INSERT INTO {counts} (segment, until_ms, people, devices) VALUES (?, ?, ?, ?) "
            "USING TIMESTAMP ?"
        )

    # --- telling ----------------------------------------------------------------------------------

    def tell(self, told: Mapping[tuple[int, int], Sequence[Transition]]) -> None:
        """Append to logs, then keep who moved for counting: a consent moves nobody."""
        self._append(
            {place: self._unfinished[place] for place in told if place in self._unfinished}
        )
        self._append(
            {place: (self._next_number(place), some) for place, some in told.items() if some}
        )
        moved = [
            each for some in told.values() for each in some if each.reason is not Reason.CONSENT
        ]
        self._derived.write([*self._new_days(moved), *self._moves(moved)])
        self._days_known.update(dict.fromkeys((t.segment, t.at_ms // DAY_MS) for t in moved))
        for day in list(self._days_known)[: len(self._days_known) - KNOWN_MAX]:
            del self._days_known[day]

    def _moves(self, moved: Iterable[Transition]) -> Iterator[Write]:
        return (
            Write(
                key,
                self._add_flow,
                (key, t.at_ms, t.profile_id, t.sequence, t.entered, t.reason.value),
            )
            for t in moved
            for key in (_segment_day(t.segment, t.at_ms // DAY_MS, _bucket(t.profile_id)),)
        )

    def _append(self, logs: Mapping[tuple[int, int], tuple[int, Sequence[Transition]]]) -> None:
        """Transitions with the number of their first, by log and epoch."""
        self._unfinished |= logs
        self._derived.write(
            Write(key, self._add, (key, number, _encode(each)))
            for place, (first, told) in logs.items()
            for number, each in enumerate(told, first)
            for key in (_log_chunk(*place, number // CHUNK),)
        )
        for place, (first, told) in logs.items():
            self._numbering[place] = first + len(told)
            del self._unfinished[place]

    def _next_number(self, place: tuple[int, int]) -> int:
        if place in self._numbering:
            return self._numbering[place]
        log, epoch = place
        execute = self._derived.connection.execute
        execute(self._add_log, (_EVERY, log))
        execute(self._add_epoch, (log, epoch))
        chunk, number = 0, 0
        while rows := execute(self._last, (_log_chunk(log, epoch, chunk),)):
            number, chunk = rows[0][0] + 1, chunk + 1
        return number

    def _new_days(self, told: Iterable[Transition]) -> list[Write]:
        days = {(each.segment, each.at_ms // DAY_MS) for each in told}
        return [
            Write(segment.encode(), self._add_day, (segment, day))
            for segment, day in sorted(days - self._days_known.keys())
        ]

    def untold(self, told: Sequence[Transition]) -> list[Transition]:
        """Those that are not told yet; of consents nobody knows."""
        bind = self._derived.bind
        requests = []
        for each in told:
            day = each.at_ms // DAY_MS
            key = _segment_day(each.segment, day, _bucket(each.profile_id))
            values = (key, each.at_ms, each.profile_id, each.sequence)
            requests.append(self._derived.connection.send(bind(self._flow, values, key)))
        rows_of = self._derived.connection.rows_of
        return [
            each for each, request in zip(told, requests, strict=True) if not list(rows_of(request))
        ]

    # --- following --------------------------------------------------------------------------------

    def told(self, after: str, limit: int, segments: Sequence[str] = ()) -> list[Told]:
        """The next ones of every log, about in the order of time."""
        places = _places(after)
        wanted = frozenset(segments)
        found: list[Told] = []
        logs = [self._of_log(log, places.get(log, (0, -1)), limit) for log in self._all_logs()]
        for log, place, each in heapq.merge(*logs, key=lambda entry: entry[2].at_ms):
            places[log] = place
            if not wanted or each.segment in wanted:
                found.append(Told(_token(places), each))
                if len(found) == limit:
                    break
        return found

    def newest(self) -> str:
        """Where each log ends."""
        places: Places = {}
        for log in self._all_logs():
            places[log] = (0, -1)
            for epoch in self._epochs_of(log, 0)[-1:]:
                places[log] = (epoch, -1)
                start = self._nearly_last(log, epoch)
                for end, _ in self._of_epoch(log, epoch, start, last=True):
                    places[log] = end
        return _token(places)

    def _nearly_last(self, log: int, epoch: int) -> int:
        """A number below which the log of an epoch has no hole: the start of its last chunk."""
        chunk = 0
        while self._derived.connection.execute(self._last, (_log_chunk(log, epoch, chunk + 1),)):
            chunk += 1
        return chunk * CHUNK

    def _all_logs(self) -> list[int]:
        return [int(log) for (log,) in self._derived.connection.execute(self._logs, (_EVERY,))]

    def _epochs_of(self, log: int, since: int) -> list[int]:
        rows = self._derived.connection.execute(self._epochs, (log, since))
        return [int(epoch) for (epoch,) in rows]

    def _of_log(
        self, log: int, after: tuple[int, int], limit: int
    ) -> Iterator[tuple[int, tuple[int, int], Transition]]:
        epochs = self._epochs_of(log, after[0])
        for epoch in epochs:
            first = after[1] + 1 if epoch == after[0] else 0
            last = epoch == epochs[-1]
            for place, each in self._of_epoch(log, epoch, first, last=last, page=limit):
                yield log, place, each

    def _of_epoch(
        self, log: int, epoch: int, number: int, *, last: bool, page: int = CHUNK
    ) -> Iterator[tuple[tuple[int, int], Transition]]:
        """From `number` on; of the last epoch up to the first that is still to come.

        Of an earlier one past the holes: what is missing there is told again by the next owner.
        """
        while True:
            values = (_log_chunk(log, epoch, number // CHUNK), number, page)
            rows = self._derived.connection.execute(self._page, values)
            for stored, blob in rows:
                if last and stored != number:
                    return
                yield (epoch, stored), _transition(blob)
                number = stored + 1
            if len(rows) < page and (number % CHUNK or not rows):
                return

    # --- counting ---------------------------------------------------------------------------------

    def count(self, segment: str) -> tuple[int, int]:
        """(people, devices): those of an earlier count, and who came and went since then."""
        rows = self._derived.connection.execute(self._counted, (segment,))
        since_ms, *held = rows[0] if rows else (0, 0, 0)
        flows = [
            (at_ms, names_device(Node(profile)), 1 if entered else -1)
            for at_ms, profile, entered, _ in self._flows_of(segment, since_ms, _BIAS - 1)
        ]
        if flows:
            newest_ms = max(at_ms for at_ms, _, _ in flows)
            until_ms = min(newest_ms, time.time_ns() // 1_000_000) - LATE_MS_MAX
            if until_ms - since_ms >= COUNT_AGAIN_MS:
                settled = _added(held, (flow for flow in flows if flow[0] < until_ms))
                values = (segment, until_ms, *settled, until_ms)
                self._derived.write([Write(segment.encode(), self._set_count, values)])
        people, devices = _added(held, flows)
        return people, devices

    def history(self, segment: str, since_ms: int, until_ms: int, every_ms: int) -> list[Flow]:
        """Reads every transition of the span: some 100,000 a second."""
        spans: dict[tuple[int, str], list[int]] = {}
        for at_ms, _, entered, reason in self._flows_of(segment, since_ms, until_ms):
            span = spans.setdefault((at_ms // every_ms * every_ms, reason), [0, 0])
            span[0 if entered else 1] += 1
        return [Flow(start, reason, *span) for (start, reason), span in sorted(spans.items())]

    def _flows_of(
        self, segment: str, since_ms: int, until_ms: int
    ) -> Iterator[tuple[int, bytes, bool, str]]:
        values = (segment, since_ms // DAY_MS, until_ms // DAY_MS)
        days = [int(day) for (day,) in self._derived.connection.execute(self._days, values)]
        keys = [
            _segment_day(segment, day, bucket) for day in days for bucket in range(FLOW_BUCKETS)
        ]
        return self._derived.read(self._flows, keys, since_ms, until_ms)


def _added(held: Sequence[int], flows: Iterable[tuple[int, bool, int]]) -> tuple[int, int]:
    """(people, devices) after flows."""
    counts = list(held)
    for _, device, change in flows:
        counts[device] += change
    return counts[0], counts[1]


def _bucket(profile_id: Node) -> int:
    return profile_id[-1] % FLOW_BUCKETS


def _segment_day(segment: str, day: int, bucket: int) -> bytes:
    return bytes([bucket]) + (day + _BIAS).to_bytes(8) + segment.encode()


def _log_chunk(log: int, epoch: int, chunk: int) -> bytes:
    return log.to_bytes(4) + epoch.to_bytes(8) + chunk.to_bytes(8)


def _token(places: Places) -> str:
    """`log:epoch:number` of each log."""
    return ",".join(f"{log}:{epoch}:{number}" for log, (epoch, number) in sorted(places.items()))


def _places(token: str) -> Places:
    places: Places = {}
    for entry in filter(None, token.split(",")):
        log, epoch, number = map(int, entry.split(":"))
        places[log] = (epoch, number)
    return places

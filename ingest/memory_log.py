"""A log in memory: `ingest.log` for simulations, with crashes, zombies and rebalances on demand."""

from collections.abc import Callable, Mapping, Sequence
from threading import RLock
from typing import Final

import msgspec

from ingest.log import (
    MESSAGE_BYTES_MAX,
    LogRefused,
    Lost,
    Membership,
    Message,
    MessageTooLarge,
    Partition,
)

_SEED: Final = 0x9747B28C
_FACTOR: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF


class _Stored(msgspec.Struct):
    """One partition."""

    messages: list[Message] = []
    first: int = 0
    """The lowest offset that is still there."""

    @property
    def end(self) -> int:
        return len(self.messages)


class _Group(msgspec.Struct):
    """Who reads what."""

    members: list["MemoryConsumer"] = []
    owners: dict[Partition, "MemoryConsumer"] = {}
    stamps: dict[Partition, int] = {}
    """How often each partition changed hands."""
    committed: dict[Partition, int] = {}
    turn: int = 0


class MemoryLog:
    """`ingest.log.Log`. A rebalance takes effect at once: who has not polled since is a zombie.

    `fault` hears of each step ("poll", "commit", "send", "flush", "lag", "ends") before it is taken, and
    may raise. `sleep` is how waiting passes.
    """

    def __init__(
        self,
        partitions: Mapping[str, int],
        clock_ms: Callable[[], int] = lambda: 0,
        fault: Callable[[str], None] = lambda step: None,
        sleep: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._topics = {
            topic: [_Stored() for _ in range(count)] for topic, count in partitions.items()
        }
        self._groups: dict[str, _Group] = {}
        self._clock_ms = clock_ms
        self._sleep = sleep
        self._made = 1
        self.fault = fault
        self.lock = RLock()

    # --- ingest.log.Log -----------------------------------------------------------------------

    def consumer(self, group: str, topics: Sequence[str], lost: Lost) -> "MemoryConsumer":
        """A new member of `group`."""
        for topic in topics:
            self._partitions(topic)
        return MemoryConsumer(self, group, topics, lost)

    def producer(self) -> "MemoryProducer":
        """A new producer."""
        return MemoryProducer(self)

    def lag(self, group: str, topics: Sequence[str]) -> int:
        """How many messages of topics a group has not committed yet."""
        self.fault("lag")
        with self.lock:
            committed = self._group(group).committed
            return sum(
                stored.end - max(committed.get((topic, number), 0), stored.first)
                for topic in topics
                for number, stored in enumerate(self._partitions(topic))
            )

    def ends(self, topic: str) -> dict[Partition, int]:
        """The offset of the next message of each partition."""
        self.fault("ends")
        return {(topic, n): stored.end for n, stored in enumerate(self._partitions(topic))}

    def fingerprint(self, topic: str) -> str:
        """Another one if the topic was made anew."""
        return f"memory-{self._made}/{len(self._partitions(topic))}"

    def close(self) -> None:
        """Nothing."""

    # --- what simulations do to it --------------------------------------------------------------

    def make(self, topic: str, partitions: int) -> None:
        """Make a topic, or make it anew."""
        self._made += 1
        self._topics[topic] = [_Stored() for _ in range(partitions)]

    def append(
        self, topic: str, value: bytes, key: bytes = b"", headers: Mapping[str, bytes] | None = None
    ) -> Message:
        """Store a message; without a key the partitions take turns."""
        if len(value) + len(key) > MESSAGE_BYTES_MAX:
            raise MessageTooLarge(f"{topic}: a message of {len(value)} bytes")
        with self.lock:
            stored = self._partitions(topic)
            number = (
                partition_of(key, len(stored)) if key else sum(s.end for s in stored) % len(stored)
            )
            offset = stored[number].end
            message = Message(
                topic, number, offset, self._clock_ms(), key, value, dict(headers or {})
            )
            stored[number].messages.append(message)
            return message

    def messages(self, topic: str) -> list[Message]:
        """All messages of a topic that are still there, partition by partition."""
        return [
            each for stored in self._partitions(topic) for each in stored.messages[stored.first :]
        ]

    def truncate(self, partition: Partition, first: int) -> None:
        """Retention: what is below offset `first` is gone."""
        self._partitions(partition[0])[partition[1]].first = first

    def committed(self, group: str) -> dict[Partition, int]:
        """What a group has committed."""
        return dict(self._group(group).committed)

    def reset(self, group: str) -> None:
        """Forget what a group has committed: a replay from the start, when its members come anew."""
        with self.lock:
            self._group(group).committed.clear()

    def rebalance(self, group: str) -> None:
        """Give every partition to the next member; members hear of it when they poll."""
        with self.lock:
            found = self._group(group)
            found.turn += 1
            before, found.owners = found.owners, {}
            wanted = sorted({each for member in found.members for each in self._of(member.topics)})
            for n, partition in enumerate(wanted):
                ready = [m for m in found.members if partition[0] in m.topics]
                owner = found.owners[partition] = ready[(n + found.turn) % len(ready)]
                if before.get(partition) is not owner:
                    found.stamps[partition] = found.stamps.get(partition, 0) + 1

    def evict(self, consumer: "MemoryConsumer") -> None:
        """The group gives a member's partitions to others. It hears of it when it polls, and joins again."""
        with self.lock:
            group = self._group(consumer.group)
            if consumer in group.members:
                group.members.remove(consumer)
                self.rebalance(consumer.group)

    # --- for consumers ----------------------------------------------------------------------------

    def join(self, consumer: "MemoryConsumer") -> None:
        """Take a member in, if it is not one."""
        with self.lock:
            group = self._group(consumer.group)
            if consumer not in group.members:
                group.members.append(consumer)
                self.rebalance(consumer.group)

    def owned(self, consumer: "MemoryConsumer") -> dict[Partition, int]:
        """The partitions that the group gives to a member, and how often they changed hands before."""
        group = self._group(consumer.group)
        return {p: group.stamps[p] for p, member in group.owners.items() if member is consumer}

    def start_of(self, group: str, partition: Partition) -> int:
        """Where a group goes on."""
        return self._group(group).committed.get(partition, self.stored(partition).first)

    def commit(self, consumer: "MemoryConsumer", offsets: Mapping[Partition, int]) -> None:
        """Keep offsets, of those partitions alone that the member has."""
        with self.lock:
            mine = self.owned(consumer)
            committed = self._group(consumer.group).committed
            committed.update({each: at for each, at in offsets.items() if each in mine})

    def stored(self, partition: Partition) -> _Stored:
        """The messages of a partition."""
        return self._partitions(partition[0])[partition[1]]

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._sleep(seconds)

    def _of(self, topics: Sequence[str]) -> list[Partition]:
        return [(topic, n) for topic in topics for n in range(len(self._partitions(topic)))]

    def _partitions(self, topic: str) -> list[_Stored]:
        found = self._topics.get(topic)
        if found is None:
            raise LogRefused(f"no topic {topic}")
        return found

    def _group(self, name: str) -> _Group:
        return self._groups.setdefault(name, _Group())


class MemoryConsumer:
    """`ingest.log.Consumer`."""

    def __init__(self, log: MemoryLog, group: str, topics: Sequence[str], lost: Lost) -> None:
        self.group = group
        self.topics = tuple(topics)
        self.cut_off = False
        """The group cannot be reached, but the topics can: it goes on reading what it had."""
        self._log = log
        self._lost = lost
        self._closed = False
        self._joined = False
        self._generation = 0
        self._positions: dict[Partition, int] = {}
        self._stamps: dict[Partition, int] = {}

    def poll(self, limit: int, timeout_s: float) -> list[Message]:
        """Up to `limit` messages, those of one partition after those of another."""
        self._log.fault("poll")
        with self._log.lock:
            self._hear()
            found: list[Message] = []
            for partition in sorted(self._positions):
                found += self._read(partition, limit - len(found))
        if not found:
            self._log.wait(timeout_s)
        return found

    def _read(self, partition: Partition, limit: int) -> list[Message]:
        stored, at = self._log.stored(partition), self._positions[partition]
        if at < stored.first:
            self._lost(partition, stored.first - at)
            at = stored.first
        some = stored.messages[at : at + limit]
        self._positions[partition] = at + len(some)
        return some

    def idle(self, seconds: float) -> None:
        """Hear of rebalances."""
        self._log.wait(seconds)
        with self._log.lock:
            self._hear()

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Keep offsets, unless the group has other plans."""
        self._log.fault("commit")
        if not self.cut_off:
            self._log.commit(self, offsets)

    def membership(self) -> Membership:
        """As of the last poll."""
        return Membership(self._generation, frozenset(self._positions), self._joined)

    def lag(self) -> dict[Partition, int]:
        """How many messages of each partition were not read yet."""
        return {each: self._log.stored(each).end - at for each, at in self._positions.items()}

    def leave(self) -> None:
        """Give up all partitions."""
        self._log.evict(self)
        self._take({})
        self._joined = False

    def close(self) -> None:
        """Leave for good."""
        self._log.evict(self)
        self._closed = True

    def _hear(self) -> None:
        if self._closed:
            raise RuntimeError("this consumer is closed")
        if self.cut_off:
            return
        self._log.join(self)
        self._joined = True
        self._take(self._log.owned(self))

    def _take(self, owned: dict[Partition, int]) -> None:
        if owned == self._stamps:
            return
        self._generation += 1
        # A partition that went away and came back is read from where its group stands, like a new one.
        self._positions = {
            each: self._positions[each]
            if self._stamps.get(each) == stamp
            else self._log.start_of(self.group, each)
            for each, stamp in owned.items()
        }
        self._stamps = owned


class MemoryProducer:
    """`ingest.log.Producer`. A message is in the log when it is sent: a crash leaves the first of a batch."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    def send(
        self, topic: str, value: bytes, key: bytes = b"", headers: Mapping[str, bytes] | None = None
    ) -> None:
        """Store a message."""
        self._log.fault("send")
        self._log.append(topic, value, key, headers)

    def flush(self) -> None:
        """Everything is there already."""
        self._log.fault("flush")

    def close(self) -> None:
        """Nothing."""


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key as Java's clients and `murmur2_random` choose it."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """MurmurHash2 with Kafka's seed (org.apache.kafka.common.utils.Utils.murmur2), unsigned."""
    h = _SEED ^ len(data)
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * _FACTOR & _MASK
        k = (k ^ k >> 24) * _FACTOR & _MASK
        h = (h * _FACTOR & _MASK) ^ k
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * _FACTOR & _MASK
    h = (h ^ h >> 13) * _FACTOR & _MASK
    return h ^ h >> 15

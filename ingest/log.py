"""The log between stages: topics in partitions, read by groups, as small ports (DESIGN §4).

`ingest.memory_log` is the twin for simulations, `ingest.kafka.log` the real one; both pass one suite.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from ingest.errors import IngestError

Partition = tuple[str, int]
"""A topic and the number of one of its partitions."""
Lost = Callable[[Partition, int], None]
"""Hears that so many messages of a partition were gone before they were read."""

MESSAGE_BYTES_MAX: Final = 4 << 20
"""The largest message: an event of 512 KB with all that is said about it on the activity topic."""


class LogError(IngestError):
    """The log, and not a message, is why it did not work: the message names brokers, topics and what to do."""


class LogUnavailable(LogError):
    """The brokers cannot take it or answer now. Try later."""


class LogRefused(LogError):
    """The brokers refuse how they are used: credentials, rights, a topic that is not there."""


class MessageTooLarge(ValueError):
    """No broker takes a message of this size; the others of its batch are not affected."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message as it was read."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    """When it was sent, the same at every delivery."""
    key: bytes
    value: bytes
    headers: dict[str, bytes] = {}

    @property
    def origin(self) -> str:
        """Where it stands, for people."""
        return f"{self.topic}:{self.partition}:{self.offset}"


class Membership(msgspec.Struct, frozen=True):
    """What a consumer has to read."""

    generation: int
    """Grows whenever partitions are given or taken away: what was learned about them may be old."""
    partitions: frozenset[Partition]
    joined: bool
    """Whether the group has accepted this consumer; without partitions it stands by."""
    trouble: str = ""
    """Why the brokers cannot be reached at the moment; empty: they can."""


class Consumer(Protocol):
    """One member of a group, for one thread. Messages of a partition come in the order of their offsets.

    Whatever was read and not committed is delivered again, to this member or another.
    """

    def poll(self, limit: int, timeout_s: float) -> list[Message]:
        """Up to `limit` messages: what has come as soon as there is any, nothing by the time-out.

        Rebalances happen in here and in `idle`. LogRefused if reading is forbidden.
        """

    def idle(self, seconds: float) -> None:
        """Stay a member for so long without taking messages."""

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """All before these offsets is durable downstream. Soft: what is not committed comes again."""

    def membership(self) -> Membership:
        """What there is to read, as of the last `poll` or `idle`."""

    def lag(self) -> dict[Partition, int]:
        """How many messages of each partition were not read yet, as far as is known without asking."""

    def leave(self) -> None:
        """Give up all partitions; the next `poll` joins again."""

    def close(self) -> None:
        """Leave the group for good. Closing twice is the same as once."""


class Producer(Protocol):
    """Sends messages; equal keys of one topic go to one partition, in order."""

    def send(
        self, topic: str, value: bytes, key: bytes = b"", headers: Mapping[str, bytes] | None = None
    ) -> None:
        """Hand over a message; waits while too many are under way. MessageTooLarge if no broker takes it."""

    def flush(self) -> None:
        """Return when all that was sent is durable; else a LogError, and then send all of it again."""

    def close(self) -> None:
        """Let go of connections; what was not flushed may be lost."""


class Log(Protocol):
    """Where topics are."""

    def consumer(self, group: str, topics: Sequence[str], lost: Lost) -> Consumer:
        """A new member of `group`. A group that is new to a partition reads it from its first message."""

    def producer(self) -> Producer:
        """A new producer, for one thread."""

    def lag(self, group: str, topics: Sequence[str]) -> int:
        """How many messages of topics a group has not committed yet."""

    def ends(self, topic: str) -> dict[Partition, int]:
        """The offset of the next message of each partition, asked now."""

    def fingerprint(self, topic: str) -> str:
        """Another one if the topic was made anew, or has another number of partitions."""

    def close(self) -> None:
        """Let go of connections; consumers and producers are closed by those who have them."""


def nothing_lost(partition: Partition, count: int) -> None:
    """For tests and tools that need not hear of lost messages."""


def next_offsets(messages: Sequence[Message]) -> dict[Partition, int]:
    """What to commit when `messages` are durable."""
    found: dict[Partition, int] = {}
    for message in messages:
        key = (message.topic, message.partition)
        found[key] = max(found.get(key, 0), message.offset + 1)
    return found

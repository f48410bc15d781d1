"""The two logs, as the contract suite sees them."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from ingest.kafka.log import KafkaLog
from ingest.kafka.settings import KafkaSettings
from ingest.log import Consumer, Log, Message, Partition, nothing_lost
from ingest.memory_log import MemoryLog

WAIT_S = 30.0


class Topics(Protocol):
    """A log, and what only its keeper may do to it."""

    prefix: str

    @property
    def log(self) -> Log: ...

    def make(self, topic: str, partitions: int) -> str:
        """Make a topic, or make it anew; its full name."""

    def truncate(self, partition: Partition, first: int) -> None:
        """Delete all messages of a partition below an offset."""


class MemoryTopics:
    """In memory."""

    prefix = "t"

    def __init__(self) -> None:
        self.log = MemoryLog({}, clock_ms=lambda: int(time.time() * 1000), sleep=lambda _: None)

    def make(self, topic: str, partitions: int) -> str:
        name = f"{self.prefix}.{topic}"
        self.log.make(name, partitions)
        return name

    def truncate(self, partition: Partition, first: int) -> None:
        self.log.truncate(partition, first)


class KafkaTopics:
    """On a broker."""

    def __init__(self, brokers: str, prefix: str) -> None:
        self.prefix = prefix
        self.settings = KafkaSettings(brokers=brokers, prefix=prefix, timeout_s=10)
        self.log = KafkaLog(self.settings)
        self.admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})

    def make(self, topic: str, partitions: int) -> str:
        name = f"{self.prefix}.{topic}"
        if name in self.admin.list_topics(timeout=WAIT_S).topics:
            self.admin.delete_topics([name])[name].result(WAIT_S)
            until(lambda: name not in self.admin.list_topics(timeout=WAIT_S).topics)
        self.admin.create_topics([NewTopic(name, partitions, 1)])[name].result(WAIT_S)
        until(lambda: name in self.admin.list_topics(timeout=WAIT_S).topics)
        return name

    def truncate(self, partition: Partition, first: int) -> None:
        for future in self.admin.delete_records([TopicPartition(*partition, first)]).values():
            future.result(WAIT_S)


def until(
    found: Callable[[], bool], seconds: float = WAIT_S, meanwhile: Consumer | None = None
) -> None:
    """Wait for something to be true; `meanwhile` waits as a member of its group."""
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, "it did not happen in time"
        if meanwhile is None:
            time.sleep(0.02)
        else:
            meanwhile.idle(0.1)


def read(consumer: Consumer, count: int, seconds: float = WAIT_S) -> list[Message]:
    """Exactly `count` messages, however many polls that takes."""
    found: list[Message] = []
    deadline = time.monotonic() + seconds
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} messages came"
        found += consumer.poll(count - len(found), 0.05)
    return found


def nothing_more(consumer: Consumer, seconds: float = 0.5) -> bool:
    """Whether no further message comes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if consumer.poll(10, 0.05):
            return False
    return True


def member(topics: Topics, group: str, names: Sequence[str]) -> Consumer:
    """A new member of a group."""
    return topics.log.consumer(f"{topics.prefix}.{group}", names, nothing_lost)


def values(messages: Sequence[Message]) -> list[bytes]:
    return [message.value for message in messages]

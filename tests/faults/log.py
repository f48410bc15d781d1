"""Kafka as a test sees it: produce, how far each group is, read back, and go back to the start."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec  # type: ignore[attr-defined]

TIMEOUT_S = 30.0
_NOTHING_KNOWN = (
    KafkaError.GROUP_ID_NOT_FOUND,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
)
Offsets = dict[tuple[str, int], int]


class Log:
    """One broker. Everything waits for an answer, and raises KafkaException if there is none."""

    def __init__(self, brokers: str) -> None:
        self.brokers = brokers
        # A broker that is killed on purpose is no news for the terminal.
        self._quiet: dict[str, str | int | float | bool] = {
            "bootstrap.servers": brokers,
            "log_level": 0,
        }
        self._admin = AdminClient(self._quiet)

    def make(self, topics: Mapping[str, int]) -> None:
        """Make topics of so many partitions."""
        made = self._admin.create_topics([NewTopic(name, n, 1) for name, n in topics.items()])
        for future in made.values():
            future.result(TIMEOUT_S)
        # The broker that acknowledged tells of them a moment later.
        deadline = time.monotonic() + TIMEOUT_S
        while not topics.keys() <= self.topics().keys():
            assert time.monotonic() < deadline, f"topics {sorted(topics)} were not made"
            time.sleep(0.05)

    def topics(self) -> dict[str, int]:
        """The partitions of each topic."""
        found = self._admin.list_topics(timeout=TIMEOUT_S).topics
        return {name: len(topic.partitions) for name, topic in found.items()}

    def ends(self, topics: Iterable[str]) -> Offsets:
        """Where the next message of each partition goes."""
        return self._listed(topics, OffsetSpec.latest())  # type: ignore[no-untyped-call]

    def _listed(self, topics: Iterable[str], which: OffsetSpec) -> Offsets:
        known = self.topics()
        wanted = [TopicPartition(t, p) for t in topics for p in range(known.get(t, 0))]
        if not wanted:
            return {}
        asked = self._admin.list_offsets(dict.fromkeys(wanted, which), request_timeout=TIMEOUT_S)
        return {
            (p.topic, p.partition): future.result(TIMEOUT_S).offset for p, future in asked.items()
        }

    def committed(self, group: str) -> Offsets:
        """The first message that a group has not said it is done with, where it said anything."""
        places = [
            TopicPartition(topic, number)
            for topic, count in self.topics().items()
            if not topic.startswith("__")
            for number in range(count)
        ]
        # A consumer asks again while groups are loaded; librdkafka's administrator was seen to crash then.
        asking = Consumer(self._quiet | {"group.id": group, "enable.auto.commit": False})
        try:
            told = asking.committed(places, timeout=TIMEOUT_S)
        finally:
            asking.close()
        return {(p.topic, p.partition): p.offset for p in told if p.offset >= 0}

    def lag(self, group: str, topics: Iterable[str]) -> int:
        """Messages of `topics` that the group is not done with."""
        ends = self.ends(topics)
        done = self.committed(group)
        return sum(end - done.get(place, 0) for place, end in ends.items())

    def members(self, group: str) -> dict[str, list[tuple[str, int]]]:
        """The partitions of each member of a group."""
        (future,) = self._admin.describe_consumer_groups([group]).values()
        try:
            told = future.result(TIMEOUT_S).members
        except KafkaException as error:
            if error.args[0].code() in _NOTHING_KNOWN:
                return {}
            raise
        return {
            each.member_id: [(p.topic, p.partition) for p in each.assignment.topic_partitions]
            for each in told
        }

    def back_to_the_start(self, group: str, topics: Iterable[str]) -> None:
        """Let a group that has no members read `topics` again from their first message."""
        first = self._listed(topics, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        places = [TopicPartition(t, p, offset) for (t, p), offset in first.items()]

        def moved() -> bool:
            asked = self._admin.alter_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(group, places)]
            )
            errors = {
                place.error.code() if place.error else None
                for future in asked.values()
                for place in future.result(TIMEOUT_S).topic_partitions
            }
            # The broker may think for a while that those who have just left are still there.
            assert errors <= {None, KafkaError.UNKNOWN_MEMBER_ID}, errors
            return errors == {None}

        until(moved, "the broker lets the group go back")

    def read(self, topic: str, start: Offsets | None = None, most: int = 1 << 62) -> list[Message]:
        """The messages of a topic, from `start` (else from the first) to its end now, `most` a partition."""
        ends = {place: end for place, end in self.ends([topic]).items() if end}
        begin = {place: (start or {}).get(place, 0) for place in ends}
        ends = {place: min(end, begin[place] + most) for place, end in ends.items()}
        left = {place for place, end in ends.items() if begin[place] < end}
        if not left:
            return []
        consumer = Consumer(
            self._quiet | {"group.id": f"{topic}-reader", "enable.auto.commit": False}
        )
        found: list[Message] = []
        try:
            consumer.assign([TopicPartition(*place, begin[place]) for place in left])
            deadline = time.monotonic() + TIMEOUT_S
            while left:
                assert time.monotonic() < deadline, f"{topic} cannot be read to its end"
                for message in consumer.consume(10_000, 0.2):
                    place = (message.topic() or "", message.partition() or 0)
                    if message.error() is None and (message.offset() or 0) < ends[place]:
                        found.append(message)
                positions = consumer.position([TopicPartition(*place) for place in left])
                left -= {
                    (p.topic, p.partition)
                    for p in positions
                    if p.offset >= ends[p.topic, p.partition]
                }
        finally:
            consumer.close()
        return found


class Sender:
    """Sends messages, as many a second as told, in a thread of its own where wanted."""

    def __init__(self, brokers: str) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": brokers,
                "log_level": 0,
                "enable.idempotence": True,
                "linger.ms": 5,
                "compression.type": "lz4",
                "partitioner": "murmur2_random",
                "queue.buffering.max.messages": 1_000_000,
                "queue.buffering.max.kbytes": 1 << 20,
            }
        )
        self._failed: list[str] = []
        self.sent = 0

    def send(self, messages: Iterable[tuple[str, bytes, bytes]], rate: float | None = None) -> None:
        """Send `(topic, key, value)`, `rate` a second; all are durable when it returns."""
        began = time.monotonic()
        for number, (topic, key, value) in enumerate(messages):
            if rate is not None and (early := number / rate - (time.monotonic() - began)) > 0.001:
                self._producer.poll(0)
                time.sleep(early)
            self.now(topic, key, value)
        self.flush()

    def now(self, topic: str, key: bytes, value: bytes) -> None:
        """Send one message; `flush` says when it is durable."""
        while True:
            try:
                self._producer.produce(topic, value, key or None, on_delivery=self._told)
                break
            except BufferError:
                self._producer.poll(0.1)
        self.sent += 1
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until all that was sent is durable."""
        left = self._producer.flush(300)
        assert not left, f"{left} messages were not sent"
        assert not self._failed, self._failed[:3]

    def _told(self, error: Any, message: Message) -> None:
        if error is not None:
            self._failed.append(str(error))


class Background:
    """Runs something beside the test, and raises what it raised when it is waited for."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error

    @property
    def running(self) -> bool:
        """Whether it is not done yet."""
        return self._thread.is_alive()

    def wait(self) -> None:
        """Wait until it is done."""
        self._thread.join()
        if self._error is not None:
            raise self._error


def until(
    condition: Callable[[], Any], what: str, timeout_s: float = 60.0, poll_s: float = 0.05
) -> Any:
    """What `condition` gives as soon as that is true; an error that says `what` if it never is."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"after {timeout_s:.0f} s still not: {what}")
        time.sleep(poll_s)
    return found


def behind(offsets: Offsets, ends: Offsets) -> Sequence[tuple[str, int]]:
    """The places where `offsets` are short of `ends`."""
    return [place for place, end in ends.items() if offsets.get(place, 0) < end]

"""`ingest.log.Log` on Kafka."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from confluent_kafka import (
    Consumer,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

from ingest.kafka.client import Admin, Troubles, client_config, explained
from ingest.kafka.consumer import KafkaConsumer
from ingest.kafka.offsets import copy_offsets
from ingest.kafka.producer import KafkaProducer
from ingest.kafka.settings import KafkaSettings
from ingest.log import LogUnavailable, Lost, Partition


class KafkaLog:
    """Makes consumers and producers of one workspace, and asks brokers about its topics."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self._askers: dict[str, Consumer] = {}

    @cached_property
    def _admin(self) -> Admin:
        return Admin(self.settings)

    def check(self, topics: Sequence[str]) -> None:
        """LogUnavailable or LogRefused, within some seconds, unless Kafka is there and has `topics`."""
        self._admin.check(topics)

    def consumer(self, group: str, topics: Sequence[str], lost: Lost) -> KafkaConsumer:
        """A new member of `group`."""
        return KafkaConsumer(self.settings, group, topics, lost)

    def producer(self) -> KafkaProducer:
        """A new producer."""
        return KafkaProducer(self.settings)

    def lag(self, group: str, topics: Sequence[str]) -> int:
        """How many messages of topics a group has not committed yet."""
        ends: dict[Partition, int] = {}
        for topic in topics:
            ends |= self.ends(topic)
        committed = self._committed(group, ends)
        unknown = [each for each in ends if each not in committed]
        starts = self._offsets(unknown, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        return sum(max(0, end - (committed | starts)[each]) for each, end in ends.items())

    def ends(self, topic: str) -> dict[Partition, int]:
        """The offset of the next message of each partition, asked now."""
        count = self._admin.topics().get(topic, 0)
        if not count:
            self._admin.check([topic])
        places = [(topic, number) for number in range(count)]
        return self._offsets(places, OffsetSpec.latest())  # type: ignore[no-untyped-call]

    def fingerprint(self, topic: str) -> str:
        """The topic's id in its cluster, and how many partitions it has."""
        asked = self._admin.client.describe_topics(
            TopicCollection([topic]), request_timeout=self._admin.timeout_s
        )
        found = self._answer(asked[topic], topic)
        return f"{found.topic_id}/{len(found.partitions)}"

    def start_group_at(
        self, group: str, source: str, topics: Sequence[str]
    ) -> dict[Partition, int]:
        """Let a group that nobody is in begin where `source` stands; where it stands."""
        return copy_offsets(self.settings, self._admin.client, source, group, topics)

    def close(self) -> None:
        """Let go of connections; librdkafka lets go of the administrator with its last reference."""
        while self._askers:
            self._askers.popitem()[1].close()

    def _committed(self, group: str, places: Iterable[Partition]) -> dict[Partition, int]:
        # Not by the administrator: librdkafka was seen to crash when a broker still loads its groups. This
        # one never joins, and asks again by itself.
        if group not in self._askers:
            config = client_config(self.settings, Troubles(self.settings))
            self._askers[group] = Consumer(
                config | {"group.id": group, "enable.auto.commit": False}
            )
        try:
            told = self._askers[group].committed(
                [TopicPartition(*each) for each in places], timeout=self._admin.timeout_s
            )
        except KafkaException as error:
            raise explained(error, self.settings, group) from error
        return {(p.topic, p.partition): p.offset for p in told if p.offset >= 0}

    def _offsets(self, places: Sequence[Partition], which: OffsetSpec) -> dict[Partition, int]:
        if not places:
            return {}
        asked = self._admin.client.list_offsets(
            {TopicPartition(*each): which for each in places}, request_timeout=self._admin.timeout_s
        )
        return {
            (place.topic, place.partition): self._answer(future, place.topic).offset
            for place, future in asked.items()
        }

    def _answer(self, future: Any, topic: str) -> Any:
        try:
            return future.result(self._admin.timeout_s)
        except KafkaException as error:
            raise explained(error, self.settings, topic) from error
        except TimeoutError as error:
            raise LogUnavailable(f"{topic}: no answer in {self._admin.timeout_s:.0f} s") from error

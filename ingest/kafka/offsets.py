"""Where consumer groups stand: copied from one group to another that is to go on from there."""

from collections.abc import Sequence

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from ingest.kafka.settings import KafkaSettings
from ingest.log import LogUnavailable


def copy_offsets(
    settings: KafkaSettings, client: AdminClient, source: str, target: str, topics: Sequence[str]
) -> dict[tuple[str, int], int]:
    """Let `target`, which nobody is in, start where `source` stands; what it stands at.

    A group that has offsets already keeps them: what it has read since is not read again. Partitions that
    `source` never committed are left alone, and read from their first message.
    """
    try:
        held = _offsets(client, target, topics, settings.timeout_s)
        if held:
            return held
        found = _offsets(client, source, topics, settings.timeout_s)
        if found:
            at = [
                TopicPartition(topic, number, offset) for (topic, number), offset in found.items()
            ]
            request = [ConsumerGroupTopicPartitions(target, at)]
            for answer in client.alter_consumer_group_offsets(
                request, request_timeout=settings.timeout_s
            ).values():
                answer.result()
    except KafkaException as error:
        reason = error.args[0].str()
        raise LogUnavailable(
            f"Kafka at {settings.brokers}: the offsets of {target} could not be set: {reason}"
        ) from error
    return found


def _offsets(
    client: AdminClient, group: str, topics: Sequence[str], timeout_s: float
) -> dict[tuple[str, int], int]:
    (answer,) = client.list_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(group)], request_timeout=timeout_s
    ).values()
    return {
        (each.topic, each.partition): each.offset
        for each in answer.result().topic_partitions
        if each.topic in topics and each.offset >= 0
    }

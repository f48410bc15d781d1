"""What topics there should be, making them, and telling what is different."""

from collections.abc import Callable

import msgspec
import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from ingest.kafka.settings import KafkaSettings
from ingest.kafka.topics import Difference, differences, make_topics, topics_of
from ingest.log import LogUnavailable
from tests.ingest.kafka.logs import WAIT_S, until
from tests.servers import Kafka


@pytest.fixture
def settings(kafka: Kafka, topic_prefix: str) -> KafkaSettings:
    return KafkaSettings(
        brokers=kafka.brokers, prefix=topic_prefix, partitions=3, replication=1, retention_hours=2
    )


@pytest.fixture
def admin(kafka: Kafka) -> AdminClient:
    return AdminClient({"bootstrap.servers": kafka.brokers, "log_level": 0})


def settled(settings: KafkaSettings, right: Callable[[list[Difference]], bool]) -> list[Difference]:
    """The differences, when the broker has told everybody."""
    found: list[Difference] = []

    def look() -> bool:
        found[:] = differences(settings)
        return right(found)

    until(look)
    return found


def test_making_topics_makes_what_is_missing_and_says_so(settings: KafkaSettings) -> None:
    found = differences(settings)
    assert {(each.what, each.serious) for each in found} == {("missing", True)}
    assert len(found) == 8
    planned = make_topics(settings, dry_run=True)
    assert len(differences(settings)) == 8, "a dry run makes nothing"
    assert make_topics(settings) == planned
    assert f"make topic {settings.prefix}.activity: partitions 3, copies 1, kept for 2 h" in planned
    settled(settings, lambda found: not found)
    assert make_topics(settings) == []


def test_links_have_one_partition_whatever_is_configured(settings: KafkaSettings) -> None:
    partitions = {topic.name: topic.partitions for topic in topics_of(settings)}
    assert partitions[settings.topic("links")] == 1
    assert partitions[settings.topic("changes")] == 1
    assert partitions[settings.topic("activity")] == 3


def test_three_copies_need_two_in_sync(settings: KafkaSettings) -> None:
    three = msgspec.structs.replace(settings, replication=3)
    assert {topic.config.get("min.insync.replicas") for topic in topics_of(three)} == {"2"}
    assert {topic.config.get("min.insync.replicas") for topic in topics_of(settings)} == {None}


def test_more_copies_than_brokers_is_told_with_the_setting(settings: KafkaSettings) -> None:
    three = msgspec.structs.replace(settings, replication=3)
    with pytest.raises(LogUnavailable, match=r"kafka\.replication is 3"):
        make_topics(three)


def test_what_is_different_is_told_with_what_to_do(
    settings: KafkaSettings, admin: AdminClient
) -> None:
    short = {"retention.ms": "60000", "max.message.bytes": "1000", "cleanup.policy": "compact"}
    long = {"retention.ms": "-1", "max.message.bytes": "5000000"}
    made = admin.create_topics(
        [
            NewTopic(settings.topic("links"), 2, 1, config=short),
            NewTopic(settings.topic("events"), 5, 1, config=long),
        ]
    )
    for future in made.values():
        future.result(WAIT_S)
    make_topics(settings)
    found = settled(settings, lambda found: not any(each.what == "missing" for each in found))
    told = {(each.topic, each.what): each for each in found}
    links, events = settings.topic("links"), settings.topic("events")
    assert {key for key in told if key[0] == links} == {
        (links, what)
        for what in ("partitions", "retention.ms", "max.message.bytes", "cleanup.policy")
    }
    assert told[links, "partitions"].serious
    assert "--add-config retention.ms=7200000" in told[links, "retention.ms"].advice
    assert {key for key in told if key[0] == events} == {(events, "partitions")}, "-1 is for ever"
    assert told[events, "partitions"].advice.startswith("set kafka.partitions to 5")
    assert not told[events, "partitions"].serious


def test_an_input_that_is_not_there_is_missing(settings: KafkaSettings) -> None:
    with_input = msgspec.structs.replace(settings, inputs=("nosuch",))
    make_topics(settings)
    (found,) = settled(with_input, lambda found: len(found) == 1)
    assert (found.topic, found.what) == ("nosuch", "missing")
    assert "kafka.inputs" in found.advice


def test_a_topic_that_was_altered_is_told(settings: KafkaSettings, admin: AdminClient) -> None:
    make_topics(settings)
    settled(settings, lambda found: not found)
    name = settings.topic("changes")
    entry = ConfigEntry("retention.ms", "1000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(WAIT_S)
    (found,) = settled(settings, bool)
    assert (found.topic, found.what, found.found) == (name, "retention.ms", "1000")

"""What topics a workspace has, making those that are missing, and telling how others differ."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import ConfigResource, NewTopic, ResourceType  # type: ignore[attr-defined]

from ingest.kafka.client import Admin, explained
from ingest.kafka.producer import OVERHEAD_BYTES
from ingest.kafka.settings import KafkaSettings
from ingest.log import MESSAGE_BYTES_MAX, LogUnavailable

IN_SYNC_MIN: Final = 2
"""Of three copies or more: one broker may be away, and what was acknowledged outlives another."""
ADMIN_S_MAX: Final = 30.0
"""Making a topic takes a cluster longer than answering."""

_SINGLE: Final = ("links", "changes", "deadletters")
"""Topics of one partition: links have one reader, changes one order, dead letters are few."""


class Topic(msgspec.Struct, frozen=True):
    """A topic as it should be."""

    name: str
    partitions: int
    replication: int
    config: dict[str, str]


class Difference(msgspec.Struct, frozen=True):
    """A topic that is not as it should be."""

    topic: str
    what: str
    """`missing`, `partitions`, `replication`, or the name of a topic configuration."""
    wanted: str
    found: str
    advice: str
    serious: bool
    """Whether it loses events or stops a stage."""


def topics_of(settings: KafkaSettings) -> list[Topic]:
    """The topics of a workspace."""
    config = {
        "cleanup.policy": "delete",
        "retention.ms": str(settings.retention_hours * 3_600_000),
        "max.message.bytes": str(MESSAGE_BYTES_MAX + OVERHEAD_BYTES),
    }
    if settings.replication > IN_SYNC_MIN:
        config["min.insync.replicas"] = str(IN_SYNC_MIN)
    return [
        Topic(
            settings.topic(name),
            1 if name in _SINGLE else settings.partitions,
            settings.replication,
            config,
        )
        for name in ("events", "backfill", "activity", "evaluate", "segments", *_SINGLE)
    ]


def make_topics(settings: KafkaSettings, *, dry_run: bool = False) -> list[str]:
    """Make the topics that are missing; what was done (or would be), a line each.

    LogUnavailable or LogRefused if no broker answers or allows it. Topics that are there stay as they are.
    """
    admin = Admin(settings)
    known = admin.topics()
    missing = [topic for topic in topics_of(settings) if topic.name not in known]
    if missing and not dry_run:
        made = admin.client.create_topics(
            [
                NewTopic(
                    topic.name,
                    num_partitions=topic.partitions,
                    replication_factor=topic.replication,
                    config=topic.config,
                )
                for topic in missing
            ],
            operation_timeout=ADMIN_S_MAX,
        )
        for name, future in made.items():
            _made(future, name, settings)
    return [
        f"make topic {topic.name}: partitions {topic.partitions}, copies {topic.replication}, "
        f"kept for {settings.retention_hours} h"
        for topic in missing
    ]


def _made(future: Any, name: str, settings: KafkaSettings) -> None:
    try:
        future.result(ADMIN_S_MAX)
    except KafkaException as error:
        code = error.args[0].code()
        if code == KafkaError.TOPIC_ALREADY_EXISTS:  # somebody else was faster
            return
        if code == KafkaError.INVALID_REPLICATION_FACTOR:
            raise LogUnavailable(
                f"kafka at {settings.brokers}: {name}: kafka.replication is {settings.replication}: "
                f"{error.args[0].str()}"
            ) from error
        raise explained(error, settings, name, "make") from error


def differences(settings: KafkaSettings) -> list[Difference]:
    """How the topics of a workspace differ from what they should be; empty: in nothing."""
    admin = Admin(settings)
    known = admin.topics()
    wanted = topics_of(settings)
    there = [topic for topic in wanted if topic.name in known]
    missing = [
        Difference(topic.name, "missing", "", "", "run `onefold migrate`", True)
        for topic in wanted
        if topic.name not in known
    ] + [
        Difference(
            name,
            "missing",
            "",
            "",
            "make it, or take it out of kafka.inputs; is its name right?",
            True,
        )
        for name in settings.inputs
        if name not in known
    ]
    if not there:
        return missing
    copies, configs = _copies(admin, there), _configs(admin, there)
    return missing + [
        found
        for topic in there
        for found in _different(topic, known[topic.name], copies[topic.name], configs[topic.name])
    ]


def _copies(admin: Admin, topics: list[Topic]) -> dict[str, int]:
    """The smallest number of copies of any partition."""
    asked = admin.client.describe_topics(
        TopicCollection([topic.name for topic in topics]), request_timeout=admin.timeout_s
    )
    found = {name: _told(future, name, admin) for name, future in asked.items()}
    return {
        name: min(len(partition.replicas) for partition in about.partitions)
        for name, about in found.items()
    }


def _configs(admin: Admin, topics: list[Topic]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ResourceType.TOPIC, topic.name) for topic in topics]
    asked = admin.client.describe_configs(resources, request_timeout=admin.timeout_s)
    return {
        resource.name: {
            name: entry.value for name, entry in _told(future, resource.name, admin).items()
        }
        for resource, future in asked.items()
    }


def _told(future: Any, name: str, admin: Admin) -> Any:
    try:
        return future.result(ADMIN_S_MAX)
    except KafkaException as error:
        raise explained(error, admin.settings, name, "describe") from error


def _different(
    topic: Topic, partitions: int, copies: int, config: dict[str, str]
) -> Iterator[Difference]:
    if partitions != topic.partitions:
        single = topic.partitions == 1
        yield Difference(
            topic.name,
            "partitions",
            str(topic.partitions),
            str(partitions),
            "delete it while no worker runs, and run `onefold migrate`"
            if single
            else f"set kafka.partitions to {partitions}, which is what there is",
            serious=single,
        )
    if copies < topic.replication:
        yield Difference(
            topic.name, "replication", str(topic.replication), str(copies),
            "reassign its partitions to more brokers, or set kafka.replication to what there is",
            serious=copies < IN_SYNC_MIN < topic.replication,
        )  # fmt: skip
    policy = config.get("cleanup.policy", "delete")
    if "compact" in policy:
        yield _config(topic, "cleanup.policy", policy, serious=True)
    for name in ("retention.ms", "max.message.bytes", "min.insync.replicas"):
        found = config.get(name)
        wanted = topic.config.get(name)
        if found is None or wanted is None:
            continue
        unlimited = name == "retention.ms" and int(found) < 0
        if int(found) < int(wanted) and not unlimited:
            yield _config(topic, name, found, serious=name != "min.insync.replicas")


def _config(topic: Topic, name: str, found: str, *, serious: bool) -> Difference:
    wanted = topic.config[name]
    return Difference(
        topic.name,
        name,
        wanted,
        found,
        f"kafka-configs.sh --alter --entity-type topics --entity-name {topic.name} "
        f"--add-config {name}={wanted}",
        serious,
    )

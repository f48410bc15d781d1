"""`onefold ingest kafka://…`: a topic into the store of one process, exactly once, from where it was left."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from identity.event import Event
from ingest.errors import SourceError
from ingest.kafka.reading import TopicBatch, TopicUrl, load_topic, parse_topic_url, read_topic
from ingest.loading import Loaded
from ingest.log import LogRefused, Producer
from simulator.shop import Shop
from tests.ingest.kafka.logs import KafkaTopics, until
from tests.servers import Kafka
from tests.workspace import Workspace


class Crash(BaseException):
    """The process ends here."""


@pytest.fixture
def topics(kafka: Kafka, topic_prefix: str) -> KafkaTopics:
    return KafkaTopics(kafka.brokers, topic_prefix)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace(tmp_path / "read")
    yield made
    made.close()


@pytest.fixture(scope="module")
def stream() -> list[dict[str, Any]]:
    # Each once: the shop repeats some.
    events = {event["messageId"]: event for event, _ in Shop(seed=21, people=20, days=6)}
    return list(events.values())[:400]


def as_rudderstack_writes(producer: Producer, topic: str, events: list[dict[str, Any]]) -> None:
    """Plain JSON with sorted keys; the key is the user if there is one, else the visitor; no headers."""
    for event in events:
        key = event.get("userId") or event["anonymousId"]
        producer.send(topic, msgspec.json.encode(event, order="sorted"), key.encode())
    producer.flush()


def load(
    topics: KafkaTopics, topic: str, workspace: Workspace, batch: int = 50, **others: Any
) -> Loaded:
    return load_topic(
        TopicUrl(topic, source="web"), topics.settings, workspace.store, workspace.pipeline,
        workspace.sources, batch_events=batch, **others,
    )  # fmt: skip


def test_a_topic_that_rudderstack_wrote_is_loaded_as_its_events_say(
    topics: KafkaTopics, workspace: Workspace, stream: list[dict[str, Any]], tmp_path: Path
) -> None:
    topic = topics.make("rudder", 3)
    as_rudderstack_writes(topics.log.producer(), topic, stream)
    loaded = load(topics, topic, workspace)
    assert (loaded.events, loaded.counted, loaded.refused) == (400, 400, 0)
    straight = Workspace(tmp_path / "straight")
    straight.take([msgspec.json.decode(msgspec.json.encode(e, order="sorted")) for e in stream])
    expected, got = straight.everything(), workspace.everything()
    for what in ("people", "refusals", "uses", "links"):
        assert got[what] == expected[what], what
    assert workspace.store.timeline.count() == straight.store.timeline.count()
    straight.close()


def test_what_was_loaded_is_not_read_again_and_what_has_come_since_is(
    topics: KafkaTopics, workspace: Workspace, stream: list[dict[str, Any]]
) -> None:
    topic = topics.make("rudder", 2)
    producer = topics.log.producer()
    as_rudderstack_writes(producer, topic, stream[:100])
    assert load(topics, topic, workspace).events == 100
    assert load(topics, topic, workspace).events == 0
    as_rudderstack_writes(producer, topic, stream[100:130])
    assert load(topics, topic, workspace).events == 30


def test_a_load_that_crashes_goes_on_where_it_was(
    topics: KafkaTopics, workspace: Workspace, stream: list[dict[str, Any]]
) -> None:
    topic = topics.make("rudder", 3)
    as_rudderstack_writes(topics.log.producer(), topic, stream[:200])

    def crash(batch: TopicBatch, so_far: Loaded) -> None:
        raise Crash

    read = 0
    for _ in range(3):
        with pytest.raises(Crash):
            load(topics, topic, workspace, batch=20, progress=crash)
        assert workspace.store.timeline.count() > read
        read = workspace.store.timeline.count()
    loaded = load(topics, topic, workspace)
    assert loaded.events == loaded.counted == 200 - read
    assert workspace.store.timeline.count() == 200


def test_progress_says_how_much_is_left(
    topics: KafkaTopics, workspace: Workspace, stream: list[dict[str, Any]]
) -> None:
    topic = topics.make("rudder", 2)
    as_rudderstack_writes(topics.log.producer(), topic, stream[:100])
    left: list[int] = []
    load(topics, topic, workspace, batch=30, progress=lambda batch, _: left.append(batch.left))
    assert left[-1] == 0
    assert left == sorted(left, reverse=True)
    assert len(left) > 1


def test_garbage_is_refused_with_its_place(topics: KafkaTopics, workspace: Workspace) -> None:
    topic = topics.make("rudder", 1)
    producer = topics.log.producer()
    producer.send(topic, b'{"type":"track","event":"x","anonymousId":"b","messageId":"m"}')
    producer.send(topic, b"garbage")
    producer.flush()
    loaded = load(topics, topic, workspace)
    assert (loaded.events, loaded.refused) == (1, 1)
    (letter,) = workspace.store.dead_letters.list(10)
    assert letter.detail.startswith(f"{topic}:0:1: ")
    assert letter.origin == f"kafka://{topic}"


def test_a_followed_topic_is_read_until_told_to_stop(
    topics: KafkaTopics, workspace: Workspace, stream: list[dict[str, Any]]
) -> None:
    topic = topics.make("rudder", 2)
    producer = topics.log.producer()
    stop = threading.Event()
    seen: list[int] = []
    url = TopicUrl(topic, follow=True, source="web")

    def follow() -> None:
        for batch in read_topic(
            url, topics.settings, workspace.store, workspace.sources, stop=stop
        ):
            seen.append(len(batch.events))

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        for start in (0, 20, 40):
            as_rudderstack_writes(producer, topic, stream[start : start + 20])
            until(lambda start=start: sum(seen) == start + 20)  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()


def test_a_topic_made_anew_is_read_from_its_start(
    topics: KafkaTopics, workspace: Workspace, stream: list[dict[str, Any]]
) -> None:
    topic = topics.make("rudder", 1)
    as_rudderstack_writes(topics.log.producer(), topic, stream[:50])
    load(topics, topic, workspace)
    topics.make("rudder", 1)
    as_rudderstack_writes(topics.log.producer(), topic, stream[40:60])
    loaded = load(topics, topic, workspace)
    assert (loaded.events, loaded.counted) == (20, 10)


def test_messages_that_are_gone_are_said_and_the_rest_is_read(
    topics: KafkaTopics,
    workspace: Workspace,
    stream: list[dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    topic = topics.make("rudder", 1)
    producer = topics.log.producer()
    as_rudderstack_writes(producer, topic, stream[:10])
    load(topics, topic, workspace)
    as_rudderstack_writes(producer, topic, stream[10:30])
    topics.truncate((topic, 0), 15)
    assert load(topics, topic, workspace).events == 15
    assert "5 messages were deleted before they were read" in caplog.text


def test_a_topic_that_is_not_there_is_named(topics: KafkaTopics, workspace: Workspace) -> None:
    with pytest.raises(LogRefused, match="nosuch"):
        load(topics, "nosuch", workspace)


def test_the_first_batch_has_events_of_the_named_source(
    topics: KafkaTopics, workspace: Workspace, stream: list[dict[str, Any]]
) -> None:
    topic = topics.make("rudder", 1)
    as_rudderstack_writes(topics.log.producer(), topic, stream[:5])
    for source, expected in (("", topic), ("web", "web")):
        url = TopicUrl(topic, source=source)
        batch = next(
            iter(read_topic(url, topics.settings, workspace.store, workspace.sources, size=5))
        )
        events: list[Event] = batch.events
        assert {event.source for event in events} == {expected}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("kafka://b:9092/t", TopicUrl("t", "b:9092")),
        ("kafka://b:1,c:2/t?follow=true", TopicUrl("t", "b:1,c:2", follow=True)),
        ("kafka:///t?follow&source=web", TopicUrl("t", follow=True, source="web")),
        ("kafka://b:9092/t?follow=no", TopicUrl("t", "b:9092")),
    ],
)
def test_what_a_url_says(url: str, expected: TopicUrl) -> None:
    assert parse_topic_url(url) == expected


@pytest.mark.parametrize(
    "url",
    ["kafka://b:9092", "kafka://b:9092/", "kafka://b/a/b", "kafka://u:p@b/t", "http://b/t", "kafka://b/t?x=1"],
)  # fmt: skip
def test_a_url_that_cannot_be_meant_is_refused(url: str) -> None:
    with pytest.raises(SourceError):
        parse_topic_url(url)

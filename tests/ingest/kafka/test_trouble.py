"""What goes wrong with Kafka is said in words, in seconds: what, where, and what to do."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest
from confluent_kafka import Producer

from ingest.kafka.client import check
from ingest.kafka.log import KafkaLog
from ingest.kafka.settings import KafkaSettings
from ingest.log import Consumer, LogRefused, LogUnavailable, next_offsets, nothing_lost
from tests.ingest.kafka.logs import KafkaTopics, read, until, values
from tests.servers import Kafka

NOBODY = "127.0.0.1:1"
SECONDS_MAX = 9.0
"""A command waits for five, and the machine may be busy."""


@contextmanager
def quickly() -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < SECONDS_MAX


def settings(brokers: str, **others: object) -> KafkaSettings:
    return msgspec.structs.replace(
        KafkaSettings(brokers=brokers, prefix="t", timeout_s=3), **others
    )


@pytest.fixture
def mock() -> Iterator[str]:
    """librdkafka's own mock broker: enough to produce and consume, and gone when the test says so."""
    producer = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = producer.list_topics(timeout=10).brokers.values()
    yield f"{broker.host}:{broker.port}"
    producer.flush()  # it lives until here, and its brokers with it


def test_no_kafka_configured() -> None:
    with pytest.raises(LogRefused, match=r"set kafka\.brokers"):
        check(settings(""), [])


def test_a_broker_that_is_not_there() -> None:
    with quickly(), pytest.raises(LogUnavailable, match=f"{NOBODY}.*Connection refused"):
        check(settings(NOBODY), [])


def test_a_name_that_nobody_knows() -> None:
    with quickly(), pytest.raises(LogUnavailable, match=r"nosuch\.invalid.*resolve"):
        check(settings("nosuch.invalid:9092"), [])


def test_one_broker_of_several_is_enough(kafka: Kafka) -> None:
    check(settings(f"{NOBODY},{kafka.brokers}"), [])


def test_topics_that_are_missing_are_named(kafka: Kafka) -> None:
    with quickly(), pytest.raises(LogRefused, match=r"no topic t\.nosuch.*onefold migrate"):
        check(settings(kafka.brokers), ["t.nosuch"])


def test_a_login_where_nobody_logs_in(kafka: Kafka) -> None:
    wrong = settings(
        kafka.brokers, security_protocol="sasl_plaintext", username="onefold", password="hush",
        sasl_mechanism="PLAIN",
    )  # fmt: skip
    with (
        quickly(),
        pytest.raises(LogRefused, match=r"onefold cannot log in.*kafka\.password") as told,
    ):
        check(wrong, [])
    assert "hush" not in str(told.value)


def test_encryption_where_none_is_spoken(kafka: Kafka) -> None:
    with quickly(), pytest.raises((LogRefused, LogUnavailable), match=r"SSL|TLS|encrypted"):
        check(settings(kafka.brokers, security_protocol="ssl"), [])


def test_a_certificate_file_that_is_not_there() -> None:
    wrong = settings(NOBODY, security_protocol="ssl", tls_ca="/nosuch/ca.pem")
    with (
        quickly(),
        pytest.raises(LogRefused, match=r"kafka\.tls_ca: /nosuch/ca\.pem: no such file"),
    ):
        check(wrong, [])


def test_sending_to_a_topic_that_is_not_there(kafka: Kafka) -> None:
    producer = KafkaLog(settings(kafka.brokers)).producer()
    producer.send("t.nosuch", b"x")
    with quickly(), pytest.raises(LogRefused, match=r"t\.nosuch: no such topic"):
        producer.flush()
    producer.close()


def test_sending_to_nobody_is_told_and_can_be_tried_again() -> None:
    producer = KafkaLog(settings(NOBODY)).producer()
    for _ in range(2):
        producer.send("t.events", b"x")
        with quickly(), pytest.raises(LogUnavailable, match=f"{NOBODY}"):
            producer.flush()
    producer.close()


def test_a_full_queue_makes_the_sender_wait_and_nothing_is_lost(
    kafka: Kafka, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.kafka.producer.QUEUE_MESSAGES_MAX", 50)
    topics = KafkaTopics(kafka.brokers, topic_prefix)
    topic = topics.make("a", 1)
    producer = topics.log.producer()
    for n in range(2_000):
        producer.send(topic, b"%d" % n)
    producer.flush()
    assert topics.log.ends(topic) == {(topic, 0): 2_000}
    producer.close()


def test_a_consumer_whose_broker_goes_away_says_so_and_goes_on_when_it_is_back(
    kafka: Kafka, topic_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker = kafka.broker
    if broker is None:
        pytest.skip("the broker is not ours to stop")
    topics = KafkaTopics(kafka.brokers, topic_prefix)
    topic = topics.make("a", 1)
    producer = topics.log.producer()
    producer.send(topic, b"before")
    producer.flush()
    consumer: Consumer = topics.log.consumer(f"{topic_prefix}.g", [topic], nothing_lost)
    try:
        messages = read(consumer, 1)
        consumer.commit(next_offsets(messages))
        consumer.idle(0.5)
        with caplog.at_level(logging.WARNING):
            broker.kill()
            until(lambda: bool(consumer.membership().trouble), meanwhile=consumer)
        assert kafka.brokers in consumer.membership().trouble
        assert len(caplog.records) < 10, "it is said once, not at every attempt"
        broker.start()
        until(lambda: not consumer.poll(1, 0.1) and not consumer.membership().trouble)
        producer.send(topic, b"after")
        producer.flush()
        assert values(read(consumer, 1)) == [b"after"]
    finally:
        consumer.close()
        producer.close()


def test_a_mock_broker_is_enough_to_send_and_to_read(mock: str) -> None:
    log = KafkaLog(settings(mock))
    producer = log.producer()
    producer.send("a", b"1", b"k")
    producer.flush()
    consumer = log.consumer("g", ["a"], nothing_lost)
    try:
        assert values(read(consumer, 1)) == [b"1"]
    finally:
        consumer.close()
        producer.close()

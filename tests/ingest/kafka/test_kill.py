"""A member that is killed: what it had is delivered to another one, about a session later."""

import signal
import subprocess
import sys
import time

from ingest.kafka.consumer import SESSION_MS
from ingest.log import nothing_lost
from tests.ingest.kafka.logs import KafkaTopics, read, until, values
from tests.servers import Kafka

SLACK_S = 6.0
"""For a busy machine."""


def test_what_a_killed_member_had_comes_to_another_within_a_session(
    kafka: Kafka, topic_prefix: str
) -> None:
    topics = KafkaTopics(kafka.brokers, topic_prefix)
    topic, group = topics.make("a", 1), f"{topic_prefix}.g"
    producer = topics.log.producer()
    for n in range(10):
        producer.send(topic, b"%d" % n)
    producer.flush()
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.ingest.kafka.child", kafka.brokers, group, topic],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    consumer = topics.log.consumer(group, [topic], nothing_lost)
    try:
        assert child.stdout.readline() == "0\n"
        consumer.poll(1, 0)
        until(lambda: consumer.membership().joined, meanwhile=consumer)
        consumer.idle(3.0)  # long enough for a rebalance, if there is one
        assert consumer.membership().partitions == frozenset(), "it stands by"
        child.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        assert values(read(consumer, 10)) == [b"%d" % n for n in range(10)]
        took_s = time.monotonic() - killed
        print(f"the partition of a killed member was read again after {took_s:.1f} s")
        assert took_s < SESSION_MS / 1000 + SLACK_S
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
        consumer.close()
        producer.close()

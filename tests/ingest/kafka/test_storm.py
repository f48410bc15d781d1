"""Members come, wait, work and go at random: no message is skipped, whoever reads it."""

import random
import threading
import time

from ingest.log import next_offsets, nothing_lost
from tests.ingest.kafka.logs import KafkaTopics, until
from tests.servers import Kafka

MEMBERS = 4
MESSAGES = 4_000


class Storm:
    """Members in threads; what each has read and committed."""

    def __init__(self, topics: KafkaTopics, topic: str, group: str) -> None:
        self.topics = topics
        self.topic = topic
        self.group = group
        self.seen: set[bytes] = set()
        self.joined = 0
        self.over = threading.Event()
        """Nobody leaves any more."""
        self.done = threading.Event()

    def member(self, seed: int) -> None:
        """Joins, reads and waits in turns, leaves or goes on, until all is over."""
        dice = random.Random(seed)
        while not self.done.is_set():
            consumer = self.topics.log.consumer(self.group, [self.topic], nothing_lost)
            self.joined += 1
            until_s = time.monotonic() + dice.uniform(0.5, 4)
            while (self.over.is_set() or time.monotonic() < until_s) and not self.done.is_set():
                messages = consumer.poll(dice.choice([1, 7, 50]), 0.01)
                # What was fetched is dropped and fetched again: slow, so not too often.
                if dice.random() < 0.2 and not self.over.is_set():
                    consumer.idle(dice.choice([0.0, 0.02, 0.1]))
                # As a worker does: what went away meanwhile is somebody else's.
                mine = consumer.membership().partitions
                kept = [each for each in messages if (each.topic, each.partition) in mine]
                self.seen.update(message.value for message in kept)
                consumer.commit(next_offsets(kept))
            consumer.close()


def test_rebalances_skip_no_message(kafka: Kafka, topic_prefix: str) -> None:
    topics = KafkaTopics(kafka.brokers, topic_prefix)
    topic, group = topics.make("a", 6), f"{topic_prefix}.g"
    storm = Storm(topics, topic, group)
    threads = [threading.Thread(target=storm.member, args=(seed,)) for seed in range(MEMBERS)]
    producer = topics.log.producer()
    for thread in threads:
        thread.start()
    try:
        for n in range(MESSAGES):
            producer.send(topic, b"%d" % n)
            if n % 20 == 0:
                producer.flush()
                time.sleep(0.04)
        producer.flush()
        storm.over.set()
        until(lambda: topics.log.lag(group, [topic]) == 0, seconds=60)
    finally:
        storm.done.set()
        for thread in threads:
            thread.join()
        producer.close()
    missing = {b"%d" % n for n in range(MESSAGES)} - storm.seen
    assert not missing, f"{len(missing)} messages were committed and never read"
    assert storm.joined > MEMBERS * 2, "nobody came or went"

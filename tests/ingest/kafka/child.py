"""A member of a group in a process of its own, to be killed: says when it has its first message."""

import sys

from ingest.kafka.log import KafkaLog
from ingest.kafka.settings import KafkaSettings
from ingest.log import nothing_lost

if __name__ == "__main__":
    brokers, group, topic = sys.argv[1:]
    consumer = KafkaLog(KafkaSettings(brokers=brokers)).consumer(group, [topic], nothing_lost)
    while True:
        for message in consumer.poll(100, 0.05):
            print(message.offset, flush=True)

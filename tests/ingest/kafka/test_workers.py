"""The three stages on a real broker: events in as RudderStack and the collector write them, people out."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from identity.event import Event, Source
from identity.rules import Rules
from ingest.decode import decode
from ingest.kafka.settings import KafkaSettings
from ingest.kafka.sink import open_sink
from ingest.kafka.topics import make_topics
from ingest.log import LogUnavailable
from ingest.sources import Sources
from ingest.workers.fold import fold_worker
from ingest.workers.identify import identify_worker
from ingest.workers.record import record_worker
from ingest.workers.running import Worker
from simulator.shop import Shop
from tests.ingest.kafka.logs import KafkaTopics, until
from tests.ingest.workers.shared_store import Durable, View, write_to
from tests.servers import Kafka
from tests.workspace import KEYS, NOON, Workspace

STAGES = ("record", "fold", "identify")
WEB = Source(name="web")
SOURCES = Sources({"web": WEB})


class Running:
    """Workers in threads of this process, each with its own view of the store."""

    def __init__(self, kafka: Kafka, prefix: str) -> None:
        self.durable = Durable()
        self.topics = KafkaTopics(kafka.brokers, prefix)
        self.log = self.topics.log
        rudder = self.topics.make("rudder", 2)
        self.settings = KafkaSettings(
            brokers=kafka.brokers, prefix=prefix, partitions=4, replication=1, inputs=(rudder,)
        )
        make_topics(self.settings)
        until(self._there)
        self.workers: list[tuple[Worker, threading.Thread]] = []
        self.sources = Sources({"web": WEB, rudder: Source(name=rudder)})

    def _there(self) -> bool:
        # A broker that has acknowledged a new topic may not lead it yet.
        try:
            return self.lag() == 0
        except LogUnavailable:
            return False

    def start(self, stage: str) -> Worker:
        store = View(self.durable, lambda _: None).store
        if stage == "record":
            worker = record_worker(
                self.log, store, KEYS, Rules(), self.sources, self.settings, lambda: NOON,
                batch_messages=20,
            )  # fmt: skip
        elif stage == "fold":
            worker = fold_worker(self.log, store, self.settings, lambda: NOON, batch_messages=20)
        else:
            worker = identify_worker(
                self.log, store, Rules(), self.settings, "test", batch_messages=20
            )
        thread = threading.Thread(target=worker.run)
        thread.start()
        self.workers.append((worker, thread))
        return worker

    def lag(self) -> int:
        read = {
            "record": ("events",), "backfill": ("backfill",), "fold": ("activity",),
            "identify": ("links",),
        }  # fmt: skip
        of = self.settings
        return sum(
            self.log.lag(of.group(group), [of.topic(name) for name in names])
            for group, names in read.items()
        ) + self.log.lag(of.group("record"), list(of.inputs))

    def stop(self) -> None:
        for worker, _ in self.workers:
            worker.stop()
        for _, thread in self.workers:
            thread.join()


@pytest.fixture
def running(kafka: Kafka, topic_prefix: str) -> Iterator[Running]:
    made = Running(kafka, topic_prefix)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def stream() -> list[dict[str, Any]]:
    return [event for event, _ in Shop(seed=31, people=25, days=8)][:500]


def test_workers_that_come_and_go_end_as_one_process(
    running: Running, stream: list[dict[str, Any]], tmp_path: Path
) -> None:
    straight = Workspace(tmp_path / "straight")
    straight.take(stream)
    expected = straight.everything()
    straight.close()
    store = View(running.durable, lambda _: None).store
    sinks = [
        open_sink(running.log, store, KEYS, Rules(), SOURCES, running.settings, backfill=backfill)
        for backfill in (False, True)
    ]
    events = [
        decode(msgspec.json.encode(event), NOON, WEB, believe_received_at=True) for event in stream
    ]
    decoded = [event for event in events if isinstance(event, Event)]
    first = [running.start(stage) for stage in STAGES]
    for start in range(0, len(decoded), 50):
        sinks[start // 50 % 2].process(decoded[start : start + 50])
        if start == 100:
            until(lambda: all(worker.ready for worker in first))
            for stage in STAGES:
                running.start(stage)
            until(lambda: all(worker.ready for worker, _ in running.workers))
        if start == 300:
            for worker in first:
                worker.stop()
    until(lambda: running.lag() == 0, seconds=60)
    got = Workspace(tmp_path / "got")
    write_to(running.durable, got.store)
    found = got.everything()
    got.close()
    for what in expected:
        assert found[what] == expected[what], what
    assert running.durable.letters == {}
    for sink in sinks:
        sink.close()


def test_what_rudderstack_writes_is_taken_and_garbage_blocks_nothing(running: Running) -> None:
    (rudder,) = running.settings.inputs
    producer = running.log.producer()
    for n in range(30):
        if n % 10 == 5:
            producer.send(rudder, b"\xc1garbage", b"asha")
            producer.send(running.settings.topic("activity"), b"\xc1garbage", b"asha")
            producer.send(running.settings.topic("links"), b"\xc1garbage", b"asha")
        event = {
            "anonymousId": "b1", "event": "Product Viewed", "messageId": f"m{n}",
            "originalTimestamp": "2026-09-21T14:13:20.000Z", "receivedAt": "2026-09-21T14:13:25.500Z",
            "type": "track", "userId": "asha",
        }  # fmt: skip
        producer.send(rudder, msgspec.json.encode(event, order="sorted"), b"asha")
    producer.flush()
    for stage in STAGES:
        running.start(stage)
    until(lambda: len(running.durable.rows) == 30 and running.lag() == 0)
    assert {row.source for row in running.durable.rows.values()} == {rudder}
    assert {row.received_ms for row in running.durable.rows.values()} == {1_790_000_005_500}
    reasons = sorted(letter.reason for letter in running.durable.letters.values())
    assert reasons == ["not_utf8"] * 3 + ["unreadable"] * 6
    until(lambda: sum(running.log.ends(running.settings.topic("deadletters")).values()) == 9)
    producer.close()

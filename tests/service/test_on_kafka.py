"""The whole service on a real Kafka and Cassandra, as processes that people start."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Cassandra, Kafka
from tests.service.test_on_cassandra import Run, configuration, run

pytestmark = pytest.mark.slow
STAGES = ("record", "fold", "identify")
SECONDS_MAX = 60.0


class Started:
    """One process of ours and what it said."""

    def __init__(self, config: Path, *arguments: str) -> None:
        self.name = arguments[-1]
        self._log = config.parent / f"{'-'.join(arguments)}-{time.monotonic_ns()}.log"
        with self._log.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "service.cli", "--config", str(config), *arguments],
                stderr=output, stdout=output,
            )  # fmt: skip

    @property
    def said(self) -> str:
        return self._log.read_text()

    def port(self, pattern: str = r"http://127\.0\.0\.1:(\d+)") -> int:
        found: list[str] = []

        def there() -> bool:
            found[:] = re.findall(pattern, self.said)
            return bool(found) or self._process.poll() is not None

        until(there, f"{self.name} to say its port")
        assert found, self.said
        return int(found[0])

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port()}{path}", timeout=10
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def wait_ready(self) -> None:
        until(lambda: self.get("/readyz")[0] == 200, f"{self.name} to be ready")

    def end(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=60)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def until(there: Callable[[], bool], what: str) -> None:
    give_up = time.monotonic() + SECONDS_MAX
    while not there():
        assert time.monotonic() < give_up, f"waited for {what}"
        time.sleep(0.1)


@pytest.fixture
def config(
    tmp_path: Path, cassandra: Cassandra, kafka: Kafka, cassandra_keyspace: str, topic_prefix: str
) -> Path:
    """A workspace of the test's own on both servers, not migrated yet."""
    return configuration(
        tmp_path, cassandra, cassandra_keyspace,
        kafka={"brokers": kafka.brokers, "prefix": topic_prefix, "partitions": 2, "replication": 1},
        worker={"metrics_port": 0},
    )  # fmt: skip


@pytest.fixture
def onefold(config: Path) -> Run:
    return lambda *arguments, ok=True: run("--config", str(config), *arguments, ok=ok)


@pytest.fixture
def start(config: Path) -> Iterator[Callable[..., Started]]:
    running: list[Started] = []

    def begin(*arguments: str) -> Started:
        running.append(Started(config, *arguments))
        return running[-1]

    yield begin
    for each in running:
        each.kill()


def send(port: int, kind: str, **event: Any) -> int:
    key = base64.b64encode(b"web:").decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/{kind}", json.dumps(event).encode(),
        {"Authorization": f"Basic {key}", "Content-Type": "application/json"},
    )  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def events_of(onefold: Run, user: str) -> int:
    try:
        return int(
            json.loads(onefold("profile", "show", "--user", user, "--json").stdout)["events"]
        )
    except AssertionError:
        return 0


def test_an_event_goes_through_all_stages_and_processes_come_and_go(
    onefold: Run, start: Callable[..., Started]
) -> None:
    onefold("migrate", "--topics")
    workers = [start("worker", stage) for stage in (*STAGES, "fold")]
    served = start("serve")
    for each in (*workers, served):
        each.wait_ready()
    port = served.port(r"collector +http://127\.0\.0\.1:(\d+)")

    assert send(port, "identify", userId="u42", traits={"email": "asha@example.com"}) == 200
    assert send(port, "track", userId="u42", event="Seen") == 200
    assert send(port, "track", userId="null", event="Seen") == 200
    until(lambda: events_of(onefold, "u42") == 2, "two events")
    shown = json.loads(onefold("profile", "show", "--email", "asha@example.com", "--json").stdout)
    assert shown["events"] == 2

    # Stages are replaced one after the other while events come.
    for number, stage in enumerate(STAGES):
        assert workers[number].end() == 0, workers[number].said
        workers[number] = start("worker", stage)
        assert send(port, "track", userId="u42", event="Seen") == 200
        workers[number].wait_ready()
    until(lambda: events_of(onefold, "u42") == 5, "five events")

    told = served.get("/metrics")[1]
    assert 'onefold_events_total{outcome="accepted",stage="collect"}' in told
    lag = workers[0].get("/metrics")[1]
    assert "onefold_consumer_lag_messages" in lag
    assert "asha" not in told + lag
    found = {each["about"]: each for each in json.loads(onefold("doctor", "--json").stdout)}
    assert found["Kafka"]["state"] == found["fold lag"]["state"] == "ok"
    assert found["dead letters"]["found"].startswith("1 ")
    assert json.loads(onefold("verify", "--json").stdout)["differences"] == 0
    assert [each.end() for each in (*workers, served)] == [0] * 5


def test_history_from_files_and_topics_goes_behind_live_events(
    onefold: Run, start: Callable[..., Started], kafka: Kafka, topic_prefix: str, tmp_path: Path
) -> None:
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

    onefold("migrate", "--topics")
    topic = f"{topic_prefix}-rudder"
    admin = AdminClient({"bootstrap.servers": kafka.brokers, "log_level": 0})
    for made in admin.create_topics([NewTopic(topic, 2, 1)]).values():
        made.result(30)
    producer = Producer({"bootstrap.servers": kafka.brokers, "log_level": 0})
    events = [
        {"type": "track", "event": "Seen", "userId": f"u{n % 3}", "messageId": f"m{n}",
         "originalTimestamp": "2026-11-01T10:00:00Z", "receivedAt": "2026-11-01T10:00:00Z"}
        for n in range(60)
    ]  # fmt: skip
    for event in events[:30]:
        producer.produce(topic, json.dumps(event), event["userId"])
    assert producer.flush(30) == 0
    file = tmp_path / "events.jsonl"
    file.write_text("".join(json.dumps(event) + "\n" for event in events[20:]))
    url = f"kafka://{kafka.brokers}/{topic}"

    sent = json.loads(onefold("ingest", url, str(file), "--json").stdout)
    again = json.loads(onefold("ingest", url, str(file), "--json").stdout)
    for stage in STAGES:
        start("worker", stage)
    until(lambda: events_of(onefold, "u1") == 20, "twenty events")

    assert (sent["events"], sent["refused"]) == (70, 0)
    assert (again["events"], again["skipped"]) == (0, 1)
    assert sum(events_of(onefold, f"u{n}") for n in range(3)) == 60
    assert "workers read this topic anyway" in onefold(
        "ingest", f"kafka://{kafka.brokers}/{topic_prefix}.events", ok=False
    ).stderr  # fmt: skip


def test_a_topic_is_loaded_into_an_embedded_store_too(
    tmp_path: Path, kafka: Kafka, topic_prefix: str
) -> None:
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

    admin = AdminClient({"bootstrap.servers": kafka.brokers, "log_level": 0})
    for made in admin.create_topics([NewTopic(topic_prefix, 1, 1)]).values():
        made.result(30)
    producer = Producer({"bootstrap.servers": kafka.brokers, "log_level": 0})
    producer.produce(
        topic_prefix, b'{"type": "track", "event": "Seen", "userId": "u", "messageId": "m"}'
    )
    producer.produce(topic_prefix, b'{"type": "track", ')
    assert producer.flush(30) == 0
    url = f"kafka://{kafka.brokers}/{topic_prefix}"

    loaded = json.loads(run("--data", str(tmp_path), "ingest", url, "--json").stdout)

    assert (loaded["events"], loaded["counted"], loaded["refused"]) == (1, 1, 1)


@pytest.mark.parametrize("stage", STAGES)
def test_a_worker_without_topics_says_so_and_ends(
    onefold: Run, start: Callable[..., Started], stage: str
) -> None:
    onefold("migrate")
    worker = start("worker", stage)
    worker._process.wait(timeout=60)

    assert worker._process.returncode == 1
    assert "`onefold migrate` makes those" in worker.said
    assert "Traceback" not in worker.said


def test_a_worker_waits_for_a_broker_that_is_not_up(
    onefold: Run, config: Path, start: Callable[..., Started]
) -> None:
    onefold("migrate")
    text = json.loads(config.read_text())
    text["kafka"]["brokers"] = "127.99.99.97:9092"
    config.write_text(json.dumps(text))
    worker = start("worker", "fold")
    until(lambda: "trying again in" in worker.said, "the worker to say what is wrong")

    assert "127.99.99.97:9092" in worker.said
    assert worker.get("/readyz")[0] == 503
    assert worker.get("/healthz") == (200, "ok")
    assert worker.end() == 0
    assert "Traceback" not in worker.said

"""A workspace on real servers: its topics and keyspaces, its workers, and what it must equal in the end."""

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import yaml
from confluent_kafka import KafkaException

from identity.event import Source
from identity.nodes import Node
from identity.rules import Rules
from ingest.kafka.settings import KafkaSettings
from ingest.sources import Sources
from ingest.verify import verify
from storage.cassandra.settings import CassandraSettings
from storage.cassandra.store import CassandraStore, open_store
from storage.errors import StoreUnavailable
from storage.keys import load_keys
from storage.profiles import ProfileReader
from tests.faults.embedded import Expected, keys_file
from tests.faults.follower import heard
from tests.faults.log import Log, Offsets, Sender, until
from tests.faults.picture import (
    Picture,
    differences,
    events_in,
    parts_of,
    picture,
    profiles_of,
    wrongly_joined,
)
from tests.faults.stream import BACK_END, WEB, Message
from tests.faults.workers import ROOT, STAGES, Worker

PARTITIONS = 4
SETTLE_TIMEOUT_S = 180.0
COMMAND_TIMEOUT_S = 120.0


class World:
    """A workspace of its own name on a running Cassandra and a running Kafka."""

    def __init__(
        self,
        folder: Path,
        *,
        hosts: Sequence[str],
        brokers: str,
        keyspace: str,
        prefix: str,
        replication: int = 1,
        partitions: int = PARTITIONS,
        kafka: dict[str, Any] | None = None,
        cassandra: dict[str, Any] | None = None,
        worker: dict[str, Any] | None = None,
    ) -> None:
        """The last three are settings beyond those that a test needs."""
        self.folder = folder
        self.rules = Rules()
        self.inputs = {kind: f"{prefix}.in.{kind}" for kind in (WEB, BACK_END)}
        self._kind_of = {topic: kind for kind, topic in self.inputs.items()}
        self.kafka = KafkaSettings(
            brokers=brokers, prefix=prefix, inputs=tuple(self.inputs.values()), partitions=partitions,
            replication=1, **kafka or {},
        )  # fmt: skip
        self.cassandra = CassandraSettings(
            hosts=tuple(hosts), keyspace=keyspace, replication=replication, **cassandra or {}
        )
        self._keys = keys_file(folder)
        self.keys = load_keys(self._keys)
        self._worker = worker or {}
        self.config = self.config_with("onefold.yaml")
        self.log = Log(brokers)
        self.workers: list[Worker] = []
        self._started = 0
        self.generation = 1
        """Of derived tables, which answers."""
        self._opened: tuple[CassandraStore, ProfileReader] | None = None
        self.ids_seen: set[Node] = set()
        """Profile ids that somebody was told at some time: they resolve for ever."""

    def config_with(
        self,
        file: str,
        *,
        kafka: dict[str, Any] | None = None,
        cassandra: dict[str, Any] | None = None,
        worker: dict[str, Any] | None = None,
    ) -> Path:
        """Another configuration of the same workspace, such as one that goes through a proxy."""
        content = {
            "data": str(self.folder / "data"),
            "store": {"kind": "cassandra", "keys": str(self._keys)},
            "kafka": _stated(msgspec.structs.replace(self.kafka, **kafka or {})),
            "cassandra": _stated(msgspec.structs.replace(self.cassandra, **cassandra or {})),
            "worker": {"metrics_port": 0, "retry_max_s": 2.0} | self._worker | (worker or {}),
            "sources": {
                self.inputs[WEB]: {"trusted": False},
                self.inputs[BACK_END]: {"trusted": True},
            },
        }
        path = self.folder / file
        path.write_text(yaml.safe_dump(content))
        return path

    # --- servers and workers ----------------------------------------------------------------------

    def make(self) -> Self:
        """Make keyspaces and topics, with the commands that an operator types."""
        self.log.make(dict.fromkeys(self.inputs.values(), self.kafka.partitions))
        self.onefold("migrate", "--topics")
        return self

    def onefold(self, *arguments: str, config: Path | None = None) -> str:
        """What `onefold …` prints; it must succeed."""
        status, told = self.try_onefold(*arguments, config=config)
        assert status == 0, f"onefold {' '.join(arguments)}: status {status}\n{told}"
        return told

    def try_onefold(self, *arguments: str, config: Path | None = None) -> tuple[int, str]:
        """The exit status of `onefold …`, and what it says."""
        done = subprocess.run(
            [sys.executable, "-m", "service.cli", "--config", str(config or self.config), *arguments],
            cwd=ROOT, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def start(
        self, *stages: str, config: Path | None = None, batch: int | None = None
    ) -> list[Worker]:
        """Start a worker of each of `stages`, in batches of `batch`; without any, one of every stage."""
        if batch is not None:
            config = self.config_with(f"batch-{batch}.yaml", worker={"batch_events": batch})
        made = []
        for stage in stages or STAGES:
            self._started += 1
            output = self.folder / f"{stage}-{self._started}.log"
            made.append(Worker(stage, config or self.config, output))
        self.workers += made
        return made

    def of(self, stage: str) -> list[Worker]:
        """The workers of a stage that run."""
        return [each for each in self.workers if each.stage == stage and each.running]

    def kill(self, worker: Worker) -> None:
        """SIGKILL, on purpose."""
        worker.kill()
        self.workers.remove(worker)

    def stop(self, *workers: Worker) -> None:
        """SIGTERM; each must drain and end well."""
        for worker in workers or tuple(self.workers):
            status = worker.stop()
            self.workers.remove(worker)
            assert status == 0, f"{worker.stage} ended with {status}\n{worker.tail()}"

    def check(self) -> None:
        """No worker may have ended by itself."""
        for worker in self.workers:
            assert worker.running, f"a {worker.stage} worker ended\n{worker.tail()}"

    def joined(self, stage: str, members: int, timeout_s: float = 60.0) -> None:
        """Wait until a stage's group has so many members, and all its partitions are given out."""
        topics = self.topics_of(stage)
        partitions = sum(count for topic, count in self.log.topics().items() if topic in topics)

        def whole() -> bool:
            self.check()
            found = self.log.members(self.group(stage))
            return len(found) == members and sum(map(len, found.values())) == partitions

        until(
            whole,
            f"{members} members of {self.group(stage)} share {partitions} partitions",
            timeout_s,
        )

    # --- the log ----------------------------------------------------------------------------------

    def group(self, stage: str) -> str:
        """The consumer group of a stage."""
        return self.kafka.group(stage, self.generation if stage == "fold" else 1)

    def topics_of(self, stage: str) -> list[str]:
        """What a stage reads."""
        if stage == "record":
            return [*self.inputs.values(), self.kafka.topic("events")]
        return [
            self.kafka.topic(
                {"fold": "activity", "identify": "links", "evaluate": "evaluate"}[stage]
            )
        ]

    def send(self, messages: Iterable[Message], rate: float | None = None) -> None:
        """Produce messages into the input topics, as RudderStack does."""
        Sender(self.kafka.brokers).send(
            ((self.inputs[each.source], each.key, each.value) for each in messages), rate
        )

    def lag(self, stage: str) -> int:
        """Messages that a stage is not done with."""
        return self.log.lag(self.group(stage), self.topics_of(stage))

    def done(self, stage: str) -> int:
        """Messages that a stage has committed."""
        return sum(self.log.committed(self.group(stage)).values())

    def ends(self) -> Offsets:
        """The ends of everything that the stages read."""
        return self.log.ends([topic for stage in STAGES for topic in self.topics_of(stage)])

    def finish(self, stage: str, timeout_s: float = SETTLE_TIMEOUT_S) -> None:
        """Wait until one stage is done with what it has."""

        def finished() -> bool:
            self.check()
            return self.lag(stage) == 0

        until(finished, f"{stage} is done", timeout_s)

    def settle(self, timeout_s: float = SETTLE_TIMEOUT_S) -> None:
        """Wait until every stage is done with everything, and nothing more comes."""
        deadline = time.monotonic() + timeout_s
        before: Offsets = {}
        lags: dict[str, int] = {}
        while True:
            self.check()
            assert time.monotonic() < deadline, (
                f"not settled after {timeout_s:.0f} s: lags {lags}\n"
                + "\n".join(f"--- {each.stage}\n{each.tail()}" for each in self.workers)
            )
            try:
                # In the order of the stages: what one is done with is in the next one's topic.
                lags = {stage: self.lag(stage) for stage in STAGES}
                ends = self.ends()
            except KafkaException:
                time.sleep(0.5)
                continue
            if not any(lags.values()) and ends == before:
                return
            before = {} if any(lags.values()) else ends
            time.sleep(0.3)

    # --- what it knows ----------------------------------------------------------------------------

    @property
    def store(self) -> CassandraStore:
        """The store, as this process opened it."""
        return self._open[0]

    @property
    def reader(self) -> ProfileReader:
        """Where profiles come from."""
        return self._open[1]

    @property
    def _open(self) -> tuple[CassandraStore, ProfileReader]:
        if self._opened is None:
            store, keys = open_store(self.cassandra, self._keys)
            reader = ProfileReader(store, self.rules, keys.hasher(), keys.vault())
            self._opened = store, reader
        return self._opened

    def look(self) -> int:
        """Remember the ids that people have at this moment; how many are new to us."""
        before = len(self.ids_seen)
        try:
            self.ids_seen |= {cluster.profile_id for cluster in self.store.people.scan()}
        except StoreUnavailable:
            return 0
        return len(self.ids_seen) - before

    def picture(self) -> Picture:
        """Everything that it knows."""
        return picture(self.store, self.reader, self._kind_of)

    def compare(self, expected: Expected, *, command: bool = False) -> None:
        """Everything is as in the embedded run, nothing is lost, nothing counted twice, nobody wrongly joined.

        With `command` also what `onefold verify` says.
        """
        stream, found = expected.stream, self.picture()
        assert not (unequal := differences(expected.picture, found)), "\n".join(unequal)
        counted = [message_id for _, _, message_id in found.rows]
        assert set(counted) == stream.message_ids, "events were lost"
        assert len(counted) == len(stream.message_ids), "events are there twice"
        parts = parts_of(self.store)
        assert sum(map(events_in, parts.values())) == len(stream.message_ids), "events count twice"
        assert not (wrong := wrongly_joined(self.store, self.reader, stream.people_of)), wrong
        lost = [
            node
            for node, told in profiles_of(self.reader, sorted(self.ids_seen)).items()
            if not told
        ]
        assert not lost, f"ids that were given resolve no more: {lost}"
        assert not self.store.changes.announced(1), "a change of people was never published"
        people = {
            (one.profile_id.hex(), frozenset(node.hex() for node in one.members))
            for one in found.people
        }
        assert heard(self.log.read(self.kafka.topic("changes"))) == people, "followers were misled"
        self.verify(command=command)

    def verify(self, *, command: bool = False) -> None:
        """What is live follows from what is stored."""
        if command:
            told = json.loads(self.onefold("verify", "--json"))
            assert told["differences"] == 0, told
            return
        sources = Sources(
            {
                topic: Source(name=topic, trusted=kind == BACK_END)
                for kind, topic in self.inputs.items()
            }
        )
        report = verify(self.store, self.keys, self.rules, sources.named)
        assert report.right, report.examples

    def close(self) -> None:
        """End what runs, at once, and let go of the store."""
        for worker in self.workers:
            worker.kill()
        self.workers.clear()
        if self._opened is not None:
            self._opened[0].close()
            self._opened = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _stated(settings: msgspec.Struct) -> dict[str, Any]:
    """Settings as they are written in a file."""
    stated: dict[str, Any] = msgspec.to_builtins(settings)
    return {name: value for name, value in stated.items() if value is not None}

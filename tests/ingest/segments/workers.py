"""A workspace of workers on Cassandra, for tests: every stage in this process, a log in memory between them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from identity.decisions import Decision
from identity.event import Source
from identity.nodes import Node
from identity.rules import Rules
from ingest.identify import Statements
from ingest.kafka.settings import KafkaSettings
from ingest.memory_log import MemoryLog
from ingest.messages import encode_statements
from ingest.sources import Sources
from ingest.workers.evaluate import evaluate_worker
from ingest.workers.fold import fold_worker
from ingest.workers.identify import identify_worker
from ingest.workers.record import record_worker
from ingest.workers.running import Worker
from profiles.segments.catalogue import Catalogue, Edit, Put
from profiles.segments.membership import Reason, Transition
from storage.cassandra.settings import CassandraSettings
from storage.cassandra.store import CassandraStore
from storage.catalogues import WORKERS_AGE_S, Catalogues
from tests.workspace import KEYS, NOON

STAGES: Final = ("record", "fold", "identify", "evaluate")
KAFKA: Final = KafkaSettings(prefix="t", inputs=("web",))
PARTITIONS: Final = 3
ROUND_S: Final = 1.0
"""What a round of steps takes: timers are looked at in each."""
ROUNDS: Final = 5
"""In which nobody has anything to do: by then everybody has heard of definitions, and segments are filled."""
TOLD_MAX: Final = 1_000_000


class Workers:
    """`tests.ingest.segments.exactness.Side` on Cassandra. Each stage has a store and a clock of its own."""

    def __init__(self, settings: CassandraSettings) -> None:
        self.rules = Rules()
        self.source = Source(name="web", trusted=False)
        self.now = NOON
        self._seconds = 0.0
        names = ("events", "backfill", "activity", "evaluate", "segments")
        topics = {KAFKA.topic(name): PARTITIONS for name in names}
        topics |= {KAFKA.topic(name): 1 for name in ("links", "changes", "deadletters")}
        self.log = MemoryLog(topics | {"web": PARTITIONS}, lambda: NOON)
        self._stores = {stage: CassandraStore(settings, KEYS) for stage in STAGES}
        self.store = CassandraStore(settings, KEYS)
        self._catalogues = Catalogues(self.store.definitions)
        self._batch = 500
        self._workers: dict[str, Worker] = {}
        self.restart(*STAGES)

    def restart(self, *stages: str) -> None:
        """New workers, which take over from those that were there."""
        for stage in stages:
            before = self._workers.pop(stage, None)
            if before is not None:
                before.stop()
                before.run()
            self._workers[stage] = self._made(stage)

    def _made(self, stage: str) -> Worker:
        log, store, batch = self.log, self._stores[stage], self._batch
        catalogues = Catalogues(store.definitions, WORKERS_AGE_S, self._clock)
        if stage == "record":
            return record_worker(
                log, store, KEYS, self.rules, Sources({"web": self.source}), KAFKA, lambda: NOON,
                catalogues=catalogues, batch_messages=batch,
            )  # fmt: skip
        if stage == "fold":
            return fold_worker(log, store, KAFKA, lambda: NOON, batch_messages=batch)
        if stage == "identify":
            return identify_worker(log, store, self.rules, KAFKA, "test", batch_messages=batch)
        return evaluate_worker(
            log, store, self.rules, KAFKA, lambda: self.now, "test", clock=self._clock,
            batch_messages=batch,
        )  # fmt: skip

    def _clock(self) -> float:
        return self._seconds

    def take(self, events: Sequence[dict[str, Any]], batch: int = 500) -> None:
        """Feed messages; each stage takes them in such batches from the next `restart` on."""
        self._batch = batch
        for event in events:
            key = event.get("userId") or event["anonymousId"]
            self.log.append("web", msgspec.json.encode(event), key.encode())
        self._work(rounds=1)

    def define_trees(self, trees: Mapping[str, Any], *, fill: bool = True) -> None:
        """Define segments by id."""
        put = tuple(Put(key, tree) for key, tree in trees.items())
        revision = self.catalogue().revision + 1
        assert self.store.definitions.append(
            Edit(revision=revision, time_ms=self.now, author="asha", put=put)
        )
        if fill:
            self.settle()

    def decide(self, decision: Decision) -> None:
        """An operator decides: the identify stage hears of it."""
        for key, value in encode_statements(Statements(decisions=[decision])):
            self.log.append(KAFKA.topic("links"), value, key)

    def catalogue(self) -> Catalogue:
        """What is in force."""
        return self._catalogues.now()

    def settle(self) -> None:
        """Until nobody has anything to do."""
        self._work(ROUNDS)
        held, revision = self.store.backfills.get(), self.catalogue().revision
        assert not revision or (held and held.finished and held.revision == revision)

    def _work(self, rounds: int) -> None:
        quiet = 0
        while quiet < rounds:
            worked = [worker.step() for worker in self._workers.values()]
            troubles = {worker.trouble for worker in self._workers.values()} - {""}
            assert not troubles
            quiet = 0 if any(worked) else quiet + 1
            self._seconds += ROUND_S

    def followed(self) -> set[tuple[Node, str]]:
        """Who is in what, by transitions alone, whose numbers have no holes."""
        heard: dict[Node, dict[int, Transition]] = {}
        for each in self.store.memberships.told("", TOLD_MAX):
            told = each.transition
            known = heard.setdefault(told.profile_id, {}).setdefault(told.sequence, told)
            assert known == told, "two different transitions have one number"
        found: set[tuple[Node, str]] = set()
        for profile_id, some in heard.items():
            assert sorted(some) == list(range(1, len(some) + 1)), "a transition was never told"
            for _, told in sorted(some.items()):
                if told.reason is Reason.CONSENT:
                    continue
                place = (profile_id, told.segment)
                assert (place in found) is not told.entered, "entered twice, or left twice"
                (found.add if told.entered else found.remove)(place)
        return found

    def letters(self) -> int:
        """How many messages no stage could take."""
        return len(self.log.messages(KAFKA.topic("deadletters")))

    def close(self) -> None:
        """Let go of everything."""
        for store in (*self._stores.values(), self.store):
            store.close()

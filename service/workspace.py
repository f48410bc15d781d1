"""What one command works on: configuration, store, log and models, opened when first needed."""

import logging
import time
from collections.abc import Callable, Collection
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from identity.nodes import Node
from ingest.deciding import Deciding, DecidingByLog, DecidingHere
from ingest.messages import encode_look
from ingest.pipeline import EventSink, Pipeline
from ingest.segments.asking import Asking, segments_of
from ingest.segments.evaluating import EVERY, Look
from ingest.segments.here import Segments, share_of, unfinished
from ingest.sources import Sources
from profiles.segments.membership import Cause
from service.config import Config
from service.metrics import Metrics
from storage.catalogues import Catalogues
from storage.keys import Keys
from storage.ports import EmbeddedStore, Store
from storage.profiles import Found, ProfileReader

if TYPE_CHECKING:
    from ingest.kafka.log import KafkaLog
    from models.registry import Registry
    from storage.segment_ports import Holds

DAY_MS: Final = 86_400_000
FILL_LOOK_S: Final = 0.5
"""So often is looked how far workers are with a backfill."""


def wall_clock_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Workspace:
    """One workspace, opened piece by piece: `onefold --help` opens nothing."""

    def __init__(self, config: Config, clock: Callable[[], int] = wall_clock_ms) -> None:
        self.config = config
        self.now_ms = clock
        self.generation: int | None = None
        """Of derived tables to work on; None: the live one."""
        self._opened: tuple[Store, Keys] | None = None
        self._closing: list[Callable[[], None]] = []

    @property
    def _open(self) -> tuple[Store, Keys]:
        if self._opened is None:
            self._opened = self._open_store()
            self._closing.append(self._opened[0].close)
        return self._opened

    def _open_store(self) -> tuple[Store, Keys]:
        # Drivers are imported where they are used: the command line starts fast, and without them.
        if self.config.store.kind == "cassandra":
            from storage.cassandra.store import open_store as open_cassandra

            # What matters of it becomes an error of ours, with what to do; the rest would be shown between.
            logging.getLogger("cassandra").setLevel(logging.CRITICAL)
            return open_cassandra(
                self.config.cassandra,
                self.keys_path,
                generation=self.generation,
                meter=self.metrics.store,
            )
        from storage.sqlite import open_store as open_sqlite

        return open_sqlite(self.store_path, self.keys_path)

    @cached_property
    def metrics(self) -> Metrics:
        """What this process tells of its work."""
        return Metrics()

    @property
    def store_path(self) -> Path:
        """The database file of an embedded store."""
        return Path(self.config.store.path)

    @property
    def keys_path(self) -> Path:
        """The key file."""
        return Path(self.config.store.keys)

    @property
    def place(self) -> str:
        """Where the store is, for people."""
        cassandra = self.config.cassandra
        if self.config.store.kind == "cassandra":
            return (
                f"Cassandra at {', '.join(cassandra.hosts)}:{cassandra.port}, {cassandra.keyspace}"
            )
        return str(self.store_path)

    @property
    def store(self) -> Store:
        """The store; an embedded one is made if it is not there."""
        return self._open[0]

    @property
    def live_generation(self) -> int:
        """Which generation of derived tables the store reads and writes; an embedded one has but one."""
        return int(getattr(self.store, "generation", 1))

    def live_store(self) -> Store:
        """The store with the generation that answers, whichever one this process works on."""
        from storage.cassandra.store import CassandraStore

        made = CassandraStore(self.config.cassandra, self.keys, meter=self.metrics.store)
        self._closing.append(made.close)
        return made

    @property
    def keys(self) -> Keys:
        """The workspace's keys."""
        return self._open[1]

    @cached_property
    def sources(self) -> Sources:
        """The configured sources."""
        return Sources(self.config.sources())

    @cached_property
    def pipeline(self) -> EventSink:
        """Where events go. ConfigError if they would go nowhere."""
        return self._sink(backfill=False)

    @cached_property
    def history(self) -> EventSink:
        """Where events go that nobody waits for: behind live ones. ConfigError if they would go nowhere."""
        return self._sink(backfill=True)

    def _sink(self, *, backfill: bool) -> EventSink:
        if self.config.store.kind == "cassandra":
            return self._log_sink(backfill=backfill)
        return Pipeline(
            self.embedded_store, self.keys, self.config.identity, self.sources, self.segments
        )

    @property
    def embedded_store(self) -> EmbeddedStore:
        """The store, of a workspace whose store is `sqlite`."""
        from storage.sqlite import SqliteStore

        store = self.store
        assert isinstance(store, SqliteStore)  # noqa: S101  # what `_open_store` made
        return store

    @cached_property
    def log(self) -> "KafkaLog":
        """The log between stages. LogUnavailable or LogRefused if it cannot be used."""
        from ingest.kafka.log import KafkaLog

        log = KafkaLog(self.config.kafka)
        self._closing.append(log.close)
        return log

    def _log_sink(self, *, backfill: bool) -> EventSink:
        from ingest.kafka.sink import open_sink
        from service.config_checks import need_log

        need_log(self.config)
        # A producer says nothing of a missing topic or a wrong password until it is too late.
        self.log.check([self.config.kafka.topic("backfill" if backfill else "events")])
        sink = open_sink(
            self.log, self.store, self.keys, self.config.identity, self.sources, self.config.kafka,
            backfill=backfill, meter=self.metrics.ingest,
        )  # fmt: skip
        self._closing.append(sink.close)
        return sink

    @cached_property
    def deciding(self) -> Deciding:
        """Who makes operators' decisions true. ConfigError if nobody could."""
        if self.config.store.kind == "cassandra":
            from service.config_checks import need_log

            need_log(self.config)
            topic = self.config.kafka.topic("links")
            self.log.check([topic])
            producer = self.log.producer()
            self._closing.append(producer.close)
            return DecidingByLog(producer, self.store, topic)
        return DecidingHere(self.embedded_store, self.config.identity)

    @cached_property
    def catalogues(self) -> Catalogues:
        """Which segments are in force."""
        return Catalogues(self.store.definitions)

    @property
    def holds(self) -> "Holds | None":
        """Who does what one process alone may do, of a workspace that several machines share."""
        return getattr(self.store, "holds", None)

    @cached_property
    def segments(self) -> Segments:
        """The evaluate stage, of a workspace whose store is `sqlite`."""
        return Segments(self.embedded_store, self.config.identity, self.now_ms, self.catalogues)

    @cached_property
    def asking(self) -> Asking:
        """Who answers about segments."""
        here = self.segments if self.config.store.kind == "sqlite" else None
        return Asking(
            self.store, self.config.identity, self.catalogues, self.now_ms,
            here.settle if here else lambda: True,
        )  # fmt: skip

    def segments_of(self, found: Found) -> Collection[str]:
        """The segments of a profile that was looked up, for rules of recommendations."""
        return segments_of(self.store, self.catalogues.now(), found)

    def touch(self, nodes: Collection[Node]) -> None:
        """What is kept of these identifiers changed in another way than by events: evaluate them."""
        if self.config.store.kind == "sqlite":
            with self.embedded_store.transaction():
                self.segments.touch(dict.fromkeys(nodes, EVERY))
            return
        producer = self.log.producer()
        try:
            for node in nodes:
                key, value = encode_look(node, Look(Cause.EVENT), spread=True)
                producer.send(self.config.kafka.topic("evaluate"), value, key)
            producer.flush()
        finally:
            producer.close()

    def fill(self, progress: Callable[[float], None] = lambda share: None) -> int:
        """Have everybody evaluated for the segments in force; how many profiles were.

        Where workers do it, wait for them.
        """
        if self.config.store.kind == "sqlite":
            return self.segments.fill(lambda _, share: progress(share))
        while (state := unfinished(self.store, self.catalogues.now())) is not None:
            progress(share_of(state))
            time.sleep(FILL_LOOK_S)
        held = self.store.backfills.get()
        return held.profiles if held else 0

    @cached_property
    def reader(self) -> ProfileReader:
        """Where profiles come from."""
        return ProfileReader(
            self.store, self.config.identity, self.keys.hasher(), self.keys.vault()
        )

    @cached_property
    def registry(self) -> "Registry":
        """Where models are kept."""
        # Models bring numpy and implicit, which a worker never needs.
        from models.registry import Registry

        return Registry(Path(self.config.models.registry))

    def close(self) -> None:
        """Let go of what was opened, the last first."""
        while self._closing:
            self._closing.pop()()


pass_workspace = click.make_pass_decorator(Workspace)

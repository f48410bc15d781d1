"""How what is said reaches people, with trouble on the way: in one process, or by one of several over a log."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, cast

import msgspec
import pytest

from identity.nodes import Node
from identity.resolve import Cluster
from identity.rules import Rules
from ingest.deciding import DecidingHere
from ingest.identify import Statements, decide_again
from ingest.log import LogUnavailable
from ingest.memory_log import MemoryConsumer, MemoryLog
from ingest.messages import EPOCH, encode_statements
from ingest.workers.identify import identify_worker
from ingest.workers.publishing import LEASE
from ingest.workers.running import Worker
from storage.cassandra.grouped import Grouped, Write
from storage.cassandra.settings import CassandraSettings
from storage.cassandra.store import CassandraStore
from storage.errors import StoreUnavailable
from storage.ports import Store
from storage.sqlite import SqliteStore
from storage.sqlite.database import Database
from tests.ingest.workers.world import SETTINGS, Killed
from tests.storage.emptying import empty_cassandra, empty_sqlite, tables_of

Point = Callable[[type[Exception]], None]
"""Called before each write and step of the log, with what it fails with."""

GROUP = SETTINGS.group("identify")
LINKS, CHANGES = SETTINGS.topic("links"), SETTINGS.topic("changes")
BATCH_MESSAGES = 4


class Trouble(msgspec.Struct, frozen=True):
    """What happens to whoever decides, in the middle of it."""

    kind: str
    """`killed`, `failed` (the store or the log, which is tried again), or `asleep`: others go on meanwhile."""
    after: int
    """Writes and steps of the log before it happens."""


class Deciders(Protocol):
    """Who decides people: one process, or several of which one does."""

    exact: bool
    """Whether followers hear of each change once."""
    rules: Rules
    struck: dict[str, int]
    """How often trouble came in the middle of work, by its kind."""

    @property
    def store(self) -> Store:
        """Of whoever decides now."""

    def say(self, said: Statements, troubles: Sequence[Trouble] = ()) -> None:
        """People are up to date with `said` when this returns."""

    def again(self, said: Iterable[Statements]) -> None:
        """Everything that was said is read again from the start."""

    def take_rules(self, rules: Rules, nodes: Sequence[Node]) -> None:
        """From here on other rules hold; people are decided again."""

    def owed(self) -> set[str]:
        """Ids of changes that followers must have heard of."""

    def heard(self) -> set[Cluster] | None:
        """People, as followers of the changes topic know them; None if there is no topic."""

    def clear(self, rules: Rules) -> None:
        """Nothing was ever said."""


class Here:
    """One process that owns an SQLite file: one transaction for everything that is said together."""

    exact = True

    def __init__(self, store: SqliteStore, rules: Rules) -> None:
        self.rules = rules
        self.struck: dict[str, int] = {}
        self._sqlite = store
        self._deciding = DecidingHere(store, rules)

    @property
    def store(self) -> Store:
        return self._sqlite

    def say(self, said: Statements, troubles: Sequence[Trouble] = ()) -> None:
        for trouble in troubles:
            before = self._everything()
            with before_each_write(self._sqlite, _strike(trouble, self.struck)):
                try:
                    self._deciding.say(said)
                except (Killed, StoreUnavailable):
                    assert self._everything() == before, "half a decision is in the file"
        self._deciding.say(said)

    def again(self, said: Iterable[Statements]) -> None:
        for each in said:
            self._deciding.say(each)

    def take_rules(self, rules: Rules, nodes: Sequence[Node]) -> None:
        self.rules = rules
        self._deciding = DecidingHere(self._sqlite, rules)
        with self._sqlite.transaction():
            decide_again(self.store, nodes, rules)

    def owed(self) -> set[str]:
        return set()

    def heard(self) -> set[Cluster] | None:
        return None

    def clear(self, rules: Rules) -> None:
        self.rules = rules
        self._deciding = DecidingHere(self._sqlite, rules)
        empty_sqlite(self._sqlite)

    def _everything(self) -> dict[str, list[tuple[Any, ...]]]:
        rows = self._sqlite.database.rows
        return {table: sorted(rows(f"SELECT * FROM {table}")) for table in tables_of(self._sqlite)}


class _Log(MemoryLog):
    """Remembers who reads it."""

    def __init__(self, fault: Callable[[str], None]) -> None:
        topics = (LINKS, CHANGES, *map(SETTINGS.topic, ("deadletters", "evaluate")))
        super().__init__(dict.fromkeys(topics, 1))
        self.fault = fault
        self.consumers: list[MemoryConsumer] = []

    def consumer(self, group: str, topics: Sequence[str], lost: Any) -> MemoryConsumer:
        self.consumers.append(super().consumer(group, topics, lost))
        return self.consumers[-1]


class Workers:
    """Processes with a store each; whoever has the partition of the links topic decides."""

    exact = False

    def __init__(
        self, stores: Sequence[CassandraStore], settings: CassandraSettings, rules: Rules
    ) -> None:
        self.rules = rules
        self._settings = settings
        self.struck: dict[str, int] = {}
        self._stores = stores
        self._turn = 0
        self._begin()

    def _begin(self) -> None:
        self._point: Point = _nothing
        self._log = _Log(lambda step: None if step == "lag" else self._point(LogUnavailable))
        self._owed: set[str] = set()
        self._read = self._epoch = 0
        self._known: dict[Node, Cluster] = {}
        self._take_over()

    @property
    def store(self) -> Store:
        """Of whoever decides now."""
        return self._stores[self._turn]

    def say(self, said: Statements, troubles: Sequence[Trouble] = ()) -> None:
        for key, value in encode_statements(said):
            self._log.append(LINKS, value, key)
        for trouble in troubles:
            self._work_in_trouble(trouble)
        self._work()

    def _work_in_trouble(self, trouble: Trouble) -> None:
        struck = False

        def sleep() -> None:
            nonlocal struck
            struck = True
            self._take_over()
            self._work()

        worker, turn = self._worker, self._turn
        strike = _strike(trouble, self.struck, sleep)
        self._point = lambda error: strike(error) if self._turn == turn else None
        try:
            with before_each_write(self._stores[turn], strike):
                while not struck and self._log.lag(GROUP, [LINKS]):
                    if not worker.step():
                        break
        except Killed:
            self._take_over()
        finally:
            self._point = _nothing

    def _work(self) -> None:
        while self._log.lag(GROUP, [LINKS]):
            if not self._worker.step():
                # What it read and could not commit comes again to whoever has the partition next.
                self._take_over()

    def _take_over(self) -> None:
        """Another process gets the partition."""
        for consumer in self._log.consumers:
            self._log.evict(consumer)
        self._owed |= {each.id for each in self.store.changes.announced(1_000)}
        self._turn = (self._turn + 1) % len(self._stores)
        self._worker: Worker = identify_worker(
            self._log, self.store, self.rules, SETTINGS, "test", batch_messages=BATCH_MESSAGES
        )
        self._worker.step()

    def again(self, said: Iterable[Statements]) -> None:
        self._log.reset(GROUP)
        self._take_over()
        self._work()

    def take_rules(self, rules: Rules, nodes: Sequence[Node]) -> None:
        self.rules = rules
        successor = self._stores[(self._turn + 1) % len(self._stores)]
        successor.leases.take(LEASE, "onefold replay")
        decide_again(successor, nodes, rules)
        self._take_over()
        self.heard()
        # Followers read people anew: nobody tells them what other rules make of the same evidence.
        self._known = {n: each for each in self.store.people.scan() for n in each.members}

    def owed(self) -> set[str]:
        return self._owed

    def heard(self) -> set[Cluster] | None:
        messages = self._log.messages(CHANGES)
        for message in messages[self._read :]:
            epoch = int(message.headers[EPOCH])
            if epoch < self._epoch:
                continue
            self._epoch = epoch
            for profile in msgspec.json.decode(message.value)["after"]:
                members = frozenset(Node(bytes.fromhex(each)) for each in profile["members"])
                cluster = Cluster(Node(bytes.fromhex(profile["profile"])), members)
                self._known |= dict.fromkeys(members, cluster)
        self._read = len(messages)
        return {each for each in self._known.values() if len(each.members) > 1}

    def clear(self, rules: Rules) -> None:
        self.rules = rules
        empty_cassandra(self._stores[self._turn], self._settings)
        self._begin()


def _nothing(error: type[Exception]) -> None:
    pass


def _strike(
    trouble: Trouble, struck: dict[str, int], sleep: Callable[[], None] | None = None
) -> Point:
    """Called before each write or step of the log; trouble comes once."""
    left = trouble.after

    def point(error: type[Exception]) -> None:
        nonlocal left
        left -= 1
        if left != -1:
            return
        struck[trouble.kind] = struck.get(trouble.kind, 0) + 1
        if trouble.kind == "failed":
            raise error("nobody answers")
        if trouble.kind == "asleep" and sleep is not None:
            sleep()
        else:
            raise Killed

    return point


@contextmanager
def before_each_write(store: Store, point: Point) -> Iterator[None]:
    """Calls `point` before each row that `store` writes; rows that go together, in any order."""
    with pytest.MonkeyPatch.context() as patch:
        if isinstance(store, CassandraStore):
            _each_of_cassandra(store, point, patch)
        else:
            _each_of_sqlite(cast(SqliteStore, store), point, patch)
        yield


def _each_of_cassandra(store: CassandraStore, point: Point, patch: pytest.MonkeyPatch) -> None:
    real, dice = Grouped.write, random.Random(0)

    def write(grouped: Grouped, writes: Iterable[Write]) -> None:
        together = list(writes)
        if grouped.connection is not store.connection:
            real(grouped, together)
            return
        for each in dice.sample(together, len(together)):
            point(StoreUnavailable)
            real(grouped, [each])

    patch.setattr(Grouped, "write", write)


def _each_of_sqlite(store: SqliteStore, point: Point, patch: pytest.MonkeyPatch) -> None:
    one, many = Database.write, Database.write_many

    def write(database: Database, sql: str, parameters: Sequence[Any] = ()) -> int:
        point(StoreUnavailable)
        return one(database, sql, parameters)

    def write_many(database: Database, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        for row in rows:
            point(StoreUnavailable)
            many(database, sql, [row])

    patch.setattr(Database, "write", write)
    patch.setattr(Database, "write_many", write_many)

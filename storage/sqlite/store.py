"""The store in one SQLite file, with the workspace's keys beside it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from storage.columns import Columns
from storage.errors import KeyMismatch
from storage.identity_ports import (
    Changes,
    Decisions,
    Devices,
    Evidence,
    Identifiers,
    Lookups,
    Owners,
    People,
)
from storage.keys import Keys, create_keys, load_keys
from storage.ports import Catalog, DeadLetters, Leases, Parts, Positions, Store, Timeline
from storage.reaching import Reaching
from storage.segment_ports import Backfills, Definitions, Deliveries, Memberships, Pending, Scores
from storage.sqlite.activity import SqliteParts, SqliteTimeline
from storage.sqlite.columns import SqliteColumns
from storage.sqlite.database import Database
from storage.sqlite.deciding import SqliteChanges, SqliteDecisions
from storage.sqlite.deliveries import SqliteDeliveries
from storage.sqlite.identity import (
    SqliteDevices,
    SqliteEvidence,
    SqliteIdentifiers,
    SqliteOwners,
    SqlitePeople,
)
from storage.sqlite.ledger import (
    SqliteCatalog,
    SqliteDeadLetters,
    SqliteLeases,
    SqlitePositions,
)
from storage.sqlite.lookups import SqliteLookups
from storage.sqlite.reaching import SqliteReaching
from storage.sqlite.segments import (
    SqliteBackfills,
    SqliteDefinitions,
    SqliteMemberships,
    SqlitePending,
    SqliteScores,
)


class SqliteStore:
    """`storage.ports.EmbeddedStore` in one file."""

    waits = False

    def __init__(self, path: Path, keys: Keys | None, *, read_only: bool = False) -> None:
        """Without keys, nobody looks whether they fit."""
        self.database = Database(path, read_only=read_only)
        self.timeline: Timeline = SqliteTimeline(self.database)
        self.parts: Parts = SqliteParts(self.database)
        self.evidence: Evidence = SqliteEvidence(self.database)
        self.decisions: Decisions = SqliteDecisions(self.database)
        self.devices: Devices = SqliteDevices(self.database)
        self.owners: Owners = SqliteOwners(self.database)
        self.people: People = SqlitePeople(self.database)
        self.identifiers: Identifiers = SqliteIdentifiers(self.database)
        self.lookups: Lookups = SqliteLookups(
            self.database, self.evidence, self.people, self.decisions
        )
        self.dead_letters: DeadLetters = SqliteDeadLetters(self.database)
        self.positions: Positions = SqlitePositions(self.database)
        self.catalog: Catalog = SqliteCatalog(self.database)
        self.changes: Changes = SqliteChanges(self.database)
        self.definitions: Definitions = SqliteDefinitions(self.database)
        self.memberships: Memberships = SqliteMemberships(self.database)
        self.backfills: Backfills = SqliteBackfills(self.database)
        self.pending: Pending = SqlitePending(self.database)
        self.scores: Scores = SqliteScores(self.database)
        self.leases: Leases = SqliteLeases(self.database)
        self.deliveries: Deliveries = SqliteDeliveries(self.database)
        self.columns: Columns = SqliteColumns(self.database)
        self.reaching: Reaching = SqliteReaching(self.database)
        if keys is not None:
            self._check_keys(keys)

    def _check_keys(self, keys: Keys) -> None:
        found = self.database.rows("SELECT value FROM meta WHERE key = 'key_fingerprint'")
        if not found and not self.database.read_only:
            self.database.write(
                "INSERT INTO meta VALUES ('key_fingerprint', ?)", (keys.fingerprint(),)
            )
        elif found and found[0][0] != keys.fingerprint():
            self.close()
            raise KeyMismatch(f"{self.database.path}: written with other keys than those given")

    def transaction(self) -> AbstractContextManager[None]:
        """All writes within are durable together when it ends, or none is if it raises."""
        return self.database.transaction()

    def next_offset(self, count: int) -> int:
        """Take `count` log offsets; the first of them. Offsets only grow."""
        with self.transaction():
            found = self.database.rows("SELECT value FROM meta WHERE key = 'next_offset'")
            first: int = found[0][0] if found else 1
            self.database.write(
                "INSERT INTO meta VALUES ('next_offset', ?) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (first + count,),
            )
        return first

    @property
    def opener(self) -> Callable[[], Store]:
        """See `storage.ports.EmbeddedStore`."""
        return partial(_reader, self.database.path)

    def written_elsewhere(self) -> int:
        """See `storage.ports.EmbeddedStore`."""
        return int(self.database.rows("PRAGMA data_version")[0][0])

    def written_here(self) -> int:
        """See `storage.ports.EmbeddedStore`."""
        return self.database.connection().total_changes

    def close(self) -> None:
        """Let go of the file."""
        self.database.close()


def _reader(path: Path) -> Store:
    return SqliteStore(path, None, read_only=True)


def open_store(path: Path, keys_path: Path, *, read_only: bool = False) -> tuple[SqliteStore, Keys]:
    """Open the store at `path`, or make it; its keys are made with it, never after it."""
    if path.exists() or read_only:
        keys = load_keys(keys_path)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        keys = load_keys(keys_path) if keys_path.exists() else create_keys(keys_path)
    return SqliteStore(path, keys, read_only=read_only), keys

"""The store in two keyspaces of a Cassandra cluster."""

from functools import partial
from pathlib import Path

from storage.cassandra.activity import CassandraParts, CassandraTimeline
from storage.cassandra.connection import Connection
from storage.cassandra.deciding import CassandraChanges, CassandraDecisions
from storage.cassandra.deliveries import CassandraDeliveries
from storage.cassandra.devices import CassandraDevices, CassandraOwners
from storage.cassandra.evidence import CassandraEvidence
from storage.cassandra.grouped import Grouped, Written
from storage.cassandra.holding import CassandraHolds
from storage.cassandra.ledger import (
    CassandraCatalog,
    CassandraDeadLetters,
    CassandraLeases,
    CassandraPositions,
)
from storage.cassandra.lookups import CassandraLookups
from storage.cassandra.people import CassandraIdentifiers, CassandraPeople
from storage.cassandra.schema import check, may_decide, remember_once
from storage.cassandra.scores import CassandraScores
from storage.cassandra.segments import (
    CassandraBackfills,
    CassandraDefinitions,
    CassandraMemberships,
)
from storage.cassandra.settings import CassandraSettings
from storage.cassandra.stamps import WriterClock
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
from storage.keys import Keys, load_keys
from storage.metrics import UNMETERED, StoreMeter
from storage.ports import Catalog, DeadLetters, Leases, Parts, Positions, Timeline
from storage.segment_ports import (
    Backfills,
    Definitions,
    Deliveries,
    Evaluations,
    Holds,
    Memberships,
    Scores,
)


class CassandraStore:
    """`storage.ports.SharedStore`. Made after forking; any thread may use it."""

    waits = True

    def __init__(
        self,
        settings: CassandraSettings,
        keys: Keys,
        *,
        generation: int | None = None,
        meter: StoreMeter = UNMETERED,
        switching: bool = False,
    ) -> None:
        """`generation` is another one than the live one while it is built; `switching` lets it take leases."""
        self.connection = Connection(settings, meter)
        try:
            live = check(self.connection, settings)
            self.generation = generation or live
            facts_name, derived_name = settings.keyspaces(self.generation)
            self._check_keys(facts_name, keys)
        except BaseException:
            self.connection.close()
            raise
        self.written = Written()
        clock = WriterClock()
        facts = Grouped(self.connection, facts_name, self.written)
        derived = self.derived = Grouped(self.connection, derived_name, self.written)
        people = CassandraPeople(derived, clock)
        identifiers = CassandraIdentifiers(facts)
        devices = CassandraDevices(facts)
        self.timeline: Timeline = CassandraTimeline(facts)
        self.parts: Parts = CassandraParts(derived)
        evidence = CassandraEvidence(facts, clock)
        decisions = CassandraDecisions(facts, clock, evidence.note_beside)
        self.evidence: Evidence = evidence
        self.decisions: Decisions = decisions
        self.devices: Devices = devices
        self.owners: Owners = CassandraOwners(facts, clock)
        self.people: People = people
        self.identifiers: Identifiers = identifiers
        self.lookups: Lookups = CassandraLookups(identifiers, people, devices, evidence, decisions)
        self.dead_letters: DeadLetters = CassandraDeadLetters(facts)
        self.positions: Positions = CassandraPositions(facts)
        self.catalog: Catalog = CassandraCatalog(facts)
        self.changes: Changes = CassandraChanges(facts, clock)
        self.definitions: Definitions = CassandraDefinitions(facts)
        memberships = CassandraMemberships(derived, clock)
        self.memberships: Memberships = memberships
        self.evaluations: Evaluations = memberships
        self.backfills: Backfills = CassandraBackfills(derived)
        self.scores: Scores = CassandraScores(facts)
        self.deliveries: Deliveries = CassandraDeliveries(facts)
        self.holds: Holds = CassandraHolds(self.connection, facts_name)
        self.leases: Leases = CassandraLeases(
            self.connection,
            facts_name,
            clock,
            (lambda: None)
            if switching
            else partial(may_decide, self.connection, facts_name, self.generation),
        )

    def _check_keys(self, facts: str, keys: Keys) -> None:
        mine = keys.fingerprint()
        if remember_once(self.connection, facts, "key_fingerprint", mine) != mine:
            raise KeyMismatch(f"keyspace {facts}: written with other keys than those given")

    def close(self) -> None:
        """Let go of every connection; closing twice is the same as once."""
        self.connection.close()


def open_store(
    settings: CassandraSettings,
    keys_path: Path,
    *,
    generation: int | None = None,
    meter: StoreMeter = UNMETERED,
) -> tuple[CassandraStore, Keys]:
    """Open the store of a workspace that `migrate` has made, with the keys in `keys_path`."""
    keys = load_keys(keys_path)
    return CassandraStore(settings, keys, generation=generation, meter=meter), keys

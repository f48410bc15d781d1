"""What Cassandra is used for beyond the contract: registers, fencing, versions, errors."""

import gc
import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from cassandra import ConsistencyLevel
from cassandra.cluster import ResponseFuture
from cassandra.query import SimpleStatement

from identity.event import Event
from identity.evidence import MustLink, Use
from identity.extract import Extractor
from identity.rules import Rules
from ingest.decode import decode
from ingest.folding import Activity, Folder, activity_of
from ingest.rebuild import Base, Refolder, rebuild_parts, rebuild_people
from ingest.verify import verify
from profiles.facts import facts_of
from simulator.shop import Shop
from storage.cassandra.connection import CarefulRetryPolicy
from storage.cassandra.schema import SCHEMA_VERSION, begin_switch, finish_switch, migrate
from storage.cassandra.settings import CassandraSettings
from storage.cassandra.store import CassandraStore
from storage.cassandra.survey import survey
from storage.errors import KeyMismatch, Misconfigured, SchemaMismatch, StoreUnavailable
from storage.keys import Keys
from storage.ports import TimelineQuery, TimelineRow
from tests.storage.identity_deciders import before_each_write
from tests.storage.test_contract import ASHA, BROWSER, MAIL, RAVI, change, cluster, link, row
from tests.workspace import KEYS, Workspace


@pytest.fixture
def other(
    cassandra_store: CassandraStore, cassandra_settings: CassandraSettings
) -> Iterator[CassandraStore]:
    """A second process on the same workspace."""
    made = CassandraStore(cassandra_settings, KEYS)
    yield made
    made.close()


# --- several writers ------------------------------------------------------------------------------


def test_a_zombie_loses_against_the_holder_after_it(
    cassandra_store: CassandraStore, other: CassandraStore
) -> None:
    zombie, holder = cassandra_store, other
    zombie.leases.take("identity", "zombie")
    holder.leases.take("identity", "holder")
    holder.people.write([ASHA, MAIL, RAVI], [cluster(ASHA, MAIL)], [])
    holder.evidence.merge_links([link(ASHA, MAIL, first=5)])

    zombie.people.write([ASHA, MAIL, RAVI], [cluster(ASHA, RAVI)], [])
    zombie.evidence.merge_links([link(ASHA, MAIL, first=3)])

    assert list(holder.people.scan()) == [cluster(ASHA, MAIL)]
    assert list(holder.evidence.scan_links()) == [link(ASHA, MAIL, first=5)]


def test_what_a_former_holder_announces_nobody_hears_of(
    cassandra_store: CassandraStore, other: CassandraStore
) -> None:
    former, holder = cassandra_store, other
    former.leases.take("identity", "former")
    holder.leases.take("identity", "holder")
    holder.changes.announce([])
    former.changes.announce([change("late", 5)])
    assert holder.changes.announced(10) == []
    holder.changes.announce([change("own", 6)])
    assert [each.id for each in holder.changes.announced(10)] == ["own"]


def test_what_a_former_holder_publishes_late_is_not_missed(
    cassandra_store: CassandraStore, other: CassandraStore
) -> None:
    """It was announced, so the successor publishes it too: whoever reads past it hears of it twice."""
    former, holder = cassandra_store, other
    former.leases.take("identity", "former")
    former.changes.published([change("a", 1)])
    former.changes.announce([change("b", 2)])
    holder.leases.take("identity", "holder")
    holder.changes.announce([])
    holder.changes.published(holder.changes.announced(10))
    seen = holder.changes.history(0, 10)
    former.changes.published([change("b", 2)])
    assert [each.change.id for each in seen] == ["a", "b"]
    assert holder.changes.history(seen[-1].position, 10) == []


def test_a_history_that_was_half_written_has_no_hole_when_it_is_written_again(
    cassandra_store: CassandraStore,
) -> None:
    """Rows go out in any order, so the first of a batch may be the one that is missing."""
    changes = cassandra_store.changes
    for after in itertools.count():
        cassandra_store.leases.take("identity", "holder")
        seen = max((each.position for each in changes.history(0, 1_000)), default=0)
        made = [change(f"c{after}-{n}", n) for n in range(4)]
        writes_left = after

        def fail(error: type[Exception]) -> None:
            nonlocal writes_left
            writes_left -= 1
            if writes_left == -1:
                raise error("nobody answers")

        changes.announce(made)
        with before_each_write(cassandra_store, fail), suppress(StoreUnavailable):
            changes.published(made)
        changes.published(changes.announced(10))
        heard = {each.change.id for each in changes.history(seen, 1_000)}
        assert heard == {each.id for each in made}, f"failed after {after} writes"
        if writes_left >= 0:
            break
    assert after > len(made)


def test_uses_widen_whoever_writes_them_in_whatever_order(
    cassandra_store: CassandraStore, other: CassandraStore
) -> None:
    def use(first: int, last: int) -> Use:
        return Use(device=BROWSER, person=ASHA, hour=0, first_ms=first, last_ms=last)

    cassandra_store.devices.merge_uses([use(50, 60)])
    other.devices.merge_uses([use(10, 20)])
    cassandra_store.devices.merge_uses([use(30, 90)])
    other.devices.merge_uses([use(40, 45)])
    assert cassandra_store.devices.uses_of([BROWSER]) == {BROWSER: [use(10, 90)]}


def test_a_lease_is_taken_once_by_each_of_many_processes(
    cassandra_store: CassandraStore, other: CassandraStore
) -> None:
    epochs: list[int] = []

    def take(store: CassandraStore) -> None:
        for _ in range(5):
            epochs.append(store.leases.take("identity", "somebody"))

    threads = [threading.Thread(target=take, args=(each,)) for each in (cassandra_store, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(epochs)) == 10


def test_rows_are_grouped_into_few_requests(cassandra_store: CassandraStore) -> None:
    cassandra_store.timeline.add([row(f"m{n}", n, at=n) for n in range(200)], {ASHA: -1})
    assert cassandra_store.written.rows == 201, "200 events and the month they are in"
    assert cassandra_store.written.batches <= 12
    assert cassandra_store.written.reads == 0, "rows past what the leaf holds are not looked for"


def test_what_is_not_idempotent_is_never_sent_again() -> None:
    policy = CarefulRetryPolicy()
    once, again = (
        SimpleStatement("x", is_idempotent=False),
        SimpleStatement("x", is_idempotent=True),
    )
    quorum = ConsistencyLevel.LOCAL_QUORUM
    for statement, decided in ((once, policy.RETHROW), (again, policy.RETRY_NEXT_HOST)):
        assert policy.on_request_error(statement, quorum, error=None, retry_num=0)[0] == decided
        assert policy.on_unavailable(statement, quorum, 2, 1, retry_num=0)[0] == decided
    for statement, decided in ((once, policy.RETHROW), (again, policy.RETRY)):
        assert policy.on_write_timeout(statement, quorum, "SIMPLE", 2, 1, retry_num=0)[0] == decided
        assert policy.on_read_timeout(statement, quorum, 2, 1, False, retry_num=0)[0] == decided
    assert policy.on_request_error(again, quorum, error=None, retry_num=1)[0] == policy.RETHROW


# --- versions and errors --------------------------------------------------------------------------


def test_migrating_twice_changes_nothing(cassandra_settings: CassandraSettings) -> None:
    assert migrate(cassandra_settings) == []
    assert {finding.state for finding in survey(cassandra_settings)} == {"ok", "note"}


def test_another_schema_or_other_keys_are_refused(
    cassandra_store: CassandraStore, cassandra_settings: CassandraSettings
) -> None:
    facts, _ = cassandra_settings.keyspaces(1)

    def become(version: str) -> None:
        cassandra_store.connection.execute(
            f"UPDATE {facts}.meta SET value = ? WHERE key = 'schema_version' IF EXISTS", (version,)
        )

    try:
        become("99")
        with pytest.raises(SchemaMismatch, match="newer than this code's"):
            CassandraStore(cassandra_settings, KEYS)
        with pytest.raises(SchemaMismatch, match="newer than this code's"):
            migrate(cassandra_settings)
        become("0")
        with pytest.raises(SchemaMismatch, match="run `onefold migrate`"):
            CassandraStore(cassandra_settings, KEYS)
    finally:
        become(str(SCHEMA_VERSION))
    with pytest.raises(KeyMismatch):
        CassandraStore(cassandra_settings, Keys(b"x" * 32, b"y" * 32))


def test_a_keyspace_of_an_older_version_is_upgraded(
    cassandra_store: CassandraStore, cassandra_settings: CassandraSettings
) -> None:
    facts, _ = cassandra_settings.keyspaces(1)
    run = cassandra_store.connection.run
    run(f"CREATE TABLE {facts}.change_days (key text PRIMARY KEY)")
    run(f"DROP TABLE {facts}.matches")
    cassandra_store.connection.execute(
        f"UPDATE {facts}.meta SET value = ? WHERE key = 'schema_version' IF EXISTS", ("1",)
    )
    must = MustLink(a=ASHA, b=MAIL, first_ms=2, first_event="alias", source="crm")
    cassandra_store.evidence.merge_must_links([must])
    run(f"DROP TABLE {facts}.links")
    run(f"CREATE TABLE {facts}.links (node blob, other blob, link blob, PRIMARY KEY (node, other))")
    done = migrate(cassandra_settings)
    assert f"made table {facts}.matches" in done
    assert f"dropped table {facts}.change_days" in done
    assert "noted 2 identifiers that more than links names" in done
    assert done[-1] == f"schema version {SCHEMA_VERSION}"
    assert migrate(cassandra_settings) == []
    CassandraStore(cassandra_settings, KEYS).close()


def test_what_is_wrong_with_the_cluster_is_said(cassandra_settings: CassandraSettings) -> None:
    replace = msgspec.structs.replace
    with pytest.raises(Misconfigured, match="no keyspace nowhere_facts; run `onefold migrate`"):
        CassandraStore(replace(cassandra_settings, keyspace="nowhere"), KEYS)
    with pytest.raises(Misconfigured, match="no data centre mars; there is datacenter1"):
        CassandraStore(replace(cassandra_settings, datacenter="mars"), KEYS)
    with pytest.raises(Misconfigured, match="replication is 3, but data centre datacenter1 has 1"):
        migrate(replace(cassandra_settings, keyspace="nowhere", replication=3))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = replace(
            cassandra_settings,
            hosts=("127.0.0.1",),
            port=free.getsockname()[1],
            connect_timeout_s=2,
        )
    with pytest.raises(StoreUnavailable, match=r"check cassandra\.hosts"):
        CassandraStore(nobody, KEYS)
    (finding,) = survey(nobody)
    assert finding.state == "problem"


# --- generations ----------------------------------------------------------------------------------


def test_a_generation_is_rebuilt_beside_the_live_one_and_switched(
    cassandra_store: CassandraStore, cassandra_settings: CassandraSettings, tmp_path: Path
) -> None:
    live = cassandra_store
    embedded = Workspace(tmp_path)
    embedded.take([event for event, _ in Shop(seed=3, people=25, days=8)])
    rows = list(embedded.store.timeline.scan())
    refolder = Refolder(KEYS, Rules(), embedded.sources.named)
    live.timeline.add(rows)
    live.parts.write(
        {
            leaf: (1 << 39, embedded.store.parts.read([leaf])[leaf])
            for leaf in embedded.store.parts.leaves(None, 10_000)
        }
    )
    live.evidence.merge_links(list(embedded.store.evidence.scan_links()))

    migrate(cassandra_settings, generation=2)
    target = CassandraStore(cassandra_settings, KEYS, generation=2)
    try:
        assert target.parts.count() == 0
        leaves = live.parts.leaves(None, 10_000)
        assert rebuild_parts(live, target, refolder).events == len(rows)
        assert target.parts.read(leaves) == live.parts.read(leaves)
        rebuild_people(target, Rules())
        assert set(target.people.scan()) == set(embedded.store.people.scan())
        assert verify(target, KEYS, Rules(), embedded.sources.named).right
        facts, _ = cassandra_settings.keyspaces(1)
        assert begin_switch(live.connection, facts, 2) == 1
        with pytest.raises(Misconfigured, match="onefold replay --switch 2"):
            live.leases.take("identity", "a worker that goes on")
        with pytest.raises(Misconfigured, match="switch to generation 2 was begun"):
            begin_switch(live.connection, facts, 3)
        finish_switch(live.connection, facts, begin_switch(live.connection, facts, 2), 2)
        with pytest.raises(Misconfigured, match="generation 2 answers now, not 1"):
            live.leases.take("identity", "a worker that goes on")
        switched = CassandraStore(cassandra_settings, KEYS)
        assert switched.generation == 2
        assert switched.leases.take("identity", "a new worker") > 0
        switched.close()
        finish_switch(live.connection, facts, begin_switch(live.connection, facts, 1), 1)
    finally:
        target.close()
        embedded.close()


def test_a_leaf_that_is_not_rebuilt_yet_starts_from_what_is_live(
    cassandra_store: CassandraStore, cassandra_settings: CassandraSettings, tmp_path: Path
) -> None:
    live = cassandra_store
    embedded = Workspace(tmp_path)
    embedded.see(browser="b1", user="asha", view="tea")
    embedded.see(browser="b1", user="asha", view="salt")
    stored = list(embedded.store.timeline.scan())
    old, new = sorted(stored, key=lambda each: each.offset)
    refolder = Refolder(KEYS, Rules(), embedded.sources.named)

    Folder(live).fold([_activity(embedded, old)])
    migrate(cassandra_settings, generation=2)
    target = CassandraStore(cassandra_settings, KEYS, generation=2)
    try:
        target.connection.run(f"TRUNCATE {cassandra_settings.keyspaces(2)[1]}.nodes")
        base = Base(live, refolder)
        leaf = new.leaf
        # The log has what is live already: it is not folded twice, and the part is there nevertheless.
        assert Folder(target, base=base).fold([_activity(embedded, old)]).counted == 0
        assert target.parts.read([leaf]) == live.parts.read([leaf])
        target.connection.run(f"TRUNCATE {cassandra_settings.keyspaces(2)[1]}.nodes")
        assert Folder(target, base=base).fold([_activity(embedded, new)]).counted == 1
        assert target.parts.read([leaf]) == embedded.store.parts.read([leaf])
        assert len(target.timeline.read([leaf], TimelineQuery())) == 2
    finally:
        target.close()
        embedded.close()


def _activity(world: Workspace, stored: TimelineRow) -> tuple[int, Activity]:
    """What record would send on for a stored event."""
    event = decode(stored.raw, stored.received_ms, world.source, stored.type)
    assert isinstance(event, Event)
    found = Extractor(world.rules, KEYS.hasher()).extract(event, world.source)
    assert found.leaf == stored.leaf
    return stored.offset, activity_of(stored.leaf, event, facts_of(event, found.device))


def test_a_request_leaves_nothing_to_the_collector_of_cycles(
    cassandra_store: CassandraStore,
) -> None:
    cassandra_store.evidence.merge_links([link(ASHA, MAIL, first=5)])
    cassandra_store.evidence.links_of([ASHA, MAIL])  # prepares, once
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            cassandra_store.evidence.links_of([ASHA, MAIL])
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = [each for each in gc.garbage if isinstance(each, ResponseFuture)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not left

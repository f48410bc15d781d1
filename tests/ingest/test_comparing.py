"""Who is who beside all evidence: what differs is found, told and mended, on both stores."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from identity.changes import Kind, PersonChange
from identity.evidence import Link
from identity.nodes import Node
from identity.resolve import HUB, Cluster, Evidence, Refusal, resolve
from identity.rules import Rules
from ingest.comparing import History, compare
from ingest.identify import Statements
from storage.columns import ScannedColumns, columns_of
from storage.evidence import evidence_of
from storage.ports import Store
from storage.sqlite import SqliteStore
from tests.identity.strategies import EMAILS, NODES, RULES, hasher
from tests.ingest.test_resolving import evidences
from tests.storage.emptying import empty_sqlite
from tests.workspace import KEYS, NOON

OTHER_RULES = Rules(version=2, fanout_max=4, fanout_max_user=3, members_max=5, limit_default=1)
wrong_people = st.lists(
    st.lists(st.sampled_from(NODES), min_size=2, max_size=4, unique=True), max_size=3
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "onefold.sqlite", KEYS)
    yield made
    made.close()


class Believer:
    """Knows people by changes alone."""

    def __init__(self, store: Store) -> None:
        self.known = {node: each for each in store.people.scan() for node in each.members}
        self.announced: list[str] = []
        self.heard: list[str] = []

    def announce(self, changes: Sequence[PersonChange]) -> None:
        self.announced += [each.id for each in changes]

    def publish(self, changes: Sequence[PersonChange]) -> None:
        self.heard += [each.id for each in changes]
        for change in changes:
            for cluster in change.before:
                for node in cluster.members:
                    alone = Cluster(node, frozenset({node}))
                    assert self.known.get(node, alone) == cluster
            for cluster in change.after:
                self.known |= dict.fromkeys(cluster.members, cluster)

    @property
    def people(self) -> set[Cluster]:
        return {each for each in self.known.values() if len(each.members) > 1}


def tell(store: Store, evidence: Evidence) -> None:
    store.evidence.merge_links(evidence.links)
    store.evidence.merge_must_links(evidence.must_links)
    store.evidence.merge_matches(evidence.matches)


def disjoint(groups: Sequence[Sequence[Node]]) -> list[Cluster]:
    taken: set[Node] = set()
    made = []
    for group in groups:
        mine = frozenset(group) - taken
        taken |= mine
        if len(mine) > 1:
            made.append(Cluster(min(mine), mine))
    return made


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(said=evidences, groups=wrong_people, by=st.sampled_from([RULES, OTHER_RULES]))
def test_whatever_is_stored_a_load_makes_it_right_and_tells_every_follower(
    store: SqliteStore, said: Evidence, groups: Sequence[Sequence[Node]], by: Rules
) -> None:
    empty_sqlite(store)
    tell(store, said)
    wrong = disjoint(groups)
    nodes = {node for each in wrong for node in each.members}
    store.people.write(nodes, wrong, [Refusal(min(nodes), min(nodes), HUB, "", 1)] if nodes else [])
    right = resolve(evidence_of(store), by)
    followers = Believer(store)
    comparison = compare(store, by, processes=1)
    loaded = comparison.load(store, NOON, followers)

    assert set(store.people.scan()) == right.clusters == followers.people
    stored = store.people.refusals(1_000)
    assert {each for each in stored if each.rule != HUB} == right.refusals
    assert {each.a for each in stored if each.rule == HUB} == right.hubs
    assert followers.announced == followers.heard
    assert sum(loaded.changes.values()) == len(followers.heard)
    again = compare(store, by, processes=1)
    assert not again
    assert list(again.differences()) == []


def test_a_preview_says_what_a_load_does_and_writes_nothing(store: SqliteStore) -> None:
    people = Statements([link(f"u{n}", f"e{n % 2}", n) for n in range(4)])
    store.evidence.merge_links(people.links)
    comparison = compare(store, RULES, processes=1)
    planned = comparison.preview(NOON)
    assert comparison.before().people == 0
    assert list(store.people.scan()) == []
    with store.transaction():
        loaded = compare(store, RULES, processes=1).load(store, NOON, History(store))
    assert loaded == planned
    assert comparison.after().people == sum(1 for _ in store.people.scan()) == 2
    published = [each.change for each in store.changes.history(0, 100)]
    assert {each.kind for each in published} == {Kind.CREATED, Kind.CONFLICT}
    assert len(published) == sum(loaded.changes.values())


def test_differences_name_people_refusals_and_hubs(store: SqliteStore) -> None:
    links = [link("u0", "e0", 1), link("u1", "e0", 2)]
    store.evidence.merge_links(links)
    stranger = Cluster(EMAILS[1], frozenset({EMAILS[1], EMAILS[2]}))
    hub = Refusal(EMAILS[3], EMAILS[3], HUB, "", 1)
    store.people.write({*stranger.members, EMAILS[3]}, [stranger], [hub])
    found = {(each.what, each.detail) for each in compare(store, RULES, processes=1).differences()}
    assert found == {
        ("person", "live only"), ("person", "missing"), ("hub", "live only"),
        ("refusal", "missing: limit:user_id"),
    }  # fmt: skip


def test_a_load_that_ends_half_way_leaves_people_whole(store: SqliteStore) -> None:
    store.evidence.merge_links([link(f"u{n}", f"x{n}", n) for n in range(5_000)])

    class Dying(Believer):
        def announce(self, changes: Sequence[PersonChange]) -> None:
            if self.heard:
                raise KeyboardInterrupt
            super().announce(changes)

    with pytest.raises(KeyboardInterrupt):
        compare(store, RULES, processes=1).load(store, NOON, Dying(store))
    half = set(store.people.scan())
    assert 0 < len(half) < 5_000
    assert half < resolve(evidence_of(store), RULES).clusters
    compare(store, RULES, processes=1).load(store, NOON, Believer(store))
    assert len(set(store.people.scan())) == 5_000


def test_columns_hold_what_scans_hold(store: SqliteStore) -> None:
    store.evidence.merge_links([link(f"u{n}", f"x{n // 2}", n) for n in range(500)])
    compare(store, RULES, processes=1).load(store, NOON, Believer(store))
    own, scanned = columns_of(store), ScannedColumns(store)
    assert type(own) is not ScannedColumns
    assert list(own.links()) == list(scanned.links())
    assert list(own.clusters()) == list(scanned.clusters())


def link(user: str, email: str, at_ms: int) -> Link:
    a, b = sorted((hasher.node("user_id", user), hasher.node("email", email)))
    return Link(a=a, b=b, first_ms=at_ms, first_event="e", source="web", last_ms=at_ms)

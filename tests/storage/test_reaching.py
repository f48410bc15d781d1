"""What exports ask of a store at once, beside what its ports say one by one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from identity.evidence import Companion, Use
from identity.nodes import Node, NodeHasher
from identity.resolve import Cluster
from profiles.segments.membership import Reason, Standing, Transition
from storage.reaching import LAST, ScannedReaching
from storage.sqlite import SqliteStore
from storage.sqlite import reaching as of_sqlite
from tests.workspace import HOUR, KEYS, NOON

HASHER = NodeHasher(b"k" * 32)
FIRST = Node(b"")
DEVICES = [HASHER.node("anonymous_id", f"b{n}") for n in range(4)]
PHONES = [HASHER.node("advertising_id", f"a{n}") for n in range(3)]
PEOPLE = [HASHER.node("user_id", f"u{n}") for n in range(5)]
LOGOUT = Node(b"")

uses = st.builds(
    lambda device, person, hour: Use(
        device=device, person=person, hour=hour, first_ms=hour * HOUR, last_ms=hour * HOUR + 5
    ),
    st.sampled_from(DEVICES),
    st.sampled_from([*PEOPLE, LOGOUT]),
    st.integers(0, 3),
)
companions = st.builds(
    lambda pair, last_ms: Companion(node=pair[0], with_node=pair[1], last_ms=last_ms),
    st.permutations([*DEVICES, *PHONES]),
    st.integers(0, 2),
)


def store_at(folder: Path) -> SqliteStore:
    return SqliteStore(folder / "onefold.sqlite", KEYS)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = store_at(tmp_path)
    yield made
    made.close()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(uses, max_size=12), st.lists(companions, max_size=8), st.sets(st.sampled_from(PEOPLE))
)
def test_users_and_companions_are_those_of_the_ports(
    tmp_path_factory: pytest.TempPathFactory,
    some: list[Use],
    pairs: list[Companion],
    one: set[Node],
) -> None:
    store = store_at(tmp_path_factory.mktemp("reaching"))
    try:
        store.devices.merge_uses(some)
        store.devices.merge_companions(pairs)
        if len(one) > 1:
            store.people.write(list(one), [Cluster(min(one), frozenset(one))], [])
        asked, plain = [*DEVICES, *PHONES], ScannedReaching(store)
        assert store.reaching.sole_users(asked) == plain.sole_users(asked)
        assert store.reaching.newest_companions(asked) == plain.newest_companions(asked)
    finally:
        store.close()


def enter(store: SqliteStore, members: dict[str, list[Node]]) -> list[Node]:
    """Members of segments; all of them in order."""
    every = sorted({node for nodes in members.values() for node in nodes})
    standings = [
        Standing(
            profile_id=each, segments={s: NOON for s, nodes in members.items() if each in nodes}
        )
        for each in every
    ]
    told = [
        Transition(each.profile_id, number, segment, True, NOON, Reason.EVENT)
        for each in standings
        for number, segment in enumerate(each.segments, 1)
    ]
    store.memberships.write(standings, told)
    return every


def test_members_of_several_segments_come_once_in_order_and_in_batches(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_sqlite, "BATCH", 50)
    nodes = [HASHER.node("user_id", f"m{n}") for n in range(400)]
    every = enter(store, {"all": nodes, "some": nodes[::3], "others": nodes[:7]})
    for reaching in (store.reaching, ScannedReaching(store)):
        for segments, members in (
            (["some", "all"], every),
            (["some"], sorted(nodes[::3])),
            (["some", "others"], sorted({*nodes[::3], *nodes[:7]})),
        ):
            batches = list(reaching.standings(segments, FIRST, LAST))
            assert [each.profile_id for some in batches for each in some] == members
    assert max(map(len, store.reaching.standings(["all"], FIRST, LAST))) <= 50
    (few,) = ScannedReaching(store).standings(["others"], FIRST, LAST)
    assert [each.profile_id for each in few] == sorted(nodes[:7])
    assert list(store.reaching.standings(["nobody"], FIRST, LAST)) == []


def test_spans_of_ids_have_each_member_in_one_of_them(store: SqliteStore) -> None:
    every = enter(store, {"all": [HASHER.node("user_id", f"m{n}") for n in range(300)]})
    ends = [FIRST, every[10], Node(b"\x80"), every[250], LAST]
    for reaching in (store.reaching, ScannedReaching(store)):
        found = [
            each.profile_id
            for after, until in pairwise(ends)
            for some in reaching.standings(["all"], after, until)
            for each in some
        ]
        assert found == every


def test_ids_that_begin_alike_come_in_batches_all_the_same(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_sqlite, "BATCH", 10)
    nodes = [Node(b"\xaa" * 6 + b"\x80\x01" + n.to_bytes(8)) for n in range(35)]
    every = enter(store, {"all": nodes})
    batches = list(store.reaching.standings(["all"], FIRST, LAST))
    assert [each.profile_id for some in batches for each in some] == every
    assert max(map(len, batches)) == 10

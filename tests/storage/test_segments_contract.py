"""What every store promises about segments (storage/ports.py), promise by promise."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from identity.nodes import Node, NodeHasher
from profiles.segments.catalogue import Edit, Put
from profiles.segments.membership import Cause, Reason, Standing, Transition
from storage.cassandra.carrying import carry_segments
from storage.cassandra.schema import migrate
from storage.cassandra.settings import CassandraSettings
from storage.cassandra.store import CassandraStore
from storage.ports import Store
from storage.segment_ports import TIMER_SHARDS, Backfill, Flow, Kept, ScoreRow, Turn
from storage.sqlite import SqliteStore, open_store
from tests.workspace import DAY, HOUR, KEYS, NOON

hasher = NodeHasher(b"k" * 32)
ASHA, RAVI = hasher.node("user_id", "asha"), hasher.node("user_id", "ravi")
BROWSER = hasher.node("anonymous_id", "b1")


def entered(
    node: Node, sequence: int, segment: str = "buyers", at: int = NOON, *, left: bool = False
) -> Transition:
    return Transition(node, sequence, segment, not left, at, Reason.EVENT)


def standing(node: Node, sequence: int, *segments: str, due: int | None = None) -> Standing:
    made = Standing(profile_id=node, sequence=sequence, segments=dict.fromkeys(segments, NOON))
    return made if due is None else msgspec.structs.replace(made, due_ms=due)


def enter(store: Store, *nodes: Node, segment: str = "buyers", at: int = NOON) -> None:
    store.memberships.write(
        [standing(node, 1, segment) for node in nodes],
        [entered(node, 1, segment, at) for node in nodes],
    )


# --- definitions and backfills ------------------------------------------------------------------


def test_edits_are_a_log_without_holes(store: Store) -> None:
    first = Edit(revision=1, time_ms=NOON, author="asha", put=(Put("buyers", {"event": "x"}),))
    second = Edit(revision=2, time_ms=NOON + 1, author="ravi", removed=("buyers",))
    assert not store.definitions.append(second)
    assert store.definitions.append(first)
    assert store.definitions.append(second)
    assert store.definitions.since(0) == [first, second]
    assert store.definitions.since(1) == [second]
    assert store.definitions.since(2) == []


def test_of_two_edits_at_the_same_time_one_is_made(store: Store) -> None:
    mine, theirs = (Edit(revision=1, time_ms=NOON, author=name) for name in ("asha", "ravi"))
    assert store.definitions.append(mine)
    assert not store.definitions.append(theirs)
    assert store.definitions.since(0) == [mine]


def test_a_backfill_is_replaced(store: Store) -> None:
    assert store.backfills.get() is None
    store.backfills.put(Backfill(1, ASHA, 500))
    store.backfills.put(Backfill(1, RAVI, 900, finished=True, turn=Turn.DEVICES))
    assert store.backfills.get() == Backfill(1, RAVI, 900, finished=True, turn=Turn.DEVICES)


# --- who is in which segment ----------------------------------------------------------------------


def test_standings_are_replaced_and_an_empty_one_is_forgotten(store: Store) -> None:
    assert store.memberships.get([ASHA]) == {}
    store.memberships.write([standing(ASHA, 1, "buyers"), standing(RAVI, 0, due=NOON)], [])
    store.memberships.write([Standing(profile_id=RAVI)], [])
    assert store.memberships.get([ASHA, RAVI]) == {ASHA: standing(ASHA, 1, "buyers")}


def test_members_come_page_by_page_in_one_order(store: Store) -> None:
    nodes = [hasher.node("user_id", f"u{n}") for n in range(60)]
    enter(store, *nodes)
    found: list[Node] = []
    while page := store.memberships.members("buyers", found[-1] if found else None, 7):
        assert all(since_ms == NOON for _, since_ms in page)
        found += [node for node, _ in page]
    assert len(found) == len(set(found)) == 60
    assert found == sorted(nodes)
    assert [node for node, _ in store.memberships.members("buyers", None, 100)] == found
    assert store.memberships.members("others", None, 10) == []


def test_who_left_is_no_member(store: Store) -> None:
    enter(store, ASHA, RAVI)
    store.memberships.write([standing(ASHA, 2)], [entered(ASHA, 2, at=NOON + 5, left=True)])
    assert store.memberships.members("buyers", None, 10) == [(RAVI, NOON)]
    assert store.memberships.count(["buyers"]) == {"buyers": (1, 0)}


def test_people_and_devices_are_counted_apart(store: Store) -> None:
    enter(store, ASHA, RAVI, BROWSER)
    enter(store, hasher.node("user_id", "mina"), segment="loyal", at=NOON + 3 * DAY)
    assert store.memberships.count(["buyers", "loyal", "none"]) == {
        "buyers": (2, 1), "loyal": (1, 0), "none": (0, 0),
    }  # fmt: skip


def test_counts_stay_right_as_time_goes_by(store: Store) -> None:
    size = 0
    for hour in range(30):
        some = [hasher.node("user_id", f"{hour}-{n}") for n in range(hour % 3)]
        enter(store, *some, at=NOON + hour * HOUR)
        size += len(some)
        assert store.memberships.count(["buyers"]) == {"buyers": (size, 0)}


def test_those_who_are_due_come_the_longest_overdue_first(store: Store) -> None:
    for node, due in ((ASHA, NOON + 2000), (RAVI, NOON + 1000), (BROWSER, NOON + 2 * DAY)):
        store.memberships.write([standing(node, 1, "buyers", due=due)], [])
    assert store.memberships.due(NOON, 10) == []
    assert store.memberships.due(NOON + 5000, 10) == [RAVI, ASHA]
    assert store.memberships.due(NOON + 5000, 1) == [RAVI]
    store.memberships.write([standing(RAVI, 1, "buyers")], [])
    assert store.memberships.due(NOON + 3 * DAY, 10) == [ASHA, BROWSER]


def test_what_is_told_is_followed_from_a_token_on(store: Store) -> None:
    enter(store, ASHA)
    enter(store, RAVI, segment="loyal")
    first, second = store.memberships.told("", 10)
    assert [first.transition, second.transition] == [
        entered(ASHA, 1), entered(RAVI, 1, "loyal"),
    ]  # fmt: skip
    assert store.memberships.told(first.token, 10) == [second]
    assert store.memberships.told("", 1) == [first]
    assert [each.transition for each in store.memberships.told("", 10, ["loyal"])] == [
        second.transition
    ]
    newest = store.memberships.newest()
    assert store.memberships.told(newest, 10) == []
    store.memberships.write([standing(ASHA, 2)], [entered(ASHA, 2, left=True)])
    (third,) = store.memberships.told(newest, 10)
    assert third.transition == entered(ASHA, 2, left=True)
    assert store.memberships.told(second.token, 10) == [third]


def test_writing_again_changes_nothing(store: Store) -> None:
    for _ in range(2):
        enter(store, ASHA)
    assert [each.transition for each in store.memberships.told("", 10)] == [entered(ASHA, 1)]
    assert store.memberships.count(["buyers"]) == {"buyers": (1, 0)}


def test_a_consent_is_told_and_moves_nobody(store: Store) -> None:
    enter(store, ASHA)
    granted = Transition(ASHA, 2, "buyers", True, NOON + 1, Reason.CONSENT, "marketing")
    withdrawn = Transition(ASHA, 3, "buyers", False, NOON + 2, Reason.CONSENT, "marketing")
    store.memberships.write([standing(ASHA, 3, "buyers")], [granted, withdrawn])
    told = [each.transition for each in store.memberships.told("", 10)]
    assert told == [entered(ASHA, 1), granted, withdrawn]
    assert store.memberships.members("buyers", None, 10) == [(ASHA, NOON)]
    assert store.memberships.count(["buyers"]) == {"buyers": (1, 0)}
    assert store.memberships.history("buyers", 0, NOON + DAY, DAY) == [
        Flow(NOON // DAY * DAY, "event", 1, 0)
    ]


def test_history_adds_up_who_came_and_went_in_each_span(store: Store) -> None:
    day = NOON // DAY * DAY
    enter(store, ASHA, at=day + 1)
    enter(store, RAVI, at=day + HOUR)
    gone = msgspec.structs.replace(entered(ASHA, 2, at=day + DAY, left=True), reason=Reason.TIME)
    store.memberships.write([standing(ASHA, 2)], [gone])
    whole = store.memberships.history("buyers", day, day + 2 * DAY, DAY)
    assert whole == [Flow(day, "event", 2, 0), Flow(day + DAY, "time", 0, 1)]
    assert store.memberships.history("buyers", day, day + DAY, HOUR) == [
        Flow(day, "event", 1, 0), Flow(day + HOUR, "event", 1, 0),
    ]  # fmt: skip
    assert store.memberships.history("others", day, day + DAY, HOUR) == []


# --- where several processes evaluate -----------------------------------------------------------


def test_a_former_owner_changes_nothing(cassandra_store: CassandraStore) -> None:
    evaluations, memberships = cassandra_store.evaluations, cassandra_store.memberships
    now = Kept(standing(ASHA, 2, "loyal"), (entered(ASHA, 2, "loyal"),), NOON)
    late = Kept(standing(ASHA, 1, "buyers"), (entered(ASHA, 1),), NOON + 5)
    evaluations.keep([(None, now)], 8)
    evaluations.keep([(None, late)], 7)
    assert evaluations.kept([ASHA, RAVI]) == {ASHA: now}
    # Its rows are there, and lead nowhere.
    assert memberships.members("buyers", None, 10) == []
    assert memberships.members("loyal", None, 10) == [(ASHA, NOON)]
    # A standing that is forgotten stays so.
    evaluations.keep([(None, Kept(Standing(profile_id=RAVI)))], 8)
    evaluations.keep([(None, Kept(standing(RAVI, 1, "buyers")))], 7)
    assert evaluations.kept([RAVI]) == {}


def test_members_are_found_behind_rows_that_no_standing_confirms(
    cassandra_store: CassandraStore,
) -> None:
    same_bucket = [Node(b"\x07" + n.to_bytes(14) + b"\x00") for n in range(30)]
    for n, node in enumerate(same_bucket):
        late = Kept(standing(node, 1, "buyers"))
        cassandra_store.evaluations.keep([(None, late)], 1)
        if n % 10:
            cassandra_store.evaluations.keep([(None, Kept(standing(node, 2, "loyal")))], 2)
    page = cassandra_store.memberships.members("buyers", None, 2)
    assert [node for node, _ in page] == [same_bucket[0], same_bucket[10]]
    (last,) = cassandra_store.memberships.members("buyers", page[-1][0], 2)
    assert last[0] == same_bucket[20]


def test_timers_are_watched_in_shards_and_forgotten_when_they_are_nobodys(
    cassandra_store: CassandraStore,
) -> None:
    evaluations = cassandra_store.evaluations
    nodes = [hasher.node("user_id", f"u{n}") for n in range(40)]
    for n, node in enumerate(nodes):
        evaluations.keep([(None, Kept(standing(node, 1, "buyers"), (), NOON + n))], 1)

    def timers(until: int = NOON + 39) -> list[tuple[int, Node]]:
        shards = evaluations.timers(dict.fromkeys(range(TIMER_SHARDS), NOON), until, 100)
        assert all(timers == sorted(timers) for timers in shards.values())
        # Each as far as it is asked for, and no more.
        assert evaluations.timers({3: NOON}, until, 1) == {3: shards[3][:1]}
        return sorted(timer for timers in shards.values() for timer in timers)

    assert timers() == [(NOON + n, node) for n, node in enumerate(nodes)]
    assert len(timers(NOON + 9)) == 10
    # One is set anew, another one is overwritten by somebody who does not know of it.
    before = evaluations.kept([nodes[0]])[nodes[0]]
    evaluations.keep([(before, Kept(standing(nodes[0], 1, "buyers"), (), NOON + 2 * HOUR))], 1)
    evaluations.keep([(None, Kept(standing(nodes[1], 1, "buyers"), (), NOON + 2 * HOUR))], 2)
    assert len(timers()) == 39
    for shard in range(TIMER_SHARDS):
        evaluations.forget_timers(shard, NOON + HOUR)
    assert timers() == [(NOON + n, node) for n, node in enumerate(nodes) if n > 1]
    late = timers(NOON + 3 * HOUR)[-2:]
    assert {node for _, node in late} == set(nodes[:2])


def test_a_token_holds_in_every_log_and_epoch(cassandra_store: CassandraStore) -> None:
    evaluations, memberships = cassandra_store.evaluations, cassandra_store.memberships
    nodes = [hasher.node("user_id", f"u{n}") for n in range(12)]
    told = [entered(node, 1, at=NOON + n) for n, node in enumerate(nodes)]
    evaluations.tell({(1, 3): told[:3], (2, 5): told[3:6]})
    seen = memberships.told("", 4)
    assert [each.transition for each in seen] == told[:4]
    evaluations.tell(
        {(1, 4): told[6:8]}
    )  # another owner goes on, and tells what was told last, too
    evaluations.tell({(1, 4): told[8:10]})
    evaluations.tell({(3, 1): told[10:]})
    rest = memberships.told(seen[-1].token, 100)
    assert [each.transition for each in rest] == told[4:]
    assert memberships.told(rest[-1].token, 10) == []
    assert memberships.told(memberships.newest(), 10) == []
    assert memberships.count(["buyers"]) == {"buyers": (12, 0)}


def test_another_generation_goes_on_where_this_one_is(
    cassandra_store: CassandraStore, cassandra_settings: CassandraSettings
) -> None:
    enter(cassandra_store, ASHA, RAVI, BROWSER)
    due = Kept(standing(RAVI, 2, "buyers", due=NOON + 5), (entered(RAVI, 2, "loyal"),), NOON + 5)
    cassandra_store.evaluations.keep([(None, due)], 7)
    migrate(cassandra_settings, 9)
    target = CassandraStore(cassandra_settings, KEYS, generation=9)
    try:
        for _ in range(2):
            assert carry_segments(cassandra_store, target) > 0
        before, after = cassandra_store.memberships, target.memberships
        assert target.evaluations.kept([RAVI]) == {RAVI: due}
        assert after.members("buyers", None, 10) == before.members("buyers", None, 10)
        assert after.count(["buyers"]) == {"buyers": (2, 1)}
        assert after.told("", 10) == before.told("", 10)
        assert after.due(NOON + 5, 10) == [RAVI]
        # Whoever evaluates there wins, whatever epoch it was carried from.
        target.evaluations.keep([(due, Kept(standing(RAVI, 3)))], 1)
        assert after.get([RAVI]) == {RAVI: standing(RAVI, 3)}
        assert RAVI not in [node for node, _ in after.members("buyers", None, 10)]
    finally:
        target.close()


# --- whom to evaluate next, in one process --------------------------------------------------------


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[SqliteStore]:
    made, _ = open_store(tmp_path / "onefold.sqlite", tmp_path / "onefold.keys")
    yield made
    made.close()


def test_those_who_wait_stay_until_they_are_done(embedded: SqliteStore) -> None:
    pending = embedded.pending
    pending.add({ASHA: Cause.EVENT, RAVI: Cause.MERGED})
    taken = pending.take(10)
    assert [(node, cause) for _, node, cause in taken] == [
        (ASHA, Cause.EVENT),
        (RAVI, Cause.MERGED),
    ]
    assert pending.take(1) == taken[:1]
    pending.add({RAVI: Cause.EVENT})
    pending.done(taken)
    ((_, node, cause),) = pending.take(10)
    assert (node, cause) == (RAVI, Cause.MERGED | Cause.EVENT)
    assert pending.count() == 1


def test_how_far_changes_are_followed_is_remembered(embedded: SqliteStore) -> None:
    assert embedded.pending.followed() is None
    embedded.pending.follow(7)
    assert embedded.pending.followed() == 7


def test_of_a_score_the_one_that_was_computed_last_stays(store: Store) -> None:
    asha, ravi = Node(b"a" * 16), Node(b"r" * 16)
    store.scores.put([ScoreRow(asha, "churn", 0.9, 20), ScoreRow(ravi, "churn", 0.1, 20)])
    store.scores.put([ScoreRow(asha, "churn", 0.2, 10), ScoreRow(asha, "value", 7.0, 10)])
    assert set(store.scores.of([asha])) == {
        ScoreRow(asha, "churn", 0.9, 20), ScoreRow(asha, "value", 7.0, 10)
    }  # fmt: skip
    assert store.scores.of([]) == []

"""Segments in one process: right after every event, merge, split and moment, and told once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from identity.nodes import Identifier, Node
from ingest.deciding import DecidingHere, Draft, merge, undo
from ingest.pipeline import Pipeline
from ingest.segments.evaluating import EVERY, Evaluator
from ingest.segments.here import AT_ONCE_MAX, Segments
from profiles.segments.catalogue import Edit
from profiles.segments.membership import Cause, Reason
from storage.profiles import Lookup
from storage.segment_ports import ScoreRow
from tests.ingest.segments.shop import Shop
from tests.workspace import DAY, HOUR, NOON

BUYERS = """
buyers: {event: Order Completed, within: 30d}
loyal: {event: Order Completed, count: {at_least: 2}}
lapsed: {all: [{event: Order Completed}, {not: {event: Order Completed, within: 30d}}]}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.close()


def test_the_next_call_knows_who_entered(shop: Shop) -> None:
    shop.define(BUYERS)
    shop.order("asha")
    assert shop.store.pending.count() == 0  # nothing had to be waited for
    assert shop.members("buyers") == {"asha"}
    assert shop.members("loyal") == set()
    shop.order("asha")
    assert shop.members("loyal") == {"asha"}


def test_time_alone_lets_people_leave_and_enter(shop: Shop) -> None:
    shop.define(BUYERS)
    shop.order("asha")
    shop.wait(30 * DAY - 1)
    assert shop.members("buyers") == {"asha"}
    shop.wait(1)
    assert shop.members("buyers") == set()
    assert shop.members("lapsed") == {"asha"}
    assert shop.story("buyers") == [("entered", "event"), ("left", "time")]


def test_a_new_segment_is_filled_from_what_happened_before_it(shop: Shop) -> None:
    for user in ("asha", "ravi"):
        shop.order(user)
    shop.order("asha")
    shop.define(BUYERS)
    assert shop.members("buyers") == {"asha", "ravi"}
    assert shop.members("loyal") == {"asha"}
    assert shop.story("loyal") == [("entered", "defined")]


def test_events_that_come_before_a_segment_is_filled_count_once(shop: Shop) -> None:
    shop.order("asha")
    shop.define(BUYERS, fill=False)
    shop.order("asha")
    assert shop.members("loyal") == {"asha"}
    shop.segments.fill()
    assert shop.members("loyal") == {"asha"}
    assert shop.story("loyal") == [("entered", "event")]


def test_a_changed_segment_moves_its_members_and_a_removed_one_lets_them_go(shop: Shop) -> None:
    shop.define(BUYERS)
    for user in ("asha", "asha", "ravi"):
        shop.order(user)
    shop.define("loyal: {event: Order Completed, count: {at_least: 3}}")
    assert shop.members("loyal") == set()
    shop.define("loyal: null")
    shop.define("loyal: {event: Order Completed, count: {at_least: 1}}")
    assert shop.members("loyal") == {"asha", "ravi"}


def test_a_login_takes_the_visit_along(shop: Shop) -> None:
    shop.define("lookers: {event: Product Viewed}")
    shop.see(browser="b1", view="aspirin")
    assert shop.members("lookers") == {"b1"}  # an anonymous visitor is a member, too
    shop.see(browser="b1", user="asha", type="identify", at=NOON + 60_000)
    assert shop.members("lookers") == {"asha"}


def test_a_merge_and_its_undo_move_members(shop: Shop) -> None:
    shop.define(BUYERS)
    shop.order("asha")
    shop.order("a-old")
    nodes = [node_of(shop, "asha"), node_of(shop, "a-old")]
    deciding = DecidingHere(shop.store, shop.rules)
    made = deciding.make(merge(shop.store, Draft("d1", "op", "same person", NOON), nodes))
    assert len(shop.members("buyers")) == 1
    assert len(shop.members("loyal")) == 1
    assert ("left", "merged") in shop.story("buyers")
    assert shop.story("loyal") == [("entered", "merged")]
    assert made.applied
    (change,) = made.applied
    deciding.make(undo(shop.store, Draft("d2", "op", "not the same", NOON), change))
    assert shop.members("buyers") == {"asha", "a-old"}
    assert shop.members("loyal") == set()
    assert shop.story("loyal")[-1] == ("left", "split")


def test_a_redelivered_event_tells_nothing_new(shop: Shop) -> None:
    shop.define(BUYERS)
    shop.order("asha", messageId="once")
    shop.order("asha", messageId="once")
    assert shop.members("loyal") == set()
    assert shop.story("buyers") == [("entered", "event")]


def test_a_withdrawn_consent_counts_at_once(shop: Shop) -> None:
    shop.define("reachable: {consent: marketing}")
    consent = {"consentManagement": {"allowedConsentIds": ["marketing"], "deniedConsentIds": []}}
    shop.see(user="asha", context=consent)
    assert shop.members("reachable") == {"asha"}
    denied = {"consentManagement": {"allowedConsentIds": [], "deniedConsentIds": ["marketing"]}}
    shop.see(user="asha", context=denied, at=NOON + HOUR)
    assert shop.members("reachable") == set()


def test_a_load_waits_and_is_caught_up_with(shop: Shop) -> None:
    shop.define(BUYERS)
    users = [f"u{n}" for n in range(AT_ONCE_MAX + 50)]
    shop.take(
        {
            "type": "track", "event": "Order Completed", "messageId": f"o{user}", "userId": user,
            "originalTimestamp": NOON, "receivedAt": NOON,
        }
        for user in users
    )  # fmt: skip
    assert shop.store.pending.count() == len(users)
    assert shop.members("buyers") == set(users)
    assert shop.store.pending.count() == 0


def test_who_was_looked_at_in_full_is_not_looked_at_again_for_the_same_cause(shop: Shop) -> None:
    shop.define(BUYERS)
    shop.order("asha")
    asha = node_of(shop, "asha")
    evaluator = Evaluator(shop.store, shop.rules)

    def profiles(cause: Cause, looked: Cause) -> int:
        found = evaluator.evaluate({asha: cause}, shop.catalogue(), shop.now, looked={asha: looked})
        return found.profiles

    assert profiles(Cause.EVENT, Cause.EVENT) == 0
    assert profiles(Cause.EVENT, Cause.EVENT | Cause.MERGED) == 0
    assert profiles(Cause.MERGED, Cause.EVENT) == 1
    assert profiles(Cause.EVENT | Cause.TIME, Cause.EVENT) == 1


def test_what_this_process_writes_is_noticed(shop: Shop) -> None:
    with shop.store.transaction():
        before = shop.store.written_here()
        assert shop.store.written_here() == before
    shop.order("asha")
    with shop.store.transaction():
        assert shop.store.written_here() != before


def test_a_filling_that_was_cut_off_goes_on_where_it_was(shop: Shop) -> None:
    for n in range(700):
        shop.order(f"u{n}")
    shop.define(BUYERS, fill=False)
    first = shop.segments.fill_step()
    assert first is not None
    assert not first.finished
    shares: list[float] = []
    assert shop.segments.fill(lambda profiles, share: shares.append(share)) == 700
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(shop.members("buyers")) == 700
    assert len(shop.told()) == 700


def test_two_who_define_at_the_same_time_do_not_overwrite_each_other(shop: Shop) -> None:
    edit = Edit(revision=1, time_ms=NOON, author="asha")
    assert shop.store.definitions.append(edit)
    assert not shop.store.definitions.append(edit)


def test_causes_of_one_profile_add_up_while_it_waits(shop: Shop) -> None:
    node = Node(b"n" * 16)
    shop.store.pending.add({node: Cause.EVENT})
    taken = shop.store.pending.take(10)
    shop.store.pending.add({node: Cause.MERGED})
    shop.store.pending.done(taken)
    ((_, again, cause),) = shop.store.pending.take(10)
    assert (again, cause) == (node, Cause.EVENT | Cause.MERGED)


def node_of(shop: Shop, user: str) -> Node:
    (found,) = shop.reader.resolve([Lookup(identifiers=(Identifier("user_id", user),))], NOON)
    assert found is not None
    return found.matched


def test_a_score_counts_until_it_is_too_old(shop: Shop) -> None:
    shop.define("leaving: {score: churn, at_least: 0.7, max_age: 7d}")
    shop.order("asha")
    shop.store.scores.put([ScoreRow(node_of(shop, "asha"), "churn", 0.8, NOON)])
    shop.store.pending.add({node_of(shop, "asha"): Cause.EVENT})
    assert shop.members("leaving") == {"asha"}
    shop.wait(7 * DAY)
    assert shop.members("leaving") == set()


def test_members_who_withdraw_a_consent_are_told_of_without_leaving(shop: Shop) -> None:
    shop.define(BUYERS)
    given = {"consentManagement": {"allowedConsentIds": ["ads"], "deniedConsentIds": []}}
    taken = {"consentManagement": {"allowedConsentIds": [], "deniedConsentIds": ["ads"]}}
    shop.order("asha", context=given)
    shop.see(user="asha", context=taken, at=NOON + HOUR)
    assert shop.members("buyers") == {"asha"}
    told = [each for each in shop.told() if each.segment == "buyers"]
    assert [(each.entered, each.reason, each.purpose) for each in told] == [
        (True, Reason.EVENT, ""), (False, Reason.CONSENT, "ads"),
    ]  # fmt: skip
    assert [each.sequence for each in told] == [1, 2]


def test_other_processes_help_to_fill_and_what_happens_meanwhile_counts(shop: Shop) -> None:
    shop.segments = Segments(shop.store, shop.rules, lambda: shop.now, together_min=1)
    shop.pipeline = Pipeline(shop.store, shop.keys, shop.rules, shop.sources, shop.segments)
    for user in ("asha", "ravi", "mei"):
        shop.order(user)
    shop.define("once: {event: Order Completed, count: {eq: 1}}", fill=False)
    shop.segments.fill_step()  # now others look at everybody
    shop.order("ravi")
    shop.segments.fill()
    assert shop.members("once") == {"asha", "mei"}
    assert shop.store.backfills.get() is not None
    shop.define("once: {event: Order Completed, count: {eq: 2}}")
    assert shop.members("once") == {"ravi"}


def test_a_device_whose_time_comes_as_its_people_change_is_looked_at_whole(shop: Shop) -> None:
    shop.define("""
        recent: {event: Product Viewed, within: 1d}
        twice: {event: Product Viewed, count: {at_least: 2}}
    """)
    shop.see(browser="b1", user="asha", event="Logged In", at=NOON)
    shop.see(browser="b1", view="tea", at=NOON + 2 * HOUR)  # between two people: nobody's
    shop.see(browser="b1", user="a-old", event="Logged In", at=NOON + 4 * HOUR)
    shop.see(browser="b1", user="a-old", event="Logged Out", at=NOON + 5 * HOUR)
    shop.see(browser="b1", view="tea", at=NOON + 10 * HOUR)  # after a logout: nobody's
    shop.now = NOON + 10 * HOUR
    assert shop.members("twice") == {"b1"}
    nodes = [node_of(shop, "asha"), node_of(shop, "a-old")]
    DecidingHere(shop.store, shop.rules).make(
        merge(shop.store, Draft("d1", "op", "same person", shop.now), nodes)
    )
    shop.wait(DAY)  # when what was viewed grows too old, too
    assert shop.members("twice") == set()


def test_who_has_a_large_part_waits_for_whoever_asks(shop: Shop) -> None:
    shop.define(BUYERS)
    shop.order("asha")
    node = shop.keys.hasher().node("user_id", "asha")
    with shop.store.transaction():
        shop.segments.touch({node: EVERY}, [node])
    assert shop.store.pending.count() == 1
    shop.segments.settle()
    assert shop.store.pending.count() == 0


def test_a_first_visit_that_is_nobodys_puts_a_device_where_those_are_who_did_not(
    shop: Shop,
) -> None:
    shop.define("quiet: {not: {event: Order Completed}}")
    shop.see(browser="b1", user="asha", at=shop.now - 200 * DAY, event="Viewed")
    shop.see(browser="b1", at=shop.now - 200 * DAY + HOUR, event="Viewed")
    assert shop.members("quiet") == {"asha"}
    shop.see(browser="b1", event="Viewed")
    assert shop.members("quiet") == {"asha", "b1"}


def test_a_member_whom_events_only_let_stay_leaves_when_the_last_of_them_is_too_old(
    shop: Shop,
) -> None:
    shop.define("lookers: {event: Product Viewed, within: 3d}")
    for _ in range(4):
        shop.see(user="asha", view="aspirin", at=shop.now)
        shop.wait(DAY)
    assert shop.members("lookers") == {"asha"}
    shop.wait(2 * DAY - 1)
    assert shop.members("lookers") == {"asha"}
    shop.wait(1)
    assert shop.members("lookers") == set()
    assert shop.story("lookers") == [("entered", "event"), ("left", "time")]


def test_a_consent_that_changes_alone_changes_the_segments_that_ask_for_it(shop: Shop) -> None:
    shop.define(BUYERS + "quiet: {all: [{event: Order Completed}, {consent: ads, granted: false}]}")
    given = {"consentManagement": {"allowedConsentIds": ["ads"], "deniedConsentIds": []}}
    taken = {"consentManagement": {"allowedConsentIds": [], "deniedConsentIds": ["ads"]}}
    shop.order("asha", context=given)
    assert shop.members("quiet") == set()
    shop.see(user="asha", event="Nothing", context=taken, at=NOON + HOUR)
    assert shop.members("quiet") == {"asha"}
    assert shop.members("buyers") == {"asha"}

"""Deciding batch by batch, with operators and models at work, equals resolving everything at once."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import identity.incremental as incremental
from identity.evidence import NEVER, KeepApart, Link, MustLink, pair
from identity.incremental import Around, Change, decide
from identity.nodes import Node, names_device
from identity.resolve import Refusal, resolve
from identity.rules import Rules
from tests.identity.memory import Memory
from tests.identity.strategies import EMAILS, PHONES, RULES, USERS, Step, hasher, steps

FEW_PER_USER = Rules(fanout_max=3, fanout_max_user=4, members_max=6, limit_default=2)


def apply(world: Memory, step: Step, rules: Rules) -> Change | None:
    """Let a step happen; every kind names in `touched` what the docstring of `decide` asks for."""
    touched: set[Node] = set()
    if step.match is not None:
        world.matches[step.match.a, step.match.b] = step.match
        touched = {step.match.a, step.match.b}
    if step.decision is not None and step.decision.id not in {d.id for d in world.decisions}:
        world.decisions.append(step.decision)
        touched = set().union(*step.decision.groups)
    if step.kind == "release" and world.decisions:
        decision = world.decisions.pop(step.chosen % len(world.decisions))
        touched = set().union(*decision.groups)
    if step.kind == "retract" and world.must_links:
        key = sorted(world.must_links)[step.chosen % len(world.must_links)]
        del world.must_links[key]
        touched = set(key)
    if step.kind == "erase" and world.links:
        key = sorted(world.links)[step.chosen % len(world.links)]
        del world.links[key]
        touched = set(key)
    if step.kind == "block":
        touched = {[*EMAILS, *PHONES][step.chosen % (len(EMAILS) + len(PHONES))]}
        world.unnamed |= touched
    if step.kind == "unblock" and world.unnamed:
        touched = {sorted(world.unnamed)[step.chosen % len(world.unnamed)]}
        world.unnamed -= touched
    change = world.take(step.links, step.must_links, rules, touched)
    # A store may keep a refusal with both of its ends: news about them must reach each, also a hub.
    people = {node for node in touched if not names_device(node)}
    assert people <= (change.resolved if change else frozenset())
    return change


def check(world: Memory, rules: Rules) -> None:
    at_once = resolve(world.evidence(), rules)
    assert world.people() == at_once.clusters
    assert world.refused() == at_once.refusals
    assert world.hubs() == at_once.hubs


@settings(max_examples=400)
@given(st.lists(steps(), max_size=14), st.sampled_from([RULES, FEW_PER_USER]))
def test_whatever_happens_people_are_those_of_all_evidence_at_once(
    some: list[Step], rules: Rules
) -> None:
    world = Memory()
    for step in some:
        apply(world, step, rules)
        check(world, rules)


@settings(max_examples=200)
@given(st.lists(steps(), max_size=14))
def test_a_change_says_who_was_there_before(some: list[Step]) -> None:
    world = Memory()
    for step in some:
        was = dict(world.clusters)
        change = apply(world, step, RULES)
        if change is None:
            continue
        assert set(change.before) == {was[node] for node in change.resolved if node in was}
        now = {node for cluster in change.clusters for node in cluster.members}
        assert now | set(change.alone) == change.resolved
        assert not now & set(change.alone)


def link(a: Node, b: Node, at: int, *, trusted: bool = False) -> Link:
    low, high = pair(a, b)
    return Link(
        a=low, b=high, first_ms=at, first_event=f"e{at}", source="web",
        trusted_ms=at if trusted else NEVER,
    )  # fmt: skip


def test_a_batch_of_new_people_costs_a_handful_of_reads() -> None:
    world = Memory()
    batch = [
        link(hasher.node("user_id", f"n{n}"), hasher.node("email", f"n{n}@x.com"), n)
        for n in range(500)
    ]
    world.take(batch, [], Rules())
    assert len(world.people()) == 500
    assert world.calls <= 6


def test_an_identifier_that_joins_its_person_reads_only_the_ends_of_the_link() -> None:
    world, rules = Memory(), Rules()
    world.take([link(USERS[0], EMAILS[n], n) for n in range(4)], [], rules)
    world.rows_read = 0
    world.take([link(USERS[0], PHONES[0], 9)], [], rules)
    assert len(world.people()) == 1
    assert world.rows_read <= 6


def test_a_user_id_in_somebodys_code_stops_costing_and_joins_nobody() -> None:
    world, rules = Memory(), Rules(fanout_max_user=30)
    admin = USERS[0]
    for n in range(60):
        world.take([link(admin, hasher.node("email", f"c{n}@x.com"), n)], [], rules)
    assert world.hubs() == {admin}
    assert world.people() == frozenset()
    world.rows_read = 0
    world.take([link(admin, hasher.node("email", "late@x.com"), 99)], [], rules)
    assert world.rows_read <= 2 * (rules.fanout_max_user + 2)


def test_a_new_hub_lets_everybody_go() -> None:
    world = Memory()
    till = EMAILS[0]
    world.take(
        [link(till, PHONES[0], 1), link(till, PHONES[1], 2), link(till, USERS[0], 3)], [], RULES
    )
    assert len(world.people()) == 1
    change = world.take([link(till, USERS[1], 4)], [], RULES)
    assert world.hubs() == {till}
    assert world.people() == frozenset()
    assert change is not None
    assert set(change.alone) == {till, PHONES[0], PHONES[1], USERS[0], USERS[1]}
    assert [refusal.since_ms for refusal in world.refusals] == [4]


def test_a_trusted_word_that_comes_late_wins_over_a_browsers() -> None:
    world = Memory()
    world.take([link(USERS[0], EMAILS[0], 1)], [], RULES)
    world.take([link(USERS[1], EMAILS[0], 5)], [], RULES)
    assert {c.members for c in world.people()} == {frozenset({USERS[0], EMAILS[0]})}
    world.take([link(USERS[1], EMAILS[0], 9, trusted=True)], [], RULES)
    assert {c.members for c in world.people()} == {frozenset({USERS[1], EMAILS[0]})}
    assert {r.rule for r in world.refused()} == {"limit:user_id"}


def test_an_unchanged_person_is_written_as_it_was() -> None:
    world = Memory()
    world.take([link(USERS[0], EMAILS[0], 5)], [], RULES)
    change = world.take([link(USERS[0], EMAILS[0], 2)], [], RULES)
    assert change is not None
    assert list(change.before) == list(change.clusters)


def _ignoring_refusals(*args: Any, **more: Any) -> Change:
    known = args[2]

    class Blind:
        links_of, keep_apart_of = known.links_of, known.keep_apart_of
        blocked, clusters_of = known.blocked, known.clusters_of

        def around(self, limits: Mapping[Node, int]) -> Around:
            found: Around = known.around(limits)
            return msgspec.structs.replace(found, refusals=[])

        def refusals_of(self, nodes: Iterable[Node]) -> list[Refusal]:
            return []

    return decide(args[0], args[1], Blind(), *args[3:], **more)


def _without_touched(*args: Any, **more: Any) -> Change:
    return decide(*args, **{**more, "touched": ()})


def _without_hubs(*args: Any, **more: Any) -> Change:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incremental._Reader, "hubs_among", lambda self, nodes, pairs: set())
        return decide(*args, **more)


def _uniting_whatever(*args: Any, **more: Any) -> Change:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incremental, "may_be_one", lambda members, rules, keep_apart: True)
        return decide(*args, **more)


def _without_ties(*args: Any, **more: Any) -> Change:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incremental, "best_of", lambda members, rules: [min(members)])
        return decide(*args, **more)


@pytest.mark.parametrize(
    "broken",
    [_ignoring_refusals, _without_touched, _without_hubs, _uniting_whatever, _without_ties],
)
def test_the_law_catches_deciding_that_is_wrong(broken: Any) -> None:
    @settings(max_examples=500, database=None, derandomize=True, phases=[Phase.generate])
    @given(st.lists(steps(), max_size=14))
    def law(some: list[Step]) -> None:
        world = Memory(deciding_by=broken)
        for step in some:
            apply(world, step, RULES)
            check(world, RULES)

    with pytest.raises((AssertionError, ExceptionGroup)):
        law()


def test_a_must_link_that_is_taken_back_leaves_what_was() -> None:
    world = Memory()
    world.take([link(USERS[0], EMAILS[0], 1), link(USERS[1], EMAILS[1], 2)], [], RULES)
    was = world.people()
    low, high = pair(USERS[0], USERS[1])
    world.take([], [MustLink(a=low, b=high, first_ms=3, first_event="op", source="crm")], RULES)
    assert len(world.people()) == 1
    del world.must_links[low, high]
    world.take([], [], RULES, {low, high})
    assert world.people() == was


def test_a_recycled_phone_goes_to_its_new_owner_once_an_operator_says_so() -> None:
    world = Memory()
    world.take([link(USERS[0], PHONES[0], 1), link(USERS[1], PHONES[0], 8)], [], RULES)
    assert {c.profile_id for c in world.people()} == {USERS[0]}
    decision = KeepApart(id="k", groups=(frozenset({USERS[0]}), frozenset({PHONES[0]})))
    world.decisions.append(decision)
    world.take([], [], RULES, {USERS[0], PHONES[0]})
    assert {c.members for c in world.people()} == {frozenset({USERS[1], PHONES[0]})}

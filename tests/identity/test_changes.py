"""What changed about people, as those who follow them hear it."""

from hypothesis import given, settings

from identity.changes import BECAUSE_MAX, Cause, Kind, PersonChange, changes_of
from identity.evidence import KeepApart, Link, MustLink
from identity.incremental import Change
from identity.nodes import Node
from identity.resolve import Cluster, Refusal
from tests.identity.memory import Memory
from tests.identity.strategies import RULES, batches, hasher, keep_aparts

A, B, C, D = sorted(hasher.node("email", name) for name in "abcd")
AT = 1_000

Batches = list[tuple[list[Link], list[MustLink]]]


def group(*members: Node) -> Cluster:
    return Cluster(min(members), frozenset(members))


def told(before: list[Cluster], after: list[Cluster]) -> list[PersonChange]:
    members = {node for cluster in (*before, *after) for node in cluster.members}
    alone = members.difference(*(cluster.members for cluster in after))
    return changes_of(Change(frozenset(members), after, sorted(alone), (), before), AT)


def test_two_who_become_one_are_merged() -> None:
    (change,) = told([group(A, B)], [group(A, B, C)])
    assert change.kind is Kind.MERGED
    assert change.before == (group(A, B), group(C))
    assert change.after == (group(A, B, C),)
    assert change.time_ms == AT


def test_identifiers_that_were_each_alone_are_a_new_person() -> None:
    (change,) = told([], [group(A, B)])
    assert (change.kind, change.before) == (Kind.CREATED, (group(A), group(B)))


def test_what_happens_again_later_is_another_change() -> None:
    before, after = [group(A, B), group(C)], [group(A, B, C)]
    members = frozenset({A, B, C})
    change = Change(members, after, (), (), before)
    (once,), (again,) = changes_of(change, AT), changes_of(change, AT + 1)
    assert once.id != again.id


def test_what_happens_again_at_the_same_time_is_another_change_too() -> None:
    change = Change(frozenset({A, B}), [group(A, B)], (), (), ())
    many = [Cause(f"event {n:02}", 5, (A, B)) for n in range(BECAUSE_MAX)]
    (once,) = changes_of(change, AT, many)
    (again,) = changes_of(change, AT, [*many, Cause("late", 9, (A, B))])
    (decided_again,) = changes_of(change, AT, many[::-1])
    assert once == decided_again
    assert once.because == again.because == tuple(each.id for each in many)
    assert once.id != again.id


def test_a_change_names_what_brought_it_about_earliest_first() -> None:
    change = Change(frozenset({A, B}), [group(A, B)], (), (), ())
    causes = [Cause("late", 9, (A, B)), Cause("early", 5, (B, D)), Cause("other", 1, (C, D))]
    (told_,) = changes_of(change, AT, causes)
    assert told_.because == ("early", "late")


def test_a_refusal_is_told_once_and_changes_nobody() -> None:
    refusal = Refusal(A, B, "limit:user_id", "2 of user_id; a person has at most 1", 7)
    change = Change(frozenset({A, B, C}), [group(A, C)], [B], [refusal], [group(A, C)])
    causes = [Cause("near", 1, (A, C)), Cause("both", 5, (A, B))]
    (conflict,) = changes_of(change, AT, causes)
    assert conflict.kind is Kind.CONFLICT
    assert conflict.refusal == refusal
    assert conflict.before == conflict.after == (group(A, C), group(B))
    assert conflict.because == ("both",)
    assert changes_of(change, AT, causes, [refusal]) == []


def test_one_who_becomes_two_is_split() -> None:
    (change,) = told([group(A, B, C)], [group(A, B)])
    assert (change.kind, change.after) == (Kind.SPLIT, (group(A, B), group(C)))


def test_the_same_people_under_another_id_are_renamed() -> None:
    (change,) = told([Cluster(A, frozenset({A, B}))], [Cluster(B, frozenset({A, B}))])
    assert change.kind is Kind.RENAMED


def test_members_who_move_are_regrouped() -> None:
    (change,) = told([group(A, B), group(C, D)], [group(A, C), group(B, D)])
    assert change.kind is Kind.REGROUPED


def test_what_did_not_change_is_not_told_and_strangers_are_told_apart() -> None:
    assert told([group(A, B)], [group(A, B)]) == []
    assert len(told([], [group(A, B), group(C, D)])) == 2


def test_deciding_again_gives_the_same_change_another_one_another_id() -> None:
    (once,), (again,) = told([], [group(A, B)]), told([], [group(A, B)])
    (other,) = told([], [group(A, C)])
    assert once == again
    assert once.id != other.id


@settings(max_examples=200)
@given(batches, keep_aparts())
def test_whoever_follows_the_changes_knows_everybody(
    steps: Batches, keep_apart: list[KeepApart]
) -> None:
    world = Memory(keep_apart)
    heard: dict[Node, Cluster] = {}
    for some_links, some_musts in steps:
        change = world.take(some_links, some_musts, RULES)
        for each in changes_of(change, AT) if change else ():
            members = {node for cluster in each.before for node in cluster.members}
            assert members == {node for cluster in each.after for node in cluster.members}
            for cluster in each.before:
                assert all(heard.get(n, group(n)) == cluster for n in cluster.members)
            heard |= {node: cluster for cluster in each.after for node in cluster.members}
        assert {c for c in heard.values() if len(c.members) > 1} == world.people()

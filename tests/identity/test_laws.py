"""The laws of who is who (DESIGN §3.5): what may never depend on order, repetition or batches."""

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from identity.evidence import KeepApart, Link, MustLink
from identity.nodes import EMAIL, USER_ID, code_of, type_code
from identity.resolve import Evidence, resolve
from tests.identity.memory import Memory
from tests.identity.strategies import (
    EMAILS,
    RULES,
    USERS,
    batches,
    hasher,
    keep_aparts,
    links,
    must_links,
)

Batches = list[tuple[list[Link], list[MustLink]]]
shuffles = st.randoms(use_true_random=False)


def taken(steps: Batches, keep_apart: list[KeepApart]) -> Memory:
    world = Memory(keep_apart)
    for some_links, some_musts in steps:
        world.take(some_links, some_musts, RULES)
    return world


@settings(max_examples=400)
@given(batches, keep_aparts())
def test_people_after_each_batch_are_those_of_all_evidence_at_once(
    steps: Batches, keep_apart: list[KeepApart]
) -> None:
    world = Memory(keep_apart)
    for some_links, some_musts in steps:
        world.take(some_links, some_musts, RULES)
        at_once = resolve(world.evidence(), RULES)
        assert world.people() == at_once.clusters
        assert world.refused() == at_once.refusals
        assert world.hubs() == at_once.hubs


@settings(max_examples=200)
@given(batches, keep_aparts(), shuffles)
def test_order_and_repetition_of_events_change_nobody(
    steps: Batches, keep_apart: list[KeepApart], shuffler: random.Random
) -> None:
    told: Batches = [([link], []) for some, _ in steps for link in some]
    told += [([], [must]) for _, some in steps for must in some]
    twice = shuffler.sample(told + told, 2 * len(told))
    assert taken(twice, keep_apart).people() == taken(steps, keep_apart).people()
    assert taken(twice, keep_apart).refused() == taken(steps, keep_apart).refused()


@given(st.lists(links(), max_size=30), keep_aparts(), shuffles)
def test_the_order_of_evidence_does_not_change_who_is_who(
    some: list[Link], keep_apart: list[KeepApart], shuffler: random.Random
) -> None:
    merged: dict[tuple[bytes, bytes], Link] = {}
    for link in some:
        held = merged.get((link.a, link.b))
        merged[link.a, link.b] = link if held is None else held.merge(link)
    in_order = Evidence(links=list(merged.values()), keep_apart=keep_apart)
    shuffled = Evidence(
        links=shuffler.sample(list(merged.values()), len(merged)), keep_apart=keep_apart
    )
    assert resolve(shuffled, RULES) == resolve(in_order, RULES)


@given(st.lists(links(), max_size=30), keep_aparts())
def test_no_person_breaks_a_limit_or_a_decision(
    some: list[Link], keep_apart: list[KeepApart]
) -> None:
    resolution = resolve(Evidence(links=some, keep_apart=keep_apart), RULES)
    for cluster in resolution.clusters:
        types = Counter(type_code(node) for node in cluster.members)
        assert types[code_of(USER_ID)] <= 1
        assert types[code_of(EMAIL)] <= RULES.limit_default
        assert len(cluster.members) <= RULES.members_max
        assert not cluster.members & resolution.hubs
        assert cluster.profile_id in cluster.members
        for decision in keep_apart:
            assert sum(bool(group & cluster.members) for group in decision.groups) <= 1


@given(st.lists(links(), max_size=20), st.lists(must_links(), max_size=3))
def test_nobody_is_in_two_places_and_every_link_is_joined_or_refused(
    some: list[Link], musts: list[MustLink]
) -> None:
    resolution = resolve(Evidence(links=some, must_links=musts), RULES)
    members = [node for cluster in resolution.clusters for node in cluster.members]
    assert len(members) == len(set(members))
    cluster_of = {node: cluster for cluster in resolution.clusters for node in cluster.members}
    refused = {(refusal.a, refusal.b) for refusal in resolution.refusals}
    for link in some:
        joined = link.a in cluster_of and cluster_of[link.a] is cluster_of.get(link.b)
        assert joined or (link.a, link.b) in refused or {link.a, link.b} & resolution.hubs


@given(links(), links(), links())
def test_links_merge_in_any_order(x: Link, y: Link, z: Link) -> None:
    def same(link: Link) -> Link:
        return Link(
            a=x.a, b=x.b, first_ms=link.first_ms, first_event=link.first_event,
            source=link.source, trusted_ms=link.trusted_ms, last_ms=link.last_ms,
        )  # fmt: skip

    x, y, z = same(x), same(y), same(z)
    assert x.merge(y) == y.merge(x)
    assert x.merge(y).merge(z) == x.merge(y.merge(z))
    assert x.merge(x) == x


def test_a_new_link_beside_a_hub_reads_no_more_than_anywhere_else() -> None:
    def link(a: bytes, b: bytes, at: int) -> Link:
        low, high = sorted((a, b))
        return Link(a=low, b=high, first_ms=at, first_event=f"e{at}", source="web")  # type: ignore[arg-type]

    world = Memory()
    hub = EMAILS[0]
    for n in range(300):
        world.take([link(hub, hasher.node("user_id", f"h{n}"), n)], [], RULES)
    assert world.hubs() == {hub}
    world.rows_read = 0
    world.take([link(hub, USERS[0], 900)], [], RULES)
    assert world.rows_read <= 2 * (RULES.fanout_max + 2)
    assert world.people() == frozenset()

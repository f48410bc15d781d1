"""Why two identifiers are one person, or are not, as it is read from every store."""

import tempfile
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import networkx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from identity.conflicts import conflict_id
from identity.decisions import Decision, DecisionKind
from identity.evidence import NEVER, Link, Match, MustLink, Use, pair
from identity.explain import Reason, Verdict, steps
from identity.nodes import Node
from identity.rules import Rules
from ingest.identify import Statements, identify
from profiles.part import Body, Part, encode
from storage import sharing
from storage.explaining import Pair, explain_pair, explain_person
from storage.gathering import Answer, Resolved
from storage.ports import Store
from storage.sqlite import SqliteStore, open_store
from tests.identity import strategies
from tests.identity.strategies import EMAILS, NODES, PHONES, USERS, hasher

ASHA, RAVI, MEERA = USERS[:3]
HOME, WORK = EMAILS[:2]
PHONE = PHONES[0]
BROWSER = hasher.node("anonymous_id", "b1")
RULES = Rules(fanout_max=3)


def link(a: Node, b: Node, at: int = 1, *, trusted: bool = False) -> Link:
    low, high = pair(a, b)
    return Link(
        a=low, b=high, first_ms=at, first_event=f"e{at}", source="web",
        trusted_ms=at if trusted else NEVER, last_ms=at,
    )  # fmt: skip


def decided(kind: DecisionKind, *groups: Sequence[Node], id: str = "d1") -> Decision:
    return Decision(
        id=id, kind=kind, operator="meera", reason="they called", time_ms=50,
        groups=tuple(map(frozenset, groups)),
    )  # fmt: skip


def say(store: Store, *links: Link, rules: Rules = RULES, **said: Any) -> None:
    identify(store, Statements(links=links, **said), rules)


def found(store: Store, node: Node) -> Resolved:
    cluster = store.people.clusters_of([node]).get(node)
    members = tuple(sorted(cluster.members)) if cluster else (node,)
    return Resolved(cluster.profile_id if cluster else node, Answer.PERSON, node, (), members)


def explained(store: Store, one: Node, other: Node, rules: Rules = RULES) -> Pair:
    return explain_pair(store, rules, found(store, one), found(store, other))


def told(said: Pair) -> list[tuple[str, str, int, str]]:
    return [(each.event_id, each.source, each.first_ms, each.kind) for each in said.chain]


def test_one_person_is_told_by_the_shortest_chain_with_event_source_time_and_kind(
    store: Store,
) -> None:
    say(store, link(ASHA, HOME, 1), link(HOME, PHONE, 2, trusted=True), link(ASHA, WORK, 3))
    said = explained(store, WORK, PHONE)
    assert (said.verdict, said.obstacles) == (Verdict.ONE_PERSON, [])
    assert told(said) == [
        ("e3", "web", 3, "link"),
        ("e1", "web", 1, "link"),
        ("e2", "web", 2, "trusted_link"),
    ]
    assert [b for _, _, b in steps(said.one, said.chain)] == [ASHA, HOME, PHONE]
    same = explained(store, ASHA, ASHA)
    assert (same.verdict, same.chain) == (Verdict.ONE_PERSON, [])


def test_what_operators_and_models_said_is_evidence_too(store: Store) -> None:
    low, high = pair(PHONE, WORK)
    say(
        store,
        link(ASHA, HOME, 1),
        link(RAVI, WORK, 1),
        matches=[Match(a=low, b=high, probability=0.9, first_ms=2, first_event="run1")],
        decisions=[decided(DecisionKind.MERGE, [ASHA, RAVI])],
    )
    said = explained(store, HOME, PHONE)
    assert said.verdict is Verdict.ONE_PERSON
    assert [(each.kind, each.event_id) for each in said.chain] == [
        ("link", "e1"),
        ("must_link", "d1"),
        ("link", "e1"),
        ("match", "run1"),
    ]
    person = explain_person(store, found(store, HOME).members)
    assert [each.kind for each in person.reasons] == ["must_link", "link", "link", "match"]


def test_two_people_are_told_the_link_that_was_refused_and_its_rule(store: Store) -> None:
    say(store, link(ASHA, HOME, 1), link(RAVI, HOME, 2))
    said = explained(store, ASHA, RAVI)
    assert said.verdict is Verdict.NOT_ONE_PERSON
    assert [(each.event_id, each.refused) for each in said.chain] == [
        ("e1", ""),
        ("e2", "limit:user_id"),
    ]
    (obstacle,) = said.obstacles
    assert (obstacle.rule, obstacle.detail) == ("limit:user_id", "a person has one user_id")
    assert {obstacle.a, obstacle.b} == {RAVI, HOME}
    assert obstacle.since_ms == 2
    (refusal,) = store.people.refusals(9)
    assert obstacle.conflict == conflict_id(refusal)


def test_what_a_hub_names_is_not_joined_by_it_and_it_is_counted(store: Store) -> None:
    links = [link(user, HOME, at) for at, user in enumerate(USERS, 1)]
    say(store, *links, link(ASHA, WORK, 1), link(ASHA, PHONE, 2))
    said = explained(store, WORK, RAVI)
    assert [each.refused for each in said.chain] == ["", "hub", "hub"]
    (obstacle,) = said.obstacles
    assert (obstacle.rule, obstacle.a, obstacle.b) == ("hub", HOME, None)
    assert obstacle.detail == f"it names {len(USERS)} people, and so nobody"
    # Asked of the hub itself, linked or not.
    assert [each.rule for each in explained(store, HOME, RAVI).obstacles] == ["hub"]
    assert [each.rule for each in explained(store, PHONES[2], HOME).obstacles] == ["hub"]
    person = explain_person(store, [HOME])
    assert (person.reasons, [each.rule for each in person.refusals]) == ([], ["hub"])


def test_a_hub_too_large_to_count_is_said_to_be(store: Store) -> None:
    say(store, *(link(user, HOME, 1) for user in USERS))
    assert sharing.people_named(store, HOME, most=4) == "more than 4 identifiers"


def test_a_blocked_value_is_told_with_who_blocked_it(store: Store) -> None:
    say(store, link(ASHA, HOME, 1), link(PHONE, HOME, 2))
    say(store, decisions=[decided(DecisionKind.BLOCK, [HOME])])
    said = explained(store, ASHA, PHONE)
    assert [each.refused for each in said.chain] == ["blocked", "blocked"]
    (obstacle,) = said.obstacles
    assert (obstacle.rule, obstacle.a, obstacle.b) == ("blocked", HOME, None)
    assert (obstacle.detail, obstacle.since_ms) == ("meera blocked it: they called", 50)


def test_people_kept_apart_are_told_the_operators_reason(store: Store) -> None:
    say(store, link(ASHA, HOME, 1))
    say(store, decisions=[decided(DecisionKind.SPLIT, [ASHA], [HOME])])
    said = explained(store, ASHA, HOME)
    (obstacle,) = said.obstacles
    assert obstacle.rule == "kept_apart:d1"
    assert obstacle.detail == "meera keeps them apart: they called"
    assert [each.refused for each in said.chain] == ["kept_apart:d1"]


def test_people_kept_apart_whom_no_link_connects_are_told_too(store: Store) -> None:
    say(store, link(ASHA, HOME, 1), link(RAVI, WORK, 1))
    say(store, decisions=[decided(DecisionKind.SPLIT, [HOME], [WORK])])
    said = explained(store, ASHA, RAVI)
    (obstacle,) = said.obstacles
    assert (obstacle.rule, obstacle.a, obstacle.b) == ("kept_apart:d1", HOME, WORK)
    assert (said.chain, obstacle.since_ms, obstacle.conflict) == ([], 50, "")


def use(device: Node, person: Node, hour: int) -> Use:
    at = hour * 3_600_000
    return Use(device=device, person=person, hour=hour, first_ms=at, last_ms=at)


def on_device(store: Store, device: Node, people: Sequence[Node]) -> None:
    """Have people use a device, as the fold leaves it."""
    part = encode(Part(body=Body(devices={device: 5})))
    store.parts.write(dict.fromkeys(people, (1, part)))
    store.devices.merge_uses([use(device, person, n) for n, person in enumerate(people, 1)])


def test_people_who_only_share_a_device_are_told_how_many_used_it(store: Store) -> None:
    say(store, link(RAVI, WORK, 1))
    on_device(store, BROWSER, [ASHA, RAVI, WORK, MEERA])
    said = explained(store, ASHA, WORK)
    (obstacle,) = said.obstacles
    assert (said.verdict, said.chain) == (Verdict.NOT_ONE_PERSON, [])
    assert (obstacle.rule, obstacle.a) == ("device", BROWSER)
    # Ravi and his work address are one of the three.
    assert obstacle.detail == "shared device: 3 people used it"
    assert obstacle.since_ms == 3_600_000


def test_a_device_of_nobody_leaves_it_open(store: Store) -> None:
    on_device(store, BROWSER, [ASHA, RAVI])
    device = Resolved(BROWSER, Answer.DEVICE, BROWSER, (), (BROWSER,))
    said = explain_pair(store, RULES, device, found(store, ASHA))
    assert said.verdict is Verdict.UNKNOWN
    assert [each.detail for each in said.obstacles] == ["shared device: 2 people used it"]
    assert explain_pair(store, RULES, device, device).verdict is Verdict.ONE_PERSON


def test_a_device_of_somebody_answers_for_them(store: Store) -> None:
    say(store, link(ASHA, HOME, 1))
    owner = found(store, ASHA)
    device = Resolved(owner.profile_id, Answer.DEVICE_OWNER, BROWSER, (), owner.members)
    said = explain_pair(store, RULES, device, found(store, HOME))
    assert (said.verdict, said.one, len(said.chain)) == (Verdict.ONE_PERSON, ASHA, 1)


def test_strangers_are_told_that_nothing_connects_them(store: Store) -> None:
    say(store, link(ASHA, HOME, 1), link(RAVI, WORK, 1))
    (obstacle,) = explained(store, ASHA, RAVI).obstacles
    assert (obstacle.rule, obstacle.a, obstacle.b) == ("unconnected", ASHA, RAVI)
    assert obstacle.detail == "nothing names both, nor anything that connects them"


def test_evidence_that_nobody_has_decided_yet_is_told_as_such(store: Store) -> None:
    store.evidence.merge_links([link(ASHA, HOME, 1)])
    said = explained(store, ASHA, HOME)
    assert [each.event_id for each in said.chain] == ["e1"]
    assert [each.rule for each in said.obstacles] == ["undecided"]


def test_who_would_be_a_hub_by_other_rules_than_people_were_decided_by_is_read_on_from(
    store: Store,
) -> None:
    *users, between = sorted(hasher.node("user_id", f"shared{n}") for n in range(31))
    shared = [link(HOME, user, at) for at, user in enumerate((*users[:15], between), 1)]
    shared += [link(WORK, user, at) for at, user in enumerate((*users[15:], between), 20)]
    say(store, *shared, rules=Rules(fanout_max=20))
    said = explained(store, users[1], users[16], RULES)
    assert len(said.chain) == 4
    assert said == explained(store, users[1], users[16], Rules(fanout_max=20))


def test_reading_beside_a_hub_is_bounded(store: Store) -> None:
    users = [hasher.node("user_id", f"many{n}") for n in range(3_000)]
    say(store, *(link(user, HOME, 1) for user in users), link(users[0], WORK, 1))
    read = 0
    evidence = store.evidence

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(evidence, name)

        def links_of(self, nodes: Sequence[Node], limit_each: int | None = None) -> list[Link]:
            nonlocal read
            rows = evidence.links_of(nodes, limit_each)
            read += len(rows)
            return rows

    class Counted:
        evidence = Counting()

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

    counted: Any = Counted()
    one, other = found(store, WORK), found(store, users[1])
    said = explain_pair(counted, RULES, one, other)
    assert [each.rule for each in said.obstacles] == ["hub"]
    assert "more than 250 identifiers" in said.obstacles[0].detail
    # Its own links and theirs, and once of the hub itself: as many as are counted, from either end.
    assert read <= 3 + 2 * (sharing.COUNTED_MAX + 1)


LAW = Rules(fanout_max=3, members_max=6, limit_default=2)


def stored(
    batches: Any, decision: Decision | None
) -> tuple[SqliteStore, tempfile.TemporaryDirectory[str]]:
    folder = tempfile.TemporaryDirectory()
    store, _ = open_store(Path(folder.name) / "o.sqlite", Path(folder.name) / "o.keys")
    with store.transaction():
        for links, must_links in batches:
            identify(store, Statements(links=links, must_links=must_links), LAW)
        if decision is not None:
            identify(store, Statements(decisions=[decision]), LAW)
    return store, folder


def length(one: Node, other: Node, reasons: Sequence[Reason]) -> int:
    """Of the shortest chain, by all that made a person."""
    graph = networkx.Graph([(each.a, each.b) for each in reasons if not each.refused])
    return int(networkx.shortest_path_length(graph, one, other))


def fewest_refused(store: Store, one: Node, other: Node) -> float:
    """By brute force over everything: the fewest refused links on a way, or infinity."""
    refusals = store.people.refusals(10_000)
    alone = {each.a for each in refusals if each.a == each.b}
    blocked = {each.a for each in refusals if each.rule == "blocked"}
    refused = {(each.a, each.b) for each in refusals if each.a != each.b}
    graph = networkx.Graph()
    graph.add_nodes_from([one, other])
    must = [
        *store.evidence.scan_must_links(),
        *(m for d in store.decisions.list(9) for m in d.must_links()),
    ]
    told: list[Link | MustLink] = [*store.evidence.scan_links(), *must]
    for each in told:
        ends = {each.a, each.b} & (alone if isinstance(each, Link) else blocked)
        cost = int((each.a, each.b) in refused or bool(ends))
        held = graph.get_edge_data(each.a, each.b, {"cost": 2})["cost"]
        graph.add_edge(each.a, each.b, cost=min(cost, held))
    # Nobody goes on past a hub or a blocked value, unless it is an end itself.
    graph.remove_nodes_from(alone - {one, other})
    lengths = networkx.single_source_dijkstra_path_length(graph, one, weight="cost")
    return float(lengths.get(other, float("inf")))


@settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
@given(
    strategies.batches,
    st.sampled_from([None, DecisionKind.SPLIT, DecisionKind.MERGE, DecisionKind.BLOCK]),
    st.lists(st.sampled_from(NODES), min_size=2, max_size=2, unique=True),
)
def test_every_explanation_agrees_with_who_is_who(
    batches: Any, kind: DecisionKind | None, chosen: list[Node]
) -> None:
    decision = None
    if kind is DecisionKind.SPLIT:
        decision = decided(kind, *([node] for node in chosen))
    elif kind is not None:
        decision = decided(kind, chosen)
    store, folder = stored(batches, decision)
    with folder:
        for one, other in combinations(NODES, 2):
            said = explained(store, one, other, LAW)
            together = found(store, one).profile_id == found(store, other).profile_id
            assert (said.verdict is Verdict.ONE_PERSON) == together
            assert bool(said.obstacles) != together
            walked = [one, *(b for _, _, b in steps(one, said.chain))]
            if together:
                assert walked[-1] == other
                assert not any(each.refused for each in said.chain)
                whole = explain_person(store, found(store, one).members)
                assert len(said.chain) == length(one, other, whole.reasons)
                continue
            refused = [each for each in said.chain if each.refused]
            if said.chain:
                assert walked[-1] == other
                assert refused
                known = {each.rule for each in store.people.refusals(10_000)}
                assert {each.refused for each in refused} <= known
            fewest = fewest_refused(store, one, other)
            closed = {r.a for r in store.people.refusals_of([one, other]) if r.a == r.b}
            if fewest <= 2 and not {one, other} <= closed:
                assert said.chain
                assert len(refused) <= fewest
        store.close()

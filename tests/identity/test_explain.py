"""Why two identifiers are one person, or are not."""

from identity.conflicts import conflict_id
from identity.decisions import Decision, DecisionKind
from identity.evidence import NEVER, Link, Match, MustLink, pair
from identity.explain import Told, chain, obstacle, reasons, refused_in, steps
from identity.nodes import Node
from identity.resolve import Evidence, Refusal, resolve
from identity.rules import Rules
from tests.identity.strategies import EMAILS, PHONES, USERS

ASHA, RAVI = USERS[:2]
WORK, HOME = EMAILS[:2]
PHONE = PHONES[0]


def link(a: Node, b: Node, at: int, *, trusted: bool = False) -> Link:
    low, high = pair(a, b)
    return Link(
        a=low, b=high, first_ms=at, first_event=f"e{at}", source="web",
        trusted_ms=at if trusted else NEVER, last_ms=at + 1,
    )  # fmt: skip


def must(a: Node, b: Node, at: int) -> MustLink:
    low, high = pair(a, b)
    return MustLink(a=low, b=high, first_ms=at, first_event=f"op{at}", source="console")


def test_what_made_a_person_is_told_strongest_and_earliest_first() -> None:
    match = Match(a=min(ASHA, PHONE), b=max(ASHA, PHONE), probability=0.9, first_ms=0)
    told: list[Told] = [
        match,
        link(ASHA, HOME, 3),
        link(ASHA, WORK, 1),
        link(HOME, WORK, 9, trusted=True),
    ]
    found = reasons({ASHA, HOME, WORK, PHONE}, [*told, must(ASHA, RAVI, 1), must(ASHA, PHONE, 7)])
    assert [(reason.kind, reason.event_id) for reason in found] == [
        ("must_link", "op7"),
        ("trusted_link", "e9"),
        ("link", "e1"),
        ("link", "e3"),
        ("match", ""),
    ]
    assert (found[2].source, found[2].first_ms, found[2].last_ms) == ("web", 1, 2)
    assert found[4].probability == 0.9


def test_the_chain_between_two_identifiers_is_the_shortest() -> None:
    told = [link(HOME, ASHA, 1), link(ASHA, WORK, 2), link(WORK, PHONE, 3), link(ASHA, PHONE, 9)]
    found = chain(HOME, PHONE, told)
    assert found is not None
    assert [reason.event_id for reason in found] == ["e1", "e9"]


def test_of_two_chains_as_long_the_one_that_is_trusted_is_told() -> None:
    told = [
        link(HOME, ASHA, 1), link(ASHA, PHONE, 2),
        link(HOME, WORK, 5, trusted=True), link(WORK, PHONE, 6, trusted=True),
    ]  # fmt: skip
    found = chain(HOME, PHONE, told)
    assert found is not None
    assert [reason.event_id for reason in found] == ["e5", "e6"]


def test_nothing_connects_strangers() -> None:
    assert chain(ASHA, RAVI, [link(ASHA, HOME, 1)]) is None
    assert chain(ASHA, RAVI, [link(ASHA, HOME, 1), link(RAVI, WORK, 1)]) is None
    assert chain(ASHA, ASHA, [link(ASHA, HOME, 1)]) == []


def test_why_two_people_are_not_one_is_the_link_that_was_refused() -> None:
    told = [link(ASHA, HOME, 1), link(RAVI, HOME, 2)]
    refusals = resolve(Evidence(links=told), Rules()).refusals
    found = chain(ASHA, RAVI, told, refusals)
    assert found is not None
    assert [reason.refused for reason in found] == ["", "limit:user_id"]


def test_a_longer_chain_that_holds_is_told_rather_than_a_short_one_that_does_not() -> None:
    told = [link(ASHA, HOME, 1), link(HOME, PHONE, 2), link(PHONE, WORK, 3), link(ASHA, WORK, 9)]
    low, high = pair(ASHA, WORK)
    found = chain(ASHA, WORK, told, [Refusal(low, high, "kept_apart:k", "", 9)])
    assert found is not None
    assert [reason.event_id for reason in found] == ["e1", "e2", "e3"]


def test_links_of_a_hub_are_shown_as_such_and_its_must_links_hold() -> None:
    rules = Rules(fanout_max=1)
    told = [link(ASHA, HOME, 1), link(RAVI, HOME, 2)]
    assert resolve(Evidence(links=told), rules).hubs == {HOME}
    found = reasons(
        {ASHA, RAVI, HOME}, [*told, must(ASHA, HOME, 3)], [Refusal(HOME, HOME, "hub", "", 2)]
    )
    assert [(reason.kind, reason.refused) for reason in found] == [
        ("must_link", ""),
        ("link", "hub"),
        ("link", "hub"),
    ]


def test_a_chain_is_walked_from_its_start() -> None:
    told = [link(HOME, ASHA, 1), link(ASHA, PHONE, 2)]
    there = chain(HOME, PHONE, told) or []
    back = chain(PHONE, HOME, told) or []
    assert [(a, b) for a, _, b in steps(HOME, there)] == [(HOME, ASHA), (ASHA, PHONE)]
    assert [(a, b) for a, _, b in steps(PHONE, back)] == [(PHONE, ASHA), (ASHA, HOME)]


def test_what_refused_a_chain_is_told_in_its_order_each_once() -> None:
    told = [link(ASHA, HOME, 1), link(HOME, RAVI, 2), link(RAVI, WORK, 3), link(WORK, PHONE, 4)]
    low, high = pair(HOME, RAVI)
    limit, hub = Refusal(low, high, "limit:user_id", "", 2), Refusal(WORK, WORK, "hub", "", 4)
    found = chain(ASHA, PHONE, told, [hub, limit]) or []
    assert [reason.refused for reason in found] == ["", "limit:user_id", "hub", "hub"]
    assert refused_in(found, [hub, limit]) == [limit, hub]


def test_an_alias_of_a_blocked_value_joins_nobody_either() -> None:
    blocked = Refusal(HOME, HOME, "blocked", "", 0)
    (reason,) = reasons({ASHA, HOME}, [must(ASHA, HOME, 3)], [blocked])
    assert reason.refused == "blocked"


def decision(kind: DecisionKind, *groups: Node, reason: str = "they called") -> Decision:
    return Decision(
        id="d1", kind=kind, operator="meera", reason=reason, time_ms=7,
        groups=tuple(frozenset({node}) for node in groups),
    )  # fmt: skip


def test_obstacles_say_the_rule_in_words() -> None:
    low, high = pair(ASHA, HOME)
    apart = decision(DecisionKind.SPLIT, ASHA, HOME)
    rules = Rules(limits={"phone": 2}, members_max=9)
    said = {
        rule: obstacle(Refusal(low, high, rule, "…", 5), {"d1": apart}, {}, rules).detail
        for rule in ("limit:user_id", "limit:phone", "limit:email", "members_max", "kept_apart:d1")
    }
    assert said == {
        "limit:user_id": "a person has one user_id",
        "limit:phone": "a person has at most 2 phones",
        "limit:email": "a person has at most 5 emails",
        "members_max": "a person has at most 9 identifiers",
        "kept_apart:d1": "meera keeps them apart: they called",
    }


def test_a_hub_and_a_blocked_value_stand_alone_in_the_way() -> None:
    hub = Refusal(HOME, HOME, "hub", "linked to more than 20 others", 5)
    found = obstacle(hub, {}, {HOME: "61 people"}, Rules())
    assert (found.a, found.b, found.since_ms) == (HOME, None, 5)
    assert found.detail == "it names 61 people, and so nobody"
    assert found.conflict == conflict_id(hub)

    blocked = Refusal(HOME, HOME, "blocked", "a blocked value names nobody", 0)
    block = decision(DecisionKind.BLOCK, HOME, reason="")
    by_operator = obstacle(blocked, {"d1": block}, {}, Rules())
    assert (by_operator.detail, by_operator.since_ms) == (
        "meera blocked it: no reason given",
        7,
    )
    assert obstacle(blocked, {}, {}, Rules()).detail == "a blocked value names nobody"

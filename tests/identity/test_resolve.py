"""From evidence to people (DESIGN §3.2), as sentences; the laws are in test_laws.py."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from identity.evidence import NEVER, KeepApart, Link, Match, MustLink, pair
from identity.nodes import USER_ID, Node, code_of, names_device, type_code
from identity.resolve import Evidence, Refusal, resolve
from identity.rules import Rules
from tests.identity.strategies import (
    EMAILS,
    NODES,
    PHONES,
    RULES,
    USERS,
    hasher,
    keep_aparts,
    links,
    must_links,
    pairs,
    times,
)

ASHA, RAVI, ZOYA = USERS[:3]
LIMITS = Rules()


def link(a: Node, b: Node, at: int = 1, *, trusted: int = NEVER) -> Link:
    low, high = pair(a, b)
    return Link(a=low, b=high, first_ms=at, first_event=f"e{at}", source="web", trusted_ms=trusted)


def must(a: Node, b: Node, at: int = 1, event: str = "op1") -> MustLink:
    low, high = pair(a, b)
    return MustLink(a=low, b=high, first_ms=at, first_event=event, source="crm")


def match(a: Node, b: Node, probability: float, at: int = 1) -> Match:
    low, high = pair(a, b)
    return Match(a=low, b=high, probability=probability, first_ms=at)


def people(evidence: Evidence, rules: Rules = LIMITS) -> set[frozenset[Node]]:
    return {cluster.members for cluster in resolve(evidence, rules).clusters}


def rules_of(evidence: Evidence, rules: Rules = LIMITS) -> set[str]:
    return {refusal.rule for refusal in resolve(evidence, rules).refusals}


def test_two_user_ids_with_one_email_stay_two_people_and_the_earlier_keeps_it() -> None:
    evidence = Evidence(links=[link(ASHA, EMAILS[0], 2), link(RAVI, EMAILS[0], 1)])
    assert people(evidence) == {frozenset({RAVI, EMAILS[0]})}
    (refusal,) = resolve(evidence, LIMITS).refusals
    assert refusal == Refusal(
        *pair(ASHA, EMAILS[0]), "limit:user_id", "2 of user_id; a person has at most 1", 2
    )


def test_a_trusted_link_comes_before_an_earlier_untrusted_one() -> None:
    evidence = Evidence(links=[link(ASHA, EMAILS[0], 1), link(RAVI, EMAILS[0], 2, trusted=9)])
    assert people(evidence) == {frozenset({RAVI, EMAILS[0]})}


def test_links_come_before_matches_and_likelier_matches_before_others() -> None:
    sure = Evidence(links=[link(ASHA, EMAILS[0], 9)], matches=[match(RAVI, EMAILS[0], 0.99, 1)])
    assert people(sure) == {frozenset({ASHA, EMAILS[0]})}
    guesses = Evidence(matches=[match(ASHA, EMAILS[0], 0.7), match(RAVI, EMAILS[0], 0.9)])
    assert people(guesses) == {frozenset({RAVI, EMAILS[0]})}


def test_a_sixth_email_is_refused_and_a_workspace_may_say_otherwise() -> None:
    emails = [hasher.node("email", f"six{n}@x.com") for n in range(6)]
    evidence = Evidence(links=[link(ASHA, email, n) for n, email in enumerate(emails)])
    assert people(evidence) == {frozenset({ASHA, *emails[:5]})}
    assert rules_of(evidence) == {"limit:email"}
    assert people(evidence, Rules(limits={"email": 6})) == {frozenset({ASHA, *emails})}


def test_a_must_link_joins_two_user_ids_which_then_count_as_one() -> None:
    evidence = Evidence(
        links=[link(ASHA, EMAILS[0], 1), link(RAVI, EMAILS[0], 2), link(ZOYA, EMAILS[0], 3)],
        must_links=[must(ASHA, RAVI, 9)],
    )
    assert people(evidence) == {frozenset({ASHA, RAVI, EMAILS[0]})}
    assert rules_of(evidence) == {"limit:user_id"}


def test_a_must_link_that_is_taken_back_is_as_if_never_made() -> None:
    evidence = Evidence(must_links=[must(ASHA, RAVI)], retracted={"op1"})
    assert people(evidence) == set()
    assert people(Evidence(must_links=[*evidence.must_links, must(ASHA, RAVI, event="op2")])) == {
        frozenset({ASHA, RAVI})
    }


def test_even_a_must_link_makes_nobody_of_more_than_a_hundred_identifiers() -> None:
    phones = [hasher.node("crm_id", f"many{n}") for n in range(120)]
    evidence = Evidence(must_links=[must(ASHA, phone, n) for n, phone in enumerate(phones)])
    (members,) = people(evidence)
    assert len(members) == LIMITS.members_max == 100
    assert rules_of(evidence) == {"members_max"}


def test_what_an_operator_keeps_apart_stays_apart_until_it_is_taken_back() -> None:
    decision = KeepApart(id="k7", groups=(frozenset({ASHA}), frozenset({EMAILS[0]})))
    evidence = Evidence(links=[link(ASHA, EMAILS[0])], keep_apart=[decision])
    assert people(evidence) == set()
    assert rules_of(evidence) == {"kept_apart:k7"}
    assert rules_of(Evidence(must_links=[must(ASHA, EMAILS[0])], keep_apart=[decision])) == {
        "kept_apart:k7"
    }
    taken_back = Evidence(links=evidence.links, keep_apart=[decision], retracted={"k7"})
    assert people(taken_back) == {frozenset({ASHA, EMAILS[0]})}


def test_keeping_apart_is_not_got_round_by_a_third_identifier() -> None:
    decision = KeepApart(id="k", groups=(frozenset({EMAILS[0]}), frozenset({PHONES[0]})))
    evidence = Evidence(
        links=[link(EMAILS[0], EMAILS[1], 1), link(EMAILS[1], PHONES[0], 2)], keep_apart=[decision]
    )
    assert people(evidence) == {frozenset({EMAILS[0], EMAILS[1]})}


def test_an_email_of_more_than_twenty_customers_is_a_till_and_joins_nobody() -> None:
    till = hasher.node("email", "cashier@store.com")
    phones = [hasher.node("phone", f"+9197{n:08}") for n in range(21)]
    evidence = Evidence(links=[link(till, phone, n) for n, phone in enumerate(phones)])
    resolution = resolve(evidence, LIMITS)
    assert resolution.hubs == {till}
    assert resolution.clusters == frozenset()
    assert not resolve(Evidence(links=evidence.links[:20]), LIMITS).hubs


def test_must_links_do_not_make_a_hub_and_a_hub_keeps_them() -> None:
    till = hasher.node("email", "cashier@store.com")
    customers = [hasher.node("user_id", f"c{n}") for n in range(30)]
    told = Evidence(must_links=[must(till, customer, n) for n, customer in enumerate(customers)])
    assert resolve(told, LIMITS).hubs == frozenset()
    both = Evidence(
        links=[link(till, customer, n) for n, customer in enumerate(customers)],
        must_links=[must(till, ASHA)],
    )
    assert resolve(both, LIMITS).hubs == {till}
    assert people(both) == {frozenset({till, ASHA})}


def test_a_user_id_may_be_linked_to_more_but_not_to_a_thousand() -> None:
    emails = [hasher.node("email", f"c{n}@x.com") for n in range(1001)]
    some = [link(ASHA, email, n) for n, email in enumerate(emails)]
    assert resolve(Evidence(links=some[:1000]), LIMITS).hubs == frozenset()
    assert resolve(Evidence(links=some), LIMITS).hubs == {ASHA}


def test_a_blocked_value_joins_nobody_and_is_listed_once() -> None:
    evidence = Evidence(
        links=[link(ASHA, PHONES[0], 1), link(RAVI, PHONES[0], 2), link(ASHA, EMAILS[0], 3)],
        must_links=[must(ZOYA, PHONES[0])],
        blocked={PHONES[0], PHONES[1]},
    )
    assert people(evidence) == {frozenset({ASHA, EMAILS[0]})}
    (refusal,) = resolve(evidence, LIMITS).refusals
    assert (refusal.a, refusal.b, refusal.rule) == (PHONES[0], PHONES[0], "blocked")


def test_a_device_in_the_evidence_joins_nobody() -> None:
    browser = hasher.node("anonymous_id", "b1")
    evidence = Evidence(
        links=[link(ASHA, browser), link(EMAILS[0], browser)], must_links=[must(RAVI, browser)]
    )
    assert resolve(evidence, LIMITS).clusters == frozenset()


def test_the_profile_id_is_the_user_id_and_among_emails_the_first_seen() -> None:
    (cluster,) = resolve(Evidence(links=[link(EMAILS[0], ASHA)]), LIMITS).clusters
    assert cluster.profile_id == ASHA
    evidence = Evidence(links=[link(EMAILS[0], PHONES[0], 5), link(EMAILS[1], PHONES[0], 2)])
    (cluster,) = resolve(evidence, LIMITS).clusters
    assert cluster.profile_id == EMAILS[1]
    by_phone = Rules(person_priority=("phone", "user_id", "email"))
    (cluster,) = resolve(evidence, by_phone).clusters
    assert cluster.profile_id == PHONES[0]


def test_later_history_changes_no_id_and_blocking_somebody_else_neither() -> None:
    evidence = Evidence(links=[link(EMAILS[0], PHONES[0], 1), link(EMAILS[1], PHONES[0], 2)])
    more = Evidence(links=[*evidence.links, link(EMAILS[1], PHONES[1], 0)], blocked={PHONES[1]})
    with_it = Evidence(links=more.links)
    assert {c.profile_id for c in resolve(evidence, LIMITS).clusters} == {EMAILS[0]}
    assert {c.profile_id for c in resolve(with_it, LIMITS).clusters} == {EMAILS[1]}
    assert {c.profile_id for c in resolve(more, LIMITS).clusters} == {EMAILS[1]}


def test_as_of_a_time_nothing_later_is_known() -> None:
    evidence = Evidence(
        links=[link(ASHA, EMAILS[0], 1, trusted=9), link(RAVI, EMAILS[0], 2, trusted=5)],
        must_links=[must(ASHA, ZOYA, 6)],
        matches=[match(ASHA, PHONES[0], 0.9, 7)],
        keep_apart=[KeepApart(id="k", groups=(frozenset({RAVI}), frozenset({EMAILS[0]})), since_ms=8)],
    )  # fmt: skip
    assert people(evidence.as_of(1)) == {frozenset({ASHA, EMAILS[0]})}
    assert people(evidence.as_of(5)) == {frozenset({RAVI, EMAILS[0]})}
    assert people(evidence.as_of(6)) == {frozenset({RAVI, EMAILS[0]}), frozenset({ASHA, ZOYA})}
    assert people(evidence.as_of(8)) == {frozenset({ASHA, ZOYA, EMAILS[0], PHONES[0]})}


matches = st.builds(
    lambda ends, probability, at: match(ends[0], ends[1], probability, at),
    pairs, st.sampled_from([0.6, 0.9]), times,
)  # fmt: skip


@st.composite
def evidences(draw: st.DrawFn) -> Evidence:
    links_of = {(each.a, each.b): each for each in draw(st.lists(links(), max_size=20))}
    matches_of = {(each.a, each.b): each for each in draw(st.lists(matches, max_size=3))}
    return Evidence(
        links=list(links_of.values()),
        must_links=draw(st.lists(must_links(), max_size=3)),
        keep_apart=draw(keep_aparts()),
        matches=list(matches_of.values()),
        blocked=frozenset(draw(st.lists(st.sampled_from(NODES[6:]), max_size=1))),
    )


def must_groups(evidence: Evidence) -> dict[Node, int]:
    group = {node: n for n, node in enumerate(NODES)}
    for each in evidence.must_links:
        if not {each.a, each.b} & set(evidence.blocked):
            one, other = group[each.a], group[each.b]
            group = {node: one if n == other else n for node, n in group.items()}
    return group


@settings(max_examples=300)
@given(evidences())
def test_no_person_has_two_user_ids_but_by_must_links(evidence: Evidence) -> None:
    group = must_groups(evidence)
    for cluster in resolve(evidence, RULES).clusters:
        users = [node for node in cluster.members if type_code(node) == code_of(USER_ID)]
        assert len({group[user] for user in users}) <= 1


@given(evidences())
def test_kept_apart_is_kept_apart_and_blocked_is_alone(evidence: Evidence) -> None:
    for cluster in resolve(evidence, RULES).clusters:
        assert not cluster.members & set(evidence.blocked)
        assert not any(map(names_device, cluster.members))
        for decision in evidence.keep_apart:
            assert sum(bool(group & cluster.members) for group in decision.groups) <= 1


@given(evidences(), st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_matters(evidence: Evidence, shuffler: object) -> None:
    def mixed(some: Sequence[object]) -> list[object]:
        return shuffler.sample([*some, *some], 2 * len(some))  # type: ignore[attr-defined, no-any-return]

    again = Evidence(
        links=mixed(evidence.links),  # type: ignore[arg-type]
        must_links=mixed(evidence.must_links),  # type: ignore[arg-type]
        keep_apart=mixed(evidence.keep_apart),  # type: ignore[arg-type]
        matches=mixed(evidence.matches),  # type: ignore[arg-type]
        blocked=evidence.blocked,
    )
    assert resolve(again, RULES) == resolve(evidence, RULES)


@given(evidences(), must_links())
def test_a_merge_that_is_undone_with_nothing_since_restores_what_was(
    evidence: Evidence, merge: MustLink
) -> None:
    merge = MustLink(a=merge.a, b=merge.b, first_ms=99, first_event="op", source="console")
    undone = Evidence(
        links=evidence.links, must_links=[*evidence.must_links, merge], matches=evidence.matches,
        keep_apart=evidence.keep_apart, blocked=evidence.blocked, retracted={"op"},
    )  # fmt: skip
    assert resolve(undone, RULES) == resolve(evidence, RULES)


@settings(max_examples=300)
@given(evidences(), links())
def test_undoing_what_a_link_joined_restores_who_was_who(evidence: Evidence, late: Link) -> None:
    """Keeping apart the two people of before gives them back, even if the link came early."""
    known = {(each.a, each.b) for each in evidence.links}
    before = resolve(evidence, RULES)
    person = {node: c.members for c in before.clusters for node in c.members}
    one, other = (person.get(end, frozenset({end})) for end in (late.a, late.b))
    joined = Evidence(
        links=[*evidence.links, late], must_links=evidence.must_links, matches=evidence.matches,
        keep_apart=evidence.keep_apart, blocked=evidence.blocked,
    )  # fmt: skip
    after = resolve(joined, RULES)
    if (late.a, late.b) in known or after.hubs != before.hubs or one == other:
        return
    undone = Evidence(
        links=joined.links, must_links=joined.must_links, matches=joined.matches,
        keep_apart=[*joined.keep_apart, KeepApart(id="undo", groups=(one, other))],
        blocked=joined.blocked,
    )  # fmt: skip
    assert {c.members for c in resolve(undone, RULES).clusters} == {
        c.members for c in before.clusters
    }

"""Accepted pairs as evidence that the rules of identity can use."""

from identity.evidence import Link
from identity.nodes import Node, NodeHasher
from identity.resolve import Evidence, resolve
from identity.rules import Rules
from models.linking.matches import PROFILE, AcceptedPair, matches_of

HASHER = NodeHasher(b"k" * 32)
RULES = Rules(external_ids=("crm_id",), limits={"crm_id": 100})


def node(name: str, kind: str = "crm_id") -> Node:
    return HASHER.node(kind, name)


def matches(
    *pairs: tuple[str, str, float], rules: Rules = RULES, type_b: str = "crm_id"
) -> list[tuple[Node, Node, float]]:
    made = matches_of(
        [AcceptedPair(*pair) for pair in pairs], HASHER, rules, type_a="crm_id", type_b=type_b, first_ms=5,
        first_event="link:v1",
    )  # fmt: skip
    assert all(
        match.a < match.b and match.first_ms == 5 and match.first_event == "link:v1"
        for match in made
    )
    return [(match.a, match.b, match.probability) for match in made]


def people(*pairs: tuple[str, str, float], rules: Rules = RULES) -> set[frozenset[Node]]:
    made = matches_of(
        [AcceptedPair(*pair) for pair in pairs],
        HASHER,
        rules,
        type_a="crm_id",
        type_b="crm_id",
        first_ms=5,
    )
    return {cluster.members for cluster in resolve(Evidence(matches=made), rules).clusters}


def test_a_pair_becomes_one_match_whichever_way_it_is_told() -> None:
    assert matches(("1", "2", 0.99)) == matches(("2", "1", 0.99))


def test_what_pairs_say_twice_over_is_said_once_by_the_most_probable() -> None:
    made = matches(("1", "2", 0.99), ("2", "3", 0.999), ("1", "3", 0.995))
    assert sorted(chance for _, _, chance in made) == [0.995, 0.999]


def test_forty_records_of_one_person_are_one_person_and_nobody_is_a_hub() -> None:
    pairs = [(str(a), str(b), 0.99) for a in range(1, 41) for b in range(a + 1, 41)]
    assert people(*pairs) == {frozenset(node(str(n)) for n in range(1, 41))}
    # As they are, each would be linked to 39 others, above the fan-out of 20.
    assert RULES.fanout_max < 39


def test_no_identifier_gets_more_matches_than_the_fan_out() -> None:
    star = [("100", str(n), 0.99) for n in range(1, 40)]
    assert len(matches(*star)) == RULES.fanout_max
    assert len(next(iter(people(*star)))) == RULES.fanout_max + 1


def test_a_match_never_breaks_a_limit() -> None:
    few = Rules(external_ids=("crm_id",), limits={"crm_id": 2})
    (one,) = people(("1", "2", 0.99), ("2", "3", 0.999), rules=few)
    assert one == {node("2"), node("3")}


def test_a_record_is_joined_with_a_profile_by_the_profiles_id() -> None:
    ((a, b, _),) = matches(("7", node("u1", "user_id").hex(), 0.99), type_b=PROFILE)
    assert {a, b} == {node("7"), node("u1", "user_id")}


def test_a_match_joins_what_links_joined_already() -> None:
    user, mail = node("u1", "user_id"), node("asha@example.in", "email")
    link = Link(a=min(user, mail), b=max(user, mail), first_ms=1, first_event="e", source="web")
    made = matches_of(
        [AcceptedPair("7", user.hex(), 0.99)],
        HASHER,
        RULES,
        type_a="crm_id",
        type_b=PROFILE,
        first_ms=5,
    )
    (cluster,) = resolve(Evidence(links=[link], matches=made), RULES).clusters
    assert cluster.members == {user, mail, node("7")}
    assert cluster.profile_id == user


def test_an_id_that_names_nobody_makes_no_match() -> None:
    assert matches(("unknown", "2", 0.99), ("1", "1", 0.99)) == []

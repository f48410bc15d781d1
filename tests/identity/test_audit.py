"""The health of who is who: what is counted, and who looks wrongly joined."""

from hypothesis import given
from hypothesis import strategies as st

from identity.audit import (
    KEPT,
    USERS_MAX,
    Devices,
    Links,
    People,
    Worst,
    contested,
    growth,
    suspect_of,
    users_of,
)
from identity.evidence import NEVER, Link, Match, MustLink, Use, pair
from identity.explain import Told
from identity.nodes import Node
from identity.resolve import Cluster, Refusal
from tests.identity.strategies import EMAILS, PHONES, USERS, hasher

ASHA, RAVI = USERS[:2]
HERS, HIS, MOTHERS = EMAILS[:3]
FAMILY, MOBILE = PHONES[:2]
JANUARY, MARCH = 1_767_312_000_000, 1_772_359_200_000


def link(a: Node, b: Node, at: int = 5, *, trusted: bool = False) -> Link:
    low, high = pair(a, b)
    return Link(
        a=low, b=high, first_ms=at, first_event=f"e{at}", source="web",
        trusted_ms=at if trusted else NEVER,
    )  # fmt: skip


def cluster(*told: Told) -> Cluster:
    members = frozenset(end for each in told for end in (each.a, each.b))
    return Cluster(min(members), members)


def test_two_groups_that_one_untrusted_link_holds_together_may_be_two_people() -> None:
    told = [link(ASHA, HERS, 1), link(HERS, FAMILY, 7), link(FAMILY, MOTHERS, 3)]
    found = suspect_of(cluster(*told), told)
    assert found is not None
    assert found.through == pair(HERS, FAMILY)
    assert (found.event_id, found.source, found.first_ms, found.weight) == ("e7", "web", 7, 2)
    assert set(map(frozenset, found.groups)) == {
        frozenset({ASHA, HERS}),
        frozenset({FAMILY, MOTHERS}),
    }


def test_what_a_trusted_source_or_an_alias_says_is_not_suspected() -> None:
    sides = [link(ASHA, HERS), link(FAMILY, MOTHERS), link(MOBILE, MOTHERS)]
    trusted = [*sides, link(HERS, MOTHERS, trusted=True)]
    low, high = pair(HERS, MOTHERS)
    alias = MustLink(a=low, b=high, first_ms=1, first_event="alias", source="crm")
    guess = Match(a=low, b=high, probability=0.9, first_ms=1, first_event="run1")
    assert suspect_of(cluster(*trusted), trusted) is None
    assert suspect_of(cluster(*sides, alias), [*sides, alias]) is None
    found = suspect_of(cluster(*sides, guess), [*sides, guess])
    assert found is not None
    assert (found.event_id, found.source) == ("run1", "")


def test_two_links_between_two_groups_are_no_bridge() -> None:
    told = [link(ASHA, HERS), link(FAMILY, MOTHERS), link(HERS, FAMILY), link(ASHA, MOTHERS)]
    assert suspect_of(cluster(*told), told) is None


def test_a_phone_that_is_all_that_two_emails_share_is_a_familys() -> None:
    told = [link(ASHA, FAMILY), link(ASHA, HERS), link(HERS, FAMILY), link(FAMILY, MOTHERS)]
    found = suspect_of(cluster(*told), told)
    assert found is not None
    assert (found.through, found.weight) == ((FAMILY,), 1)
    assert found.groups == (tuple(sorted((ASHA, HERS))), (MOTHERS,))
    said = [
        link(ASHA, HERS),
        link(ASHA, FAMILY, trusted=True),
        link(FAMILY, MOTHERS, trusted=True),
    ]
    assert suspect_of(cluster(*said), said) is None


def test_a_user_with_addresses_and_numbers_is_not_suspected() -> None:
    told = [link(ASHA, other) for other in (HERS, HIS, MOTHERS, FAMILY, MOBILE)]
    assert suspect_of(cluster(*told), told) is None
    assert suspect_of(cluster(told[0]), told[:1]) is None
    # Links to others do not matter.
    assert suspect_of(cluster(*told[:2]), [*told, link(FAMILY, RAVI)]) is None


def test_people_are_counted_by_size_type_and_month() -> None:
    people, links = People(), Links([FAMILY])
    told = [link(ASHA, HERS, MARCH), link(HERS, FAMILY, JANUARY)]
    people.add(cluster(*told), told)
    people.add(cluster(link(RAVI, HIS)), [link(RAVI, HIS, MARCH)])
    for each in [*told, link(RAVI, HIS, MARCH)]:
        links.add(each)
    assert people.sizes == {3: 1, 2: 1}
    assert sum(people.types.values()) == 5
    assert [len(each.members) for each in people.largest.items()] == [3, 2]
    assert [(m.month, m.people, m.identifiers, m.links) for m in growth(people, links)] == [
        ("2026-01", 1, 2, 1),
        ("2026-03", 1, 3, 2),
    ]
    assert (links.count, links.fanout) == (3, {FAMILY: 1})


def use(device: Node, person: Node, hour: int = 1) -> Use:
    return Use(device=device, person=person, hour=hour, first_ms=hour, last_ms=hour)


def test_devices_are_counted_by_people_and_logouts_are_nobody() -> None:
    first, second = hasher.node("anonymous_id", "b1"), hasher.node("anonymous_id", "b2")
    uses = [use(first, ASHA), use(first, Node(b"")), use(first, RAVI, 2), use(first, ASHA, 3)]
    logouts = [use(second, Node(b""))]
    assert list(users_of([*uses, *logouts])) == [(first, {ASHA, RAVI}, False)]
    devices = Devices()
    devices.add(first, {ASHA, RAVI})
    devices.add(second, {ASHA})
    assert devices.by_people == {2: 1, 1: 1}
    assert [(each.device, each.people) for each in devices.shared.items()] == [(first, 2)]


def test_a_call_centres_people_are_counted_up_to_a_limit() -> None:
    device = hasher.node("anonymous_id", "kiosk")
    many = (use(device, hasher.node("user_id", f"k{n}")) for n in range(USERS_MAX + 5))
    ((_, people, capped),) = users_of(many)
    assert (len(people), capped) == (USERS_MAX, True)


@given(st.lists(st.integers(0, 50), max_size=3 * KEPT))
def test_the_worst_are_kept_and_all_are_counted(weights: list[int]) -> None:
    worst: Worst[int] = Worst()
    for weight in weights:
        worst.add(weight, weight)
    assert worst.items() == sorted(weights, reverse=True)[:KEPT]
    assert worst.seen == len(weights)


def test_an_email_that_three_people_named_is_contested_and_so_are_pairs_with_much_evidence() -> (
    None
):
    def refused(a: Node, b: Node) -> Refusal:
        low, high = pair(a, b)
        return Refusal(low, high, "limit:user_id", "", 1)

    third = USERS[2]
    refusals = [
        refused(RAVI, HERS), refused(third, HERS), refused(RAVI, FAMILY),
        Refusal(MOBILE, MOBILE, "hub", "", 1),
    ]  # fmt: skip
    person_of = dict.fromkeys((ASHA, HERS, FAMILY), ASHA)
    several, pairs = contested(refusals, person_of)
    assert [(each.nodes, each.people, each.links) for each in several] == [((HERS,), 3, 2)]
    assert [(each.nodes, each.links) for each in pairs] == [(pair(ASHA, RAVI), 2)]

"""The health of who is who, as it is read from every store."""

from typing import Any

from identity.evidence import NEVER, Link, Use, pair
from identity.nodes import Node
from identity.rules import Rules
from ingest.identify import Statements, identify
from storage.auditing import BATCH, read_audit
from storage.ports import Store
from tests.identity.strategies import hasher

RULES = Rules(fanout_max=3)
MARCH = 1_772_359_200_000
HUB = hasher.node("email", "cashier@store.com")
KIOSK = hasher.node("anonymous_id", "kiosk")


def user(n: int) -> Node:
    return hasher.node("user_id", f"u{n}")


def email(n: int) -> Node:
    return hasher.node("email", f"e{n}@x.in")


def link(a: Node, b: Node, at: int = MARCH) -> Link:
    low, high = pair(a, b)
    return Link(
        a=low, b=high, first_ms=at, first_event=f"e{at}", source="web", trusted_ms=NEVER
    )  # fmt: skip


def say(store: Store, *links: Link) -> None:
    identify(store, Statements(links=links), RULES)
    ends = {end for each in links for end in (each.a, each.b)}
    types = {0x001: "user_id", 0x002: "email"}
    store.identifiers.put({n: (types[(n[6] & 0x0F) << 8 | n[7]], b"-") for n in ends})


def test_everything_is_counted_once(store: Store) -> None:
    many = BATCH + 7
    say(store, *(link(user(n), email(n)) for n in range(many)))
    say(store, *(link(user(n), HUB) for n in range(6)))
    say(store, link(user(many), email(0)), link(user(many + 1), email(0)))
    say(store, link(email(1), hasher.node("user_id", "u1")))
    hour = [(n, user(n % 3)) for n in range(5)] + [(9, email(0))]
    store.devices.merge_uses(
        [Use(device=KIOSK, person=person, hour=n, first_ms=n, last_ms=n) for n, person in hour]
    )
    heard: dict[str, int] = {}
    found = read_audit(store, lambda what, done: heard.update({what: done}))

    assert (found.people, found.links) == (many, many + 8)
    # Two users whom no link joined, and the hub.
    assert found.sizes == {1: 3, 2: many}
    assert found.alone == 3
    assert found.identifiers == {"email": many + 1, "user_id": many + 2}
    assert len(found.largest) == 20
    (hub,) = found.hubs
    assert (hub.node, hub.identifiers, hub.people, found.hub_count) == (HUB, 6, "6 people", 1)
    assert found.devices == {3: 1}
    assert [(each.device, each.people) for each in found.shared_devices] == [(KIOSK, 3)]
    assert [(m.month, m.people, m.identifiers, m.links) for m in found.growth] == [
        ("2026-03", many, 2 * many, many + 8)
    ]
    assert (found.conflicts, found.conflicts_cut) == ({"limit:user_id": 2, "hub": 1}, False)
    assert [(each.nodes, each.people) for each in found.contested] == [((email(0),), 3)]
    assert (found.splits, found.over_merges) == ([], [])
    assert heard == {"conflicts": 3, "people": many, "links": many + 8, "devices": 1}


def test_who_may_be_two_is_read_with_the_link_that_joins_them(store: Store) -> None:
    phone = hasher.node("phone", "+919876500001")
    other = hasher.node("phone", "+919876500002")
    told: list[Any] = [
        link(user(1), email(1), 1), link(email(1), phone, 2), link(phone, email(2), 3),
        link(email(2), other, 4),
    ]  # fmt: skip
    identify(store, Statements(links=told), RULES)
    found = read_audit(store, lambda *_: None)
    (suspect,) = found.over_merges
    assert (suspect.event_id, suspect.weight, found.over_merge_count) == ("e3", 2, 1)


def test_a_store_with_nothing_in_it_is_well(store: Store) -> None:
    found = read_audit(store, lambda *_: None)
    assert (found.people, found.alone, found.links, found.hub_count) == (0, 0, 0, 0)
    assert (found.sizes, found.devices, found.conflicts, found.growth) == ({1: 0}, {}, {}, [])

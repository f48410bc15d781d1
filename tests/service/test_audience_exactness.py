"""Whom an export reaches, beside the same asked of the plain ports, in random workspaces."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from destinations.audience import Recipient
from identity.nodes import Node
from identity.rules import Rules
from ingest.deciding import DecisionRefused, Draft, merge, split
from service.audience import StoreAudience
from storage.catalogues import Catalogues
from storage.ports import Store
from tests.ingest.segments.shop import Shop
from tests.service.plain_audience import plain_members
from tests.workspace import HOUR, MINUTE, NOON

SEGMENTS = """
lookers: {event: Product Viewed}
buyers: {event: Order Completed}
chronic: {sensitive: true, event: Order Completed}
everybody: {not: {event: Nobody Does This}}
"""
TYPES = ("user_id", "email", "anonymous_id", "advertising_id")
ASKED = ("buyers", "lookers", "everybody")
RULES = Rules(owners_max=2)
"""So that few people make a kiosk."""

steps = st.tuples(
    st.sampled_from(("login", "view", "order", "app", "app", "logout", "merge", "split")),
    st.integers(0, 4),  # who
    st.integers(0, 2),  # on which browser or phone
    st.booleans(),  # by name or not
    st.sampled_from((None, True, False)),  # consents
    st.sampled_from((MINUTE, HOUR, 7 * HOUR)),  # how long after the step before
)


class Ports:
    """A store that has nothing but its ports, as one on other servers."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        if name in ("reaching", "columns"):
            raise AttributeError(name)
        return getattr(self._store, name)


def live(shop: Shop, moves: list[tuple[Any, ...]]) -> None:
    """What people do, one after the other."""
    for number, (what, who, where, named, granted, later) in enumerate(moves):
        shop.now += later
        user = f"u{who}" if named else ""
        fields: dict[str, Any] = {"at": shop.now, "user": user, "browser": f"b{where}"}
        if granted is not None:
            key = "allowedConsentIds" if granted else "deniedConsentIds"
            fields["context"] = {"consentManagement": {key: ["ads"]}}
        if what == "login":
            shop.see(type="identify", traits={"email": f"{user or 'x'}@x.com"}, **fields)
        elif what == "app":
            phone = {
                "device": {
                    "id": f"d{where}",
                    "advertisingId": f"{where:08d}-aaaa-4aaa-8aaa-aaaaaaaaaaaa",
                }
            }
            fields["context"] = fields.get("context", {}) | phone
            shop.see(view="tea", **fields | {"browser": f"a{where}"})
        elif what == "logout":
            shop.see(event="Logged Out", **fields)
        elif what in ("merge", "split"):
            decide(shop, what, f"d{number}", f"u{who}", f"u{(who + 1) % 5}")
        else:
            fields |= {"view": "tea"} if what == "view" else {"event": "Order Completed"}
            shop.see(**fields)


def decide(shop: Shop, what: str, name: str, one: str, other: str) -> None:
    found = [shop.find(user_id=each) for each in (one, other)]
    profiles = [each.profile.id for each in found if each]
    draft = Draft(name, "meera", "", shop.now)
    with suppress(DecisionRefused):  # what stands may say otherwise
        if what == "merge" and len(set(profiles)) == 2:
            shop.decide(merge(shop.store, draft, profiles))
        elif what == "split" and len(profiles) == 2 and len(set(profiles)) == 1:
            nodes = [shop.keys.hasher().node("user_id", each) for each in (one, other)]
            shop.decide(split(draft, [[node] for node in nodes]))


def members(shop: Shop, store: Any, purposes: tuple[str, ...]) -> list[Recipient]:
    audience = StoreAudience(
        store, shop.rules, shop.reader, shop.keys.vault(), Catalogues(shop.store.definitions),
        lambda: shop.now, TYPES,
    )  # fmt: skip
    return [each for batch in audience.members(ASKED, purposes) for each in batch]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)  # fmt: skip
@given(st.lists(steps, min_size=5, max_size=40))
def test_an_export_reaches_whom_the_plain_ports_say(moves: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(Path(folder), RULES)
        try:
            shop.now = NOON
            shop.define(SEGMENTS)
            live(shop, moves)
            shop.settle()
            check(shop)
        finally:
            shop.close()


def check(shop: Shop) -> None:
    right = plain_members(shop.store, shop.rules, shop.keys.vault(), ASKED, TYPES)
    expected = [right[node] for node in sorted(right)]
    assert members(shop, shop.store, ()) == expected
    assert members(shop, Ports(shop.store), ()) == expected
    # Of who does not consent nothing is read that could be told.
    gated = [
        each if each.consent.get("ads") is True else msgspec.structs.replace(each, identifiers=())
        for each in expected
    ]
    assert members(shop, shop.store, ("ads",)) == gated
    listed: dict[tuple[str, str], Node] = {}
    for each in expected:
        for identifier in each.identifiers:
            assert (
                listed.setdefault((identifier.type, identifier.value), each.profile_id)
                == each.profile_id
            )

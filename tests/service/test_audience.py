"""Audiences of a real store: who is sent follows from events alone, device by device."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from destinations.audience import Recipient, Transition
from destinations.destination import Mode
from destinations.errors import ExportRefused
from destinations.folders import LocalFolder
from destinations.gate import Gate, Permission
from destinations.lotame import Lotame
from destinations.running import Exporter, Order
from destinations.settings import LotameSettings
from identity.nodes import Node
from ingest.deciding import DecidingHere, Draft, merge
from service.audience import StoreAudience
from service.recipients import Opening
from storage.catalogues import Catalogues
from storage.segment_ports import Delivery
from tests.destinations.lotame_reader import memberships, read_day
from tests.ingest.segments.shop import Shop
from tests.workspace import DAY, HOUR, NOON

SEGMENTS = """
buyers: {event: Order Completed, within: 30d}
lookers: {event: Product Viewed}
chronic: {name: Chronic care, sensitive: true, event: Order Completed}
worse: {all: [{segment: chronic}]}
"""
TYPES = ("user_id", "email", "anonymous_id", "advertising_id")
GRANTED = {"consentManagement": {"allowedConsentIds": ["ads"]}}
DENIED = {"consentManagement": {"deniedConsentIds": ["ads"]}}
PHONE = "cdda802e-fb9c-47ad-9866-0794d394c912"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    made.define(SEGMENTS)
    yield made
    made.close()


def audience(
    shop: Shop, types: Collection[str] = TYPES, traits: Collection[str] = ()
) -> StoreAudience:
    shop.segments.settle()
    return StoreAudience(
        shop.store, shop.rules, shop.reader, shop.keys.vault(), Catalogues(shop.store.definitions),
        lambda: shop.now, types, traits,
    )  # fmt: skip


def people(some: StoreAudience, *segments: str) -> dict[str, Recipient]:
    """By their user id, else by the first identifier."""
    found = [each for batch in some.members(segments) for each in batch]
    names = [
        next((i.value for i in each.identifiers if i.type == "user_id"), each.identifiers[0].value)
        for each in found
    ]
    assert len(set(names)) == len(names)
    return dict(zip(names, found, strict=True))


def values(recipient: Recipient, type_name: str) -> list[str]:
    return [each.value for each in recipient.identifiers if each.type == type_name]


def node(shop: Shop, user: str) -> Node:
    return shop.profile(user_id=user).id


def login(shop: Shop, user: str, browser: str, at: int, **fields: Any) -> None:
    shop.see(
        type="identify", user=user, browser=browser, at=at, traits={"email": f"{user}@x.com", "city": "Pune"},
        **fields,
    )  # fmt: skip


def test_a_member_comes_with_identifiers_consent_and_segments(shop: Shop) -> None:
    phone = {"device": {"id": "d1", "advertisingId": PHONE}}
    login(shop, "asha", "b1", NOON, context=GRANTED | phone)
    shop.order("asha")
    found = people(audience(shop), "buyers", "lookers", "chronic")
    assert found.keys() == {"asha"}
    asha = found["asha"]
    assert values(asha, "email") == ["asha@x.com"]
    assert values(asha, "anonymous_id") == ["b1"]
    assert values(asha, "advertising_id") == [PHONE]
    assert asha.consent == {"ads": True}
    assert asha.segments.keys() == {"buyers", "chronic", "worse"}
    assert list(asha.identifiers) == sorted(asha.identifiers)


def test_only_wanted_types_and_traits_are_read(shop: Shop) -> None:
    login(shop, "asha", "b1", NOON)
    shop.order("asha")
    (asha,) = people(audience(shop, ("anonymous_id",), ("city",)), "buyers").values()
    assert [each.type for each in asha.identifiers] == ["anonymous_id"]
    assert asha.traits == {"city": "Pune"}


def test_each_profile_is_there_once_whatever_segments_it_is_in(shop: Shop) -> None:
    for number in range(30):
        shop.order(f"u{number}")
        if number % 2:
            shop.see(user=f"u{number}", view="tea")
    shop.see(browser="b9", view="tea")
    found = people(audience(shop), "buyers", "lookers")
    assert found.keys() == {f"u{number}" for number in range(30)} | {"b9"}


def test_a_shared_browser_is_its_last_users(shop: Shop) -> None:
    login(shop, "asha", "b1", NOON)
    login(shop, "ravi", "b1", NOON + 5 * HOUR)
    shop.order("asha")
    shop.order("ravi")
    found = people(audience(shop), "buyers")
    assert values(found["asha"], "anonymous_id") == []
    assert values(found["ravi"], "anonymous_id") == ["b1"]


def test_an_advertising_id_is_that_of_the_phones_last_user(shop: Shop) -> None:
    phone = {"device": {"id": "d1", "advertisingId": PHONE}}
    for user, later in (("asha", 0), ("ravi", 5 * HOUR)):
        login(shop, user, f"app-of-{user}", NOON + later, context=phone)
        shop.order(user)
    found = people(audience(shop), "buyers")
    assert values(found["asha"], "advertising_id") == []
    assert values(found["ravi"], "advertising_id") == [PHONE]


def test_a_browser_of_too_many_is_nobodys(shop: Shop) -> None:
    for number in range(shop.rules.owners_max + 1):
        login(shop, f"u{number}", "kiosk", NOON + number * 5 * HOUR)
        shop.order(f"u{number}")
    found = people(audience(shop), "buyers")
    assert all(values(each, "anonymous_id") == [] for each in found.values())


def test_a_segment_that_names_a_sensitive_one_is_sensitive(shop: Shop) -> None:
    some = audience(shop)
    marked = {key for key in some.segments() if (info := some.segment(key)) and info.sensitive}
    assert marked == {"chronic", "worse"}
    assert some.segment("nowhere") is None


def test_transitions_are_read_in_pages_up_to_the_newest(shop: Shop) -> None:
    some = audience(shop)
    begin = some.newest()
    for number in range(7):
        shop.order(f"u{number}")
    found: list[Transition] = []
    token = begin
    while page := some.changes(["buyers"], token, 3)[0]:
        token = some.changes(["buyers"], token, 3)[1]
        found += page
    assert [(each.segment, each.entered, each.reason) for each in found] == [
        ("buyers", True, "event")
    ] * 7
    assert len({each.message_id for each in found}) == 7
    assert some.changes(["buyers"], some.newest(), 3) == ([], some.newest())


def test_a_lost_id_leads_to_who_it_became_and_who_left_all_is_still_known(shop: Shop) -> None:
    shop.order("asha")
    shop.order("ravi")
    before = {name: node(shop, name) for name in ("asha", "ravi")}
    draft = Draft("d1", "meera", "one person", shop.now)
    DecidingHere(shop.store, shop.rules).make(merge(shop.store, draft, list(before.values())))
    found = audience(shop).recipients(before.values())
    assert len({each.profile_id for each in found.values()}) == 1
    shop.wait(40 * DAY)
    (left,) = {
        each.profile_id: each for each in audience(shop).recipients(before.values()).values()
    }.values()
    assert "buyers" not in left.segments
    assert sorted(values(left, "user_id")) == ["asha", "ravi"]


def export(
    shop: Shop, folder: Path, mode: Mode
) -> tuple[Delivery, dict[tuple[str, str], set[str]]]:
    out = folder / "out"
    (folder / "staging").mkdir(exist_ok=True)
    lotame = Lotame(LotameSettings(), LocalFolder(out))
    exporter = Exporter(
        lotame,
        audience(shop, lotame.types),
        shop.store.deliveries,
        lambda: shop.now,
        folder / "staging",
    )
    order = Order(
        name="lotame", permission=Permission(segments=("buyers", "lookers")), gate=Gate(("ads",)), mode=mode,
        who="test",
    )  # fmt: skip
    done = exporter.run(order).delivery
    return done, memberships(read_day(max(out.iterdir())))


def test_events_become_lotames_files_and_then_what_changed(shop: Shop, tmp_path: Path) -> None:
    login(shop, "asha", "b1", NOON, context=GRANTED)
    login(shop, "ravi", "b2", NOON, context=DENIED)
    login(shop, "om", "b3", NOON)
    for user in ("asha", "ravi", "om"):
        shop.order(user)
    done, rows = export(shop, tmp_path, "delta")
    assert rows == {("TPID", "b1"): {"buyers"}}
    assert done.withheld == {"consent_refused": 1, "no_consent": 1}
    # A day later Asha looks around, Om agrees, and somebody new comes who has not been asked.
    shop.wait(DAY)
    shop.see(user="asha", browser="b1", view="tea", at=shop.now)
    shop.see(user="om", browser="b3", view="tea", at=shop.now, context=GRANTED)
    shop.see(browser="b4", view="tea", at=shop.now)
    done, rows = export(shop, tmp_path, "delta")
    assert done.mode == "delta"
    both = {"buyers", "lookers"}
    assert rows == {("TPID", "b1"): both, ("TPID", "b3"): both}
    # A month after her order, time alone takes her out.
    shop.wait(30 * DAY)
    done, rows = export(shop, tmp_path, "delta")
    assert rows[("TPID", "b1")] == {"lookers"}
    row = next(r for r in read_day(max((tmp_path / "out").iterdir())) if r["userid"] == "b1")
    assert row["remove"] == [{"name": "buyers"}]


def test_who_withdraws_is_told_to_have_left_and_who_never_consented_is_not_mentioned(
    shop: Shop, tmp_path: Path
) -> None:
    login(shop, "asha", "b1", NOON, context=GRANTED)
    login(shop, "ravi", "b2", NOON)
    for user in ("asha", "ravi"):
        shop.order(user)
    export(shop, tmp_path, "delta")
    shop.wait(DAY)
    for user, browser in (("asha", "b1"), ("ravi", "b2")):
        shop.see(user=user, browser=browser, view="tea", at=shop.now, context=DENIED)
    done, rows = export(shop, tmp_path, "delta")
    assert done.mode == "delta"
    assert rows == {("TPID", "b1"): set()}
    (row,) = read_day(max((tmp_path / "out").iterdir()))
    assert {each["name"] for each in row["remove"]} >= {"buyers"}
    # From then on she is no more talked of.
    shop.wait(DAY)
    shop.order("asha")
    _, rows = export(shop, tmp_path, "delta")
    assert rows == {}


def counted(batch: Sequence[Recipient]) -> list[tuple[Node, int]]:
    """Work that can be sent to another process."""
    return [(each.profile_id, len(each.identifiers)) for each in batch]


def test_other_processes_find_what_this_one_finds_in_the_same_order(shop: Shop) -> None:
    for number in range(60):
        login(shop, f"u{number}", f"b{number}", NOON, context=GRANTED if number % 3 else DENIED)
        shop.order(f"u{number}")
    shop.segments.settle()
    opening = Opening(shop.store.opener, shop.rules, shop.keys, TYPES, ())
    together = StoreAudience(
        shop.store, shop.rules, shop.reader, shop.keys.vault(), Catalogues(shop.store.definitions),
        lambda: shop.now, TYPES, opening=opening, together_min=0,
    )  # fmt: skip
    asked = (["buyers", "lookers"], ["ads"], counted)
    found = [each for batch in together.each(*asked) for each in batch]
    assert found == [each for batch in audience(shop).each(*asked) for each in batch]
    assert len(found) == 60
    assert sum(many for _, many in found) == 3 * 40


def refuse(batch: Sequence[Recipient]) -> None:
    raise ExportRefused("not like this")


def test_what_fails_in_another_process_fails_here(shop: Shop) -> None:
    login(shop, "asha", "b1", NOON)
    shop.order("asha")
    opening = Opening(shop.store.opener, shop.rules, shop.keys, TYPES, ())
    together = StoreAudience(
        shop.store, shop.rules, shop.reader, shop.keys.vault(), Catalogues(shop.store.definitions),
        lambda: shop.now, TYPES, opening=opening, together_min=0,
    )  # fmt: skip
    with pytest.raises(ExportRefused, match="not like this"):
        list(together.each(["buyers"], [], refuse))

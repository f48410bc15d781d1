"""A browser of many people: it is nobody's until people change, and whoever used it is looked at without it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from identity.nodes import Node
from identity.rules import Rules
from ingest.deciding import DecidingHere, Draft, merge, undo
from ingest.segments.evaluating import Evaluator
from ingest.segments.here import Segments
from tests.ingest.segments.shop import Shop
from tests.workspace import DAY, HOUR, NOON

GUESTS = ("asha", "ravi", "zoya")
LOOKERS = """
lookers: {event: Product Viewed, count: {at_least: 2}}
browsers: {has: anonymous_id}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A kiosk that three used in turn, each after looking around; two would be its owners."""
    made = Shop(tmp_path, Rules(owners_max=2))
    made.define(LOOKERS)
    for n, guest in enumerate(GUESTS):
        for view in ("i1", "i2"):
            made.see(browser="kiosk", view=view, at=NOON + n * DAY)
        made.see(browser="kiosk", user=guest, type="identify", at=NOON + n * DAY)
    made.now = NOON + 3 * DAY
    yield made
    made.close()


def right(shop: Shop) -> dict[str, set[Node]]:
    """Who is in each segment, of everybody afresh, whatever is stored of kiosks."""
    evaluator = Evaluator(shop.store, shop.rules)
    found: dict[str, set[Node]] = {key: set() for key in shop.catalogue().segments}
    everybody = shop.store.parts.leaves(None, 100)
    for profile, standing in evaluator.current(everybody, shop.catalogue(), shop.now).items():
        for key in standing.segments:
            found[key].add(profile)
    return found


def stored(shop: Shop) -> dict[str, set[Node]]:
    shop.segments.settle()
    return {
        key: {node for node, _ in shop.store.memberships.members(key, None, 100)}
        for key in shop.catalogue().segments
    }


def test_who_used_it_has_none_of_its_visits(shop: Shop) -> None:
    assert shop.members("lookers") == {"kiosk"}
    assert stored(shop) == right(shop)


def test_what_they_do_elsewhere_counts_and_that_they_used_a_browser_is_known(shop: Shop) -> None:
    for view in ("i1", "i2"):
        shop.see(user="asha", view=view, at=shop.now)
    assert shop.members("lookers") == {"asha", "kiosk"}
    assert shop.members("browsers") == {*GUESTS, "kiosk"}
    assert stored(shop) == right(shop)


def test_when_people_are_fewer_its_visits_are_theirs_until_that_is_undone(shop: Shop) -> None:
    deciding = DecidingHere(shop.store, shop.rules)
    nodes = [shop.keys.hasher().node("user_id", guest) for guest in GUESTS[:2]]
    made = deciding.make(merge(shop.store, Draft("d1", "op", "same", shop.now), nodes))
    assert len(shop.members("lookers")) == 2
    assert stored(shop) == right(shop)
    shop.see(user="zoya", view="i3", at=shop.now + HOUR)
    assert stored(shop) == right(shop)
    (change,) = made.applied or ()
    deciding.make(undo(shop.store, Draft("d2", "op", "not the same", shop.now), change))
    assert shop.members("lookers") == {"kiosk"}
    assert stored(shop) == right(shop)


def test_by_other_rules_it_may_be_a_browser_of_a_few(shop: Shop) -> None:
    shop.rules = Rules(owners_max=5)
    shop.segments = Segments(shop.store, shop.rules, lambda: shop.now)
    node = shop.keys.hasher().node("user_id", "asha")
    with shop.store.transaction():
        shop.segments.touch({node: None})
    assert "asha" in shop.members("lookers")

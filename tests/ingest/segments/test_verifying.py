"""`verify` works out again who is in a segment."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.verify import Report, verify
from profiles.segments.membership import Standing
from tests.ingest.segments.shop import Shop
from tests.workspace import DAY


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    made.define("buyers: {event: Order Completed, within: 30d}")
    made.order("asha")
    made.see(browser="b1", view="aspirin")
    yield made
    made.close()


def verified(shop: Shop) -> Report:
    return verify(shop.store, shop.keys, shop.rules, shop.sources.named, now_ms=shop.now)


def test_what_is_kept_of_segments_follows_from_what_happened(shop: Shop) -> None:
    report = verified(shop)
    assert report.right, report.examples
    assert report.evaluated == 2
    shop.wait(30 * DAY)
    assert verified(shop).right


def test_a_member_who_should_be_none_is_found(shop: Shop) -> None:
    ((asha, _),) = shop.store.memberships.members("buyers", None, 10)
    shop.store.memberships.write([Standing(profile_id=asha)], [])
    (found,) = verified(shop).examples
    assert (found.what, found.id) == ("segment", asha.hex())
    assert "buyers" in found.detail


def test_who_is_still_due_differs(shop: Shop) -> None:
    shop.now += 30 * DAY
    assert [each.what for each in verified(shop).examples] == ["segment"]

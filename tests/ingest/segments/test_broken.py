"""A stored definition that this version cannot read is left out and said to be; the others stay right."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.segments.defining import Refused, apply, plan
from profiles.segments.catalogue import Edit, Put
from storage.catalogues import Catalogues
from tests.ingest.segments.shop import Shop
from tests.workspace import NOON

OF_TOMORROW = {"event": "Order Completed", "near": {"city": "Pune"}}
BUYERS = {"event": "Order Completed"}
LOYAL = {"event": "Order Completed", "where": {"total": {"at_least": 5}}}
NAMES_IT = {"all": [{"segment": "tomorrow"}]}
NAMES_THAT = {"not": {"segment": "names-it"}}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.close()


def put(shop: Shop, **trees: object) -> None:
    """An edit as another version wrote it, unchecked."""
    made = tuple(Put(key.replace("_", "-"), tree) for key, tree in trees.items() if tree)
    gone = tuple(key.replace("_", "-") for key, tree in trees.items() if not tree)
    revision = shop.segments.catalogue().revision + 1
    edit = Edit(revision=revision, time_ms=NOON, author="v2", put=made, removed=gone)
    assert shop.store.definitions.append(edit)


def test_the_others_go_on(shop: Shop) -> None:
    put(shop, buyers=BUYERS, tomorrow=OF_TOMORROW, names_it=NAMES_IT, names_that=NAMES_THAT)
    shop.order("asha")
    shop.segments.fill()

    catalogue = shop.segments.catalogue()
    assert shop.members("buyers") == {"asha"}
    assert list(catalogue.segments) == ["buyers"]
    assert sorted(catalogue.broken) == ["names-it", "names-that", "tomorrow"]
    assert catalogue.broken["tomorrow"].startswith("near: ")


def test_what_was_mended_comes_back_and_so_does_what_names_it(shop: Shop) -> None:
    put(shop, tomorrow=OF_TOMORROW, names_it=NAMES_IT, names_that=NAMES_THAT)
    shop.order("asha")
    put(shop, tomorrow=BUYERS)
    shop.segments.fill()

    assert shop.segments.catalogue().broken == {}
    assert shop.members("tomorrow") == shop.members("names-it") == {"asha"}


def test_it_can_be_removed_but_what_names_it_stays_out(shop: Shop) -> None:
    put(shop, buyers=BUYERS, tomorrow=OF_TOMORROW, names_it=NAMES_IT)
    with pytest.raises(Refused, match=r"tomorow: is not in force.*did you mean tomorrow"):
        plan(shop.segments.catalogue(), {}, removed=["tomorow"])
    made = plan(shop.segments.catalogue(), {}, removed=["tomorrow"])
    assert apply(shop.store.definitions, made, author="asha", note="", now_ms=NOON)
    shop.order("asha")
    shop.segments.fill()

    assert list(shop.segments.catalogue().broken) == ["names-it"]
    assert shop.members("buyers") == {"asha"}


def test_a_version_that_reads_less_keeps_the_others_hits_apart(shop: Shop) -> None:
    """What parts hold under a number means the same to both versions."""
    put(shop, a_first={"event": "Product Viewed"}, loyal=LOYAL)
    put(shop, z_last={"event": "Cart Viewed"})
    whole = Catalogues(shop.store.definitions).now().numbers
    shop.close()
    again = Shop(shop.path.parent / "other")
    put(again, a_first=OF_TOMORROW, loyal=LOYAL)
    put(again, z_last={"event": "Cart Viewed"})
    less = Catalogues(again.store.definitions).now().numbers
    again.close()

    assert len(less) == 2
    assert less.items() <= whole.items()


def test_one_id_is_one_thing(shop: Shop) -> None:
    trait = {"trait": "orders", "event": "Order Completed", "count": True}
    put(shop, orders=trait)
    with pytest.raises(Refused, match="is the name of a computed trait that is in force"):
        plan(shop.segments.catalogue(), {"orders": BUYERS})
    with pytest.raises(Refused, match="is defined twice"):
        plan(shop.segments.catalogue(), {"a": {"id": "b", **BUYERS}, "b": BUYERS})
    with pytest.raises(Refused, match="is to be removed, too"):
        plan(shop.segments.catalogue(), {"orders": trait}, removed=["orders"])

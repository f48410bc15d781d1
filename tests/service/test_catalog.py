"""`CatalogService`: upsert, get, list."""

from typing import Any

import grpc
import pytest

from service.pb.onefold.v1 import catalog_service_pb2 as pb
from service.pb.onefold.v1 import common_pb2
from service.rpc import limits
from tests.service.conftest import TIMEOUT_S, Api
from tests.service.refusals import refused
from tests.workspace import NOON


def upsert(api: Api, *items: pb.Item) -> int:
    return api.catalog.UpsertItems(pb.UpsertItemsRequest(items=items), timeout=TIMEOUT_S).item_count


def get(api: Api, item_id: str) -> pb.Item:
    return api.catalog.GetItem(pb.GetItemRequest(item_id=item_id), timeout=TIMEOUT_S).item


def soap(**fields: Any) -> pb.Item:
    whole: dict[str, Any] = {"item_id": "soap", "name": "Soap"}
    return pb.Item(**whole | fields)


def test_an_item_comes_back_as_it_was_given(api: Api) -> None:
    item = soap(
        category="Care/Skin", brand="Lux", in_stock=False, sensitive=True, url="https://x/soap",
        image_url="https://x/soap.png",
        price=common_pb2.Money(currency_code="INR", units=49, nanos=990_000_000),
        attributes={
            "colour": common_pb2.Value(string_value="white"), "grams": common_pb2.Value(int_value=75),
            "ph": common_pb2.Value(double_value=7.5), "vegan": common_pb2.Value(bool_value=True),
        },
    )  # fmt: skip
    item.update_time.FromMilliseconds(NOON)
    assert upsert(api, item) == 1

    assert get(api, "soap") == item


def test_an_item_is_in_stock_and_of_now_unless_it_says_otherwise(api: Api) -> None:
    upsert(api, soap())

    assert get(api, "soap").in_stock
    assert get(api, "soap").update_time.ToMilliseconds() == NOON
    assert not get(api, "soap").HasField("price")


def test_an_older_item_changes_nothing(api: Api) -> None:
    upsert(api, soap())
    older = soap(name="Old soap")
    older.update_time.FromMilliseconds(NOON - 1)
    upsert(api, older)

    assert get(api, "soap").name == "Soap"


def test_an_unknown_item_is_not_found(api: Api) -> None:
    said = refused(lambda: get(api, "ghost"))
    assert (said.code, said.reason) == (grpc.StatusCode.NOT_FOUND, "ITEM_NOT_FOUND")


@pytest.mark.parametrize(
    ("item", "field"),
    [
        (soap(item_id=""), "item_id"),
        (soap(item_id="x" * 201), "item_id"),
        (soap(item_id=" soap"), "item_id"),
        (soap(name="x" * 4001), "name"),
        (soap(price=common_pb2.Money(units=-1)), "price"),
        (soap(price=common_pb2.Money(units=1, nanos=-1)), "price"),
        (soap(price=common_pb2.Money(nanos=10**9)), "price"),
        (soap(price=common_pb2.Money(units=2**62)), "price"),
        (soap(attributes={"a": common_pb2.Value()}), "attributes[a]"),
        (soap(attributes={"a": common_pb2.Value(json_value="[]")}), "attributes[a]"),
        (soap(attributes={"a": common_pb2.Value(string_value="x" * 4001)}), "attributes[a]"),
        (soap(attributes={f"a{n}": common_pb2.Value(int_value=n) for n in range(101)}), "attributes"),
        (soap(update_time={"seconds": 2**60}), "update_time"),
    ],
)  # fmt: skip
def test_a_malformed_item_is_refused_and_none_is_taken(api: Api, item: pb.Item, field: str) -> None:
    said = refused(lambda: upsert(api, soap(item_id="good"), item))

    assert (said.code, said.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [f"items[1].{field}"])
    assert refused(lambda: get(api, "good")).reason == "ITEM_NOT_FOUND"


def test_an_item_is_named_once(api: Api) -> None:
    assert refused(lambda: upsert(api, soap(), soap())).fields == ["items[1].item_id"]


def test_too_many_items_are_refused(api: Api) -> None:
    items = [soap(item_id=f"i{n}") for n in range(limits.ITEMS_MAX + 1)]
    assert refused(lambda: upsert(api, *items)).fields == ["items"]


@pytest.mark.parametrize("size", [1, 3, 7, 8, 0])
def test_pages_together_are_the_whole_catalogue(api: Api, size: int) -> None:
    upsert(api, *(soap(item_id=f"i{n}") for n in range(7)))
    seen: list[str] = []
    token = ""
    while True:
        page = api.catalog.ListItems(
            pb.ListItemsRequest(page_size=size, page_token=token), timeout=TIMEOUT_S
        )
        seen += [item.item_id for item in page.items]
        if not (token := page.next_page_token):
            break

    assert seen == [f"i{n}" for n in range(7)]


def test_a_page_stays_below_what_a_client_receives(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    upsert(api, *(soap(item_id=f"i{n}") for n in range(7)))
    monkeypatch.setattr(limits, "REPLY_BYTES_MAX", 30)
    page = api.catalog.ListItems(pb.ListItemsRequest(), timeout=TIMEOUT_S)

    assert 0 < len(page.items) < 7
    assert page.next_page_token


def test_a_token_that_we_did_not_make_is_refused(api: Api) -> None:
    said = refused(lambda: api.catalog.ListItems(pb.ListItemsRequest(page_token="aTI")))
    assert said.fields == ["page_token"]
    said = refused(lambda: api.catalog.ListItems(pb.ListItemsRequest(page_size=-5)))
    assert said.fields == ["page_size"]

"""Attribution: what events with tokens come to."""

import random
from typing import Any

import msgspec
import pytest

from identity.nodes import Node
from models.attribution import EARLY_MS, WINDOW_MS, Shown, report, wilson
from storage.ports import TimelineRow

NOW = 1_790_000_000_000
LEAF = Node(bytes(16))


def shown(name: str, surface: str = "FOR_YOU", model: str = "als", version: str = "v1") -> Shown:
    return Shown(surface, model, version, NOW, name.encode())


ANSWERS = {
    "a1": shown("a1"), "a2": shown("a2"), "a3": shown("a3", version="v2"),
    "t1": shown("t1", "TRENDING", "trending"),
}  # fmt: skip


def event(name: str, at: int = 1, message: str = "", **properties: Any) -> TimelineRow:
    return TimelineRow(
        leaf=LEAF, key_ms=NOW + at, message_id=message or repr((name, at, properties)), offset=0,
        time_ms=NOW + at, received_ms=NOW, type="track", name=name, source="web",
        raw=msgspec.json.encode({"properties": properties}),
    )  # fmt: skip


def product(item: str, token: str = "", **fields: Any) -> dict[str, Any]:
    return {"product_id": item, **({"attribution_token": token} if token else {}), **fields}


EVENTS = [
    event("Recommendation Shown", attribution_token="a1"),
    event("Recommendation Shown", 2, attribution_token="a1"),
    event("Product List Viewed", attribution_token="a2", products=[product("x"), product("y")]),
    event("Product List Viewed", products=[product("x", "t1"), product("y", "a3")]),
    event("Product Clicked", **product("x", "a1")),
    event("Product Viewed", 2, **product("x", "a1")),
    event("Product Added", 3, **product("y", "a1")),
    event("Product Viewed", 4, **product("z")),
    event(
        "Order Completed", 5, order_id="o1", currency="INR",
        products=[product("x", "a1", price=10.5, quantity=2), product("w", price=99)],
    ),
    event(
        "Order Completed", 6, order_id="o1", currency="INR",
        products=[product("x", "a1", price=10.5, quantity=3)],
    ),
    event("Order Completed", 7, order_id="o2", products=[product("y", "t1", price="7")]),
]  # fmt: skip


def lines(rows: list[TimelineRow], **options: Any) -> dict[str, tuple[Any, ...]]:
    found = report(rows, ANSWERS.get, **options)
    return {
        f"{each.surface} {each.model} {each.version}".strip(): (
            each.shown, each.clicked, each.clicks, each.orders, each.revenue
        )
        for each in found.lines
    }  # fmt: skip


def test_answers_clicks_and_orders_are_counted_once_each() -> None:
    assert lines(EVENTS) == {
        "FOR_YOU als": (3, 1, 2, 1, {"INR": 21.0}),
        "TRENDING trending": (1, 1, 1, 1, {"XXX": 7.0}),
    }


def test_versions_can_be_told_apart() -> None:
    by_version = lines(EVENTS, by_version=True)
    assert by_version["FOR_YOU als v1"][:2] == (2, 1)
    assert by_version["FOR_YOU als v2"][:2] == (1, 0)


def test_order_and_repetition_of_events_change_nothing() -> None:
    shuffled = EVENTS * 2
    random.Random(3).shuffle(shuffled)
    assert lines(shuffled) == lines(EVENTS)


def test_what_cannot_be_is_left_out_and_counted() -> None:
    found = report(
        [
            event("Product Clicked", **product("x", "forged")),
            event("Product Clicked", attribution_token=7, product_id="x"),
            event("Product Clicked", attribution_token="a" * 401),
            event("Product Clicked", WINDOW_MS + 1, **product("x", "a1")),
            event("Product Clicked", -EARLY_MS - 1, **product("x", "a1")),
            event("Order Completed", products="attribution_token"),
            event("Something Else", attribution_token="a1"),
        ],
        ANSWERS.get,
    )
    assert (found.lines, found.forged, found.outside) == ([], 3, 2)


def test_an_order_without_a_price_is_an_order() -> None:
    rows = [event("Order Completed", order_id="o", products=[product("x", "a1", price="free")])]
    assert lines(rows) == {"FOR_YOU als": (1, 1, 1, 1, {})}


def test_the_interval_of_a_share() -> None:
    low, high = wilson(10, 100)
    assert (low, high) == pytest.approx((0.0552, 0.1744), abs=1e-3)
    assert wilson(0, 0) == (0, 1)
    assert wilson(0, 5)[0] == 0
    assert wilson(5, 5)[1] == 1

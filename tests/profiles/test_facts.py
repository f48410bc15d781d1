"""Money, products and names as real events spell them."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.event import Event
from profiles.facts import CANONICAL, Item, Kind, facts_of, items_of
from profiles.money import AMOUNT_MAX, NO_CURRENCY, currency_of, micros, quantity_of


def track(name: str, **properties: Any) -> Event:
    return Event(
        type="track", message_id="m", received_ms=1, time_ms=1, key_ms=1, source="web", name=name,
        user_id="u", properties=properties,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("stated", "millionths"),
    [
        (1, 1_000_000), (2.55, 2_550_000), ("2.55", 2_550_000), ("1,234.50", 1_234_500_000),
        (0.1 + 0.2, 300_000), (-3.5, -3_500_000), ("  7 ", 7_000_000), (0, 0), ("1e3", 1_000_000_000),
        (None, None), ("", None), ("free", None), (True, None), (math.nan, None), (math.inf, None),
        ("NaN", None), ("Infinity", None), (10**30, None), ("9" * 80, None), ([1], None), ({}, None),
    ],
)  # fmt: skip
def test_amounts_are_read_from_whatever_states_them(stated: Any, millionths: int | None) -> None:
    assert micros(stated) == millionths


@given(st.decimals(-AMOUNT_MAX // 1000, AMOUNT_MAX // 1000, places=4))
def test_a_float_is_read_as_the_decimal_that_was_written(amount: Any) -> None:
    assert micros(float(amount)) == micros(str(amount)) == int(amount * 10**6)


@pytest.mark.parametrize(
    ("stated", "read"), [(3, 3), ("4", 4), (2.5, 2.5), (0, 1), (-2, 1), (None, 1), ("many", 1)]
)
def test_a_quantity_is_positive(stated: Any, read: float) -> None:
    assert quantity_of(stated) == read


def test_a_currency_is_in_capitals_or_unknown() -> None:
    assert currency_of(" inr ") == "INR"
    assert currency_of(None) == currency_of("") == currency_of(7) == NO_CURRENCY


@pytest.mark.parametrize("name", ["Order Completed", "order completed", "ORDER COMPLETED"])
def test_ecommerce_names_are_compared_without_case(name: str) -> None:
    assert facts_of(track(name, products=[{"product_id": "a"}]), None).kind is Kind.BOUGHT


def test_revenue_then_total_then_the_lines_give_the_amount() -> None:
    lines = [{"product_id": "a", "price": "2.50", "quantity": 2}, {"sku": "b", "price": 1.25}]
    assert facts_of(track("Order Completed", products=lines), None).amount == 6_250_000
    assert facts_of(track("Order Completed", products=lines, total=9), None).amount == 9_000_000
    both = track("Order Completed", products=lines, total=9, revenue="8")
    assert facts_of(both, None).amount == 8_000_000
    assert facts_of(track("Order Completed", revenue="a lot"), None).amount is None


def test_products_come_from_the_list_or_from_the_properties() -> None:
    assert items_of({"products": [{"product_id": 7, "quantity": "2"}, "junk", {"name": "x"}]}) == (
        Item("7", 2),
    )
    assert items_of({"sku": "s-1"}) == (Item("s-1", 1),)
    assert items_of({"products": "none", "productId": "p"}) == (Item("p", 1),)
    assert items_of({"price": 4}) == ()


def test_an_order_without_an_id_is_its_own() -> None:
    one = facts_of(track("Order Completed"), None)
    assert one.order == one.message


def test_only_identify_changes_traits() -> None:
    fields = {"message_id": "m", "received_ms": 1, "time_ms": 1, "key_ms": 1, "source": "web"}
    page = Event(type="page", traits={"plan": "pro"}, **fields)  # type: ignore[arg-type]
    identify = Event(type="identify", traits={"plan": "pro"}, **fields)  # type: ignore[arg-type]
    assert facts_of(page, None).traits == {}
    assert facts_of(identify, None).traits == {"plan": "pro"}
    assert facts_of(page, None).event == "$page"


def test_every_kind_has_the_spelling_of_the_spec() -> None:
    assert CANONICAL[Kind.BOUGHT] == "Order Completed"
    assert set(CANONICAL) == set(Kind)

import json
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from simulator.catalog import catalog, category_of
from simulator.online_retail import CHARGES, MICROS, Row, events, write
from tests.simulator.conftest import WHOLE
from tests.simulator.spec import faults

NOON = datetime(2011, 3, 1, 12, 0)


def row(
    invoice: str,
    code: str = "20001",
    quantity: int = 1,
    price: float = 1.0,
    customer: str = "17",
    minutes: int = 0,
    country: str = "France",
) -> Row:
    at = NOON + timedelta(minutes=minutes)
    return Row(invoice, code, "Mug", quantity, at, round(price * MICROS), customer, country)


def orders(*rows: Row) -> list[dict[str, Any]]:
    return [event for event in events(rows) if event["type"] == "track"]


def test_an_invoice_is_one_order_and_its_customer_is_identified_before_it() -> None:
    identify, order = events([row("1", quantity=3, price=0.35), row("1", code="20002", price=2.5)])

    assert identify["type"] == "identify"
    assert identify["context"]["traits"] == {
        "email": "customer-17@example.com",
        "country": "France",
    }
    assert order["event"] == "Order Completed"
    assert order["userId"] == "17"
    assert order["properties"]["revenue"] == 3.55
    assert [one["product_id"] for one in order["properties"]["products"]] == ["20001", "20002"]
    assert not faults(identify)
    assert not faults(order)


def test_a_credit_note_is_a_refund_with_positive_amounts() -> None:
    (refund,) = orders(row("C2", quantity=-4, price=1.25))

    assert refund["event"] == "Order Refunded"
    assert refund["properties"]["order_id"] == "C2"
    assert refund["properties"]["revenue"] == 5
    assert refund["properties"]["products"][0]["quantity"] == 4


def test_charges_count_as_revenue_but_are_no_products() -> None:
    (order,) = orders(row("1", price=2), row("1", code="POST", price=18))

    assert order["properties"]["revenue"] == 20
    assert [one["product_id"] for one in order["properties"]["products"]] == ["20001"]
    assert [one["product_id"] for one in order["properties"]["charges"]] == ["POST"]


def test_rows_without_customer_and_ledger_entries_are_skipped() -> None:
    assert orders(row("1", customer=""), row("A2")) == []


def test_lines_of_one_product_at_one_price_become_one() -> None:
    (order,) = orders(row("1", quantity=2), row("1", quantity=3), row("1", price=0.9))

    assert [(p["price"], p["quantity"]) for p in order["properties"]["products"]] == [
        (1, 5),
        (0.9, 1),
    ]


def test_two_invoices_written_at_once_stay_two_orders() -> None:
    found = orders(row("1"), row("2"), row("1", code="20002"), row("3", minutes=90))

    assert [one["properties"]["order_id"] for one in found] == ["1", "2", "3"]
    assert len(found[0]["properties"]["products"]) == 2


def test_an_invoice_that_comes_back_hours_later_is_refused() -> None:
    with pytest.raises(ValueError, match="invoice 1: its rows are hours apart"):
        orders(row("1"), row("2", minutes=90), row("3", minutes=300), row("1", minutes=301))


def test_a_customer_who_moves_is_identified_again() -> None:
    found = list(events([row("1"), row("2"), row("3", country="Spain")]))

    assert [one["type"] for one in found] == ["identify", "track", "track", "identify", "track"]
    assert len({one["messageId"] for one in found}) == 5


def test_the_catalogue_has_the_newest_price_and_knows_what_still_sells() -> None:
    day = 24 * 60
    rows = [
        row("1", price=1.0),
        row("2", code="20002", price=3.0),
        row("2", code="POST", price=9),
        row("3", price=1.5, minutes=90 * day),
        row("C4", price=7.0, quantity=-1, minutes=91 * day),
    ]
    assert [(item.id, item.price, item.in_stock) for item in catalog(rows)] == [
        ("20001", 1.5, True),
        ("20002", 3, False),
    ]


def test_a_category_is_what_a_thing_is_for_before_what_it_is() -> None:
    assert category_of("Christmas mug") == "christmas"
    assert category_of("White hanging heart t-light holder") == "lighting"
    assert category_of("Origami in tube") == ""


@dataclass
class Sums:
    orders: int = 0
    revenue: Decimal = Decimal(0)
    refunds: int = 0
    refunded: Decimal = Decimal(0)


@dataclass
class Told:
    """What a reader of the file finds, with every number read as the decimal that is written there."""

    identified: set[str] = field(default_factory=set)
    by_customer: dict[str, Sums] = field(default_factory=lambda: defaultdict(Sums))
    ids: set[str] = field(default_factory=set)
    products: set[str] = field(default_factory=set)

    def read(self, line: bytes) -> None:
        event = json.loads(line, parse_float=Decimal)
        self.ids.add(event["messageId"])
        if event["type"] == "identify":
            self.identified.add(event["userId"])
            return
        said = event["properties"]
        lines = said["products"] + said.get("charges", [])
        assert said["revenue"] == sum(one["price"] * one["quantity"] for one in lines)
        self.products.update(one["product_id"] for one in said["products"])
        sums = self.by_customer[event["userId"]]
        if event["event"] == "Order Completed":
            sums.orders += 1
            sums.revenue += said["revenue"]
        else:
            sums.refunds += 1
            sums.refunded += said["revenue"]


def pandas_answer() -> dict[str, Sums]:
    """The same by a group-by that shares nothing with the simulator."""
    import pandas as pd

    frame = pd.read_parquet(WHOLE)
    frame = frame[frame["Customer ID"].notna()]
    customer = frame["Customer ID"].astype(int).astype(str)
    credit = frame["Invoice"].str.startswith("C")
    thousandths = (frame["Price"] * 1000).round().astype("int64") * frame["Quantity"]
    answer: dict[str, Sums] = defaultdict(Sums)
    for is_credit, name in ((False, "order"), (True, "refund")):
        chosen = credit == is_credit
        counts = frame["Invoice"][chosen].groupby(customer[chosen]).nunique()
        totals = thousandths[chosen].groupby(customer[chosen]).sum()
        for key in counts.index:
            total = Decimal(int(totals[key])) / 1000
            if name == "order":
                answer[key].orders, answer[key].revenue = int(counts[key]), total
            else:
                answer[key].refunds, answer[key].refunded = int(counts[key]), -total
    return answer


@pytest.mark.slow
def test_customers_orders_and_revenue_equal_a_group_by(whole: list[Row], tmp_path: Path) -> None:
    written = write(tmp_path / "orders.jsonl", events(whole))

    told = Told()
    with (tmp_path / "orders.jsonl").open("rb") as file:
        for line in file:
            told.read(line)

    assert len(told.ids) == written
    assert told.identified == set(told.by_customer)
    assert dict(told.by_customer) == dict(pandas_answer())
    assert len(told.by_customer) == 5_942
    assert sum(one.orders for one in told.by_customer.values()) == 36_975
    assert sum(one.refunds for one in told.by_customer.values()) == 7_901
    assert not told.products & CHARGES

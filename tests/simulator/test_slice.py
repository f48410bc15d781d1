import gzip
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from simulator.make_slice import make
from simulator.online_retail import Row
from simulator.slice import CATALOG, EVENTS, customers_of, orders_of, slice_catalog, slice_events
from tests.simulator.spec import faults

MONTH_MS = 30 * 24 * 3_600_000


def test_the_slice_is_what_its_readme_says() -> None:
    found = list(slice_events())
    kinds = Counter(event.get("event", event["type"]) for event in found)
    readme = EVENTS.with_name("README.md").read_text(encoding="utf-8")

    assert EVENTS.stat().st_size + CATALOG.stat().st_size < 1_600_000
    for count in (*kinds.values(), len(slice_catalog()), len(customers_of(found))):
        assert f"{count:,}" in readme
    assert "https://doi.org/10.24432/C5CG6D" in readme
    assert "CC BY 4.0" in readme


def test_every_event_of_the_slice_is_valid_and_its_money_adds_up() -> None:
    for event in slice_events():
        assert not faults(event)
        if event["type"] == "track":
            said = event["properties"]
            lines = said["products"] + said.get("charges", [])
            total = sum(Decimal(str(one["price"])) * one["quantity"] for one in lines)
            assert total == Decimal(str(said["revenue"]))


def test_the_catalogue_names_every_product_of_the_slice() -> None:
    known = {item.id for item in slice_catalog()}

    assert {one for order in orders_of(slice_events()) for one in order.product_ids} <= known


def test_hundreds_of_customers_of_the_last_month_have_bought_before() -> None:
    orders = orders_of(slice_events())
    cut = orders[-1].time_ms - MONTH_MS
    before = {order.user_id for order in orders if order.time_ms < cut}
    after = {order.user_id for order in orders if order.time_ms >= cut}

    assert len(before & after) >= 300


@pytest.mark.slow
def test_the_shipped_files_are_what_the_command_makes(whole: list[Row], tmp_path: Path) -> None:
    make(whole, tmp_path)

    for shipped in (EVENTS, CATALOG):
        assert _content(tmp_path / shipped.name) == _content(shipped)


def _content(path: Path) -> bytes:
    # Compressed bytes may differ between versions of zlib.
    return gzip.decompress(path.read_bytes())

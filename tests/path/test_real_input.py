"""All of UCI Online Retail II through `onefold ingest`: what profiles say equals a pandas group-by, exactly."""

import gzip
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest

from identity.nodes import Identifier
from ingest.files import find_files
from ingest.loading import load
from simulator.online_retail import events, read_rows
from storage.profiles import Lookup
from tests.workspace import NOON, Workspace

PARQUET = Path(__file__).resolve().parents[3] / "shared" / "data" / "uci_online_retail_II.parquet"

needs_data = pytest.mark.skipif(
    not PARQUET.exists(),
    reason=f"the whole of Online Retail II is not here ({PARQUET.name} in ../shared/data)",
)


def expected() -> "pd.DataFrame":
    """Orders, revenue, refunds and refunded amount per customer, in exact millionths."""
    lines = pd.read_parquet(PARQUET)
    lines = lines[lines["Customer ID"].notna()].copy()
    lines["customer"] = lines["Customer ID"].astype(int).astype(str)
    lines["amount"] = [
        int(Decimal(repr(price)) * 1_000_000) * int(quantity)
        for price, quantity in zip(lines["Price"], lines["Quantity"], strict=True)
    ]
    lines["refund"] = lines["Invoice"].str.startswith("C")
    per = lines.groupby(["customer", "refund"]).agg(
        documents=("Invoice", "nunique"), amount=("amount", "sum")
    )
    wide = per.unstack("refund", fill_value=0)
    return pd.DataFrame(
        {
            "orders": wide["documents"][False], "revenue": wide["amount"][False],
            "refunds": wide["documents"][True], "refunded": wide["amount"][True].abs(),
        }
    )  # fmt: skip


@needs_data
def test_customers_orders_and_revenue_equal_a_group_by(tmp_path: Path) -> None:
    dump = tmp_path / "rudder-logs" / "backend" / "2011-12-09" / "1323388800.backend.json.gz"
    dump.parent.mkdir(parents=True)
    with gzip.open(dump, "wb", compresslevel=1) as file:
        file.writelines(msgspec.json.encode(event) + b"\n" for event in events(read_rows(PARQUET)))
    world = Workspace(tmp_path / "data")
    pattern = str(tmp_path / "rudder-logs" / "**" / "*.json.gz")
    first = load(find_files([pattern]), world.store, world.pipeline, world.sources, NOON)
    assert first.refused == 0
    again = load(find_files([pattern]), world.store, world.pipeline, world.sources, NOON)
    assert (again.skipped, again.counted) == (1, 0)

    wanted = expected()
    assert len(wanted) == 5_942
    for customer, row in wanted.iterrows():
        found = world.reader.get(Lookup(identifiers=(Identifier("user_id", str(customer)),)), NOON)
        assert found is not None, customer
        sums = {s.currency: s for s in found.profile.sums}.get("GBP")
        got = (sums.orders, sums.revenue, sums.refunds, sums.refunded) if sums else (0, 0, 0, 0)
        assert got == tuple(row[["orders", "revenue", "refunds", "refunded"]]), customer
    world.close()


def test_running_it_twice_changes_nothing(tmp_path: Path, as_json: Callable[..., Any]) -> None:
    from simulator.slice import EVENTS

    first = as_json("ingest", str(EVENTS))
    assert (first["events"], first["counted"], first["refused"]) == (11_030, 11_030, 0)
    again = as_json("ingest", str(EVENTS))
    assert (again["skipped"], again["events"]) == (1, 0)
    copy = tmp_path / "copy.jsonl.gz"
    copy.write_bytes(EVENTS.read_bytes())
    repeated = as_json("ingest", str(copy))
    assert (repeated["events"], repeated["counted"]) == (11_030, 0)
    shown = as_json("profile", "show", "--email", "Customer-13078@example.com ", "--events")
    assert shown["orders"][0]["orders"] == 57
    assert len(shown["timeline"]) == 50

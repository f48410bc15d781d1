"""Make the shipped slice again from the whole data set: `python -m simulator.make_slice PARQUET`."""

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from simulator.catalog import catalog
from simulator.online_retail import CHARGES, Row, documents, events, is_refund, read_rows, write
from simulator.slice import CATALOG, DATA, EVENTS

SOURCE: Final = "../shared/data/uci_online_retail_II.parquet"
ORDERS_MIN: Final = 4
"""Fewer orders say too little of a customer's taste to show a recommendation."""
ORDER_LINES_MAX: Final = 14
"""Customers with more lines an order on average are wholesalers, who would fill the file."""
QUIET_DAYS_MAX: Final = 90
"""Customers who last ordered longer ago are gone at the end of the data."""


def chosen_customers(rows: Iterable[Row]) -> set[str]:
    """Customers with several orders of household size, who were still there at the end."""
    orders: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    last: dict[str, datetime] = {}
    for document in documents(rows):
        first = document[0]
        goods = sum(row.code not in CHARGES for row in document)
        if is_refund(first) or not goods:
            continue
        orders[first.customer] += 1
        lines[first.customer] += goods
        last[first.customer] = first.at
    end = max(last.values())
    return {
        customer
        for customer, count in orders.items()
        if count >= ORDERS_MIN
        and lines[customer] <= ORDER_LINES_MAX * count
        and end - last[customer] <= timedelta(days=QUIET_DAYS_MAX)
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the whole data set and write the slice's events and catalogue."""
    parser = argparse.ArgumentParser(prog="python -m simulator.make_slice", description=__doc__)
    parser.add_argument("source", nargs="?", default=SOURCE, help="the data set (parquet)")
    parser.add_argument("--out", type=Path, default=DATA, help="folder of the two files")
    options = parser.parse_args(arguments)
    customers, told, items = make(list(read_rows(options.source)), options.out)
    print(f"{customers:,} customers, {told:,} events, {items:,} products")


def make(rows: list[Row], folder: Path) -> tuple[int, int, int]:
    """Write both files; returns how many customers, events and products they hold."""
    chosen = chosen_customers(rows)
    kept = [row for row in rows if row.customer in chosen]
    told = write(folder / EVENTS.name, events(kept))
    # Prices and stock are the whole shop's; only what the slice names is listed.
    named = {row.code for row in kept}
    items = [msgspec.to_builtins(item) for item in catalog(rows) if item.id in named]
    return len(chosen), told, write(folder / CATALOG.name, items)


if __name__ == "__main__":
    main()

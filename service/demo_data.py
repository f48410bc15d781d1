"""The demo's events as files: a real shop's orders, and the clicks of a web site made around them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from simulator.around_orders import storefront_for
from simulator.online_retail import write
from simulator.slice import CATALOG, EVENTS, customers_of, orders_of, slice_catalog, slice_events
from simulator.truth import Source

SEED: Final = 7
ORDERS: Final = EVENTS
ITEMS: Final = CATALOG


def write_clicks(folder: Path) -> dict[str, Path]:
    """Clicks by the source that sent them; a file each."""
    told = list(slice_events())
    scenario = storefront_for(customers_of(told), slice_catalog(), orders_of(told), SEED)
    by_source: dict[str, list[dict[str, Any]]] = {}
    for event, truth in scenario:
        by_source.setdefault(truth.source.value, []).append(event)
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, events in by_source.items():
        files[name] = folder / f"clicks-{name}.jsonl.gz"
        write(files[name], _each(events))
    return files


def _each(events: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield from events


TRUSTED: Final = Source.BACK_END.value
"""The shop's own servers: the only source whose claims are believed."""

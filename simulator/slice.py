"""The part of Online Retail II that ships with the repository: what `make demo` and tests load."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from simulator.catalog import Item
from simulator.online_retail import Json, read, time_ms

DATA: Final = Path(__file__).parent / "data"
EVENTS: Final = DATA / "online_retail_slice.jsonl.gz"
CATALOG: Final = DATA / "catalog_slice.jsonl.gz"


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """A customer of the shop, as its identify names them."""

    user_id: str
    email: str
    country: str = ""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order that the back end has told; `properties` are those of its event."""

    order_id: str
    user_id: str
    time_ms: int
    product_ids: tuple[str, ...]
    properties: dict[str, Any]


def slice_events() -> Iterator[Json]:
    """The events of the shipped slice, oldest first."""
    return read(EVENTS)


def slice_catalog() -> list[Item]:
    """The products that the shipped slice names."""
    return [msgspec.convert(item, Item) for item in read(CATALOG)]


def customers_of(events: Iterable[Json]) -> list[Customer]:
    """The customers that `events` identify, each once, with their newest traits."""
    found: dict[str, Customer] = {}
    for event in events:
        if event["type"] == "identify":
            traits = event["traits"]
            found[event["userId"]] = Customer(
                user_id=event["userId"], email=traits["email"], country=traits["country"]
            )
    return list(found.values())


def orders_of(events: Iterable[Json]) -> list[Order]:
    """The orders (not refunds) among `events` that name a product."""
    return [
        Order(
            order_id=event["properties"]["order_id"],
            user_id=event["userId"],
            time_ms=time_ms(event["originalTimestamp"]),
            product_ids=tuple(one["product_id"] for one in event["properties"]["products"]),
            properties=event["properties"],
        )
        for event in events
        if event.get("event") == "Order Completed" and event["properties"]["products"]
    ]

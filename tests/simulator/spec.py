"""What RudderStack's event spec asks of a message (docs, and rudder-server's gateway)."""

from datetime import datetime
from typing import Any

import msgspec

NEEDS = {
    "identify": (),
    "track": ("event", "properties"),
    "page": ("name", "properties"),
    "screen": ("name", "properties"),
    "alias": ("userId", "previousId"),
}
CHANNELS = {"web", "mobile", "server"}
PRODUCT: dict[str, type | tuple[type, ...]] = {
    "product_id": str,
    "name": str,
    "price": (int, float),
}


def faults(event: dict[str, Any]) -> list[str]:
    """What is wrong with `event`, in words; empty if nothing is."""
    found = [
        f"no {name}" for name in NEEDS.get(event["type"], ("known type",)) if name not in event
    ]
    if not event.get("userId") and not event.get("anonymousId"):
        found.append("neither userId nor anonymousId")
    if not isinstance(event["messageId"], str) or not 0 < len(event["messageId"]) <= 100:
        found.append("bad messageId")
    for name in ("originalTimestamp", "sentAt", "receivedAt"):
        if datetime.fromisoformat(event[name]).tzinfo is None:
            found.append(f"{name} names no zone")
    if event["channel"] not in CHANNELS or not event["context"]["library"]["name"]:
        found.append("no channel or library")
    if len(msgspec.json.encode(event)) > 256 * 1024:
        found.append("too long")
    return found + _product_faults(event.get("properties", {}))


def _product_faults(properties: dict[str, Any]) -> list[str]:
    products = properties.get("products", [])
    if "product_id" in properties:
        products = [*products, properties]
    return [
        f"product {product.get('product_id')}: bad {name}"
        for product in products
        for name, kinds in PRODUCT.items()
        if not isinstance(product.get(name), kinds)
    ]

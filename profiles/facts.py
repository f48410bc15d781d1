"""What one event states that profiles count: its name, products and money. Pure and order-free."""

import hashlib
from enum import IntEnum
from typing import Any, Final

import msgspec

from identity.event import Event
from identity.nodes import Node
from profiles.money import currency_of, micros, quantity_of, times


class Kind(IntEnum):
    """What a person did with an item. The numbers are stored; never reuse one."""

    VIEWED = 1
    CLICKED = 2
    ADDED = 3
    REMOVED = 4
    WISHED = 5
    BOUGHT = 6
    REVIEWED = 7
    SHARED = 8


KINDS: Final = {
    # Names of the RudderStack and Segment ecommerce specs; compared without case.
    "product viewed": Kind.VIEWED,
    "product clicked": Kind.CLICKED,
    "product added": Kind.ADDED,
    "product removed": Kind.REMOVED,
    "product added to wishlist": Kind.WISHED,
    "product reviewed": Kind.REVIEWED,
    "product shared": Kind.SHARED,
    "order completed": Kind.BOUGHT,
}
CANONICAL: Final = {kind: name.title() for name, kind in KINDS.items()}
"""The spec's spelling of each kind's event, for example "Product Viewed"."""

REFUND: Final = "order refunded"
PRODUCTS_MAX: Final = 1_000
"""Products read from one event: the largest real order of Online Retail II has 541 lines."""
NAME_MAX: Final = 200
"""Characters of an event's name that are kept: longer ones are generated, not chosen."""

_ITEM_KEYS: Final = ("product_id", "productId", "sku", "id")


class Item(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One product that an event names, and how many."""

    id: str
    quantity: float = 1


class Facts(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """What one event adds to a part."""

    time_ms: int
    message: int
    """64 bits of the message id's hash: ties and identity of what is kept per message."""
    event: str
    """Key of its counter: the name in lower case for track, `$page`, `$identify`, … else."""
    spelling: str
    traits: dict[str, Any] = {}
    kind: Kind | None = None
    items: tuple[Item, ...] = ()
    order: int | None = None
    """64 bits of the order id's hash, for Order Completed; the message's where it names none."""
    refund: bool = False
    currency: str = ""
    amount: int | None = None
    """Millionths of the currency; None where the event states no readable amount."""
    device: Node | None = None
    consent: tuple[tuple[str, bool], ...] = ()
    key_ms: int = 0
    """The time that a retry of the event repeats."""


def hash64(text: str) -> int:
    """63 bits of BLAKE2b: equal texts, equal numbers, on every machine."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def facts_of(event: Event, device: Node | None) -> Facts:
    """What `event` adds to the part of its leaf; `device` is the device that it came from."""
    message = hash64(event.message_id)
    if event.type != "track":
        return Facts(
            time_ms=event.time_ms,
            message=message,
            event="$" + event.type,
            spelling="$" + event.type,
            traits=event.traits if event.type == "identify" else {},
            device=device,
            consent=event.consent,
            key_ms=event.key_ms,
        )
    name = event.name[:NAME_MAX]
    key = name.lower()
    kind = KINDS.get(key)
    items: tuple[Item, ...] = ()
    order = amount = None
    currency = ""
    refund = key == REFUND
    if kind is not None or refund:
        properties = event.properties
        items = items_of(properties)
        if kind is Kind.BOUGHT or refund:
            order_id = _text(properties.get("order_id", properties.get("orderId")))
            order = hash64(order_id) if order_id else message
            amount = amount_of(properties)
            currency = currency_of(properties.get("currency"))
    return Facts(
        time_ms=event.time_ms,
        message=message,
        event=key,
        spelling=name,
        kind=kind,
        items=items,
        order=order,
        refund=refund,
        currency=currency,
        amount=amount,
        device=device,
        consent=event.consent,
        key_ms=event.key_ms,
    )


def items_of(properties: dict[str, Any]) -> tuple[Item, ...]:
    """The products an event names: those of `products[]`, else the one in the properties themselves."""
    products = properties.get("products")
    if isinstance(products, list):
        found = [_item(product) for product in products[:PRODUCTS_MAX] if isinstance(product, dict)]
        return tuple(item for item in found if item is not None)
    item = _item(properties)
    return (item,) if item is not None else ()


def amount_of(properties: dict[str, Any]) -> int | None:
    """`revenue`, else `total`, else the sum of price times quantity, in millionths (DESIGN §4)."""
    for key in ("revenue", "total"):
        if (stated := micros(properties.get(key))) is not None:
            return stated
    products = properties.get("products")
    if not isinstance(products, list):
        return None
    lines = [
        times(price, quantity_of(product.get("quantity")))
        for product in products
        if isinstance(product, dict) and (price := micros(product.get("price"))) is not None
    ]
    return sum(lines) if lines else None


def _item(product: dict[str, Any]) -> Item | None:
    for key in _ITEM_KEYS:
        if found := _text(product.get(key)):
            return Item(found, float(quantity_of(product.get("quantity"))))
    return None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()[:NAME_MAX]
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return ""

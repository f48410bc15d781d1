"""Attribution: what people saw, clicked and bought of what was recommended, by surface and model.

A reply carries a token that names surface, model and version, signed. Events bring it back as the property
`attribution_token`, of the event or of each of its products:

    Recommendation Shown, Product List Viewed      an answer was seen
    Product Clicked, Product Viewed, Product Added an item of it was chosen
    Order Completed                                 an item of it was bought
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from profiles.facts import PRODUCTS_MAX, hash64
from profiles.money import currency_of, micros, quantity_of, times
from storage.ports import TimelineRow

SHOWN: Final = frozenset({"recommendation shown", "product list viewed"})
CLICKED: Final = frozenset({"product clicked", "product viewed", "product added"})
BOUGHT: Final = "order completed"
PROPERTY: Final = "attribution_token"
TOKEN_MAX: Final = 400
"""Characters of a token; ours have fewer than 200."""
WINDOW_MS: Final = 30 * 86_400_000
"""A click or an order this long after the answer is no longer its doing."""
EARLY_MS: Final = 3_600_000
"""Clocks of browsers may be slow: an event this long before its answer still counts."""
_Z: Final = 1.96


class Shown(msgspec.Struct, frozen=True, array_like=True):
    """What a token says of the answer that it came with."""

    surface: str
    model: str
    version: str
    time_ms: int
    nonce: bytes
    format: int = 2


class Line(msgspec.Struct, kw_only=True):
    """What became of the answers of one model on one surface."""

    surface: str
    model: str
    version: str = ""
    shown: int = 0
    clicked: int = 0
    """Answers of which an item was chosen or bought."""
    clicks: int = 0
    """Items chosen, each once an answer."""
    ctr: float = 0.0
    ctr_low: float = 0.0
    ctr_high: float = 0.0
    """95 % interval (Wilson 1927)."""
    orders: int = 0
    revenue: dict[str, float] = {}
    """By currency."""


class Report(msgspec.Struct, kw_only=True):
    """The lines, and what was left out."""

    lines: list[Line]
    forged: int = 0
    """Tokens that this workspace did not make."""
    outside: int = 0
    """Events before their answer, or too long after it."""


class _Said(msgspec.Struct):
    properties: dict[str, Any] | None = None


class _Tally:
    def __init__(self) -> None:
        self.shown: set[bytes] = set()
        self.clicked: set[tuple[bytes, str]] = set()
        self.orders: set[int] = set()
        self.revenue: dict[str, int] = {}


_decoder = msgspec.json.Decoder(_Said)


def report(
    rows: Iterable[TimelineRow],
    open_token: Callable[[str], Shown | None],
    *,
    by_version: bool = False,
    since_ms: int = 0,
) -> Report:
    """What the events say. An order told twice counts once; so does an answer that is reported again."""
    found = Report(lines=[])
    tallies: dict[tuple[str, str, str], _Tally] = {}
    orders: dict[int, tuple[int, list[tuple[Shown, Mapping[str, Any], str]]]] = {}
    for row in rows:
        name = row.name.lower()
        if row.type != "track" or not (name in SHOWN or name in CLICKED or name == BOUGHT):
            continue
        if PROPERTY.encode() not in row.raw or row.time_ms < since_ms:
            continue
        properties = _decoder.decode(row.raw).properties or {}
        told = list(_told(row, properties, open_token, found))
        if name == BOUGHT:
            order_id = str(properties.get("order_id") or properties.get("orderId") or "")
            order = hash64(order_id or row.message_id)
            currency = currency_of(properties.get("currency"))
            lines = [(shown, product, currency) for shown, product in told]
            # The earliest copy of an order counts, whatever order the store gives them in.
            if lines and (order not in orders or row.time_ms < orders[order][0]):
                orders[order] = (row.time_ms, lines)
            continue
        for shown, product in told:
            tally = tallies.setdefault(_key(shown, by_version=by_version), _Tally())
            tally.shown.add(shown.nonce)
            if name in CLICKED:
                tally.clicked.add((shown.nonce, _item(product)))
    for order, (_, lines) in orders.items():
        for shown, product, currency in lines:
            tally = tallies.setdefault(_key(shown, by_version=by_version), _Tally())
            tally.shown.add(shown.nonce)
            tally.clicked.add((shown.nonce, _item(product)))
            tally.orders.add(order)
            price = micros(product.get("price"))
            if price is not None:
                amount = times(price, quantity_of(product.get("quantity")))
                tally.revenue[currency] = tally.revenue.get(currency, 0) + amount
    found.lines = [_line(key, tally) for key, tally in sorted(tallies.items())]
    return found


def _told(
    row: TimelineRow,
    properties: dict[str, Any],
    open_token: Callable[[str], Shown | None],
    found: Report,
) -> Iterator[tuple[Shown, Mapping[str, Any]]]:
    """Each answer that an event names, with the product that it is about."""
    products = properties.get("products")
    whole = properties.get(PROPERTY)
    listed = (
        [each for each in products[:PRODUCTS_MAX] if isinstance(each, dict)]
        if isinstance(products, list)
        else [properties]
    )
    for product in listed or [properties]:
        token = product.get(PROPERTY, whole)
        if token is None:
            continue
        shown = open_token(token) if isinstance(token, str) and len(token) <= TOKEN_MAX else None
        if shown is None:
            found.forged += 1
        elif not -EARLY_MS <= row.time_ms - shown.time_ms <= WINDOW_MS:
            found.outside += 1
        else:
            yield shown, product


def _key(shown: Shown, *, by_version: bool) -> tuple[str, str, str]:
    return shown.surface, shown.model, shown.version if by_version else ""


def _item(product: Mapping[str, Any]) -> str:
    return str(product.get("product_id") or product.get("productId") or product.get("sku") or "")


def _line(key: tuple[str, str, str], tally: _Tally) -> Line:
    surface, model, version = key
    shown = len(tally.shown)
    clicked = len({nonce for nonce, _ in tally.clicked})
    low, high = wilson(clicked, shown)
    return Line(
        surface=surface,
        model=model,
        version=version,
        shown=shown,
        clicked=clicked,
        clicks=len(tally.clicked),
        ctr=clicked / shown if shown else 0.0,
        ctr_low=low,
        ctr_high=high,
        orders=len(tally.orders),
        revenue={currency: amount / 1e6 for currency, amount in sorted(tally.revenue.items())},
    )


def wilson(successes: int, tries: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927)."""
    if not tries:
        return 0.0, 1.0
    share, z2 = successes / tries, _Z * _Z
    middle = (share + z2 / (2 * tries)) / (1 + z2 / tries)
    half = _Z * math.sqrt(share * (1 - share) / tries + z2 / (4 * tries * tries)) / (1 + z2 / tries)
    return max(0.0, middle - half), min(1.0, middle + half)

"""Items from files: JSON lines (plain or gzip) or CSV, with errors that name the line and the field."""

import csv
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from identity.normalize import text_of
from profiles.money import currency_of, micros
from storage.ports import CatalogItem

TEXT_MAX: Final = 2_000
"""Characters of a text about an item."""
_GZIP: Final = b"\x1f\x8b"
_KNOWN: Final = frozenset(
    ("id", "product_id", "sku", "name", "category", "brand", "price", "currency", "in_stock",
     "sensitive", "url", "image_url", "attributes", "updated_ms")
)  # fmt: skip
_TRUE: Final = frozenset(("true", "yes", "y", "1", "in stock", "in_stock"))
_FALSE: Final = frozenset(("false", "no", "n", "0", "", "out of stock", "out_of_stock"))


class ItemRefused(msgspec.Struct, frozen=True):
    """A line that is no item."""

    line: int
    detail: str


class _NoItem(Exception):
    """Carries why a row is no item."""


def read_items(path: Path, now_ms: int) -> Iterator[CatalogItem | ItemRefused]:
    """The items of a file, in its order. `.csv` has a header row; anything else is JSON lines."""
    with path.open("rb") as file:
        zipped = file.read(2) == _GZIP
    with gzip.open(path) if zipped else path.open("rb") as stream:
        text = io.TextIOWrapper(stream, "utf-8-sig", errors="replace", newline="")
        if ".csv" in path.suffixes:
            for number, row in enumerate(csv.DictReader(text), start=2):
                yield _read(row, number, now_ms)
            return
        for number, line in enumerate(text, start=1):
            if not line.strip():
                continue
            try:
                fields = json.loads(line)
            except (ValueError, RecursionError):
                yield ItemRefused(number, "not JSON")
                continue
            yield _read(fields, number, now_ms)


def _read(fields: Any, line: int, now_ms: int) -> CatalogItem | ItemRefused:
    try:
        return item_of(fields, now_ms)
    except _NoItem as error:
        return ItemRefused(line, str(error))


def item_of(fields: Any, now_ms: int) -> CatalogItem:
    """The item that a JSON object or CSV row describes; fields that are not known become attributes."""
    if not isinstance(fields, dict):
        raise _NoItem("an item is an object")
    item_id = text_of(fields.get("id") or fields.get("product_id") or fields.get("sku"))
    if not item_id:
        raise _NoItem("id: missing (or product_id, or sku)")
    stated = fields.get("price")
    price = micros(stated)
    if stated not in (None, "") and (price is None or price < 0):
        raise _NoItem("price: not an amount")
    attributes = dict(fields.get("attributes") or {})
    attributes |= {key: value for key, value in fields.items() if key and key not in _KNOWN}
    return CatalogItem(
        id=item_id[:TEXT_MAX],
        name=_text(fields, "name"),
        category=_text(fields, "category"),
        brand=_text(fields, "brand"),
        price_micros=price,
        currency=currency_of(fields.get("currency")) if fields.get("currency") else "",
        in_stock=_flag(fields, "in_stock", True),
        sensitive=_flag(fields, "sensitive", False),
        url=_text(fields, "url"),
        image_url=_text(fields, "image_url"),
        attributes={
            str(key): value
            for key, value in attributes.items()
            if isinstance(value, str | int | float | bool)
        },
        updated_ms=now_ms,
    )


def _text(fields: dict[str, Any], name: str) -> str:
    return text_of(fields.get(name))[:TEXT_MAX]


def _flag(fields: dict[str, Any], name: str, default: bool) -> bool:
    value = fields.get(name)
    if value is None:
        return default
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise _NoItem(f"{name}: neither true nor false")

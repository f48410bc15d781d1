"""The catalogue over a model's items: what a filter lets through, what is sensitive, what rules do."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import numpy as np

from models.filter_text import Filter
from models.filters import Columns, Mask
from models.merchandising import Merchandising
from models.rules import Rule
from models.variety import NO_CATEGORY, Categories
from storage.ports import Catalog, CatalogItem

PAGE: Final = 5_000
"""Items read from the catalogue at once."""
MASK_BYTES_MAX: Final = 64 << 20
"""Masks kept for filters that come again: 640 over 100,000 items."""


class Filtered(msgspec.Struct, frozen=True):
    """What a filter lets through."""

    allowed: Mask | None = None
    """None: everything."""
    looser: tuple[Mask, ...] = ()
    given_up: tuple[str, ...] = ()
    """For each of `looser` the condition that it gives up."""
    refused: tuple[str, ...] = ()
    """Conditions that cannot be meant, and so were given up at once."""
    why_none: str = ""
    """Why nothing passes; empty if something does."""

    @property
    def bytes(self) -> int:
        """Memory of its masks."""
        return sum(mask.nbytes for mask in (self.allowed, *self.looser) if mask is not None)


class ItemView:
    """What the catalogue says of each item. Immutable but for its cache of masks.

    Places are those of the model's items, then of further items of the catalogue. An item that the
    catalogue does not know has no category, brand or price, and counts as in stock.
    """

    def __init__(
        self, item_ids: Sequence[str], catalog: Catalog, rules: Sequence[Rule] = ()
    ) -> None:
        self.version = catalog.version()
        items = list(_all(catalog))
        self.code = {item_id: n for n, item_id in enumerate(item_ids)}
        learned = len(self.code)
        for item in items:
            self.code.setdefault(item.id, len(self.code))
        self.more_items = list(self.code)[learned:]
        """Of the catalogue, not known to the model."""
        self.size = len(self.code)
        self.names: dict[str, str] = {}
        self.sensitive: Mask = np.zeros(self.size, bool)
        self.sensitive_ids: set[str] = set()
        self.columns = Columns(self.size)
        self.columns.later("id", lambda: [(n, item_id) for item_id, n in self.code.items()])
        self.columns.later("name", lambda: [(self.code[i], name) for i, name in self.names.items()])
        for item in items:
            self._place(self.code[item.id], item)
        self.categories = self._categories()
        self.rules = rules
        self.merchandising = Merchandising(rules, self.columns, self.code)
        self._kept: dict[tuple[Filter | None, bool, bool], Filtered] = {}
        self._kept_bytes = 0

    def _place(self, n: int, item: CatalogItem) -> None:
        if item.name:
            self.names[item.id] = item.name
        if item.sensitive:
            self.sensitive_ids.add(item.id)
            self.sensitive[n] = True
        self.columns.put(n, item)

    def _categories(self) -> Categories:
        column = self.columns.column("category")
        code = column.text_of if len(column.text_of) else np.full(self.size, NO_CATEGORY, np.int32)
        return Categories(code, list(column.texts))

    def with_rules(self, rules: Sequence[Rule]) -> "ItemView":
        """The same view under other rules."""
        other = ItemView.__new__(ItemView)
        other.__dict__.update(self.__dict__)
        other.rules = rules
        other.merchandising = Merchandising(rules, self.columns, self.code)
        return other

    def filtered(
        self, wanted: Filter | None, *, relaxed: bool = False, hide_sensitive: bool
    ) -> Filtered:
        """What a filter lets through; FilterError if it asks for what cannot be, and is not relaxed."""
        key = (wanted, relaxed, hide_sensitive)
        found = self._kept.get(key)
        if found is None:
            found = self._filtered(wanted, relaxed=relaxed, hide_sensitive=hide_sensitive)
            if self._kept_bytes > MASK_BYTES_MAX:
                self._kept.clear()
                self._kept_bytes = 0
            self._kept[key] = found
            self._kept_bytes += found.bytes
        return found

    def _filtered(self, wanted: Filter | None, *, relaxed: bool, hide_sensitive: bool) -> Filtered:
        if wanted is None:
            return Filtered(~self.sensitive if hide_sensitive else None)
        refused: list[str] = []
        if relaxed:
            masks, refused = self.columns.loosened(wanted)
        else:
            masks = [(self.columns.mask(wanted), "")]
        if hide_sensitive:
            masks = [(mask & ~self.sensitive, given_up) for mask, given_up in masks]
        (allowed, _), *looser = masks
        return Filtered(
            allowed,
            tuple(mask for mask, _ in looser),
            tuple(given_up for _, given_up in looser),
            tuple(refused),
            "" if relaxed or allowed.any() else self.columns.why_none(wanted),
        )


def _all(catalog: Catalog) -> Iterator[CatalogItem]:
    after = ""
    while items := catalog.list(after, PAGE):
        yield from items
        after = items[-1].id

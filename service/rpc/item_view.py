"""The catalogue as columns over a model's items, so that a filter is a boolean mask."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

import numpy as np
import numpy.typing as npt

from service.rpc.recommending import Conditions
from storage.ports import Catalog, CatalogItem

Mask = npt.NDArray[np.bool_]

PAGE: Final = 5_000
"""Items read from the catalogue at once."""
MASKS_MAX: Final = 256
"""Masks kept for filters that come again: 256 × 100,000 items are 26 MB."""
UNPRICED: Final = -1


class ItemView:
    """What the catalogue says of each item of a model. Immutable but for its cache of masks.

    An item that the catalogue does not know has no category, brand or price, and counts as in stock.
    """

    def __init__(self, item_ids: Sequence[str], catalog: Catalog) -> None:
        code = {item_id: n for n, item_id in enumerate(item_ids)}
        self.size = len(item_ids)
        self.version = catalog.version()
        self.names: dict[str, str] = {}
        self.sensitive: Mask = np.zeros(self.size, bool)
        self.sensitive_ids: set[str] = set()
        self._in_stock: Mask = np.ones(self.size, bool)
        self._prices = np.full(self.size, UNPRICED, np.int64)
        self._categories: dict[str, list[int]] = {}
        self._brands: dict[str, list[int]] = {}
        self._currencies: dict[str, list[int]] = {}
        for item in _all(catalog):
            if item.name:
                self.names[item.id] = item.name
            if item.sensitive:
                self.sensitive_ids.add(item.id)
            if (n := code.get(item.id)) is not None:
                self._place(n, item)
        self._masks: dict[tuple[Conditions | None, bool], Mask | None] = {}

    def _place(self, n: int, item: CatalogItem) -> None:
        self.sensitive[n] = item.sensitive
        self._in_stock[n] = item.in_stock
        self._categories.setdefault(item.category.lower(), []).append(n)
        self._brands.setdefault(item.brand.lower(), []).append(n)
        if item.price_micros is not None:
            self._prices[n] = item.price_micros
            self._currencies.setdefault(item.currency, []).append(n)

    def allowed(self, conditions: Conditions | None, *, hide_sensitive: bool) -> Mask | None:
        """Which items may be answered; None for all."""
        key = (conditions, hide_sensitive)
        with suppress(KeyError):
            return self._masks[key]
        mask = self._mask(conditions, hide_sensitive)
        if len(self._masks) >= MASKS_MAX:
            self._masks.clear()
        self._masks[key] = mask
        return mask

    def _mask(self, conditions: Conditions | None, hide_sensitive: bool) -> Mask | None:
        if conditions is None and not hide_sensitive:
            return None
        mask: Mask = np.ones(self.size, bool)
        if hide_sensitive:
            mask &= ~self.sensitive
        if conditions is None:
            return mask
        if conditions.categories:
            wanted = tuple(each.strip("/").lower() for each in conditions.categories)
            below = tuple(each + "/" for each in wanted)
            mask &= self._among(
                {n: p for n, p in self._categories.items() if n in wanted or n.startswith(below)}
            )
        if conditions.brands:
            brands = {each.lower() for each in conditions.brands}
            mask &= self._among({n: p for n, p in self._brands.items() if n in brands})
        if conditions.in_stock_only:
            mask &= self._in_stock
        if conditions.price_min_micros is not None or conditions.price_max_micros is not None:
            mask &= self._prices != UNPRICED
            if conditions.currency:
                mask &= self._among(
                    {conditions.currency: self._currencies.get(conditions.currency, [])}
                )
        if conditions.price_min_micros is not None:
            mask &= self._prices >= conditions.price_min_micros
        if conditions.price_max_micros is not None:
            mask &= self._prices <= conditions.price_max_micros
        return mask

    def _among(self, places: Mapping[str, Sequence[int]]) -> Mask:
        mask: Mask = np.zeros(self.size, bool)
        for codes in places.values():
            mask[codes] = True
        return mask


def _all(catalog: Catalog) -> Iterator[CatalogItem]:
    after = ""
    while items := catalog.list(after, PAGE):
        yield from items
        after = items[-1].id

"""The champion and the catalogue behind the recommendation service; a promoted model answers in seconds."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from models.errors import ModelError, NoSuchModel
from models.protocol import Code
from models.recommender import Answer, Pick, Recommender, Request
from models.registry import CHAMPION, Registry
from service.rpc.recommending import Answered, Asked, Conditions, Item
from storage.ports import Catalog, CatalogItem

CATALOG_PAGE: Final = 5_000

_TEXTS: Final = {
    Code.BOUGHT: "because you bought {}",
    Code.VIEWED: "because you looked at {}",
    Code.BUY_AGAIN: "you bought it before",
    Code.RECENT: "you looked at it lately",
    Code.SIMILAR: "like {}",
    Code.TRENDING: "many people buy it now",
    Code.POPULAR: "many people bought it",
    Code.LIKED: "goes with what you did",
}


class Shelf:
    """The catalogue as columns over an artefact's items: conditions become masks."""

    def __init__(self, catalog: Catalog, ids: Sequence[str]) -> None:
        items: dict[str, CatalogItem] = {}
        after = ""
        while page := catalog.list(after, CATALOG_PAGE):
            items |= {item.id: item for item in page}
            after = page[-1].id
        found = [items.get(item_id) for item_id in ids]
        self.names = {item.id: item.name for item in found if item is not None and item.name}
        self._categories = np.array([item.category if item else "" for item in found], dtype=object)
        self._brands = np.array([item.brand if item else "" for item in found], dtype=object)
        self._currencies = np.array([item.currency if item else "" for item in found], dtype=object)
        self._prices = np.array(
            [
                np.nan if item is None or item.price_micros is None else item.price_micros
                for item in found
            ]
        )
        # An item that the catalogue does not know is taken to be in stock: many shops load none.
        self._in_stock = np.array([item is None or item.in_stock for item in found], dtype=bool)
        self.sensitive = np.array(
            [item is not None and item.sensitive for item in found], dtype=bool
        )

    def allowed(self, conditions: Conditions) -> npt.NDArray[np.bool_]:
        """Items that meet all conditions."""
        mask = np.ones(len(self._prices), dtype=bool)
        if conditions.in_stock_only:
            mask &= self._in_stock
        if conditions.categories:
            mask &= _below(self._categories, conditions.categories)
        if conditions.brands:
            mask &= np.isin(self._brands, conditions.brands)
        if conditions.price_min_micros is not None:
            mask &= self._prices >= conditions.price_min_micros  # NaN compares false
        if conditions.price_max_micros is not None:
            mask &= self._prices <= conditions.price_max_micros
        if conditions.currency:
            mask &= self._currencies == conditions.currency
        return mask


class ChampionRecommending:
    """`service.rpc.recommending.Recommending` from the registry's champion and the catalogue."""

    def __init__(
        self,
        registry: Registry,
        catalog: Catalog,
        refresh_s: float,
        on_problem: Callable[[ModelError], None] = lambda error: None,
    ) -> None:
        self._registry = registry
        self._catalog = catalog
        self._refresh_s = refresh_s
        self._on_problem = on_problem
        self._lock = threading.Lock()
        self._next_look = 0.0
        self._stamp: tuple[int, int] | None = None
        self._catalog_version = -1
        self._current: tuple[Recommender, Shelf] | None = None

    def recommend(self, asked: Asked) -> Answered:
        """Items for a request; an answer without items says that no model is trained."""
        current = self._fresh()
        if current is None:
            return Answered(items=(), model="", fallback="no model is trained and promoted yet")
        recommender, shelf = current
        allowed = shelf.allowed(asked.conditions) if asked.conditions is not None else None
        if asked.hide_sensitive and shelf.sensitive.any():
            allowed = ~shelf.sensitive if allowed is None else allowed & ~shelf.sensitive
        answer = recommender.recommend(
            Request(
                surface=asked.surface.value,
                history=asked.history,
                now_ms=asked.now_ms,
                limit=asked.limit,
                context_items=asked.context_items,
                excluded=tuple(asked.excluded),
                exclude_seen=asked.exclude_seen,
                exclude_bought=asked.exclude_bought,
                allowed=allowed,
                unspoken=shelf.sensitive,
            )
        )
        return _answered(answer, recommender, shelf)

    def _fresh(self) -> tuple[Recommender, Shelf] | None:
        now = time.monotonic()
        if now >= self._next_look and self._lock.acquire(blocking=False):
            # One thread looks; the others go on with what there is.
            try:
                self._look()
                self._next_look = now + self._refresh_s
            finally:
                self._lock.release()
        return self._current

    def _look(self) -> None:
        stamp, version = self._registry.alias_stamp(CHAMPION), self._catalog.version()
        try:
            if stamp != self._stamp:
                recommender = Recommender(self._registry.load(CHAMPION))
                self._current = (recommender, Shelf(self._catalog, recommender.items))
            elif version != self._catalog_version and self._current is not None:
                self._current = (self._current[0], Shelf(self._catalog, self._current[0].items))
        except NoSuchModel:
            self._current = None
        except ModelError as error:
            # The former champion goes on answering; the operator is told once for each move.
            self._on_problem(error)
        self._stamp, self._catalog_version = stamp, version


def _answered(answer: Answer, recommender: Recommender, shelf: Shelf) -> Answered:
    manifest = recommender.manifest
    return Answered(
        items=[_item(pick, shelf) for pick in answer.picks],
        model=answer.model,
        version=manifest.version,
        trained_ms=manifest.trained_ms,
        fallback=answer.fallback,
    )


def _item(pick: Pick, shelf: Shelf) -> Item:
    named = shelf.names.get(pick.because_of, pick.because_of)
    because_of = pick.because_of if pick.because_of != pick.item else ""
    return Item(pick.item, pick.score, pick.code.value, _TEXTS[pick.code].format(named), because_of)


def _below(categories: npt.NDArray[np.object_], wanted: Sequence[str]) -> npt.NDArray[np.bool_]:
    """A category holds those below it: "Health" holds "Health/Vitamins"."""
    return np.array(
        [
            any(held == each or held.startswith(each + "/") for each in wanted)
            for held in categories
        ],
        dtype=bool,
    )

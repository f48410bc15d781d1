"""The registry's champion behind `Recommending`: swapped when the alias moves, filtered by the catalogue."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from models.errors import ModelError, NoSuchModel
from models.protocol import Code
from models.recommender import BOUGHT_TOGETHER, Pick, Recommender, Request
from models.registry import CHAMPION, Registry
from service.rpc.item_view import ItemView
from service.rpc.recommending import Answered, Asked, Item
from storage.ports import Catalog

NOT_TRAINED: Final = "no model is trained"
NOT_LOADED: Final = "the champion cannot be loaded"

_TEXT: Final[Mapping[Code, str]] = {
    # Without the name of an item.
    Code.BOUGHT: "because of what you bought",
    Code.VIEWED: "because of what you viewed",
    Code.BUY_AGAIN: "you bought it before",
    Code.RECENT: "you viewed it lately",
    Code.SIMILAR: "like the item you are looking at",
    Code.TRENDING: "popular at the moment",
    Code.POPULAR: "popular",
    Code.LIKED: "because of what you did here",
}
_NAMED: Final[Mapping[Code, str]] = {
    Code.BOUGHT: "because you bought {}",
    Code.VIEWED: "because you viewed {}",
    Code.SIMILAR: "like {}",
}
_TOGETHER: Final = "often bought with {}"

_log = logging.getLogger(__name__)


class _Loaded:
    """A champion with the catalogue's columns over its items."""

    def __init__(self, recommender: Recommender, view: ItemView) -> None:
        self.recommender = recommender
        self.view = view


class ServedModels:
    """`Recommending` over the registry's champion. Any thread may ask."""

    def __init__(
        self,
        registry: Registry,
        catalog: Catalog,
        refresh_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._catalog = catalog
        self._refresh_s = refresh_s
        self._clock = clock
        self._refreshing = threading.Lock()
        self._next_look = float("-inf")
        self._stamp: tuple[int, int] | None = None
        self._loaded: _Loaded | None = None
        self._why_not = NOT_TRAINED

    def recommend(self, asked: Asked) -> Answered:
        """Items from the champion's models; none, and why, where there is no champion."""
        self.refresh()
        loaded = self._loaded
        if loaded is None:
            return Answered(items=(), model="", fallback=self._why_not)
        view = loaded.view
        answer = loaded.recommender.recommend(
            Request(
                surface=asked.surface,
                history=asked.history,
                now_ms=asked.now_ms,
                limit=asked.limit,
                context_items=asked.context_items,
                excluded=tuple(asked.excluded),
                exclude_seen=asked.exclude_seen,
                exclude_bought=asked.exclude_bought,
                allowed=view.allowed(asked.conditions, hide_sensitive=asked.hide_sensitive),
                unspoken=view.sensitive,
            )
        )
        manifest = loaded.recommender.manifest
        return Answered(
            items=[_item(pick, asked.surface, answer.fallback, view) for pick in answer.picks],
            model=answer.model,
            version=manifest.version,
            trained_ms=manifest.trained_ms,
            fallback=answer.fallback,
        )

    def refresh(self) -> None:
        """Look at the alias and the catalogue, if it is time; one thread looks, the others answer meanwhile."""
        if self._clock() < self._next_look:
            return
        if not self._refreshing.acquire(blocking=self._loaded is None):
            return
        try:
            if self._clock() >= self._next_look:
                self._look()
                self._next_look = self._clock() + self._refresh_s
        finally:
            self._refreshing.release()

    def _look(self) -> None:
        stamp = self._registry.alias_stamp(CHAMPION)
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                recommender = Recommender(self._registry.load(CHAMPION))
            except NoSuchModel:
                self._loaded, self._why_not = None, NOT_TRAINED
            except ModelError as error:
                # The champion that answered so far goes on answering.
                self._why_not = NOT_LOADED
                _log.error("%s: %s", type(error).__name__, error)
            else:
                self._loaded = _Loaded(recommender, ItemView(recommender.items, self._catalog))
        elif self._loaded and self._loaded.view.version != self._catalog.version():
            recommender = self._loaded.recommender
            self._loaded = _Loaded(recommender, ItemView(recommender.items, self._catalog))


def _item(pick: Pick, surface: str, fallback: str, view: ItemView) -> Item:
    """A pick with its reason in words. The reason never names an item that is marked sensitive."""
    because_of = "" if pick.because_of in view.sensitive_ids else pick.because_of
    if because_of and pick.code in _NAMED:
        pattern = _NAMED[pick.code]
        if surface == BOUGHT_TOGETHER and pick.code is Code.SIMILAR:
            pattern = _TOGETHER
        text = pattern.format(view.names.get(because_of, because_of))
    else:
        text = _TEXT[pick.code] + (f": {fallback}" if fallback else "")
    return Item(pick.item, pick.score, pick.code, text, because_of)

"""The registry's champion behind `Recommending`: swapped when the alias moves, under the shop's rules."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from models.artefact import Bundle
from models.errors import ModelError, NoSuchModel, RulesError
from models.protocol import Code
from models.recommender import BOUGHT_TOGETHER, Pick, Recommender, Request
from models.registry import CHAMPION, Registry
from models.rules import Rule, read_rules, stamp_of
from service.rpc.item_view import Filtered, ItemView
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
    Code.PINNED: "chosen by the shop",
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
    """A champion with the catalogue and the rules over its items."""

    def __init__(
        self, bundle: Bundle, view: ItemView, recommender: Recommender | None = None
    ) -> None:
        self.bundle = bundle
        self.view = view
        self.recommender = recommender or Recommender(bundle, view.more_items)

    def under(self, rules: Sequence[Rule]) -> "_Loaded":
        """The same under other rules."""
        return _Loaded(self.bundle, self.view.with_rules(rules), self.recommender)


class ServedModels:
    """`Recommending` over the registry's champion. Any thread may ask."""

    def __init__(
        self,
        registry: Registry,
        catalog: Catalog,
        refresh_s: float,
        clock: Callable[[], float] = time.monotonic,
        rules: Path | None = None,
        *,
        aside: bool = False,
    ) -> None:
        """`rules` is the folder of rules for items. RulesError if they are wrong at the start.

        With `aside` a thread of its own looks for what is new, and no call waits for it but the first.
        """
        self._aside = aside
        self._registry = registry
        self._catalog = catalog
        self._refresh_s = refresh_s
        self._clock = clock
        self._refreshing = threading.Lock()
        self._next_look = float("-inf")
        self._stamp: tuple[int, int] | None = None
        self._loaded: _Loaded | None = None
        self._why_not = NOT_TRAINED
        self._folder = rules
        self._rules_stamp = stamp_of(rules) if rules else ()
        self._rules = read_rules(rules) if rules else ()

    def recommend(self, asked: Asked) -> Answered:
        """Items from the champion's models; none, and why, where there is no champion."""
        self.refresh()
        loaded = self._loaded
        if loaded is None:
            return Answered(items=(), model="", fallback=self._why_not)
        view, manifest = loaded.view, loaded.bundle.manifest
        filtered = view.filtered(
            asked.filter, relaxed=asked.relaxed, hide_sensitive=asked.hide_sensitive
        )
        if filtered.why_none:
            return Answered(
                items=(),
                model="",
                version=manifest.version,
                trained_ms=manifest.trained_ms,
                fallback=filtered.why_none,
            )
        answer = loaded.recommender.recommend(_request(asked, view, filtered))
        return Answered(
            items=[_item(pick, asked.surface, answer.fallback, view) for pick in answer.picks],
            model=answer.model,
            version=manifest.version,
            trained_ms=manifest.trained_ms,
            fallback=answer.fallback,
            given_up=(*filtered.refused, *filtered.given_up[: answer.loosened]),
        )

    def refresh(self) -> None:
        """Look at alias, catalogue and rules, if it is time; one thread looks, the others answer meanwhile."""
        if self._clock() < self._next_look:
            return
        if not self._refreshing.acquire(blocking=self._loaded is None):
            return
        if self._aside and self._loaded is not None:
            threading.Thread(target=self._refresh_aside, name="onefold-models", daemon=True).start()
        else:
            self._refresh()

    def _refresh(self) -> None:
        """Look, and let go of the right to."""
        try:
            if self._clock() >= self._next_look:
                self._look()
                self._next_look = self._clock() + self._refresh_s
        finally:
            self._refreshing.release()

    def _refresh_aside(self) -> None:
        try:
            self._refresh()
        except Exception as error:
            # Nobody waits for it: what was loaded answers, and the next look tries again.
            _log.error("models could not be refreshed: %s", type(error).__name__)

    def _look(self) -> None:
        changed = self._look_at_rules()
        stamp = self._registry.alias_stamp(CHAMPION)
        loaded = self._loaded
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                bundle = self._registry.load(CHAMPION)
            except NoSuchModel:
                self._loaded, self._why_not = None, NOT_TRAINED
            except ModelError as error:
                # The champion that answered so far goes on answering.
                self._why_not = NOT_LOADED
                _log.error("%s: %s", type(error).__name__, error)
            else:
                self._load(bundle)
        elif loaded and loaded.view.version != self._catalog.version():
            self._load(loaded.bundle)
        elif loaded and changed:
            self._loaded = loaded.under(self._rules)
            self._check_rules()

    def _load(self, bundle: Bundle) -> None:
        self._loaded = _Loaded(bundle, ItemView(bundle.items, self._catalog, self._rules))
        self._check_rules()

    def _look_at_rules(self) -> bool:
        """Whether there are other rules now; those that are wrong leave the old ones in force."""
        if self._folder is None or (stamp := stamp_of(self._folder)) == self._rules_stamp:
            return False
        self._rules_stamp = stamp
        try:
            self._rules = read_rules(self._folder)
        except RulesError as error:
            _log.error("rules for items stay as they were: %s", error)
            return False
        return True

    def _check_rules(self) -> None:
        if self._loaded and self._rules:
            try:
                self._loaded.view.merchandising.check()
            except RulesError as error:
                _log.error("rules for items that match nothing: %s", error)


def _request(asked: Asked, view: ItemView, filtered: Filtered) -> Request:
    """What the models are asked. Without consent nothing follows from a sensitive item, not even silently."""
    history, context = asked.history, asked.context_items
    if asked.hide_sensitive and view.sensitive_ids:
        history = [each for each in history if each.item not in view.sensitive_ids]
    rules = view.merchandising.in_force(asked.surface, asked.segments, asked.now_ms)
    return Request(
        surface=asked.surface,
        history=history,
        now_ms=asked.now_ms,
        limit=asked.limit,
        context_items=context,
        excluded=asked.excluded,
        exclude_seen=asked.exclude_seen,
        exclude_bought=asked.exclude_bought,
        allowed=filtered.allowed,
        looser=filtered.looser,
        hidden=rules.hidden,
        unspoken=view.sensitive,
        pins=rules.pins,
        favours=rules.favours,
        variety=asked.variety,
        categories=view.categories,
    )


def _item(pick: Pick, surface: str, fallback: str, view: ItemView) -> Item:
    """A pick with its reason in words. The reason never names an item that is marked sensitive."""
    because_of = "" if pick.because_of in view.sensitive_ids else pick.because_of
    if pick.code is Code.PINNED:
        return Item(pick.item, pick.score, pick.code, pick.said or _TEXT[pick.code], "", pick.rule)
    if because_of and pick.code in _NAMED:
        pattern = _NAMED[pick.code]
        if surface == BOUGHT_TOGETHER and pick.code is Code.SIMILAR:
            pattern = _TOGETHER
        text = pattern.format(view.names.get(because_of, because_of))
    else:
        text = _TEXT[pick.code] + (f": {fallback}" if fallback else "")
    return Item(pick.item, pick.score, pick.code, text, because_of, pick.rule)

"""The recommender: one artefact's models behind surfaces, each with its chain of fallbacks."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import repeat
from typing import Final, Protocol, runtime_checkable

import msgspec
import numpy as np
import numpy.typing as npt

from models.artefact import Bundle
from models.merchandising import NOT_PROMOTED, Favours, Pin
from models.metrics import top
from models.products import Best
from models.protocol import NOBODY, Code, History, Model, Scores
from models.variety import Categories, Variety, varied
from models.zoo.personal import RecentlyViewed
from profiles.facts import Kind
from profiles.part import Interaction

FOR_YOU: Final = "FOR_YOU"
SIMILAR_ITEMS: Final = "SIMILAR_ITEMS"
BOUGHT_TOGETHER: Final = "BOUGHT_TOGETHER"
BUY_AGAIN: Final = "BUY_AGAIN"
TRENDING: Final = "TRENDING"
POPULAR: Final = "POPULAR"
RECENTLY_VIEWED: Final = "RECENTLY_VIEWED"

LIKENESS: Final = frozenset({SIMILAR_ITEMS, BOUGHT_TOGETHER})
"""Surfaces that start from the items on the page."""

_COUNTS: Final = ("trending", "recent_buyers", "popular")
_CHAINS: Final[Mapping[str, tuple[str, ...]]] = {
    # The first model that has something to say answers; those that an artefact has not are passed over.
    # What belongs to a person is not made up for with what does not.
    FOR_YOU: ("session_knn", "content", *_COUNTS),
    SIMILAR_ITEMS: ("item_knn", "session_knn", "content", "als", *_COUNTS),
    BOUGHT_TOGETHER: ("bought_together", "item_knn", *_COUNTS),
    BUY_AGAIN: ("buy_again",),
    TRENDING: _COUNTS,
    POPULAR: ("popular",),
    RECENTLY_VIEWED: ("recently_viewed",),
}

Mask = npt.NDArray[np.bool_]

_SEEN: Final = np.zeros(16, bool)
_SEEN[[Kind.VIEWED, Kind.CLICKED, Kind.ADDED, Kind.WISHED, Kind.BOUGHT]] = True
_COUNTED: Final = {
    "recent_buyers": Code.TRENDING,
    "trending": Code.TRENDING,
    "popular": Code.POPULAR,
}
_OWN: Final = {"buy_again": Code.BUY_AGAIN, "recently_viewed": Code.RECENT}


class Pick(msgspec.Struct, frozen=True):
    """One recommended item."""

    item: str
    score: float
    code: Code
    because_of: str = ""
    """The item of the history (or of the page) that speaks for it."""
    rule: str = ""
    """The rule that pinned or promoted it."""
    said: str = ""
    """The reason that this rule gives."""


class Answer(msgspec.Struct, frozen=True):
    """Items, and the model that chose them."""

    picks: Sequence[Pick]
    model: str
    fallback: str = ""
    """Why another model than the surface's first answered."""
    loosened: int = 0
    """Of the request's looser masks, how many were needed."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. Masks have a place for each item of `Recommender.items`."""

    surface: str
    history: Sequence[Interaction]
    now_ms: int
    limit: int = 10
    context_items: Sequence[str] = ()
    excluded: Collection[str] = ()
    exclude_seen: bool = False
    exclude_bought: bool = False
    allowed: Mask | None = None
    """Items that may be answered; None: all."""
    looser: Sequence[Mask] = ()
    """Items that may be answered if those are too few, each mask wider than the one before."""
    hidden: Mask | None = None
    """Items that are never answered."""
    unspoken: Mask | None = None
    """Items that must not be named as a reason."""
    pins: Sequence[Pin] = ()
    """Items to begin with, if they may be answered."""
    favours: Favours | None = None
    variety: Variety = Variety()
    categories: Categories | None = None
    """Without them all items are different."""


@runtime_checkable
class Narrowing(Protocol):
    """A model that takes less time for the best items than for all."""

    def best(self, history: History, allowed: Mask, count: int) -> Best | None:
        """The `count` best items allowed with a score above 0, best first, as `scores` has them."""


class Recommender:
    """Answers requests from one bundle. Immutable, so any thread may ask, and a swap is a new one."""

    def __init__(self, bundle: Bundle, more_items: Iterable[str] = ()) -> None:
        """`more_items` are sold, but were not there in training: rules and what a person viewed name them."""
        self.manifest = bundle.manifest
        self.code = {item: n for n, item in enumerate(bundle.items)}
        for item in more_items:
            self.code.setdefault(item, len(self.code))
        self.items = list(self.code)
        self._learned = len(bundle.items)
        self._models = dict(bundle.models)
        # Asked of each class once: Python looks at every method of a protocol each time.
        self._narrowing = {
            name: model for name, model in self._models.items() if isinstance(model, Narrowing)
        }
        if RecentlyViewed.name in self._models:
            self._models[RecentlyViewed.name] = RecentlyViewed.restore(
                {}, {"size": np.array([len(self.items)])}
            )

    def recommend(self, request: Request) -> Answer:
        """Up to `limit` items, best first; fewer if the answering model knows no more that may be shown."""
        whole = self.history_of(request.history, request.now_ms)
        history = self._known(whole)
        free = self._free(request, whole)
        pinned = self._pinned(request, free)
        for pick in pinned:
            free[self.code[pick.item]] = False
        room = request.limit - len(pinned)
        why = ""
        for model_name in self._chain(request.surface):
            model = self._models.get(model_name)
            if model is None:
                continue
            known = whole if model_name == RecentlyViewed.name else history
            best, loosened = self._best(model, request, known, free, room)
            if best is not None and len(best.rows):
                picks = self._picks(model, best, known, request)
                return Answer([*pinned, *picks], model_name, why, loosened)
            why = why or self._why(request, known, said=best is not None)
        return Answer(pinned, "", why or "no model is trained for this surface")

    def history_of(self, known: Sequence[Interaction], now_ms: int) -> History:
        """What is known of a history: items that nobody sells are left out."""
        # Age counts up to the end of training at most: a model cannot know what happened since, and
        # a history that is old as a whole should rank as it did then.
        newest_ms = max([i.time_ms for i in known], default=0)
        now_ms = min(now_ms, max(self.manifest.window_ms[1], newest_ms))
        code = self.code
        rows = [
            (n, i.kind, i.time_ms, i.quantity) for i in known if (n := code.get(i.item)) is not None
        ]
        if not rows:
            return msgspec.structs.replace(NOBODY, now_ms=now_ms)
        items, kinds, times, quantities = zip(*rows, strict=True)
        return History(
            np.array(items, np.int32),
            np.array(kinds, np.int8),
            np.array(times, np.int64),
            np.array(quantities, np.float32),
            now_ms,
        )

    def _known(self, history: History) -> History:
        """What the models know of a history."""
        if len(self.items) == self._learned or (known := history.items < self._learned).all():
            return history
        return History(
            history.items[known], history.kinds[known], history.times_ms[known],
            history.quantities[known], history.now_ms,
        )  # fmt: skip

    def _chain(self, surface: str) -> tuple[str, ...]:
        chain = _CHAINS.get(surface, _COUNTS)
        return (self.manifest.champion, *chain) if surface == FOR_YOU else chain

    def _best(
        self, model: Model, request: Request, history: History, free: Mask, room: int
    ) -> tuple[Best | None, int]:
        """The items to answer and how many looser masks that took; None if the model says nothing."""
        alone = not (request.looser or request.favours or request.variety)
        narrow = self._narrowing.get(model.name)
        if alone and request.surface not in LIKENESS and narrow is not None:
            allowed = _allowed(request, free)[: self._learned]
            return narrow.best(history, allowed, room), 0
        scores = self._scores(model, request, history)
        return (None, 0) if scores is None else _best(scores, free, room, request)

    def _scores(self, model: Model, request: Request, history: History) -> Scores | None:
        if request.surface not in LIKENESS or not model.personal:
            return model.scores(history)
        likeness = [
            scores
            for item in self._context(request)
            if (scores := model.similar(self.code[item])) is not None
        ]
        return np.sum(likeness, axis=0, dtype=np.float32) if likeness else None

    def _context(self, request: Request) -> list[str]:
        """Items on the page that the models know."""
        return [i for i in request.context_items if self.code.get(i, self._learned) < self._learned]

    def _free(self, request: Request, history: History) -> Mask:
        """What may be answered if it is allowed: not what is hidden, excluded, or had already.

        Where no looser masks are, what is not allowed is left out here.
        """
        # Looser masks let through what the strict one does not: only without them it can stand for both.
        strict = None if request.looser else request.allowed
        free: Mask = np.ones(len(self.items), bool) if strict is None else strict.copy()
        if request.hidden is not None:
            free &= ~request.hidden
        for item in (*request.excluded, *request.context_items):
            if item in self.code:
                free[self.code[item]] = False
        if request.exclude_seen:
            free[history.items[_SEEN[history.kinds]]] = False
        elif request.exclude_bought:
            free[history.items[history.kinds == Kind.BOUGHT]] = False
        return free

    def _pinned(self, request: Request, free: Mask) -> list[Pick]:
        """The items that rules begin with, as far as they may be shown."""
        shown = [
            pin
            for pin in request.pins
            if free[pin.code] and (request.allowed is None or request.allowed[pin.code])
        ]
        return [
            Pick(self.items[pin.code], 0.0, Code.PINNED, "", pin.rule, pin.reason)
            for pin in shown[: request.limit]
        ]

    def _why(self, request: Request, history: History, *, said: bool) -> str:
        if said:
            return "nothing that may be shown was left"
        if request.surface in LIKENESS:
            return "no context item is known to the model"
        return "no history" if not len(history) else "nothing in the history that counts here"

    def _picks(
        self,
        model: Model,
        best: Best,
        history: History,
        request: Request,
    ) -> list[Pick]:
        codes = best.rows.astype(np.int32)
        items = best.rows.tolist()
        if model.name in _COUNTED:
            reasons = [(_COUNTED[model.name], "")] * len(items)
        elif model.name in _OWN:
            reasons = [(_OWN[model.name], self.items[item]) for item in items]
        elif request.surface in LIKENESS:
            reasons = [(Code.SIMILAR, named) for named in self._likest(model, codes, request)]
        else:
            reasons = self._because(model, codes, history, request.unspoken)
        rules = (
            [_promoter(request.favours, item) for item in items] if request.favours else repeat("")
        )
        return [
            Pick(self.items[item], score, code, named, rule)
            for item, score, (code, named), rule in zip(
                items, best.scores.tolist(), reasons, rules, strict=False
            )
        ]

    def _because(
        self,
        model: Model,
        items: npt.NDArray[np.int32],
        history: History,
        unspoken: npt.NDArray[np.bool_] | None,
    ) -> list[tuple[Code, str]]:
        """The item of the history that speaks for each, if it was bought or looked at."""
        found = model.because(history, items)
        done = set(zip(history.items.tolist(), history.kinds.tolist(), strict=True))
        reasons = []
        causes = found.tolist() if found is not None else [-1] * len(items)
        for item, cause in zip(items.tolist(), causes, strict=True):
            named = cause >= 0 and not (unspoken is not None and unspoken[cause])
            if cause == item and (cause, Kind.BOUGHT) in done:
                reasons.append((Code.BUY_AGAIN, self.items[cause]))
            elif named and (cause, Kind.BOUGHT) in done:
                reasons.append((Code.BOUGHT, self.items[cause]))
            elif named and ((cause, Kind.VIEWED) in done or (cause, Kind.CLICKED) in done):
                reasons.append((Code.VIEWED, self.items[cause]))
            else:  # "because you viewed" would not be true of what was only wished for or reviewed
                reasons.append((Code.LIKED, ""))
        return reasons

    def _likest(
        self, model: Model, items: npt.NDArray[np.int32], request: Request
    ) -> Sequence[str]:
        """For each item the context item that it is most like."""
        known = self._context(request)
        if len(known) == 1:
            return known * len(items)
        likeness = [model.similar(self.code[item]) for item in known]
        shares = np.stack([np.zeros(self._learned) if s is None else s for s in likeness])
        return [known[n] for n in shares[:, items].argmax(axis=0)]


def _best(scores: Scores, free: Mask, limit: int, request: Request) -> tuple[Best, int]:
    """The items to answer, best first, and how many looser masks that took."""
    size = len(scores)
    ranked = scores if request.favours is None else scores * request.favours.boost[:size]
    best, needed = _ranked(ranked * _allowed(request, free)[:size], limit, request), 0
    left = free[:size].copy()
    for loosened, mask in enumerate(request.looser, start=1):
        if len(best) >= limit:
            break
        left[best] = False
        added = _ranked(ranked * (left & mask[:size]), limit - len(best), request)
        if len(added):
            # Those that meet more come first, whatever their score.
            best = np.concatenate((best, added))
            needed = loosened
    return Best(best, scores[best]), needed


def _allowed(request: Request, free: Mask) -> Mask:
    return request.allowed & free if request.looser and request.allowed is not None else free


def _ranked(scores: Scores, limit: int, request: Request) -> npt.NDArray[np.int64]:
    if request.variety and request.categories is not None:
        return varied(scores, limit, request.variety, request.categories)
    return top(scores, limit)


def _promoter(favours: Favours, item: int) -> str:
    rule = int(favours.rule[item])
    return "" if rule == NOT_PROMOTED else favours.names[rule]

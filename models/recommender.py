"""The recommender: one artefact's models behind surfaces, each with its chain of fallbacks."""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from models.artefact import Bundle
from models.metrics import top
from models.protocol import NOBODY, Code, History, Model, Scores
from profiles.facts import Kind
from profiles.part import Interaction

FOR_YOU: Final = "FOR_YOU"
SIMILAR_ITEMS: Final = "SIMILAR_ITEMS"
BOUGHT_TOGETHER: Final = "BOUGHT_TOGETHER"
BUY_AGAIN: Final = "BUY_AGAIN"
TRENDING: Final = "TRENDING"
POPULAR: Final = "POPULAR"
RECENTLY_VIEWED: Final = "RECENTLY_VIEWED"

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


class Answer(msgspec.Struct, frozen=True):
    """Items, and the model that chose them."""

    picks: Sequence[Pick]
    model: str
    fallback: str = ""
    """Why another model than the surface's first answered."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. Masks have a place for each item of the artefact."""

    surface: str
    history: Sequence[Interaction]
    now_ms: int
    limit: int = 10
    context_items: Sequence[str] = ()
    excluded: Sequence[str] = ()
    exclude_seen: bool = False
    exclude_bought: bool = False
    allowed: npt.NDArray[np.bool_] | None = None
    """Items that may be answered; None: all."""
    unspoken: npt.NDArray[np.bool_] | None = None
    """Items that must not be named as a reason."""


class Recommender:
    """Answers requests from one bundle. Immutable, so any thread may ask, and a swap is a new one."""

    def __init__(self, bundle: Bundle) -> None:
        self.manifest = bundle.manifest
        self.items = bundle.items
        self.code = {item: n for n, item in enumerate(bundle.items)}
        self._models = bundle.models

    def recommend(self, request: Request) -> Answer:
        """Up to `limit` items, best first; fewer if the answering model knows no more that may be shown."""
        history = self.history_of(request.history, request.now_ms)
        blocked = self._blocked(request, history)
        why = ""
        for model_name in self._chain(request.surface):
            model = self._models.get(model_name)
            if model is None:
                continue
            scores = self._scores(model, request, history)
            if scores is not None:
                best = top(np.where(blocked, np.float32(0), scores), request.limit)
                if len(best):
                    picks = self._picks(model, best, scores, history, request)
                    return Answer(picks, model_name, why)
            why = why or self._why(request, scores, history)
        return Answer((), "", why or "no model is trained for this surface")

    def history_of(self, known: Sequence[Interaction], now_ms: int) -> History:
        """What the models know of a history: items that were not there in training are left out."""
        # Age counts up to the end of training at most: a model cannot know what happened since, and
        # a history that is old as a whole should rank as it did then.
        newest_ms = max((i.time_ms for i in known), default=0)
        now_ms = min(now_ms, max(self.manifest.window_ms[1], newest_ms))
        code = self.code
        rows = [(code[i.item], i.kind, i.time_ms, i.quantity) for i in known if i.item in code]
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

    def _chain(self, surface: str) -> tuple[str, ...]:
        counts = ("trending", "recent_buyers", "popular")
        return {
            FOR_YOU: (self.manifest.champion, *counts),
            SIMILAR_ITEMS: ("item_knn", "als", *counts),
            BOUGHT_TOGETHER: ("bought_together", "item_knn", *counts),
            BUY_AGAIN: ("buy_again",),
            TRENDING: counts,
            POPULAR: ("popular",),
            RECENTLY_VIEWED: ("recently_viewed",),
        }.get(surface, counts)

    def _scores(self, model: Model, request: Request, history: History) -> Scores | None:
        if request.surface not in (SIMILAR_ITEMS, BOUGHT_TOGETHER) or not model.personal:
            return model.scores(history)
        likeness = [
            scores
            for item in request.context_items
            if item in self.code and (scores := model.similar(self.code[item])) is not None
        ]
        return np.sum(likeness, axis=0, dtype=np.float32) if likeness else None

    def _blocked(self, request: Request, history: History) -> npt.NDArray[np.bool_]:
        blocked = np.zeros(len(self.items), bool) if request.allowed is None else ~request.allowed
        for item in (*request.excluded, *request.context_items):
            if item in self.code:
                blocked[self.code[item]] = True
        if request.exclude_seen:
            blocked[history.items[_SEEN[history.kinds]]] = True
        elif request.exclude_bought:
            blocked[history.items[history.kinds == Kind.BOUGHT]] = True
        return blocked

    def _why(self, request: Request, scores: Scores | None, history: History) -> str:
        if scores is not None:
            return "nothing that may be shown was left"
        if request.surface in (SIMILAR_ITEMS, BOUGHT_TOGETHER):
            return "no context item is known to the model"
        return "no history" if not len(history) else "nothing in the history that counts here"

    def _picks(
        self,
        model: Model,
        best: npt.NDArray[np.int64],
        scores: Scores,
        history: History,
        request: Request,
    ) -> list[Pick]:
        codes = best.astype(np.int32)
        if model.name in _COUNTED:
            reasons = [(_COUNTED[model.name], "")] * len(best)
        elif model.name in _OWN:
            reasons = [(_OWN[model.name], self.items[item]) for item in best]
        elif request.surface in (SIMILAR_ITEMS, BOUGHT_TOGETHER):
            reasons = [(Code.SIMILAR, named) for named in self._likest(model, codes, request)]
        else:
            reasons = self._because(model, codes, history, request.unspoken)
        return [
            Pick(self.items[item], float(scores[item]), *reason)
            for item, reason in zip(best, reasons, strict=True)
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
        for cause in found.tolist() if found is not None else [-1] * len(items):
            named = cause >= 0 and not (unspoken is not None and unspoken[cause])
            if named and (cause, Kind.BOUGHT) in done:
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
        known = [item for item in request.context_items if item in self.code]
        if len(known) == 1:
            return known * len(items)
        likeness = [model.similar(self.code[item]) for item in known]
        shares = np.stack([np.zeros(len(self.items)) if s is None else s for s in likeness])
        return [known[n] for n in shares[:, items].argmax(axis=0)]

"""The blend: every model's opinion, weighed by how well it told what people took next."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt
import scipy.optimize

from models.cases import PEOPLE_MIN, Case, buying, cases_of, seen_of
from models.errors import NotEnoughData
from models.interactions import DAY_MS, Codes, Interactions
from models.metrics import top
from models.products import Best, Mask, best_of
from models.protocol import History, Model, Scores
from models.zoo.counting import Popular, RecentBuyers, Trending
from models.zoo.factors import ALS
from models.zoo.linear import EASE, EASE_ITEMS_MAX, ItemKNN
from models.zoo.narrow import KNOWN, Narrow, can_narrow, opinion
from models.zoo.personal import BuyAgain
from models.zoo.sessions import SessionKNN

ASKED: Final = 60
"""Items of each model that the weights are learned from, beside those bought before."""
CASES_MAX: Final = 3_000
"""Weights of twenty features do not get better with more people."""


class Blend:
    """A conditional logit over the opinions of its parts.

    opinion f = log(score / best score + FLOOR) − log FLOOR; how likely an item is taken next goes with e^z,
    z = Σ weight × f. Items bought before have weights of their own: who explains
    repeats does not explain new tastes. The parts are fitted up to `days` before now, the weights on
    what people took in those days, and the parts again up to now.
    """

    name: ClassVar[str] = "blend"
    personal: ClassVar[bool] = True

    def __init__(self, parts: Sequence[Model] = (), days: float = 30, penalty: float = 1) -> None:
        if days <= 0 or penalty <= 0:
            raise ValueError("blend: days and penalty must be above 0")
        self.parts = list(parts)
        self.days, self.penalty = days, penalty
        self._buying = True
        self._weights: npt.NDArray[np.float32] = np.empty((2, 0), np.float32)
        self._again = 0.0
        self._narrow: Narrow | None = None

    def joined(self, parts: Sequence[Model]) -> "Blend":
        """A new blend of these, with the same settings."""
        return Blend(parts, self.days, self.penalty)

    def fit(self, interactions: Interactions, now_ms: int) -> Self:
        """Learn weights from the last days before `now_ms`, and the parts from all before it."""
        known = interactions.until(now_ms)
        if not len(known):
            raise NotEnoughData("blend: no interactions to learn from")
        if not self.parts:
            self.parts = _default_parts(len(interactions.items))
        start_ms = now_ms - int(self.days * DAY_MS)
        self._buying = buying(known)
        cases, _ = cases_of(known, start_ms, now_ms)
        self._weights, self._again = np.ones((2, len(self.parts)), np.float32), 0.0
        if len(cases) >= PEOPLE_MIN:
            for part in self.parts:
                part.fit(interactions, start_ms)
            self._learn(cases[:: max(1, len(cases) // CASES_MAX)])
        for part in self.parts:
            part.fit(interactions, now_ms)
        self._fitted()
        return self

    def _fitted(self) -> None:
        narrow = can_narrow(self.parts)
        self._narrow = Narrow(self.parts, self._weights, self._again) if narrow else None

    def _learn(self, cases: Sequence[Case]) -> None:
        rows, taken, sizes = [], [], []
        for case in cases:
            opinions = self._opinions(case.history)
            if opinions is None:
                continue
            again = np.zeros(opinions.shape[1], bool)
            again[case.seen] = True
            asked = again.copy()
            for each in opinions:
                asked[top(np.where(again, np.float32(0), each), ASKED)] = True
            items = np.flatnonzero(asked)
            right = np.isin(items, case.truth)
            if right.any() and not right.all():
                features, repeat = opinions[:, items].T, again[items][:, None]
                rows.append(np.hstack((features * ~repeat, features * repeat, repeat)))
                taken.append(right / right.sum())
                sizes.append(len(items))
        if len(rows) >= PEOPLE_MIN:
            found = conditional_logit(
                np.vstack(rows), np.concatenate(taken), np.array(sizes), self.penalty
            )
            self._weights = found[:-1].reshape(2, -1).astype(np.float32)
            self._again = float(found[-1])

    def _opinions(self, history: History) -> npt.NDArray[np.float32] | None:
        """Parts × items; None if no part has one."""
        opinions: list[npt.NDArray[np.float32] | None] = []
        for part in self.parts:
            scores = part.scores(history)
            best = scores.max(initial=0) if scores is not None else 0
            if scores is None or best <= 0:
                opinions.append(None)
                continue
            opinions.append(opinion(scores, float(best)))
        size = next((len(opinion) for opinion in opinions if opinion is not None), None)
        if size is None:
            return None
        nothing = np.zeros(size, np.float32)
        return np.stack([nothing if opinion is None else opinion for opinion in opinions])

    def scores(self, history: History) -> Scores | None:
        """How likely each item is taken next, beside the likeliest; 0 for items of which nothing is known."""
        if not len(history):
            return None
        opinions = self._opinions(history)
        if opinions is None:
            return None
        # Added up part by part, as where only some items are looked at: a total depends on its item alone.
        total = np.zeros(opinions.shape[1], np.float32)
        for weight, each in zip(self._weights[0], opinions, strict=True):
            total += weight * each
        seen = seen_of(history, self._buying)
        repeated = np.zeros(len(seen), np.float32)
        for weight, each in zip(self._weights[1], opinions, strict=True):
            repeated += weight * each[seen]
        total[seen] = repeated + np.float32(self._again)
        known = opinions.max(axis=0) > np.float32(KNOWN)
        total -= total[known].max(initial=0)
        np.exp(total, out=total)
        total[~known] = 0
        return total

    def best(self, history: History, allowed: Mask, count: int) -> Best | None:
        """The `count` best items allowed with a score above 0, best first, as `scores` has them."""
        if not len(history):
            return None
        if self._narrow is not None:
            seen = seen_of(history, self._buying).astype(np.int64)
            found = self._narrow.best(history, seen, allowed, count)
            if found is not None:
                return found
        scores = self.scores(history)
        if scores is None:
            return None
        rows = np.flatnonzero(allowed)
        return best_of(rows, scores[rows], count)

    def because(self, history: History, items: Codes) -> Codes | None:
        """What the heaviest parts that can say name; the item itself if it was bought before."""
        if not len(history):
            return None
        causes = np.full(len(items), -1, np.int32)
        own = np.isin(items, seen_of(history, True))
        causes[own] = items[own]
        for n in sorted(range(len(self.parts)), key=self._says):
            part = self.parts[n]
            if not (causes < 0).any():
                break
            if self._weights[0, n] <= 0 or not part.personal or part.name in _OWN:
                continue
            found = part.because(history, items)
            if found is not None:
                causes = np.where(causes < 0, found, causes)
        return causes.astype(np.int32)

    def _says(self, part: int) -> tuple[int, float]:
        """Who is asked for reasons first: what was made to tell items apart, then by weight."""
        name = self.parts[part].name
        told = _TELLING.index(name) if name in _TELLING else len(_TELLING)
        return told, -float(self._weights[0, part])

    def similar(self, item: int) -> Scores | None:
        """The mean of what the parts find similar, each by its own best."""
        likeness = [scores for part in self.parts if (scores := part.similar(item)) is not None]
        # The item is no part of the scale: it is more like itself than anything else is.
        for scores in likeness:
            scores[item] = 0
        shares = [scores / best for scores in likeness if (best := scores.max(initial=0)) > 0]
        return np.mean(shares, axis=0).astype(np.float32) if shares else None

    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """The weights, and what each part learned, under its name."""
        return {
            "weights": self._weights,
            "again": np.array([self._again, float(self._buying)]),
            **{
                f"{part.name}.{name}": array
                for part in self.parts
                for name, array in part.arrays().items()
            },
        }

    def parameters(self) -> Mapping[str, float | int | str | None]:
        """The days of the window, the penalty, and the settings of each part as JSON."""
        return {
            "days": self.days,
            "penalty": self.penalty,
            "parts": json.dumps({part.name: dict(part.parameters()) for part in self.parts}),
        }

    @classmethod
    def restore(cls, parameters: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """From saved weights and parts."""
        from models import zoo

        parts: list[Model] = []
        for name, settings in json.loads(parameters["parts"]).items():
            own = {
                key.removeprefix(f"{name}."): array
                for key, array in arrays.items()
                if key.startswith(f"{name}.")
            }
            parts.append(zoo.class_of(name).restore(settings, own))
        made = cls(parts, parameters["days"], parameters["penalty"])
        made._weights = np.array(arrays["weights"], np.float32)
        if made._weights.shape != (2, len(parts)):
            raise ValueError(f"weights for other than {len(parts)} parts")
        again, buys = arrays["again"]
        made._again, made._buying = float(again), bool(buys)
        made._fitted()
        return made


_TELLING: Final = ("ease", "item_knn", "als")
_OWN: Final = ("buy_again", "recently_viewed")
"""They would name an item as its own reason."""


def conditional_logit(
    features: npt.NDArray[Any], share: npt.NDArray[Any], sizes: npt.NDArray[Any], penalty: float
) -> npt.NDArray[np.float64]:
    """Weights that make what was taken likeliest among what was there (McFadden 1974), with an L2 penalty.

    `features` has a row for each item that was there, `sizes` how many rows each person has, `share` the
    part of each row in what the person took, which adds up to 1.
    """
    starts = np.append(0, np.cumsum(sizes)[:-1])
    person = np.repeat(np.arange(len(sizes)), sizes)
    features = np.asarray(features, np.float64)
    held = share @ features

    def loss(weights: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        total = features @ weights
        most = np.maximum.reduceat(total, starts)
        grown = np.exp(total - most[person])
        sums = np.add.reduceat(grown, starts)
        value = (most + np.log(sums)).sum() - held @ weights + penalty / 2 * weights @ weights
        return value, (grown / sums[person]) @ features - held + penalty * weights

    start = np.zeros(features.shape[1])
    found = scipy.optimize.minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 300}
    )
    return np.asarray(found.x)


def _default_parts(items: int) -> list[Model]:
    parts: list[Model] = [
        Popular(), RecentBuyers(), Trending(7), BuyAgain(), ItemKNN(), ALS(), SessionKNN(),
    ]  # fmt: skip
    return [*parts, EASE()] if items <= EASE_ITEMS_MAX else parts

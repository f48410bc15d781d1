"""The blend's best items without scoring all: exact, by what those that were not looked at can reach at most.

A blend's total of an item is a weighted sum of its parts' opinions. Counts say the same to everybody, so their
share of it is known beforehand; purchases, neighbours and sessions speak of few items each; and factors say
little of items with short factors. So what is looked at is what some part of the history speaks for, the
items that counts like best, and the longest factors. Whatever is left cannot come to more than the next count
and the next length together (a threshold algorithm: Fagin, Lotem, Naor 2003).
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from models.products import BLOCK_ROWS, FEW, Best, Mask, highest
from models.protocol import Few, History, Model
from models.zoo.counting import Counting
from models.zoo.factors import ALS

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

FLOOR: Final = 0.02
"""Of a model's best score: below it, differences between items say little."""
KNOWN: Final = 0.01
"""An item of which no model says more than this is one that nothing is known of."""
LIKED: Final = 2_048
"""Items that counts like best, looked at for everybody."""
SPOKEN_MAX: Final = 0.2
"""Of the items: where a history speaks for more, all are scored."""
ITEMS_MIN: Final = 20_000
"""With fewer items all are scored: it takes as long."""


def opinion(scores: Floats, best: float) -> Floats:
    """log(score / best score + FLOOR) − log FLOOR."""
    share = np.maximum(scores, 0) * np.float32(1 / best)
    share += np.float32(FLOOR)
    np.log(share, out=share)
    share -= np.float32(np.log(FLOOR))
    return share


@runtime_checkable
class Speaking(Protocol):
    """A model that speaks of few items."""

    def few(self, history: History) -> Few | None:
        """The items that `scores` says anything of, with these scores."""


class _Said(NamedTuple):
    """A part's opinion of a few items; of all others it knows nothing."""

    part: int
    rows: Rows
    opinions: Floats
    """Of all items."""


class Narrow:
    """Finds the best items of one fitted blend. Immutable, so any thread may ask."""

    def __init__(self, parts: Sequence[Model], weights: Floats, again: float) -> None:
        """For parts that `can_narrow`."""
        self._weights, self._again = weights, np.float32(again)
        self._factors, self._als = next((n, p) for n, p in enumerate(parts) if isinstance(p, ALS))
        self._products = self._als.products
        self._speaking = {n: part for n, part in enumerate(parts) if isinstance(part, Speaking)}
        self._constant: dict[int, Floats] = {}
        for n, part in enumerate(parts):
            if isinstance(part, Counting):
                scores = part.counts
                best = float(scores.max(initial=0))
                if best > 0:
                    self._constant[n] = opinion(scores, best)
        size = len(self._products.matrix)
        base = np.zeros(size, np.float32)
        for n, said in self._constant.items():
            base += weights[0, n] * said
        order = np.argsort(-base, kind="stable")
        self._size, self._liked = size, order[:LIKED]
        self._liked_factors = self._products.matrix[self._liked]
        """Side by side: reading them from where they are takes four times as long."""
        self._next = float(base[order[LIKED]])
        """What counts say of the best item that is not in `_liked`, weighed."""

    def best(self, history: History, seen: Rows, allowed: Mask, count: int) -> Best | None:
        """The best items as the blend scores them; None if it takes all scores to tell."""
        vector = self._als.vector(history)
        longest = 0.0
        if vector is not None:
            first = self._products.best(vector, np.ones(self._size, bool), 1)
            longest = float(first.scores[0]) if len(first.scores) else 0.0
        if vector is None or longest <= 0 or np.count_nonzero(allowed) < FEW * self._size:
            return None
        said = self._sparse(history)
        spoken = np.zeros(self._size, bool)
        for each in said:
            spoken[each.rows] = True
        spoken[seen] = True
        spoken[self._liked] = False
        rows = np.flatnonzero(spoken)
        if len(rows) > SPOKEN_MAX * self._size:
            return None
        spoken[self._liked] = True
        again = np.zeros(self._size, bool)
        again[seen] = True

        def totals(rows: Rows, products: Floats) -> tuple[Rows, Floats]:
            return self._totals(rows, opinion(products, longest), said, again[rows])

        found = _Found(allowed, count)
        found.add(*totals(self._liked, self._liked_factors @ vector))
        found.add(*totals(rows, self._products.matrix[rows] @ vector))
        return self._from_longest(vector, longest, totals, found, spoken)

    def _sparse(self, history: History) -> list[_Said]:
        """What the parts say that speak of few items only."""
        found = []
        for n, part in self._speaking.items():
            few = part.few(history)
            if few is None or not (few.scores > 0).any():
                continue
            rows, values = few.items[few.scores > 0], few.scores[few.scores > 0]
            opinions = np.zeros(self._size, np.float32)
            opinions[rows] = opinion(values, float(values.max()))
            found.append(_Said(n, rows, opinions))
        return found

    def _totals(
        self, rows: Rows, factors: Floats, said: Sequence[_Said], again: Mask
    ) -> tuple[Rows, Floats]:
        """The items among `rows` of which something is known, and their totals, added up part by part."""
        opinions = {n: constant[rows] for n, constant in self._constant.items()}
        opinions |= {each.part: each.opinions[rows] for each in said}
        opinions[self._factors] = factors
        known = np.zeros(len(rows), bool)
        total = np.zeros(len(rows), np.float32)
        repeated = np.zeros(len(rows), np.float32)
        for n in sorted(opinions):
            total += self._weights[0, n] * opinions[n]
            known |= opinions[n] > np.float32(KNOWN)
            if again.any():
                repeated += self._weights[1, n] * opinions[n]
        total = np.where(again, repeated + self._again, total)
        return rows[known], total[known]

    def _from_longest(
        self,
        vector: Floats,
        longest: float,
        totals: Callable[[Rows, Floats], tuple[Rows, Floats]],
        found: "_Found",
        spoken: Mask,
    ) -> Best | None:
        """Look at longer factors first, until no further one can be among the best."""
        weight = max(0.0, float(self._weights[0, self._factors]))
        end, step = 0, BLOCK_ROWS
        while True:
            reach = np.array([self._products.beyond(vector, end)], np.float32)
            bound = self._next + weight * float(opinion(reach, longest)[0])
            if found.settled(bound):
                return found.best()
            if end >= self._products.at_hand():
                return None
            start, end = end, min(end + step, self._products.at_hand())
            step *= 2
            read = self._products.longest(vector, start, end)
            new = ~spoken[read.rows]
            found.add(*totals(read.rows[new], read.scores[new]))


class _Found:
    """The best so far."""

    def __init__(self, allowed: Mask, count: int) -> None:
        self._allowed, self._count = allowed, count
        self._rows, self._totals = np.empty(0, np.int64), np.empty(0, np.float32)
        self._most = -np.inf

    def add(self, rows: Rows, totals: Floats) -> None:
        """Some more items, each once."""
        self._most = max(self._most, float(totals.max(initial=-np.inf)))
        let = self._allowed[rows]
        if len(self._rows) == self._count and self._count:
            let &= totals >= self._totals[-1]
        rows = np.concatenate((self._rows, rows[let]))
        totals = np.concatenate((self._totals, totals[let]))
        self._rows, self._totals = highest(rows, totals, self._count)

    def settled(self, bound: float) -> bool:
        """Whether no item whose total is at most `bound` can be among the best, nor the scale of all."""
        # Sums are rounded in another order than the bound was.
        bound += 1e-4 * max(1.0, abs(bound))
        full = len(self._rows) == self._count and (not self._count or self._totals[-1] > bound)
        return bool(full and self._most > bound)

    def best(self) -> Best:
        """With scores beside the best of all items, allowed or not."""
        scores = np.exp(self._totals - np.float32(max(self._most, 0.0)))
        above = scores > 0
        return Best(self._rows[above], scores[above])


def can_narrow(parts: Sequence[Model]) -> bool:
    """Whether the parts are those whose best items can be told without scoring all."""
    factors = [part for part in parts if isinstance(part, ALS)]
    return (
        len(factors) == 1
        and len(factors[0].products.matrix) >= ITEMS_MIN
        and all(part.name in _NARROW for part in parts)
    )


_NARROW: Final = frozenset(
    ("popular", "recent_buyers", "trending", "buy_again", "item_knn", "session_knn", "als")
)
"""Counts, factors, and models that speak of what is near a history only."""

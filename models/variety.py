"""Variety: of what scores high, a list that is not ten times the same.

Maximal marginal relevance (Carbonell, Goldstein, SIGIR 1998) over categories: an item loses by how far it is
of the categories that were chosen before it.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from models.metrics import top

POOL_FACTOR: Final = 10
POOL_MIN: Final = 100
"""Of so many best scores the list is chosen: ten for each place, as facts/recommendation.md §5 has it."""
NO_CATEGORY: Final = -1

Scores = npt.NDArray[np.float32]
Picked = npt.NDArray[np.int64]


class Variety(msgspec.Struct, frozen=True):
    """How different the items of one answer shall be."""

    weight: float = 0.0
    """0: by score alone; 1: by difference alone."""
    per_category: int = 0
    """At most so many of one category; 0: any number."""

    def __bool__(self) -> bool:
        return self.weight > 0 or self.per_category > 0


class Categories(msgspec.Struct, frozen=True):
    """The category of each item."""

    code: npt.NDArray[np.int32]
    """Number of the item's category, NO_CATEGORY for none: such an item is like no other."""
    paths: Sequence[str]
    """Each category from the root, for example "health/vitamins"."""


def varied(scores: Scores, limit: int, variety: Variety, categories: Categories) -> Picked:
    """Codes of up to `limit` items with scores above 0, best first."""
    pool = max(POOL_MIN, limit * POOL_FACTOR)
    while True:
        best = top(scores, pool)
        chosen = _chosen(best, scores[best], limit, variety, categories)
        if len(chosen) == limit or len(best) < pool:
            return chosen
        pool *= POOL_FACTOR  # a cap may leave too few


def _chosen(
    best: Picked, scores: Scores, limit: int, variety: Variety, categories: Categories
) -> Picked:
    if not len(best):
        return best
    group = categories.code[best]
    worth = scores / scores[0] * np.float32(1 - variety.weight)
    likeness = np.zeros(len(best), np.float32)
    free = np.ones(len(best), bool)
    count: dict[int, int] = {}
    chosen: list[int] = []
    for _ in range(min(limit, len(best))):
        value = np.where(free, worth - np.float32(variety.weight) * likeness, -np.inf)
        place = int(value.argmax())
        if not free[place]:
            break
        chosen.append(place)
        free[place] = False
        category = int(group[place])
        if category == NO_CATEGORY:
            continue
        count[category] = count.get(category, 0) + 1
        if count[category] == variety.per_category:
            free &= group != category
        if variety.weight:
            likeness = np.maximum(likeness, _likeness(category, group, categories.paths))
    return best[chosen]


def _likeness(
    category: int, group: npt.NDArray[np.int32], paths: Sequence[str]
) -> npt.NDArray[np.float32]:
    """How like each item's category is to one."""
    distinct, place = np.unique(group, return_inverse=True)
    shares = [
        0.0 if each == NO_CATEGORY else shared(paths[category], paths[each])
        for each in distinct.tolist()
    ]
    return np.array(shares, np.float32)[place]


@lru_cache(maxsize=10_000)
def shared(left: str, right: str) -> float:
    """How much of their way from the root two categories share: 0 to 1."""
    ours, theirs = left.split("/"), right.split("/")
    same = 0
    for mine, yours in zip(ours, theirs, strict=False):
        if mine != yours:
            break
        same += 1
    return same / max(len(ours), len(theirs))

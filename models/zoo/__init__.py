"""The models, and the settings among which training chooses."""

from typing import Any, Final

from models.errors import TooManyItems
from models.protocol import Model
from models.zoo.counting import Popular, RecentBuyers, Trending
from models.zoo.factors import ALS
from models.zoo.linear import EASE, EASE_ITEMS_MAX, ItemKNN
from models.zoo.personal import BuyAgain, RecentlyViewed

CLASSES: Final[dict[str, type[Any]]] = {
    each.name: each
    for each in (Popular, RecentBuyers, Trending, RecentlyViewed, BuyAgain, ItemKNN, ALS, EASE)
}
"""Every model by its name, for loading."""

BASELINES: Final = ("popular", "recent_buyers", "trending")
"""A model that does not beat each of these is not promoted."""

CANDIDATES: Final = ("item_knn", "als", "ease")
"""Models that can find items that a person does not know yet."""


def fitting(grids: list[list[Model]], items: int) -> list[list[Model]]:
    """The models that so many items allow; TooManyItems if none is left."""
    kept = [grid for grid in grids if items <= EASE_ITEMS_MAX or not isinstance(grid[0], EASE)]
    if grids and not kept:
        raise TooManyItems(
            f"{items:,} items: no model left that could learn from so many; use als instead"
        )
    return kept


def default() -> list[list[Model]]:
    """For each model the settings to try; tuning picks one of each list by the validation window."""
    return [
        [Popular()],
        [RecentBuyers()],
        [Trending(half_life_days=days) for days in (7, 30)],
        [RecentlyViewed()],
        [BuyAgain(half_life_days=days) for days in (60, 180, 365)],
        [ItemKNN(half_life_days=days) for days in (90, 180)],
        [
            ALS(alpha=alpha, regularization=reg, half_life_days=days)
            for alpha, reg, days in ((4, 20, 180), (4, 20, 90), (8, 40, 180), (2, 10, 180))
        ],
        [
            EASE(regularization=reg, half_life_days=days)
            for reg, days in ((100, 180), (300, 180), (100, 90), (30, 90))
        ],
    ]

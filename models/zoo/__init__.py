"""The models, and the settings among which training chooses."""

from functools import cache
from importlib.metadata import entry_points
from typing import Any, Final

from models.errors import ModelError, TooManyItems
from models.interactions import Interactions
from models.protocol import Model
from models.zoo.blend import Blend
from models.zoo.content import Content
from models.zoo.counting import Popular, RecentBuyers, Trending
from models.zoo.factors import ALS
from models.zoo.linear import EASE, EASE_ITEMS_MAX, ItemKNN
from models.zoo.personal import BuyAgain, RecentlyViewed
from models.zoo.sessions import SessionKNN
from models.zoo.together import BoughtTogether
from profiles.facts import Kind

ENTRY_POINTS: Final = "onefold.models"
"""The entry point group by which an installed package adds models of its own."""

CLASSES: Final[dict[str, type[Any]]] = {
    each.name: each
    for each in (
        Popular, RecentBuyers, Trending, RecentlyViewed, BuyAgain, ItemKNN, ALS, EASE,
        SessionKNN, BoughtTogether, Content, Blend,
    )
}  # fmt: skip
"""Every model of this code by its name, for loading."""

BASELINES: Final = ("popular", "recent_buyers", "trending")
"""A model that does not beat each of these is not promoted."""

CANDIDATES: Final = ("item_knn", "als", "ease", "session_knn", "content", "blend")
"""Models that can find items that a person does not know yet; so can those that packages add."""

REPEATING: Final = ("buy_again", "recently_viewed")
"""Models that know only what a person did before."""


@cache
def added() -> dict[str, type[Any]]:
    """Models that installed packages add, by name; ModelError if one cannot be imported or used."""
    found: dict[str, type[Any]] = {}
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            model = entry.load()
        except Exception as error:
            raise ModelError(f"entry point {entry.name} ({entry.value}): {error}") from error
        name = getattr(model, "name", "")
        if not name or name in CLASSES or "." in name:
            raise ModelError(f"entry point {entry.name}: its model's name {name!r} is not free")
        found[name] = model
    return found


def class_of(name: str) -> type[Any]:
    """The class of a model; KeyError if there is none."""
    return CLASSES[name] if name in CLASSES else added()[name]


def blended(name: str) -> bool:
    """Whether a blend asks this model: what adds nothing to another costs time with every answer."""
    return name not in ("content", "bought_together", "blend")


def finds_new(name: str) -> bool:
    """Whether a model may be champion: it can find items that a person does not know yet."""
    return name in CANDIDATES or name not in CLASSES


def fitting(grids: list[list[Model]], interactions: Interactions) -> list[list[Model]]:
    """The models and settings that these interactions allow; TooManyItems if none is left.

    EASE goes where there are too many items, content where no item has a text, and settings that
    differ only in what looks count where nobody looks or nobody buys.
    """
    items = len(interactions.items)
    kept = [grid for grid in grids if items <= EASE_ITEMS_MAX or not isinstance(grid[0], EASE)]
    if grids and not kept:
        raise TooManyItems(
            f"{items:,} items: no model left that could learn from so many; use als instead"
        )
    if not any(interactions.texts):
        kept = [grid for grid in kept if not isinstance(grid[0], Content)] or kept
    kinds = set(interactions.kind.tolist())
    if Kind.BOUGHT in kinds and len(kinds) > 1:
        return kept
    return [list(_without_looks(grid).values()) for grid in kept]


def _without_looks(grid: list[Model]) -> dict[tuple[tuple[str, object], ...], Model]:
    distinct: dict[tuple[tuple[str, object], ...], Model] = {}
    for model in grid:
        settings = tuple(item for item in model.parameters().items() if item[0] != "looks")
        distinct.setdefault(settings, model)
    return distinct


def default() -> list[list[Model]]:
    """For each model the settings to try; tuning picks one of each list by the validation window."""
    return [
        [Popular()],
        [RecentBuyers()],
        [Trending(half_life_days=days) for days in (7, 30)],
        [RecentlyViewed()],
        [
            BuyAgain(half_life_days=days, cadence=cadence)
            for days, cadence in ((180, 0), (60, 0), (365, 0), (180, 0.7))
        ],
        [
            ItemKNN(half_life_days=days, b=b, fade=fade, looks=looks)
            for days, b, fade, looks in (
                (180, 0.75, 1, 0.1), (90, 0.75, 1, 0.1), (180, 0.2, 1, 0.1), (180, 0.2, 0.6, 0.1),
                (180, 0.75, 1, 0.4),
            )
        ],
        [
            ALS(alpha=alpha, regularization=reg, half_life_days=days, looks=looks)
            for alpha, reg, days, looks in (
                (4, 20, 180, 0.1), (4, 20, 90, 0.1), (8, 40, 180, 0.1), (2, 10, 180, 0.1),
                (4, 20, 180, 0.4),
            )
        ],
        [
            EASE(regularization=reg, half_life_days=days, looks=looks)
            for reg, days, looks in (
                (100, 180, 0.1), (300, 180, 0.1), (100, 90, 0.1), (30, 90, 0.1), (100, 180, 0.4),
            )
        ],
        [SessionKNN(fade=fade) for fade in (2, 5)],
        [BoughtTogether()],
        [Content()],
        *([*getattr(model, "grid", lambda model=model: [model()])()] for model in added().values()),
        [Blend()],
    ]  # fmt: skip

"""What the recommendation service asks of models: the one place that knows their API."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from profiles.part import Interaction


class Surface(StrEnum):
    """Where on a page items are shown."""

    FOR_YOU = "FOR_YOU"
    SIMILAR_ITEMS = "SIMILAR_ITEMS"
    BOUGHT_TOGETHER = "BOUGHT_TOGETHER"
    BUY_AGAIN = "BUY_AGAIN"
    TRENDING = "TRENDING"
    RECENTLY_VIEWED = "RECENTLY_VIEWED"


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """Which items may be answered; an item must meet all that are set."""

    categories: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()
    price_min_micros: int | None = None
    price_max_micros: int | None = None
    currency: str = ""
    in_stock_only: bool = False


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request for items."""

    surface: Surface
    history: Sequence[Interaction]
    """Newest first: what is stored, and what the caller says happened in this session."""
    context_items: tuple[str, ...] = ()
    excluded: frozenset[str] = frozenset()
    exclude_seen: bool = False
    exclude_bought: bool = False
    conditions: Conditions | None = None
    limit: int = 10
    now_ms: int
    hide_sensitive: bool = False
    """Somebody else may be looking: no item that is marked sensitive, and no reason that names one."""


class Item(msgspec.Struct, frozen=True):
    """One recommended item."""

    id: str
    score: float
    code: str = ""
    text: str = ""
    because_of: str = ""
    """The item that the reason names."""


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """Items, and the model that chose them."""

    items: Sequence[Item]
    model: str
    version: str = ""
    trained_ms: int | None = None
    fallback: str = ""
    """Why another model than the surface's first answered; empty if it did not."""


class Recommending(Protocol):
    """Recommends items."""

    def recommend(self, asked: Asked) -> Answered:
        """Items for a request; an empty history gets a fallback."""

"""What the recommendation service asks of models: the one place that knows their API."""

from collections.abc import Callable, Collection, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from models.filter_text import Filter
from models.variety import Variety
from profiles.part import Interaction


class Surface(StrEnum):
    """Where on a page items are shown."""

    FOR_YOU = "FOR_YOU"
    SIMILAR_ITEMS = "SIMILAR_ITEMS"
    BOUGHT_TOGETHER = "BOUGHT_TOGETHER"
    BUY_AGAIN = "BUY_AGAIN"
    TRENDING = "TRENDING"
    RECENTLY_VIEWED = "RECENTLY_VIEWED"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request for items."""

    surface: Surface
    history: Sequence[Interaction]
    """Newest first: what is stored, and what the caller says happened in this session."""
    context_items: tuple[str, ...] = ()
    excluded: Collection[str] = frozenset()
    exclude_seen: bool = False
    exclude_bought: bool = False
    filter: Filter | None = None
    """Which items may be answered."""
    relaxed: bool = False
    """Whether conditions of the filter are given up, from the last one on, where too few items meet them."""
    variety: Variety = Variety()
    segments: Callable[[], Collection[str]] = frozenset
    """Which segments the person is in; asked only where rules are for some."""
    limit: int = 10
    now_ms: int
    hide_sensitive: bool = False
    """No consent, or somebody else may be looking: no item that is marked sensitive, and nothing that
    follows from one."""


class Item(msgspec.Struct, frozen=True):
    """One recommended item."""

    id: str
    score: float
    code: str = ""
    text: str = ""
    because_of: str = ""
    """The item that the reason names."""
    rule: str = ""
    """The rule that pinned or promoted it."""


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """Items, and the model that chose them."""

    items: Sequence[Item]
    model: str
    version: str = ""
    trained_ms: int | None = None
    fallback: str = ""
    """Why another model than the surface's first answered, or nothing did; empty otherwise."""
    given_up: Sequence[str] = ()
    """Conditions of the filter that some of the items do not meet."""


class Recommending(Protocol):
    """Recommends items."""

    def recommend(self, asked: Asked) -> Answered:
        """Items for a request; an empty history gets a fallback. FilterError for a filter that cannot be."""

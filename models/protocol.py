"""What every model promises, and what it is asked with."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar, Final, NamedTuple, Protocol, Self

import msgspec
import numpy as np
import numpy.typing as npt

from models.interactions import Codes, Floats, Interactions, Ints

Scores = npt.NDArray[np.float32]


class Code(StrEnum):
    """Why an item is recommended; a test proves that each reason is true of the history."""

    BOUGHT = "because_bought"
    VIEWED = "because_viewed"
    BUY_AGAIN = "bought_before"
    RECENT = "viewed_recently"
    SIMILAR = "similar_to"
    TRENDING = "trending"
    POPULAR = "popular"
    PINNED = "pinned"
    LIKED = "like_what_you_did"
    """What the history says as a whole; no single item stands out, or the one must not be named."""


class History(msgspec.Struct, frozen=True):
    """What one person did with the items that a model knows, in any order."""

    items: Codes
    kinds: npt.NDArray[np.int8]
    times_ms: Ints
    quantities: Floats
    now_ms: int

    def __len__(self) -> int:
        return len(self.items)


NOBODY: Final = History(
    np.empty(0, np.int32), np.empty(0, np.int8), np.empty(0, np.int64), np.empty(0, np.float32), 0
)
"""The history of somebody of whom nothing is known."""


class Few(NamedTuple):
    """The items that something speaks of, each once, by code; it knows nothing of any other."""

    items: npt.NDArray[Any]
    scores: Scores

    @classmethod
    def summed(cls, items: npt.NDArray[Any], shares: npt.NDArray[Any]) -> Self:
        """What shares of items come to; an item may be there many times."""
        distinct, place = np.unique(items, return_inverse=True)
        return cls(distinct, np.bincount(place, shares, len(distinct)).astype(np.float32))

    def spread(self, size: int) -> Scores:
        """A score for each of `size` items."""
        scores = np.zeros(size, np.float32)
        scores[self.items] = self.scores
        return scores


class Model(Protocol):
    """Scores every item for a history. Fitted once; then immutable, and any thread may ask it."""

    name: ClassVar[str]
    personal: ClassVar[bool]
    """Whether the scores depend on the history: if so, an empty history has none."""

    def fit(self, interactions: Interactions, now_ms: int) -> Self:
        """Learn from everything before `now_ms`; NotEnoughData if there is nothing to learn from."""

    def scores(self, history: History) -> Scores | None:
        """A finite score for each item code, 0 for nothing known; None if nothing can be said."""

    def because(self, history: History, items: Codes) -> Codes | None:
        """For each of `items` the history's item that speaks for it most, -1 for none."""

    def similar(self, item: int) -> Scores | None:
        """A score of likeness to `item` for each item; None if the model knows no likeness."""

    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """What it learned, to be saved."""

    def parameters(self) -> Mapping[str, float | int | str | None]:
        """How it was set; with `arrays` everything that `restore` needs."""

    @classmethod
    def restore(cls, parameters: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """The model that was saved."""

"""Models that count: the same answer for everybody, and the bar for everything else."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from models.errors import NotEnoughData
from models.interactions import DAY_MS, Codes, Interactions, decay, weights_of
from models.protocol import History, Scores


class Counting:
    """Scores that do not depend on the history."""

    name: ClassVar[str]
    personal: ClassVar[bool] = False

    def __init__(self) -> None:
        self._scores: Scores = np.empty(0, np.float32)

    def count(self, interactions: Interactions, now_ms: int) -> npt.NDArray[Any]:
        """A number for each item."""
        raise NotImplementedError

    def fit(self, interactions: Interactions, now_ms: int) -> Self:
        """Count everything before `now_ms`."""
        known = interactions.until(now_ms)
        if not len(known):
            raise NotEnoughData(f"{self.name}: no interactions to count")
        self._scores = self.count(known, now_ms).astype(np.float32)
        return self

    @property
    def counts(self) -> Scores:
        """What `scores` says to everybody."""
        return self._scores

    def scores(self, history: History) -> Scores:
        """The counts."""
        return self._scores

    def because(self, history: History, items: Codes) -> Codes | None:
        """Nothing in the history speaks for them."""
        return None

    def similar(self, item: int) -> Scores | None:
        """Counts know no likeness."""
        return None

    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """The counts."""
        return {"scores": self._scores}

    def parameters(self) -> Mapping[str, float | int | str | None]:
        """None but those of subclasses."""
        return {}

    @classmethod
    def restore(cls, parameters: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """From saved counts."""
        made = cls(**parameters)
        made._scores = arrays["scores"]
        return made


class Popular(Counting):
    """How many people ever did something with an item, each by their strongest event."""

    name = "popular"

    def count(self, interactions: Interactions, now_ms: int) -> npt.NDArray[Any]:
        """Distinct people, weighted by what they did."""
        return np.asarray(interactions.matrix(now_ms, None).sum(axis=0)).ravel()


class RecentBuyers(Counting):
    """Distinct people who bought an item (or, without purchases, did anything) in the last 30 days."""

    name = "recent_buyers"

    def __init__(self, days: int = 30) -> None:
        super().__init__()
        self.days = days

    def count(self, interactions: Interactions, now_ms: int) -> npt.NDArray[Any]:
        """People per item."""
        bought = interactions.purchases()
        recent = (bought if len(bought) else interactions).between(
            now_ms - self.days * DAY_MS, now_ms
        )
        pairs = np.unique(np.stack((recent.item, recent.user)), axis=1)
        return np.bincount(pairs[0], minlength=len(interactions.items))

    def parameters(self) -> Mapping[str, float | int | str | None]:
        """The window."""
        return {"days": self.days}


class Trending(Counting):
    """What is done with an item, each event worth half as much after each half-life."""

    name = "trending"

    def __init__(self, half_life_days: float = 30) -> None:
        super().__init__()
        self.half_life_days = half_life_days

    def count(self, interactions: Interactions, now_ms: int) -> npt.NDArray[Any]:
        """Decayed events, by their weights."""
        decayed = decay(now_ms - interactions.time_ms, self.half_life_days)
        weights = weights_of(interactions.kind) * decayed
        return np.bincount(interactions.item, weights, len(interactions.items))

    def parameters(self) -> Mapping[str, float | int | str | None]:
        """The half-life."""
        return {"half_life_days": self.half_life_days}

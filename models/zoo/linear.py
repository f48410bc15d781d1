"""Models that score by an item-item matrix: EASE and nearest neighbours."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse as sp

from models.errors import NotEnoughData, TooManyItems
from models.implicit_models import neighbours
from models.interactions import Codes, Interactions, decay, weights_of
from models.protocol import History, Scores

EASE_ITEMS_MAX: Final = 20_000
"""EASE inverts a dense matrix of items × items: 20,000 take 3.2 GB while fitting and minutes."""


def history_values(
    history: History, half_life_days: float | None
) -> tuple[Codes, npt.NDArray[np.float32]]:
    """Distinct items of a history and the value of their strongest event, decayed by age."""
    values = weights_of(history.kinds)
    if half_life_days is not None:
        values = values * decay(history.now_ms - history.times_ms, half_life_days)
    items, place = np.unique(history.items, return_inverse=True)
    strongest = np.zeros(len(items), np.float32)
    np.maximum.at(strongest, place, values)
    keep = strongest > 0
    return items[keep], strongest[keep]


class EASE:
    """Embarrassingly shallow autoencoder: a ridge regression of each item on all others.

    B = I − P·diag(P)⁻¹ with P = (XᵀX + λI)⁻¹ and diag(B) = 0 (Steck, WWW 2019, equation 8).
    """

    name: ClassVar[str] = "ease"
    personal: ClassVar[bool] = True

    def __init__(self, regularization: float = 100, half_life_days: float | None = 180) -> None:
        self.regularization = regularization
        self.half_life_days = half_life_days
        self._weights: npt.NDArray[np.float32] = np.empty((0, 0), np.float32)

    def fit(self, interactions: Interactions, now_ms: int) -> Self:
        """Learn B from everything before `now_ms`."""
        known = interactions.until(now_ms)
        size = len(interactions.items)
        if not len(known):
            raise NotEnoughData("ease: no interactions to learn from")
        if size > EASE_ITEMS_MAX:
            raise TooManyItems(
                f"ease: {size:,} items; at most {EASE_ITEMS_MAX:,} fit, use als instead"
            )
        matrix = known.matrix(now_ms, self.half_life_days)
        gram = np.asarray((matrix.T @ matrix).todense(), dtype=np.float64)
        gram[np.diag_indices(size)] += self.regularization
        factor, _ = scipy.linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
        inverse, info = scipy.linalg.lapack.dpotri(factor, lower=True, overwrite_c=True)
        if info:
            raise NotEnoughData("ease: the item matrix cannot be inverted; raise regularization")
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        weights = inverse / -np.diag(inverse)
        weights[np.diag_indices(size)] = 0
        self._weights = np.ascontiguousarray(weights, dtype=np.float32)
        return self

    def scores(self, history: History) -> Scores | None:
        """The history's row times B."""
        items, values = history_values(history, self.half_life_days)
        if not len(items):
            return None
        return np.asarray(values @ self._weights[items], dtype=np.float32)

    def because(self, history: History, items: Codes) -> Codes | None:
        """The history's item with the largest share of each score."""
        known, values = history_values(history, self.half_life_days)
        if not len(known):
            return None
        shares = values[:, None] * self._weights[np.ix_(known, items)]
        best = np.argmax(shares, axis=0)
        return np.where(shares[best, np.arange(len(items))] > 0, known[best], -1).astype(np.int32)

    def similar(self, item: int) -> Scores | None:
        """What the item alone predicts."""
        return np.asarray(self._weights[item])

    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """B."""
        return {"weights": self._weights}

    def parameters(self) -> Mapping[str, float | int | None]:
        """λ and the half-life."""
        return {"regularization": self.regularization, "half_life_days": self.half_life_days}

    @classmethod
    def restore(cls, parameters: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """From a saved B."""
        made = cls(**parameters)
        made._weights = arrays["weights"]
        return made


class ItemKNN:
    """Nearest items by BM25-weighted co-occurrence (`implicit`), 100 neighbours an item."""

    name: ClassVar[str] = "item_knn"
    personal: ClassVar[bool] = True

    def __init__(
        self,
        neighbours: int = 100,
        k1: float = 1.2,
        b: float = 0.75,
        half_life_days: float | None = 180,
    ) -> None:
        self.neighbours, self.k1, self.b = neighbours, k1, b
        self.half_life_days = half_life_days
        self._likeness = sp.csr_matrix((0, 0), dtype=np.float32)

    def fit(self, interactions: Interactions, now_ms: int) -> Self:
        """Learn the neighbours from everything before `now_ms`."""
        known = interactions.until(now_ms)
        if not len(known):
            raise NotEnoughData("item_knn: no interactions to learn from")
        matrix = known.matrix(now_ms, self.half_life_days)
        self._likeness = neighbours(matrix, self.neighbours, self.k1, self.b)
        return self

    def scores(self, history: History) -> Scores | None:
        """The history's row times the likeness of its items."""
        items, values = history_values(history, self.half_life_days)
        if not len(items):
            return None
        return np.asarray(self._likeness[items].T @ values, dtype=np.float32)

    def because(self, history: History, items: Codes) -> Codes | None:
        """The history's item that is nearest to each, by value."""
        known, values = history_values(history, self.half_life_days)
        if not len(known):
            return None
        shares = self._likeness[known][:, items].toarray() * values[:, None]
        best = np.argmax(shares, axis=0)
        return np.where(shares[best, np.arange(len(items))] > 0, known[best], -1).astype(np.int32)

    def similar(self, item: int) -> Scores | None:
        """The item's neighbours."""
        return np.asarray(self._likeness[item].toarray().ravel(), dtype=np.float32)

    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """The likeness matrix, in CSR form."""
        likeness = self._likeness
        return {"data": likeness.data, "indices": likeness.indices, "indptr": likeness.indptr}

    def parameters(self) -> Mapping[str, float | int | None]:
        """Neighbours, BM25's K1 and B, the half-life."""
        return {
            "neighbours": self.neighbours, "k1": self.k1, "b": self.b,
            "half_life_days": self.half_life_days,
        }  # fmt: skip

    @classmethod
    def restore(cls, parameters: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """From a saved likeness matrix."""
        made = cls(**parameters)
        size = len(arrays["indptr"]) - 1
        made._likeness = sp.csr_matrix(
            (arrays["data"], arrays["indices"], arrays["indptr"]), shape=(size, size)
        )
        return made

"""Models that score by an item-item matrix: EASE and nearest neighbours."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse as sp

from models.errors import ModelError, NotEnoughData, TooManyItems
from models.implicit_models import neighbours
from models.interactions import LOOKS, Codes, Interactions, decay, weights_of
from models.protocol import Few, History, Scores

EASE_ITEMS_MAX: Final = 20_000
"""EASE inverts a dense matrix of items × items: 20,000 take 4.8 GB while fitting, and many minutes."""
_BLOCK: Final = 512


def history_values(
    history: History, half_life_days: float | None, looks: float = LOOKS, fade: float = 1
) -> tuple[Codes, npt.NDArray[np.float32]]:
    """Distinct items of a history and the value of their strongest event, decayed by age.

    With `fade` below 1 each step back in time, however long, counts for that much less.
    """
    values = weights_of(history.kinds, looks)
    if half_life_days is not None:
        values = values * decay(history.now_ms - history.times_ms, half_life_days)
    if fade < 1:
        times, step = np.unique(history.times_ms, return_inverse=True)
        values = values * np.float32(fade) ** (len(times) - 1 - step).astype(np.float32)
    # Sorted, the last row of each item is its strongest: half the time of np.unique on so few rows.
    order = np.lexsort((values, history.items))
    items, values = history.items[order], values[order]
    keep = values > 0
    keep[:-1] &= items[1:] != items[:-1]
    return items[keep], values[keep]


def strongest_causes(shares: npt.NDArray[Any], known: Codes) -> Codes:
    """For each column of `shares` (history × items) the history's item with the largest; -1: none above 0."""
    best = shares.argmax(axis=0)
    causes: Codes = known[best].astype(np.int32, copy=False)
    causes[~(shares[best, np.arange(len(best))] > 0)] = -1
    return causes


class EASE:
    """Embarrassingly shallow autoencoder: a ridge regression of each item on all others.

    B = I − P·diag(P)⁻¹ with P = (XᵀX + λI)⁻¹ and diag(B) = 0 (Steck, WWW 2019, equation 8).
    """

    name: ClassVar[str] = "ease"
    personal: ClassVar[bool] = True

    def __init__(
        self,
        regularization: float = 100,
        half_life_days: float | None = 180,
        looks: float = LOOKS,
    ) -> None:
        if not 0 < regularization < np.inf:
            raise ValueError(f"ease: regularization must be above 0, not {regularization}")
        self.regularization = regularization
        self.half_life_days, self.looks = half_life_days, looks
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
        matrix = known.matrix(now_ms, self.half_life_days, self.looks)
        gram = (matrix.T @ matrix).astype(np.float64).toarray(order="F")
        gram[np.diag_indices(size)] += self.regularization
        self._weights = _off_diagonal(_inverse_lower(gram))
        return self

    def scores(self, history: History) -> Scores | None:
        """The history's row times B."""
        items, values = history_values(history, self.half_life_days, self.looks)
        if not len(items):
            return None
        return np.asarray(values @ self._weights[items], dtype=np.float32)

    def because(self, history: History, items: Codes) -> Codes | None:
        """The history's item with the largest share of each score."""
        known, values = history_values(history, self.half_life_days, self.looks)
        if not len(known):
            return None
        shares = values[:, None] * self._weights[known[:, None], items]
        return strongest_causes(shares, known)

    def similar(self, item: int) -> Scores | None:
        """What the item alone predicts."""
        return np.asarray(self._weights[item])

    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """B."""
        return {"weights": self._weights}

    def parameters(self) -> Mapping[str, float | int | str | None]:
        """λ, the half-life, what a look counts."""
        return {
            "regularization": self.regularization, "half_life_days": self.half_life_days,
            "looks": self.looks,
        }  # fmt: skip

    @classmethod
    def restore(cls, parameters: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """From a saved B."""
        made = cls(**parameters)
        made._weights = arrays["weights"]
        return made


def _inverse_lower(gram: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The lower triangle of the inverse, in the memory of `gram` (float64, Fortran order)."""
    lapack = scipy.linalg.lapack
    factor, info = lapack.dpotrf(gram, lower=True, clean=False, overwrite_a=True)
    if not info:
        factor, info = lapack.dpotri(factor, lower=True, overwrite_c=True)
    if info:
        raise ModelError("ease: the item matrix cannot be inverted; raise regularization")
    return np.asarray(factor)


def _off_diagonal(inverse: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """B of equation 8 from the lower triangle of P, block by block: never a second float64 matrix."""
    size = len(inverse)
    scale = -np.diag(inverse)
    weights = np.empty((size, size), np.float32)
    for start in range(0, size, _BLOCK):
        end = min(start + _BLOCK, size)
        rows = np.hstack((inverse[start:end, :start], inverse[start:, start:end].T))
        square = rows[:, start:end]
        rows[:, start:end] = np.triu(square) + np.triu(square, 1).T
        weights[start:end] = rows / scale
    np.fill_diagonal(weights, 0)
    return weights


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
        looks: float = LOOKS,
        fade: float = 1,
    ) -> None:
        if neighbours < 1 or not 0 < fade <= 1:
            raise ValueError("item_knn: neighbours must be above 0, and fade above 0 and at most 1")
        self.neighbours, self.k1, self.b = neighbours, k1, b
        self.half_life_days, self.looks, self.fade = half_life_days, looks, fade
        self._likeness = sp.csr_matrix((0, 0), dtype=np.float32)

    def fit(self, interactions: Interactions, now_ms: int) -> Self:
        """Learn the neighbours from everything before `now_ms`."""
        known = interactions.until(now_ms)
        if not len(known):
            raise NotEnoughData("item_knn: no interactions to learn from")
        matrix = known.matrix(now_ms, self.half_life_days, self.looks)
        self._likeness = neighbours(matrix, self.neighbours, self.k1, self.b)
        return self

    def scores(self, history: History) -> Scores | None:
        """The history's row times the likeness of its items."""
        few = self.few(history)
        return None if few is None else few.spread(self._likeness.shape[0])

    def few(self, history: History) -> Few | None:
        """`scores` of the neighbours; all other items have none."""
        items, values = history_values(history, self.half_life_days, self.looks, self.fade)
        if not len(items):
            return None
        _, neighbours, shares = self._rows(items, values)
        return Few.summed(neighbours, shares)

    def _rows(
        self, items: Codes, values: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.float32]]:
        """(place in `items`, neighbour, likeness × value) of all their neighbours.

        From the arrays of the matrix: scipy's row selection takes longer than all the rest.
        """
        likeness = self._likeness
        starts, ends = likeness.indptr[items], likeness.indptr[items + 1]
        counts = ends - starts
        place = np.repeat(np.arange(len(items)), counts)
        at = np.arange(len(place)) + np.repeat(starts - np.cumsum(counts) + counts, counts)
        return place, likeness.indices[at], likeness.data[at] * values[place]

    def because(self, history: History, items: Codes) -> Codes | None:
        """The history's item that is nearest to each, by value."""
        known, values = history_values(history, self.half_life_days, self.looks, self.fade)
        if not len(known):
            return None
        place, neighbours, likeness = self._rows(known, values)
        column = np.full(self._likeness.shape[0], -1, np.int32)
        column[items] = np.arange(len(items))
        columns = column[neighbours]
        asked = columns >= 0
        shares = np.zeros((len(known), len(items)), np.float32)
        shares[place[asked], columns[asked]] = likeness[asked]
        return strongest_causes(shares, known)

    def similar(self, item: int) -> Scores | None:
        """The item's neighbours."""
        one = np.array([item], np.int32)
        _, neighbours, likeness = self._rows(one, np.ones(1, np.float32))
        return np.bincount(neighbours, likeness, self._likeness.shape[0]).astype(np.float32)

    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """The likeness matrix, in CSR form."""
        likeness = self._likeness
        return {"data": likeness.data, "indices": likeness.indices, "indptr": likeness.indptr}

    def parameters(self) -> Mapping[str, float | int | str | None]:
        """Neighbours, BM25's K1 and B, the half-life, what looks count, fading by steps."""
        return {
            "neighbours": self.neighbours, "k1": self.k1, "b": self.b,
            "half_life_days": self.half_life_days, "looks": self.looks, "fade": self.fade,
        }  # fmt: skip

    @classmethod
    def restore(cls, parameters: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """From a saved likeness matrix."""
        made = cls(**parameters)
        size = len(arrays["indptr"]) - 1
        made._likeness = sp.csr_matrix(
            (arrays["data"], arrays["indices"], arrays["indptr"]), shape=(size, size)
        )
        made._likeness.check_format(full_check=True)  # ValueError for a neighbour that is no item
        return made

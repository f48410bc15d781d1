"""ALS: item factors are learned; a person's vector is folded in for each request and never stored."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import scipy.linalg

from models.errors import NotEnoughData
from models.implicit_models import item_factors
from models.interactions import LOOKS, Codes, Interactions
from models.products import Best, Floats, Mask, Products
from models.protocol import History, Scores
from models.zoo.linear import history_values, strongest_causes

SHORT: Final = 0.5
"""Items of a history for each factor: with more, a system of as many equations as factors takes no longer."""
CONDITION_MAX: Final = 1e4
"""Between the largest and the smallest eigenvalue of a matrix that is inverted: float32 has seven digits."""


class _Short(NamedTuple):
    """A history with fewer items than there are factors: a system of as many equations as it has items.

    With A = YᵀY + λI of all items, whose inverse is known, and W = YA⁻¹ of the history's,
    (A + Yᵀ(C − I)Y)⁻¹Yᵀ = Wᵀ(I + (C − I)YWᵀ)⁻¹.
    """

    items: Codes
    """Of the history, each once."""
    confidence: Floats
    ways: Floats
    """W."""
    factored: tuple[Floats, npt.NDArray[np.int32]]
    """I + (C − I)YWᵀ as LAPACK factors it."""
    parts: Floats
    """What of each row of W makes the vector."""

    def vector(self) -> Floats:
        """The person's factors."""
        return self.parts @ self.ways

    def shares(self, factors: Floats) -> Floats:
        """What each item of the history has of the score of each row of `factors`."""
        solved, _ = scipy.linalg.lapack.sgetrs(*self.factored, self.ways @ factors.T, trans=1)
        return np.asarray(solved * self.confidence[:, None], dtype=np.float32)


class _Long(NamedTuple):
    """A history with many items: the system as it stands, a symmetric positive matrix."""

    items: Codes
    weighted: Floats
    """The items' factors times their confidence."""
    matrix: Floats
    cholesky: Floats | None
    """None where float32 does not allow one."""

    def vector(self) -> Floats:
        """As `_Short.vector`."""
        return self._solved(self.weighted.sum(axis=0))

    def shares(self, factors: Floats) -> Floats:
        """As `_Short.shares`."""
        return self.weighted @ self._solved(factors.T)

    def _solved(self, right: Floats) -> Floats:
        if self.cholesky is None:
            solution = np.linalg.lstsq(self.matrix, right, rcond=None)[0]
        else:
            solution, _ = scipy.linalg.lapack.spotrs(self.cholesky, right, lower=False)
        return np.asarray(solution, dtype=np.float32)


_Folded = _Short | _Long


class ALS:
    """Matrix factorization for implicit feedback, with recency-weighted confidence.

    With confidence c = alpha × value, a person's vector solves
    (YᵀY + λI + Yᵀ(C − I)Y) x = Yᵀ c over the items of the history (Hu, Koren, Volinsky 2008, as in
    `implicit`).
    """

    name: ClassVar[str] = "als"
    personal: ClassVar[bool] = True

    def __init__(
        self, factors: int = 128, alpha: float = 4, regularization: float = 20,
        iterations: int = 15, half_life_days: float | None = 180,
        looks: float = LOOKS,
    ) -> None:  # fmt: skip
        if factors < 1 or not 0 < alpha < np.inf or not 0 < regularization < np.inf:
            raise ValueError("als: factors, alpha and regularization must be above 0")
        self.factors, self.alpha, self.regularization = factors, alpha, regularization
        self.iterations, self.half_life_days, self.looks = iterations, half_life_days, looks
        self._items: Floats = np.empty((0, factors), np.float32)
        self.products = Products(self._items)
        """Of the item factors."""
        self._kept: tuple[History, _Folded | None] | None = None
        self._gram: Floats = np.empty((factors, factors), np.float32)
        self._inverse: Floats | None = None
        self._length: Floats = np.empty(0, np.float32)

    def fit(self, interactions: Interactions, now_ms: int) -> Self:
        """Learn item factors from everything before `now_ms`."""
        known = interactions.until(now_ms)
        if not len(known):
            raise NotEnoughData("als: no interactions to learn from")
        matrix = known.matrix(now_ms, self.half_life_days, self.looks)
        self._learned(
            item_factors(matrix, self.factors, self.alpha, self.regularization, self.iterations)
        )
        return self

    def _learned(self, items: Floats) -> None:
        self.products = Products(items)
        self._items = self.products.matrix
        self._gram = (items.T @ items).astype(np.float32)
        self._gram[np.diag_indices(len(self._gram))] += self.regularization
        self._inverse = _inverse(self._gram)
        self._length = np.maximum(np.linalg.norm(items, axis=1), 1e-9).astype(np.float32)

    def scores(self, history: History) -> Scores | None:
        """The folded-in vector times all item factors."""
        vector = self.vector(history)
        return None if vector is None else self.products.of(vector)

    def best(self, history: History, allowed: Mask, count: int) -> Best | None:
        """The `count` best items allowed with a score above 0, best first, as `scores` has them."""
        vector = self.vector(history)
        return None if vector is None else self.products.best(vector, allowed, count)

    def vector(self, history: History) -> Floats | None:
        """The person's factors, folded in; None if the history says nothing."""
        folded = self._folded(history)
        return None if folded is None else folded.vector()

    def because(self, history: History, items: Codes) -> Codes | None:
        """The history's item with the largest share of each score: yᵢᵀ A⁻¹ cₕyₕ."""
        folded = self._folded(history)
        if folded is None:
            return None
        return strongest_causes(folded.shares(self._items[items]), folded.items)

    def _folded(self, history: History) -> _Folded | None:
        """The history, folded in. The last one is kept: reasons are asked for after scores."""
        kept = self._kept
        if kept is not None and kept[0] is history:
            return kept[1]
        items, values = history_values(history, self.half_life_days, self.looks)
        folded = self._fold(items, values * np.float32(self.alpha)) if len(items) else None
        self._kept = (history, folded)
        return folded

    def _fold(self, items: Codes, confidence: Floats) -> _Folded:
        known = self._items[items]
        if self._inverse is not None and len(items) <= SHORT * self.factors:
            ways = known @ self._inverse
            # LAPACK reads columns: this is the transpose of what it gets, which needs no copy.
            system = (ways @ known.T) * (confidence - 1)
            system.ravel()[:: len(items) + 1] += 1
            *factored, parts, singular = scipy.linalg.lapack.sgesv(system.T, confidence, True)
            if not singular:
                return _Short(items, confidence, ways, tuple(factored), parts)
        matrix = self._gram + known.T @ (known * (confidence - 1)[:, None])
        # LAPACK reads columns, and the matrix is symmetric: its transpose needs no copy in another order.
        cholesky, failed = scipy.linalg.lapack.spotrf(matrix.T, lower=False, clean=False)
        return _Long(items, known * confidence[:, None], matrix, None if failed else cholesky)

    def similar(self, item: int) -> Scores | None:
        """Cosine of the factors."""
        likeness = self._items @ self._items[item] / (self._length * self._length[item])
        return np.asarray(likeness, dtype=np.float32)

    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """Item factors."""
        return {"items": self._items}

    def parameters(self) -> Mapping[str, float | int | str | None]:
        """Factors, alpha, λ, iterations, half-life, what a look counts."""
        return {
            "factors": self.factors, "alpha": self.alpha, "regularization": self.regularization,
            "iterations": self.iterations, "half_life_days": self.half_life_days,
            "looks": self.looks,
        }  # fmt: skip

    @classmethod
    def restore(cls, parameters: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """From saved item factors."""
        made = cls(**parameters)
        made._learned(arrays["items"])
        if not np.isfinite(made._gram).all():
            raise ValueError("factors that are not finite")
        return made


def _inverse(gram: Floats) -> Floats | None:
    """The inverse of a symmetric matrix, or None where float32 could not hold one that is good enough."""
    if not np.isfinite(gram).all():
        return None
    values, vectors = np.linalg.eigh(gram.astype(np.float64))
    if values[0] * CONDITION_MAX < values[-1]:
        return None
    return np.asarray((vectors / values) @ vectors.T, dtype=np.float32)

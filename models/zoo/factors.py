"""ALS: item factors are learned; a person's vector is folded in for each request and never stored."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import scipy.linalg

from models.errors import NotEnoughData
from models.implicit_models import item_factors
from models.interactions import LOOKS, Codes, Interactions
from models.products import Best, Mask, Products
from models.protocol import History, Scores
from models.zoo.linear import history_values, strongest_causes


class _Factor(NamedTuple):
    """A symmetric positive matrix, or its Cholesky factor where float32 allows one."""

    matrix: npt.NDArray[np.float32]
    cholesky: npt.NDArray[np.float32] | None


_Folded = tuple[Codes, npt.NDArray[np.float32], _Factor]


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
        self._items: npt.NDArray[np.float32] = np.empty((0, factors), np.float32)
        self.products = Products(self._items)
        """Of the item factors."""
        self._kept: tuple[History, _Folded | None] | None = None
        self._gram: npt.NDArray[np.float32] = np.empty((factors, factors), np.float32)
        self._length: npt.NDArray[np.float32] = np.empty(0, np.float32)

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

    def _learned(self, items: npt.NDArray[np.float32]) -> None:
        self.products = Products(items)
        self._items = self.products.matrix
        self._gram = (items.T @ items).astype(np.float32)
        self._gram[np.diag_indices(len(self._gram))] += self.regularization
        self._length = np.maximum(np.linalg.norm(items, axis=1), 1e-9).astype(np.float32)

    def _system(
        self, history: History
    ) -> tuple[Codes, npt.NDArray[np.float32], npt.NDArray[np.float32]] | None:
        """(items, their factors times confidence, the matrix to solve with)."""
        items, values = history_values(history, self.half_life_days, self.looks)
        if not len(items):
            return None
        known = self._items[items]
        confidence = values * np.float32(self.alpha)
        matrix = self._gram + known.T @ (known * (confidence - 1)[:, None])
        return items, known * confidence[:, None], matrix

    def scores(self, history: History) -> Scores | None:
        """The folded-in vector times all item factors."""
        vector = self.vector(history)
        return None if vector is None else self.products.of(vector)

    def best(self, history: History, allowed: Mask, count: int) -> Best | None:
        """The `count` best items allowed with a score above 0, best first, as `scores` has them."""
        vector = self.vector(history)
        return None if vector is None else self.products.best(vector, allowed, count)

    def vector(self, history: History) -> npt.NDArray[np.float32] | None:
        """The person's factors, folded in; None if the history says nothing."""
        folded = self._folded(history)
        if folded is None:
            return None
        _, weighted, factor = folded
        return _solve(factor, weighted.sum(axis=0))

    def because(self, history: History, items: Codes) -> Codes | None:
        """The history's item with the largest share of each score: yᵢᵀ A⁻¹ cₕyₕ."""
        folded = self._folded(history)
        if folded is None:
            return None
        known, weighted, factor = folded
        shares = weighted @ _solve(factor, np.asarray(self._items[items]).T)
        return strongest_causes(shares, known)

    def _folded(self, history: History) -> _Folded | None:
        """`_system` with its matrix factored. The last one is kept: reasons are asked for after scores."""
        kept = self._kept
        if kept is not None and kept[0] is history:
            return kept[1]
        system = self._system(history)
        folded = None if system is None else (system[0], system[1], _factor(system[2]))
        self._kept = (history, folded)
        return folded

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


def _factor(matrix: npt.NDArray[np.float32]) -> _Factor:
    # LAPACK reads columns, and the matrix is symmetric: its transpose needs no copy in another order.
    cholesky, info = scipy.linalg.lapack.spotrf(matrix.T, lower=False, clean=False)
    return _Factor(matrix, None if info else cholesky)


def _solve(factor: _Factor, right: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    if factor.cholesky is None:
        solution = np.linalg.lstsq(factor.matrix, right, rcond=None)[0]
    else:
        solution, _ = scipy.linalg.lapack.spotrs(factor.cholesky, right, lower=False)
    return np.asarray(solution, dtype=np.float32)

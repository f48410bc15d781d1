"""The one place that calls `implicit`, for what it does well: fitting.

Its answers are not used: it pads short ones with real item ids, answers items 4, 3, 2, 1, 0 for an empty
user, keeps the old shape on a second fit, and saves no id maps (facts/recommendation.md §5).
"""

import os
import warnings
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from models.errors import ModelError

SEED: Final = 42


def item_factors(
    matrix: sp.csr_matrix, factors: int, alpha: float, regularization: float, iterations: int
) -> npt.NDArray[np.float32]:
    """Item factors of ALS for implicit feedback (Hu, Koren, Volinsky, ICDM 2008); items × factors."""
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.recommender_base import ModelFitError

    # A new object each time: a second fit() of one silently keeps factors of the old shape.
    with threadpool_limits(1, "blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AlternatingLeastSquares(
            factors=factors, alpha=alpha, regularization=regularization, iterations=iterations,
            random_state=SEED, num_threads=os.cpu_count() or 1,
        )  # fmt: skip
        try:
            model.fit(sp.csr_matrix(matrix, dtype=np.float32), show_progress=False)
        except ModelFitError as error:
            raise ModelError(f"als: {error} (alpha {alpha}, λ {regularization})") from None
    return np.ascontiguousarray(model.item_factors, dtype=np.float32)


def neighbours(matrix: sp.csr_matrix, count: int, k1: float, b: float) -> sp.csr_matrix:
    """Items × items: BM25 likeness of each item to its `count` nearest, itself left out."""
    from implicit.nearest_neighbours import BM25Recommender

    with threadpool_limits(1, "blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = BM25Recommender(K=count + 1, K1=k1, B=b, num_threads=os.cpu_count() or 1)
        model.fit(sp.csr_matrix(matrix, dtype=np.float64), show_progress=False)
    likeness = sp.csr_matrix(model.similarity, dtype=np.float32)
    likeness.setdiag(0)
    likeness.eliminate_zeros()
    likeness.sort_indices()
    return likeness

"""Ranking metrics over a full ranking, and intervals by bootstrap over people."""

from typing import Final

import numpy as np
import numpy.typing as npt

BOOTSTRAPS: Final = 1_000
SEED: Final = 7

Values = npt.NDArray[np.float64]


def top(scores: npt.NDArray[np.float32], limit: int) -> npt.NDArray[np.int64]:
    """Codes of the `limit` highest scores above 0, best first; ties by the smaller code."""
    count = min(limit, int(np.count_nonzero(scores > 0)))
    if not count:
        return np.empty(0, np.int64)
    if count < len(scores):
        cut = np.partition(scores, len(scores) - count)[len(scores) - count]
        above = np.flatnonzero(scores > cut)
        best = np.concatenate((above, np.flatnonzero(scores == cut)[: count - len(above)]))
    else:
        best = np.arange(len(scores))
    order = np.lexsort((best, -scores[best]))
    return np.asarray(best[order])


def ndcg(hits: npt.NDArray[np.bool_], relevant: int, k: int) -> float:
    """Discounted gain of hits by rank, over that of the best ranking of `relevant` items (binary)."""
    if not relevant:
        return 0.0
    discounts = 1 / np.log2(np.arange(2, k + 2))
    return float((discounts[: len(hits)] * hits).sum() / discounts[: min(relevant, k)].sum())


def recall(hits: npt.NDArray[np.bool_], relevant: int) -> float:
    """Share of the relevant items that were found."""
    return float(hits.sum() / relevant) if relevant else 0.0


def reciprocal_rank(hits: npt.NDArray[np.bool_]) -> float:
    """One over the rank of the first hit, 0 without a hit."""
    found = np.flatnonzero(hits)
    return 1 / (int(found[0]) + 1) if len(found) else 0.0


def interval(values: Values) -> tuple[float, float]:
    """95 % interval of the mean, by bootstrap over people (percentiles, seeded)."""
    if not len(values):
        return 0.0, 0.0
    draws = np.random.default_rng(SEED).integers(0, len(values), (BOOTSTRAPS, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)

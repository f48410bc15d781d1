"""Ranking metrics over a full ranking, and intervals by bootstrap over people."""

from typing import Final

import numpy as np
import numpy.typing as npt

BOOTSTRAPS: Final = 1_000
_DRAWS_MAX: Final = 4_000_000
"""Drawn at once: all thousand resamples of 100,000 people at once would take 1.6 GB."""
SEED: Final = 7

Values = npt.NDArray[np.float64]


def top(scores: npt.NDArray[np.float32], limit: int) -> npt.NDArray[np.int64]:
    """Codes of the `limit` highest scores above 0, best first; ties by the smaller code."""
    # Only those: where most scores are 0, as under a filter, partition takes thirty times as long.
    known = np.flatnonzero(scores > 0)
    values = scores[known]
    count = min(limit, len(known))
    if count <= 0:
        return np.empty(0, np.int64)
    if count < len(known):
        cut = np.partition(values, len(values) - count)[len(values) - count]
        above = np.flatnonzero(values > cut)
        best = np.concatenate((above, np.flatnonzero(values == cut)[: count - len(above)]))
    else:
        best = np.arange(len(known))
    order = np.lexsort((best, -values[best]))
    return np.asarray(known[best[order]], dtype=np.int64)


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
    random = np.random.default_rng(SEED)
    step = max(1, _DRAWS_MAX // len(values))
    means = [
        values[random.integers(0, len(values), (min(step, BOOTSTRAPS - done), len(values)))].mean(1)
        for done in range(0, BOOTSTRAPS, step)
    ]
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return float(low), float(high)


def gini(counts: npt.NDArray[np.int64]) -> float:
    """Inequality of how often the items that are listed at all are listed: 0 equal, near 1 a few take all."""
    listed = np.sort(counts[counts > 0]).astype(np.float64)
    if not len(listed):
        return 0.0
    ranks = np.arange(1, len(listed) + 1)
    return float((2 * ranks - len(listed) - 1) @ listed / (len(listed) * listed.sum()))

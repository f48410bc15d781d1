"""One model judged on people: full ranking, by slices, and what its lists are like as a whole."""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from models.cases import Case
from models.interactions import Interactions
from models.metrics import Values, gini, ndcg, recall, reciprocal_rank, top
from models.protocol import Model

K: Final = 10
SLICES: Final = ("all", "novel")
"""On which models are compared."""
COLD_USER: Final = "cold user"
COLD_ITEM: Final = "cold item"
CATEGORIES_MAX: Final = 8
"""Slices by category, the most taken: a board of two hundred says nothing."""
CASES_MIN: Final = 5
"""A slice of fewer people is left out."""


class Judged(msgspec.Struct, frozen=True):
    """A model's figures, for each slice a value per person; NaN where the person is not in it."""

    ndcg: dict[str, Values]
    recall: dict[str, Values]
    hit: dict[str, Values]
    mrr: dict[str, Values]
    coverage: float
    """Share of the items that appear in anybody's list."""
    novelty: float
    """Mean of −log₂ of the share of people who had an item, over all that is listed: bits of surprise."""
    gini: float
    """0: every listed item is listed as often; near 1: a few fill all lists."""


class Ground(msgspec.Struct, frozen=True):
    """What a judgement needs to know of the items."""

    items: int
    categories: Sequence[str] = ()
    """Of each item; empty: no slices by category."""
    shares: npt.NDArray[np.float64] | None = None
    """Of each item the share of people who had it before; None: novelty is not measured."""

    @classmethod
    def of(cls, interactions: Interactions, start_ms: int) -> "Ground":
        """What was known before `start_ms`."""
        before = interactions.until(start_ms)
        matrix = before.matrix(start_ms, None)
        shares = (matrix.getnnz(axis=0) + 1) / (len(np.unique(before.user)) + 1)
        about = interactions.categories
        return cls(len(interactions.items), about if any(about) else (), np.minimum(shares, 1))


def judge(
    model: Model, cases: Sequence[Case], ground: Ground, strangers: Sequence[Case] = (), k: int = K
) -> Judged:
    """Rank every item for every person, as serving would."""
    everybody = [*cases, *strangers]
    figures = _Figures(len(everybody), k)
    kinds = _kinds(cases, ground)
    listed = np.zeros(ground.items, np.int64)
    for n, case in enumerate(everybody):
        scores = model.scores(case.history)
        # Changed below, so never what a model handed out.
        scores = np.zeros(ground.items, np.float32) if scores is None else scores.astype(np.float32)
        best = top(scores, k)
        if not len(case.history):
            figures.add(n, COLD_USER, best, case.truth)
            continue
        figures.add(n, "all", best, case.truth)
        novel = np.setdiff1d(case.truth, case.seen)
        listed[best] += 1
        if len(novel) or len(case.fresh):
            scores[case.seen] = 0
            best = top(scores, k)
            figures.add(n, "novel", best, novel)
            figures.add(n, COLD_ITEM, best, case.fresh)
            for name, inside in kinds.items():
                figures.add(n, name, best, novel[inside[novel]])
        listed[best] += 1
    return figures.judged(listed, ground)


def _kinds(cases: Sequence[Case], ground: Ground) -> dict[str, npt.NDArray[np.bool_]]:
    """For the most taken categories, by the name of their slice, which items are in them."""
    if not len(ground.categories):
        return {}
    # A path's first part is the category: "Care/Skin" is Care.
    first = np.array([category.partition("/")[0] for category in ground.categories], dtype=object)
    taken = np.concatenate([case.truth for case in cases]) if cases else np.empty(0, np.int64)
    names, counts = np.unique(first[taken].astype(str), return_counts=True)
    most = [str(names[n]) for n in np.argsort(-counts, kind="stable") if names[n]]
    return {f"category {name}": first == name for name in most[:CATEGORIES_MAX]}


class _Figures:
    """Values by metric and slice, as they are found."""

    def __init__(self, people: int, k: int) -> None:
        self.people, self.k = people, k
        self.values: dict[str, dict[str, Values]] = {}

    def add(
        self, n: int, name: str, best: npt.NDArray[np.int64], truth: npt.NDArray[np.int32]
    ) -> None:
        """One person's figures in a slice, unless they took nothing of it."""
        if not len(truth):
            return
        hits = np.isin(best, truth)
        found = {
            "ndcg": ndcg(hits, len(truth), self.k),
            "recall": recall(hits, len(truth)),
            "hit": float(hits.any()),
            "mrr": reciprocal_rank(hits),
        }
        for metric, value in found.items():
            by_slice = self.values.setdefault(metric, {})
            if name not in by_slice:
                by_slice[name] = np.full(self.people, np.nan)
            by_slice[name][n] = value

    def judged(self, listed: npt.NDArray[np.int64], ground: Ground) -> Judged:
        """All of it; slices of very few people are left out, but for those that models are compared on."""
        nothing = np.full(self.people, np.nan)
        kept: dict[str, dict[str, Values]] = {}
        for metric in ("ndcg", "recall", "hit", "mrr"):
            by_slice = self.values.get(metric, {})
            kept[metric] = {name: by_slice.get(name, nothing) for name in SLICES}
            for name, values in by_slice.items():
                if np.count_nonzero(~np.isnan(values)) >= CASES_MIN:
                    kept[metric][name] = values
        novelty = 0.0
        if ground.shares is not None and listed.sum():
            novelty = float(-(listed * np.log2(ground.shares)).sum() / listed.sum())
        return Judged(
            kept["ndcg"], kept["recall"], kept["hit"], kept["mrr"],
            float(np.count_nonzero(listed) / max(1, ground.items)), novelty, gini(listed),
        )  # fmt: skip

"""A model of labelled pairs on top of Fellegi and Sunter's: logistic regression, or trees boosted on it.

It is used only if it predicts labels that it has not seen better than the model without labels: by log loss, in
five folds in which no person is on both sides. Its log-odds are scaled on those folds (Platt 1999), so that .9
means nine in ten. What it learned are arrays: no pickle.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from models.linking.compare import Comparison, Levels
from models.linking.errors import NothingToLearn
from models.linking.fellegi_sunter import Scorer, probability
from models.linking.people import Floats, Ints

UNLABELLED: Final = "fellegi_sunter"
LOGISTIC: Final = "logistic_regression"
BOOSTED: Final = "gradient_boosting"

LABELS_MIN: Final = 20
"""Labelled pairs of each kind, below which nothing is learned from them."""
BOOSTED_MIN: Final = 500
"""Labelled pairs, below which trees would learn them by heart."""
LABELS_MAX: Final = 200_000
FOLDS: Final = 5
CHUNK: Final = 1 << 18
"""Pairs whose features are made at a time: 100 columns of 4 bytes each, 100 MB."""
_TREES, _DEPTH, _RATE = 100, 3, 0.1
_WEIGHT_SCALE: Final = 10.0
"""Nats: brings the evidence of a pair to the size of the other features."""

Matrix = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int8]


class Trial(msgspec.Struct, frozen=True):
    """How well a model predicts labels that it has not seen."""

    model: str
    log_loss: float
    """In nats a pair; smaller is better."""
    brier: float


class Learned(NamedTuple):
    """A model of labelled pairs, as arrays."""

    kind: str
    arrays: Mapping[str, npt.NDArray[Any]]

    def odds(self, features: Matrix) -> Floats:
        """Log-odds of pairs in nats."""
        raw = (
            _linear(self.arrays, features)
            if self.kind == LOGISTIC
            else _trees(self.arrays, features)
        )
        slope, shift = self.arrays["scale"]
        scaled: Floats = raw * slope + shift
        return scaled


def features(scorer: Scorer, every: tuple[Comparison, ...], left: Ints, levels: Levels) -> Matrix:
    """Pairs × (the evidence without labels, each level but "absent", the rarity of equal values)."""
    columns: list[npt.NDArray[Any]] = [scorer.weights(left, levels) / _WEIGHT_SCALE]
    for place, each in enumerate(every):
        columns += [levels[:, place] == level for level in range(1, len(each.levels))]
    for place, _, more in scorer.rare(left, levels):
        column = np.zeros(len(levels))
        column[levels[:, place] == 1] = more
        columns.append(column)
    # Each feature in one piece of memory: trees look at one at a time.
    return np.stack(columns).astype(np.float32).T


def too_few(labels: Labels) -> bool:
    """Whether there are not LABELS_MIN of each kind."""
    same = int(labels.sum())
    return min(same, len(labels) - same) < LABELS_MIN


def learn(
    matrix: Matrix, labels: Labels, unlabelled: Floats, left: Ints, right: Ints, seed: int
) -> tuple[Learned | None, list[Trial]]:
    """The model that predicts unseen labels best, None if that is the one without labels; and how all did.

    `unlabelled` are the log-odds without labels. NothingToLearn if there are too few of a kind.
    """
    same = int(labels.sum())
    apart = len(labels) - same
    if too_few(labels):
        raise NothingToLearn(
            f"{same} labelled pairs are one person and {apart} are two: it takes {LABELS_MIN} of each"
        )
    if len(labels) > LABELS_MAX:
        raise NothingToLearn(f"{len(labels):,} labels; at most {LABELS_MAX:,} can be learned from")
    fold = _folds(left, right, seed)
    kinds = [LOGISTIC] + [BOOSTED] * (len(labels) >= BOOSTED_MIN)
    trials = [_trial(UNLABELLED, unlabelled, labels)]
    best: tuple[str, Floats] | None = None
    for kind in kinds:
        seen = np.zeros(len(labels))
        for out in range(FOLDS):
            held_out = fold == out
            if held_out.any() and 0 < labels[~held_out].sum() < (~held_out).sum():
                seen[held_out] = _fitted(kind, matrix[~held_out], labels[~held_out], seed).odds(
                    matrix[held_out]
                )
        trial = _trial(kind, seen, labels)
        if trial.log_loss < min(other.log_loss for other in trials):
            best = (kind, seen)
        trials.append(trial)
    if best is None:
        return None, trials
    made = _fitted(best[0], matrix, labels, seed)
    return Learned(made.kind, {**made.arrays, "scale": _platt(best[1], labels)}), trials


def _trial(kind: str, odds: Floats, labels: Labels) -> Trial:
    truth = labels.astype(np.float64)
    loss = np.logaddexp(0, odds) - truth * odds
    return Trial(kind, float(loss.mean()), float(((probability(odds) - truth) ** 2).mean()))


def _folds(left: Ints, right: Ints, seed: int) -> Ints:
    """A fold for each pair; pairs that share a record, directly or through others, are in one."""
    records, ends = np.unique(np.concatenate((left, right)), return_inverse=True)
    a, b = ends[: len(left)], ends[len(left) :]
    graph = sp.coo_matrix((np.ones(len(a), bool), (a, b)), (len(records), len(records)))
    count, component = connected_components(graph, directed=False)
    fold: Ints = np.random.default_rng(seed).permutation(count)[component[a]] % FOLDS
    return fold


def _fitted(kind: str, matrix: Matrix, labels: Labels, seed: int) -> Learned:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1.0, max_iter=1000).fit(matrix, labels)
    made = {
        "coefficients": np.append(model.coef_[0], model.intercept_[0]),
        "scale": np.array([1.0, 0.0]),
    }
    if kind == LOGISTIC:
        return Learned(kind, made)
    from sklearn.ensemble import GradientBoostingClassifier

    # Trees alone are never surer than their surest leaf; on top of a line they correct it.
    trees = GradientBoostingClassifier(
        init=model,
        n_estimators=_TREES,
        max_depth=_DEPTH,
        learning_rate=_RATE,
        subsample=0.8,
        random_state=seed,
    ).fit(matrix, labels)
    every = [tree.tree_ for tree in trees.estimators_[:, 0]]
    starts = np.cumsum([0, *(tree.node_count for tree in every)])
    return Learned(
        kind,
        {
            **made,
            "left": np.concatenate(
                [t.children_left + s for t, s in zip(every, starts, strict=False)]
            ),
            "right": np.concatenate(
                [t.children_right + s for t, s in zip(every, starts, strict=False)]
            ),
            "feature": np.concatenate([tree.feature for tree in every]),
            "threshold": np.concatenate([tree.threshold for tree in every]),
            "value": np.concatenate([tree.value[:, 0, 0] for tree in every]) * _RATE,
            "starts": starts[:-1],
        },
    )


def _platt(odds: Floats, labels: Labels) -> Floats:
    """(slope, shift) that make log-odds of unseen labels probabilities."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1e3, max_iter=1000).fit(odds[:, None], labels)
    return np.array([max(float(model.coef_[0, 0]), 1e-3), float(model.intercept_[0])])


def _linear(arrays: Mapping[str, npt.NDArray[Any]], matrix: Matrix) -> Floats:
    coefficients = arrays["coefficients"]
    odds: Floats = matrix @ coefficients[:-1] + coefficients[-1]
    return odds


def _trees(arrays: Mapping[str, npt.NDArray[Any]], matrix: Matrix) -> Floats:
    odds = _linear(arrays, matrix)
    tree = {
        name: arrays[name].tolist() for name in ("left", "right", "feature", "threshold", "value")
    }

    def below(node: int) -> Any:
        if tree["feature"][node] < 0:
            return tree["value"][node]
        low = matrix[:, tree["feature"][node]] <= tree["threshold"][node]
        return np.where(low, below(tree["left"][node]), below(tree["right"][node]))

    for start in arrays["starts"].tolist():
        odds += below(start)
    return odds

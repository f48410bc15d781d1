"""How right clusters and pairs are: pairwise and B³ precision and recall, over all true pairs, compared or not.

Records have numbers from 0 on; `truth` and `person` hold, for each record, the number of its true person
and that of its cluster. Numbers of people are taken as they come; they need not be dense.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

Ints = npt.NDArray[np.int64]


class Score(NamedTuple):
    """Of pairs: precision and recall. F1 is their harmonic mean."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """2PR / (P + R)."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


class Clustered(NamedTuple):
    """Of clusters: pairwise after closure, and B³ (Bagga & Baldwin 1998): the mean over records."""

    pairs: Score
    b3: Score
    largest: int
    wrong: float
    """The share of records in a cluster with somebody else."""
    strangers: float
    """The share of records in a cluster that is somebody else's: a cluster is whose most of its records are."""


def clustered(person: Ints, truth: Ints, among: npt.NDArray[np.bool_] | None = None) -> Clustered:
    """Scores of clusters; of the records `among` only, each beside everybody. At least one record."""
    some = np.ones(len(truth), bool) if among is None else among
    _, found = np.unique(person, return_inverse=True)
    _, whose = np.unique(truth, return_inverse=True)
    size, true_size = np.bincount(found)[found], np.bincount(whose)[whose]
    both, inverse, counts = np.unique(
        found * (whose.max() + 1) + whose, return_inverse=True, return_counts=True
    )
    right = counts[inverse]
    strangers = whose != _owners(both, counts, int(whose.max()) + 1)[found]
    pairs = Score(
        float((right - 1)[some].sum() / max((size - 1)[some].sum(), 1)),
        float((right - 1)[some].sum() / max((true_size - 1)[some].sum(), 1)),
    )
    b3 = Score(float((right / size)[some].mean()), float((right / true_size)[some].mean()))
    return Clustered(
        pairs,
        b3,
        largest=int(size[some].max()),
        wrong=float((right < size)[some].mean()),
        strangers=float(strangers[some].mean()),
    )


def _owners(both: Ints, counts: Ints, people: int) -> Ints:
    """Of each cluster, the person of most of its records; of several, that of the lowest number.

    `both` is cluster × people + person, in ascending order; `counts` are the records of each.
    """
    cluster, person = np.divmod(both, people)
    order = np.lexsort((-person, counts, cluster))
    owner = np.empty(int(cluster.max()) + 1, np.int64)
    # Of what is written to one place, the last stays.
    owner[cluster[order]] = person[order]
    return owner


def paired(left: Ints, right: Ints, truth: Ints, side: npt.NDArray[np.int8]) -> Score:
    """Scores of pairs as they are, without closure."""
    good = int((truth[left] == truth[right]).sum())
    return Score(good / max(len(left), 1), good / max(true_pairs(truth, side), 1))


def true_pairs(truth: Ints, side: npt.NDArray[np.int8]) -> int:
    """How many pairs of records are one person; of two files, across them."""
    first = np.bincount(truth[side == 0], minlength=truth.max() + 1)
    second = np.bincount(truth[side == 1], minlength=truth.max() + 1)
    return int((first * second).sum()) if side.any() else int((first * (first - 1) // 2).sum())


def closure(count: int, left: Ints, right: Ints) -> Ints:
    """Clusters as chains of pairs, which is how the field makes them."""
    graph = sp.coo_matrix((np.ones(len(left), bool), (left, right)), (count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)

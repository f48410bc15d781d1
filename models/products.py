"""Products of one matrix with vectors, for the few largest of them or for all. Exact: nothing is approximated.

For the few: no row's product with a vector is larger than the product of their lengths (Cauchy-Schwarz).
Rows are looked at from the longest on, until no further one can be among the best. Factors of ALS differ in
length by a thousand times, long tail against best sellers, so a hundredth of the rows is enough as a rule.

For all: reading a matrix of 100,000 × 128 takes longer than multiplying with it. So what threads bring while
one product is under way is multiplied together, block by block: a block stays in the cache for all vectors.
"""

import math
import threading
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

TOGETHER_MAX: Final = 16
"""Vectors multiplied at once: beyond, one more costs as much as on its own."""
BLOCK_ROWS: Final = 1_024
"""Rows of a block: 0.5 MB at 128 columns, and BLAS takes its path for small matrices, which copies nothing."""
FIRST_ROWS: Final = 256
"""Of the longest rows, looked at first: as a rule they settle it, and stay in the cache of a core."""
SMALL: Final = 1 << 20
"""Numbers in a matrix that is multiplied at once: it fits into the cache anyway."""
HEAD_BYTES_MAX: Final = 16 << 20
"""Memory of a process for the longest rows in order: 32,768 of 128 columns. The whole matrix is shared."""
FEW: Final = 0.05
"""A filter that lets fewer through: unless the very longest settle it, only these rows are read."""
SORTED_MAX: Final = 128
"""So many scores more than asked for are sorted at once: it takes as long as finding the best of them first."""
SLACK: Final = 1.0001
"""Rounding of float32 products, so that the bound stays one."""


class Best(NamedTuple):
    """Rows and their products, best first."""

    rows: npt.NDArray[np.int64]
    scores: Floats


NOTHING: Final = Best(np.empty(0, np.int64), np.empty(0, np.float32))


class _Asked:
    def __init__(self, vector: Floats) -> None:
        self.vector = vector
        self.result: Floats | None = None
        self.failure: BaseException | None = None


class Products:
    """`matrix @ vector`, for many threads. Each gets what it would get alone, up to rounding."""

    def __init__(self, matrix: Floats) -> None:
        self.matrix: Floats = matrix
        self._turn = threading.Lock()
        """One multiplies; the others' vectors wait for the next one."""
        self._waiting: list[_Asked] = []
        lengths = np.linalg.norm(self.matrix, axis=1) if self.matrix.size > SMALL else np.empty(0)
        rows = HEAD_BYTES_MAX // max(1, self.matrix.shape[1] * 4) if len(lengths) else 0
        order = np.argsort(-lengths, kind="stable")
        self._order = order[:rows].astype(np.int32)
        """The longest rows, longest first."""
        self._head = self.matrix[self._order]
        self._lengths = lengths[order[: rows + 1]]

    def of(self, vector: Floats) -> Floats:
        """The product with one vector."""
        if self.matrix.size <= SMALL:
            return np.asarray(self.matrix @ vector, dtype=np.float32)
        asked = _Asked(vector)
        self._waiting.append(asked)
        with self._turn:
            while asked.result is None and asked.failure is None:
                self._multiply()
        if asked.failure is not None:
            raise asked.failure
        assert asked.result is not None  # noqa: S101  # whoever had the turn before set it
        return asked.result

    def best(self, vector: Floats, allowed: Mask, count: int) -> Best:
        """The `count` rows allowed with the largest products above 0, best first; ties by the smaller row."""
        if count <= 0:
            return NOTHING
        found = self._from_longest(vector, allowed, count)
        if found is not None:
            return found
        rows = np.flatnonzero(allowed)
        few = len(rows) < len(allowed) * FEW
        return best_of(rows, self.matrix[rows] @ vector if few else self.of(vector)[rows], count)

    def longest(self, vector: Floats, start: int, end: int) -> Best:
        """Some of the longest rows with their products, the longest first; none past those that are at hand."""
        return Best(self._order[start:end].astype(np.int64), self._head[start:end] @ vector)

    def at_hand(self) -> int:
        """How many of the longest rows `longest` knows; 0 for a small matrix."""
        return len(self._order)

    def beyond(self, vector: Floats, end: int) -> float:
        """A bound of the products of all rows after the `end` longest."""
        if end >= len(self._lengths):
            return 0.0
        return float(self._lengths[end]) * _length(vector)

    def _from_longest(self, vector: Floats, allowed: Mask, count: int) -> Best | None:
        """`best`, or None if the longest rows do not settle it."""
        length = _length(vector)
        found = NOTHING
        end, step = 0, FIRST_ROWS
        while end < len(self._order):
            start, end = end, min(end + step, len(self._order))
            rows = self._order[start:end]
            scores = self._head[start:end] @ vector
            let = allowed[rows]
            if len(found.scores) == count:
                let &= scores >= found.scores[-1]
            rows, scores = rows[let], scores[let]
            if len(found.rows):
                rows = np.concatenate((found.rows, rows))
                scores = np.concatenate((found.scores, scores))
            found = best_of(rows, scores, count)
            if end == len(self.matrix):
                return found
            if len(found.scores) == count and found.scores[-1] > self._lengths[end] * length:
                return found
            if start == 0 and np.count_nonzero(allowed) < len(allowed) * FEW:
                return None
            step *= 2
        return None

    def _multiply(self) -> None:
        """Multiply what has waited longest; whoever has the turn may be behind it."""
        batch = self._waiting[:TOGETHER_MAX]
        del self._waiting[: len(batch)]
        try:
            if len(batch) == 1:
                batch[0].result = np.asarray(self.matrix @ batch[0].vector, dtype=np.float32)
                return
            together = np.stack([each.vector for each in batch], axis=1)
            product = np.empty((len(self.matrix), len(batch)), np.float32)
            for start in range(0, len(self.matrix), BLOCK_ROWS):
                end = start + BLOCK_ROWS
                np.dot(self.matrix[start:end], together, out=product[start:end])
            for each, column in zip(batch, np.ascontiguousarray(product.T), strict=True):
                each.result = column
        except BaseException as error:
            for each in batch:
                each.failure = error


def best_of(rows: npt.NDArray[Any], scores: Floats, count: int) -> Best:
    """The `count` rows with the largest scores above 0, best first; ties by the smaller row."""
    best = highest(rows, scores, count)
    if len(best.scores) and not best.scores[-1] > 0:
        above = best.scores > 0
        return Best(best.rows[above], best.scores[above])
    return best


def highest(rows: npt.NDArray[Any], scores: Floats, count: int) -> Best:
    """`best_of`, whatever the scores are."""
    if 0 < count < len(rows) - SORTED_MAX:
        cut = np.partition(scores, len(scores) - count)[len(scores) - count]
        near = scores >= cut
        rows, scores = rows[near], scores[near]
    order = np.lexsort((rows, -scores))[:count]
    return Best(rows[order].astype(np.int64), scores[order])


def _length(vector: Floats) -> float:
    """Not below the vector's length."""
    return math.sqrt(vector @ vector) * SLACK

"""Products of one matrix with vectors that several threads bring at the same time.

Reading a matrix of 100,000 × 128 takes longer than multiplying with it. So what arrives while one product is
under way is multiplied together, block by block: a block stays in the processor's cache for all vectors. And
of a filter that comes again only the rows that it lets through are read, from a copy of their own.
"""

import threading
from collections import OrderedDict
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

TOGETHER_MAX: Final = 16
"""Vectors multiplied at once: beyond, one more costs as much as on its own."""
BLOCK_ROWS: Final = 1_024
"""Rows of a block: 0.5 MB at 128 columns, and BLAS takes its path for small matrices, which copies nothing."""
SMALL: Final = 1 << 20
"""Numbers in a matrix that is multiplied at once: it fits into the cache anyway."""
COPIES_BYTES_MAX: Final = 64 << 20
"""Memory of a process for copies: a filter that lets a third of 100,000 × 128 through takes 17 MB."""
COPIED_SHARE_MAX: Final = 0.5
"""A filter that lets more through is not worth a copy."""
USES_MAX: Final = 1_024
"""Filters whose uses are counted."""


class Rows:
    """Rows that are wanted. Equal to itself only: whoever keeps it for a filter finds the copy again."""

    def __init__(self, places: npt.NDArray[Any]) -> None:
        self.places = places


class _Asked:
    def __init__(self, vector: Floats) -> None:
        self.vector = vector
        self.result: Floats | None = None
        self.failure: BaseException | None = None


class Products:
    """`matrix @ vector`, for many threads. Each gets what it would get alone, up to rounding."""

    def __init__(self, matrix: Floats) -> None:
        # A view without np.memmap's costly slicing; the memory is the same.
        self.matrix: Floats = np.asarray(matrix)
        self._turn = threading.Lock()
        """One multiplies; the others' vectors wait for the next one."""
        self._waiting: list[_Asked] = []
        self._copies = _Copies()

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

    def among(self, vector: Floats, rows: Rows) -> Floats:
        """The product where `rows` are; elsewhere it may be 0."""
        copied = self._copies.get(rows, self.matrix)
        if copied is None:
            return self.of(vector)
        product = np.zeros(len(self.matrix), np.float32)
        product[rows.places] = copied.of(vector)
        return product

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


class _Copies:
    """Copies of some rows, the least recently used given up first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._uses: OrderedDict[Rows, int] = OrderedDict()
        self._made: OrderedDict[Rows, Products] = OrderedDict()
        self._bytes = 0

    def get(self, rows: Rows, matrix: Floats) -> Products | None:
        """The copy, made at the second use; None if it is not worth it."""
        if len(rows.places) > len(matrix) * COPIED_SHARE_MAX or matrix.size <= SMALL:
            return None
        with self._lock:
            if rows in self._made:
                self._made.move_to_end(rows)
                return self._made[rows]
            self._uses[rows] = self._uses.get(rows, 0) + 1
            while len(self._uses) > USES_MAX:
                self._uses.popitem(last=False)
            size = len(rows.places) * matrix.shape[1] * matrix.itemsize
            if self._uses.get(rows, 0) < 2 or size > COPIES_BYTES_MAX:
                return None
            while self._made and self._bytes + size > COPIES_BYTES_MAX:
                self._bytes -= self._made.popitem(last=False)[1].matrix.nbytes
            made = self._made[rows] = Products(matrix[rows.places])
            self._bytes += size
            return made

"""Which identifiers a file holds already: 8 bytes each, so that ten million are 80 MB."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Seen:
    """A set of texts by 64-bit hash: two of ten million share one with a probability of 3 in a million."""

    def __init__(self) -> None:
        self._pieces: list[NDArray[np.int64]] = []
        """Sorted, each at least twice as long as the next: a few searches find a hash."""

    def again(self, texts: Sequence[str]) -> list[int]:
        """Which of `texts`, by number, were there before, here or in any call before."""
        hashes = np.fromiter(map(hash, texts), dtype=np.int64, count=len(texts))
        unique, first = np.unique(hashes, return_index=True)
        known = np.zeros(len(unique), dtype=bool)
        for piece in self._pieces:
            at = np.minimum(np.searchsorted(piece, unique), len(piece) - 1)
            known |= piece[at] == unique
        fresh = np.zeros(len(texts), dtype=bool)
        fresh[first[~known]] = True
        self._add(unique[~known])
        found: list[int] = np.flatnonzero(~fresh).tolist()
        return found

    def _add(self, hashes: NDArray[np.int64]) -> None:
        if not len(hashes):
            return
        pieces = self._pieces
        pieces.append(hashes)
        while len(pieces) > 1 and len(pieces[-2]) < 2 * len(pieces[-1]):
            last = pieces.pop()
            merged = np.concatenate((pieces.pop(), last))
            # Merge sort finds two runs that are in order and merges them.
            merged.sort(kind="stable")
            pieces.append(merged)

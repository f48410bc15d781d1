"""String similarity of many pairs at a time: Jaro-Winkler, and edits with transpositions.

Both are bit-parallel: a text of at most 64 characters is one machine word, and numpy does a step for all
pairs at once, so that a million pairs of names take about a second on one core.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

LENGTH_MAX: Final = 64
"""Characters compared: the bits of a word. What is longer is cut; no name is."""
CHUNK: Final = 1 << 16
"""Pairs at a time: their matrices stay in the processor's cache."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Words = npt.NDArray[Any]
Word = type[np.unsignedinteger[Any]]

_WIDTHS: Final[tuple[tuple[int, Word], ...]] = (
    (8, np.uint8), (16, np.uint16), (32, np.uint32), (64, np.uint64),
)  # fmt: skip
_KINDS: Final = 32
"""Kinds of characters that are counted, to know which texts cannot be alike."""
FAR: Final = 0.7
"""A Jaro similarity below which nobody asks how far apart two texts are."""
_WINKLER_PREFIX: Final = 4
_WINKLER_WEIGHT: Final = 0.1
_WINKLER_FROM: Final = 0.7
"""Winkler's bonus for a common prefix, and the similarity above which he gives it."""


class Texts:
    """Texts as a matrix of characters, for comparing rows of it with one another."""

    def __init__(self, values: Sequence[str]) -> None:
        text = np.array([value[:LENGTH_MAX] for value in values], dtype=f"<U{LENGTH_MAX}")
        points = text.view(np.uint32).reshape(len(text), LENGTH_MAX)
        # Beyond ASCII two letters may share a code: one in 127 of all typos in another alphabet is unseen.
        self.codes: npt.NDArray[np.uint8] = np.where(
            points < 128, points, 128 + points % 127
        ).astype(np.uint8)
        self.lengths: Ints = (points != 0).sum(axis=1)
        self._counts: npt.NDArray[np.uint8] = np.zeros((len(text), _KINDS), dtype=np.uint8)
        rows, places = np.nonzero(self.codes)
        np.add.at(self._counts, (rows, self.codes[rows, places] % _KINDS), 1)

    def compare(self, left: Ints, right: Ints) -> tuple[Floats, Ints]:
        """(Jaro-Winkler similarity, edit distance) of each pair of rows.

        Of what is surely far apart, bounds are given: a similarity is at most what is said where that is
        below FAR, and a distance at least what is said where that is above a third of the longer text.
        """
        common, longest = self._common(left, right)
        edits = longest - common
        lengths = np.maximum(self.lengths, 1)
        # No more characters match than both texts have; in order, at best.
        similarity = np.where(
            common > 0, (common / lengths[left] + common / lengths[right] + 1) / 3, 0.0
        )
        near = np.flatnonzero((similarity >= FAR) | (edits * 3 <= longest) | (edits <= 1))
        for some, width, word in _by_width(longest, near):
            jaro = _Jaro(self.lengths[left[some]], self.lengths[right[some]], word)
            edits[some] = self._walk(left[some], right[some], width, word, jaro)
            similarity[some] = jaro.winkler(self.codes[left[some]], self.codes[right[some]])
        return similarity, edits

    def distances(self, left: Ints, right: Ints) -> Ints:
        """The edit distance of each pair of rows; a bound as in `compare`."""
        common, longest = self._common(left, right)
        edits = longest - common
        near = np.flatnonzero((edits * 3 <= longest) | (edits <= 1))
        for some, width, word in _by_width(longest, near):
            edits[some] = self._walk(left[some], right[some], width, word, None)
        return edits

    def _common(self, left: Ints, right: Ints) -> tuple[Ints, Ints]:
        """(at most how many characters two texts have in common, the length of the longer one)."""
        common = np.empty(len(left), dtype=np.int64)
        for start in range(0, len(left), CHUNK):
            some = slice(start, start + CHUNK)
            held = np.minimum(self._counts[left[some]], self._counts[right[some]])
            common[some] = held.sum(axis=1, dtype=np.int64)
        return common, np.maximum(self.lengths[left], self.lengths[right])

    def _walk(self, left: Ints, right: Ints, width: int, word: Word, jaro: "_Jaro | None") -> Ints:
        """The edit distance, from the second text's first character to its last; `jaro` goes along."""
        a, b = self.codes[left, :width], self.codes[right, :width]
        la, lb = self.lengths[left], self.lengths[right]
        edits = _Edits(la, word)
        for place in range(int(lb.max(initial=0))):
            here = place < lb
            found = _mask(a == b[:, place : place + 1], word)
            if jaro is not None:
                jaro.step(place, np.where(here, found, word(0)))
            edits.step(found, here)
        return np.where(lb == 0, la, edits.distance)


def _by_width(longest: Ints, rows: Ints) -> Iterator[tuple[Ints, int, Word]]:
    """Rows in chunks, with the smallest word that holds their texts."""
    before = -1
    for width, word in _WIDTHS:
        fit = rows[(longest[rows] <= width) & (longest[rows] > before)]
        before = width
        for start in range(0, len(fit), CHUNK):
            yield fit[start : start + CHUNK], width, word


def _mask(equal: npt.NDArray[np.bool_], word: Word) -> Words:
    """The bits of the places where a character stands."""
    packed = np.packbits(equal, axis=1, bitorder="little")
    return packed.view(np.dtype(word).newbyteorder("<"))[:, 0].astype(word, copy=False)


class _Jaro:
    """Jaro's similarity (Jaro 1989) with Winkler's prefix bonus (Winkler 1990).

    A character matches the first free equal one within half the longer text's length less one.
    """

    def __init__(self, la: Ints, lb: Ints, word: Word) -> None:
        self._la, self._lb, self._word = la, lb, word
        self._reach = np.maximum(np.maximum(la, lb) // 2 - 1, 0)
        self._in_a: Words = np.zeros(len(la), dtype=word)
        self._in_b: Words = np.zeros(len(la), dtype=word)

    def step(self, place: int, found: Words) -> None:
        """Match the character at `place` of the second text, found at these places of the first."""
        bits = np.dtype(self._word).itemsize * 8
        ones = np.iinfo(self._word).max
        low = np.clip(place - self._reach, 0, bits - 1).astype(self._word)
        past = np.clip(bits - 1 - (place + self._reach), 0, bits - 1).astype(self._word)
        near = (self._word(ones) << low) & (self._word(ones) >> past)
        free = found & near & ~self._in_a
        first = free & (~free + self._word(1))
        self._in_a |= first
        self._in_b |= (first != 0).astype(self._word) << self._word(place)

    def winkler(self, a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> Floats:
        """The similarity, in 0 … 1. Two empty texts have none."""
        matches, turned = np.zeros(len(a)), np.zeros(len(a))
        in_a, in_b = self._in_a.copy(), self._in_b.copy()
        rows = np.flatnonzero(in_a)
        while len(rows):
            first_a, first_b = _lowest(in_a[rows]), _lowest(in_b[rows])
            turned[rows] += a[rows, first_a] != b[rows, first_b]
            matches[rows] += 1
            in_a[rows] &= in_a[rows] - self._word(1)
            in_b[rows] &= in_b[rows] - self._word(1)
            rows = rows[in_a[rows] != 0]
        some = np.maximum(matches, 1)
        jaro = (
            matches / np.maximum(self._la, 1)
            + matches / np.maximum(self._lb, 1)
            + (matches - np.floor(turned / 2)) / some
        ) / 3
        jaro = np.where(matches > 0, jaro, 0.0)
        head = slice(0, _WINKLER_PREFIX)
        equal = (a[:, head] == b[:, head]) & (a[:, head] != 0)
        prefix = np.logical_and.accumulate(equal, axis=1).sum(axis=1)
        bonus = np.where(jaro > _WINKLER_FROM, prefix * _WINKLER_WEIGHT * (1 - jaro), 0.0)
        total: Floats = jaro + bonus
        return total


def _lowest(words: Words) -> Ints:
    """The place of the lowest bit."""
    lowest = words & (~words + words.dtype.type(1))
    # A power of two is exact as a float, whatever its size.
    places: Ints = np.frexp(lowest.astype(np.float64))[1].astype(np.int64) - 1
    return places


class _Edits:
    """Insertions, deletions, substitutions and transpositions of neighbours (optimal string alignment).

    Hyyrö 2003, "A bit-vector algorithm for computing Levenshtein and Damerau edit distances", figure 9.
    """

    def __init__(self, la: Ints, word: Word) -> None:
        self.distance: Ints = la.copy()
        self._word = word
        zeros: Words = np.zeros(len(la), dtype=word)
        self._up: Words = ~zeros
        self._down, self._same, self._before = zeros, zeros, zeros
        bits = np.dtype(word).itemsize * 8
        self._last: Words = word(1) << np.clip(la - 1, 0, bits - 1).astype(word)
        self._empty = la == 0

    def step(self, found: Words, here: npt.NDArray[np.bool_]) -> None:
        """Go on by one character of the second text, where it has one here."""
        one = self._word(1)
        up, down = self._up, self._down
        turned: Words = ((~self._same & found) << one) & self._before
        same: Words = (((found & up) + up) ^ up) | found | down | turned
        right, left = down | ~(same | up), same & up
        more = ((right & self._last) != 0).astype(np.int64) - ((left & self._last) != 0)
        self.distance += np.where(here, np.where(self._empty, 1, more), 0)
        higher: Words = (right << one) | one
        lower: Words = left << one
        self._up, self._down = lower | ~(same | higher), higher & same
        self._same, self._before = same, found

"""Content: what an item's text says of it, so that one that nobody has bought yet can be recommended.

A map from words to the factors of ALS is learned from the items that sold; a new item takes the place that
its words give it, and one that sold little lies between its words and its sales.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from models.errors import NotEnoughData
from models.interactions import LOOKS, Interactions
from models.protocol import Scores
from models.zoo.factors import ALS

WORDS: Final = 1 << 15
"""Places that tokens are hashed to: no list of words has to be kept, and a new word needs no training."""
TOPICS_MAX: Final = 128
TEXT_MAX: Final = 2_000
"""Characters that are read of an item's text: what is further down is seldom about the item."""
SEED: Final = 42
_WORD: Final = re.compile(r"\w+")


def tokens(text: str) -> list[str]:
    """Words, and the three-letter pieces of each: endings differ, and some scripts write no spaces."""
    folded = unicodedata.normalize("NFKC", text[:TEXT_MAX]).casefold()
    # Vowel signs of Indian scripts are marks, which are no letters: at each of them a word would end.
    words = _WORD.findall("".join(c for c in folded if unicodedata.category(c)[0] != "M"))
    return [*words, *(f"<{w}>"[n : n + 3] for w in words for n in range(len(w)))]


class Content(ALS):
    """ALS whose items lie where their sales and their words say.

    factor = (n·y + trust·ŷ) / (n + trust): y is ALS's, n the people who took the item, ŷ what its words
    say: ŷ = W·words, W by ridge regression on the topics (truncated SVD) of TF-IDF.
    """

    name: ClassVar[str] = "content"

    def __init__(
        self, factors: int = 64, alpha: float = 4, regularization: float = 20,
        iterations: int = 15, half_life_days: float | None = 180, looks: float = LOOKS,
        trust: float = 5, ridge: float = 1,
    ) -> None:  # fmt: skip
        super().__init__(factors, alpha, regularization, iterations, half_life_days, looks)
        if trust < 0 or ridge <= 0:
            raise ValueError("content: trust must be at least 0, ridge above 0")
        self.trust, self.ridge = trust, ridge
        self._words: dict[str, npt.NDArray[Any]] = {}

    def fit(self, interactions: Interactions, now_ms: int) -> Self:
        """Learn factors from everything before `now_ms`, and what words say of them."""
        known = interactions.until(now_ms)
        if not len(known):
            raise NotEnoughData("content: no interactions to learn from")
        super().fit(interactions, now_ms)
        people = known.matrix(now_ms, None, self.looks).getnnz(axis=0).astype(np.float32)
        texts = interactions.texts
        described = np.array([bool(text) for text in texts])
        learned = described & (people > 0)
        self._words = {
            "idf": np.zeros(WORDS, np.float32),
            "map": np.zeros((WORDS, self.factors), np.float32),
            "topics": np.zeros((len(texts), 0), np.float32),
            "people": people,
        }
        if learned.sum() > 1:
            self._learn_words(texts, learned, people)
        guessed = self.place(texts)
        share = np.where(described, self.trust / (people + max(self.trust, 1e-9)), 0)[:, None]
        sold = self._items
        self._settle((sold * (1 - share) + guessed * share).astype(np.float32))
        return self

    def _learn_words(
        self, texts: Sequence[str], learned: npt.NDArray[np.bool_], people: npt.NDArray[Any]
    ) -> None:
        counts = _counted(texts)
        holding = counts[learned].getnnz(axis=0)
        self._words["idf"] = (np.log((1 + learned.sum()) / (1 + holding)) + 1).astype(np.float32)
        words = self._weighed(counts)
        basis = _basis(words[learned])
        topics = np.asarray(words @ basis)
        # Items that many people took are known better.
        weights = np.sqrt(np.minimum(people[learned], 100))[:, None]
        left, right = topics[learned] * weights, self._items[learned] * weights
        gram = left.T @ left + self.ridge * weights.mean() * np.eye(left.shape[1])
        self._words["map"] = (basis @ np.linalg.solve(gram, left.T @ right)).astype(np.float32)
        length = np.maximum(np.linalg.norm(topics, axis=1, keepdims=True), 1e-9)
        self._words["topics"] = (topics / length).astype(np.float32)

    def _weighed(self, counts: sp.csr_matrix) -> sp.csr_matrix:
        """TF-IDF (1 + log tf), each row of length 1."""
        words = sp.csr_matrix(counts, dtype=np.float32, copy=True)
        words.data = (1 + np.log(words.data)) * self._words["idf"][words.indices]
        length = np.sqrt(np.asarray(words.multiply(words).sum(axis=1)).ravel())
        return sp.csr_matrix(sp.diags(1 / np.maximum(length, 1e-9)) @ words, dtype=np.float32)

    def place(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Where the words of new items put them: texts × factors; zeros for an empty text."""
        return np.asarray(self._weighed(_counted(texts)) @ self._words["map"], dtype=np.float32)

    def _settle(self, items: npt.NDArray[np.float32]) -> None:
        self._learned(items)
        # Only what could be taken was left lying: new items say nothing about anybody's taste.
        sold = items[np.asarray(self._words["people"]) > 0]
        self._gram = (sold.T @ sold).astype(np.float32)
        self._gram[np.diag_indices(len(self._gram))] += self.regularization

    def similar(self, item: int) -> Scores | None:
        """By words; where the item has none, by factors."""
        topics = self._words["topics"]
        if not topics.shape[1] or not np.any(topics[item]):
            return super().similar(item)
        likeness = np.asarray(topics @ topics[item], dtype=np.float32)
        likeness[item] = 0
        return likeness

    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """Item factors, and what words say."""
        return {"items": self._items, **self._words}

    def parameters(self) -> Mapping[str, float | int | str | None]:
        """ALS's, how many people a text is worth, and the λ of the map."""
        return {**super().parameters(), "trust": self.trust, "ridge": self.ridge}

    @classmethod
    def restore(cls, parameters: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """From saved factors and words."""
        made = cls(**parameters)
        made._words = {name: arrays[name] for name in ("idf", "map", "topics", "people")}
        if len(arrays["people"]) != len(arrays["items"]) != len(arrays["topics"]):
            raise ValueError("people and topics are not those of these items")
        made._settle(arrays["items"])
        if not np.isfinite(made._gram).all() or not np.isfinite(arrays["map"]).all():
            raise ValueError("factors that are not finite")
        return made


def _counted(texts: Sequence[str]) -> sp.csr_matrix:
    """Texts × hashed tokens."""
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(
        n_features=WORDS, analyzer=tokens, norm=None, alternate_sign=False, dtype=np.float32
    )
    return sp.csr_matrix(hashing.transform(texts))


def _basis(words: sp.csr_matrix) -> npt.NDArray[np.float32]:
    """Tokens × topics: the leading right singular vectors."""
    from sklearn.utils.extmath import randomized_svd

    topics = min(TOPICS_MAX, min(words.shape) - 1)
    _, _, right = randomized_svd(words, max(topics, 1), random_state=SEED)
    return np.ascontiguousarray(right.T, dtype=np.float32)

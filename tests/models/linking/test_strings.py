"""Strings are compared as the definitions say, many at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.linking.strings import FAR, LENGTH_MAX, Texts


def one(a: str, b: str) -> tuple[float, int]:
    similarity, edits = Texts([a, b]).compare(np.array([0]), np.array([1]))
    return float(similarity[0]), int(edits[0])


def slow_edits(a: str, b: str) -> int:
    """Optimal string alignment, by its table."""
    table = [
        [max(i, j) if min(i, j) == 0 else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)
    ]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            other = a[i - 1] != b[j - 1]
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + other)
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
    return table[-1][-1]


def slow_winkler(a: str, b: str) -> float:
    """Jaro-Winkler, by its definition."""
    reach = max(max(len(a), len(b)) // 2 - 1, 0)
    in_a, in_b = [False] * len(a), [False] * len(b)
    for j, letter in enumerate(b):
        for i in range(max(0, j - reach), min(len(a), j + reach + 1)):
            if not in_a[i] and a[i] == letter:
                in_a[i] = in_b[j] = True
                break
    matches = sum(in_a)
    if not matches:
        return 0.0
    first = [c for c, held in zip(a, in_a, strict=True) if held]
    second = [c for c, held in zip(b, in_b, strict=True) if held]
    turned = sum(x != y for x, y in zip(first, second, strict=True)) // 2
    jaro = (matches / len(a) + matches / len(b) + (matches - turned) / matches) / 3
    prefix = 0
    while prefix < min(4, len(a), len(b)) and a[prefix] == b[prefix]:
        prefix += 1
    return jaro + prefix * 0.1 * (1 - jaro) if jaro > 0.7 else jaro


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [("martha", "marhta", 0.9611), ("dwayne", "duane", 0.84), ("dixon", "dicksonx", 0.8133)],
)
def test_winklers_own_examples(a: str, b: str, expected: float) -> None:
    assert one(a, b)[0] == pytest.approx(expected, abs=1e-4)


def test_neighbours_that_changed_places_are_one_edit() -> None:
    assert one("sharma", "sahrma")[1] == 1


def test_an_empty_text_is_like_nothing() -> None:
    assert one("", "") == (0.0, 0)
    assert one("", "asha") == (0.0, 4)


texts = st.text(alphabet="abcdé", max_size=LENGTH_MAX)


@given(st.lists(texts, min_size=2, max_size=12))
def test_near_texts_are_compared_exactly_and_far_ones_are_bounded(values: list[str]) -> None:
    left, right = np.triu_indices(len(values), 1)
    similarity, edits = Texts(values).compare(left, right)
    for place, (i, j) in enumerate(zip(left, right, strict=True)):
        true_similarity, true_edits = (
            slow_winkler(values[i], values[j]),
            slow_edits(values[i], values[j]),
        )
        if similarity[place] >= FAR:
            assert similarity[place] == pytest.approx(true_similarity)
        else:
            assert similarity[place] >= true_similarity - 1e-9
        if edits[place] * 3 <= max(len(values[i]), len(values[j])) or edits[place] <= 1:
            assert edits[place] == true_edits
        else:
            assert edits[place] <= true_edits


@given(texts, texts)
def test_a_distance_alone_is_the_same_distance(a: str, b: str) -> None:
    alone = int(Texts([a, b]).distances(np.array([0]), np.array([1]))[0])
    true = slow_edits(a, b)
    assert alone == true or (alone <= true and alone * 3 > max(len(a), len(b)))

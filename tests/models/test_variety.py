"""Variety: caps and differences, and what they never do."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.metrics import top
from models.variety import NO_CATEGORY, Categories, Variety, shared, varied

PATHS = ["health", "health/vitamins", "care", "care/skin/face"]


def shop(*codes: int) -> Categories:
    return Categories(np.array(codes, np.int32), PATHS)


def test_without_weight_and_cap_it_is_the_best() -> None:
    scores = np.array([1, 3, 2, 0], np.float32)
    assert varied(scores, 2, Variety(), shop(0, 0, 0, 0)).tolist() == [1, 2]


def test_a_cap_leaves_room_for_other_categories() -> None:
    scores = np.array([9, 8, 7, 2, 1], np.float32)
    categories = shop(0, 0, 0, 2, NO_CATEGORY)
    assert varied(scores, 4, Variety(per_category=1), categories).tolist() == [0, 3, 4]


def test_a_cap_looks_further_than_the_best_hundred() -> None:
    scores = np.arange(3_000, 0, -1).astype(np.float32)
    codes = np.zeros(3_000, np.int32)
    codes[-1] = 2
    found = varied(scores, 2, Variety(per_category=1), Categories(codes, PATHS))
    assert found.tolist() == [0, 2_999]


def test_with_weight_what_is_unlike_comes_sooner() -> None:
    scores = np.array([9, 8.9, 8.8, 5], np.float32)
    categories = shop(0, 0, 1, 2)
    assert varied(scores, 4, Variety(0.5), categories).tolist() == [0, 3, 2, 1]
    assert varied(scores, 4, Variety(0.05), categories).tolist() == [0, 2, 1, 3]


def test_categories_are_as_like_as_their_way_from_the_root() -> None:
    assert shared("health", "health") == 1
    assert shared("health", "health/vitamins") == 0.5
    assert shared("care/skin/face", "care/hair/brush") == 1 / 3
    assert shared("health", "care") == 0


@given(
    st.lists(st.tuples(st.floats(-1, 9, width=32), st.integers(-1, 3)), max_size=30),
    st.integers(0, 8),
    st.floats(0, 1),
    st.integers(0, 3),
)
def test_it_chooses_among_what_may_be_shown_and_keeps_its_cap(
    items: list[tuple[float, int]], limit: int, weight: float, cap: int
) -> None:
    scores = np.array([score for score, _ in items], np.float32)
    codes = np.array([code for _, code in items], np.int32)
    chosen = varied(scores, limit, Variety(weight, cap), Categories(codes, PATHS)).tolist()

    assert len(chosen) == len(set(chosen)) <= limit
    assert all(scores[n] > 0 for n in chosen)
    for category in range(4):
        assert not cap or sum(codes[n] == category for n in chosen) <= cap
    if not cap:
        assert len(chosen) == len(top(scores, limit))

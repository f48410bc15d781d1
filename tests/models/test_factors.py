"""A folded-in vector beside the equations that it solves."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.protocol import History
from models.zoo.factors import ALS, CONDITION_MAX, SHORT
from models.zoo.linear import history_values
from profiles.facts import Kind

FACTORS = 16
ITEMS = 60
NOW = 1_800_000_000_000
DAY = 86_400_000


def learned(seed: int, scale: float, regularization: float = 20, fade: float = 1) -> ALS:
    """Factors as they come out of training: some long, most short; each counts for `fade` of the one before."""
    random = np.random.default_rng(seed)
    lengths = scale * random.random((ITEMS, 1)) ** 4
    items = random.normal(size=(ITEMS, FACTORS)) * lengths * fade ** np.arange(FACTORS)
    return ALS.restore(
        {"factors": FACTORS, "alpha": 4.0, "regularization": regularization},
        {"items": items.astype(np.float32)},
    )


def history(seed: int, length: int) -> History:
    random = np.random.default_rng(seed)
    return History(
        random.permutation(ITEMS)[:length].astype(np.int32),
        random.choice([Kind.VIEWED, Kind.ADDED, Kind.BOUGHT], length).astype(np.int8),
        NOW - (400 * DAY * random.random(length)).astype(np.int64),
        np.ones(length, np.float32),
        NOW,
    )


def solved(als: ALS, known: History) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The vector, and what each item of the history has of it, by the equations of the paper."""
    codes, values = history_values(known, als.half_life_days, als.looks)
    items = als.arrays()["items"].astype(np.float64)
    confidence = als.alpha * values.astype(np.float64)
    mine = items[codes]
    matrix = items.T @ items + als.regularization * np.eye(FACTORS)
    matrix += mine.T @ (mine * (confidence - 1)[:, None])
    shares = np.linalg.solve(matrix, (mine * confidence[:, None]).T).T
    return shares.sum(axis=0), shares


@given(
    st.integers(0, 1000),
    st.sampled_from((0.01, 1.0, 10.0, 60.0)),
    st.integers(1, ITEMS),
)
def test_a_vector_solves_the_equations_however_long_the_history(
    seed: int, scale: float, length: int
) -> None:
    als, known = learned(seed, scale), history(seed, length)
    items = als.arrays()["items"]
    vector, shares = solved(als, known)
    found = als.vector(known)
    assert found is not None

    exact = items @ vector
    assert np.abs(items @ found - exact).max() <= 1e-3 * np.abs(exact).max()

    reasons = als.because(known, np.arange(ITEMS, dtype=np.int32))
    assert reasons is not None
    codes, _ = history_values(known, als.half_life_days, als.looks)
    of_each = shares @ items.T
    slack = 1e-3 * np.abs(of_each).max()
    for item, reason in enumerate(reasons.tolist()):
        if reason < 0:
            assert of_each[:, item].max() <= slack
        else:
            assert of_each[codes == reason, item] >= of_each[:, item].max() - slack


@pytest.mark.parametrize("length", [1, int(SHORT * FACTORS), int(SHORT * FACTORS) + 1, ITEMS])
def test_where_rounding_would_show_the_system_is_solved_as_it_stands(length: int) -> None:
    als, known = learned(3, 60, regularization=1e-3, fade=0.6), history(3, length)
    items = als.arrays()["items"]
    values = np.linalg.eigvalsh(items.T @ items + als.regularization * np.eye(FACTORS))
    assert values[-1] > CONDITION_MAX * values[0]
    exact = items @ solved(als, known)[0]
    found = als.vector(known)

    assert found is not None
    assert np.abs(items @ found - exact).max() <= 0.05 * np.abs(exact).max()

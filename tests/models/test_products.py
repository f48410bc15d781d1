"""Products that threads share: each gets its own, whatever arrives together."""

import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import products
from models.metrics import top
from models.products import Products

RANDOM = np.random.default_rng(5)
MATRIX = RANDOM.normal(size=(3_000, 16)).astype(np.float32)
VECTORS = RANDOM.normal(size=(40, 16)).astype(np.float32)


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is too large for one product."""
    monkeypatch.setattr(products, "SMALL", 0)


def test_each_thread_gets_its_own_product() -> None:
    made = Products(MATRIX)
    found: dict[int, products.Floats] = {}

    def ask(n: int) -> None:
        found[n] = made.of(VECTORS[n])

    with made._turn:  # so that many wait
        threads = [threading.Thread(target=ask, args=[n]) for n in range(len(VECTORS))]
        for thread in threads:
            thread.start()
        while len(made._waiting) < len(VECTORS):
            time.sleep(0.001)
    for thread in threads:
        thread.join()
    for n, vector in enumerate(VECTORS):
        assert found[n] == pytest.approx(MATRIX @ vector, abs=1e-4)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 2**32 - 1), st.floats(0, 3), st.floats(0, 1), st.integers(1, 300), st.integers(10, 4_000)
)  # fmt: skip
def test_the_best_are_the_best_of_the_whole_product(
    seed: int, spread: float, share: float, count: int, head_rows: int
) -> None:
    random = np.random.default_rng(seed)
    matrix = (
        random.normal(size=(3_000, 8)) * np.exp(spread * random.normal(size=(3_000, 1)))
    ).astype(np.float32)
    vector = random.normal(size=8).astype(np.float32)
    allowed = random.random(3_000) < share
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "HEAD_BYTES_MAX", head_rows * 8 * 4)
        patch.setattr(products, "BLOCK_ROWS", 64)
        found = Products(matrix).best(vector, allowed, count)

    scores = matrix @ vector
    expected = top(scores * allowed, count)
    assert len(found.rows) == len(set(found.rows.tolist())) == len(expected)
    assert allowed[found.rows].all()
    assert found.scores == pytest.approx(scores[expected], rel=1e-3, abs=1e-5)
    assert found.scores == pytest.approx(scores[found.rows], rel=1e-3, abs=1e-5)


def test_the_longest_rows_are_enough_where_lengths_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = np.exp(-np.arange(3_000) / 100)
    made = Products((MATRIX * lengths[:, None]).astype(np.float32))
    monkeypatch.setattr(made, "of", lambda vector: pytest.fail("all rows were read"))
    made.best(VECTORS[0], np.ones(3_000, bool), 10)


def test_a_failure_reaches_whoever_asked() -> None:
    with pytest.raises(ValueError, match=r"shapes|mismatch"):
        Products(MATRIX).of(np.ones(3, np.float32))

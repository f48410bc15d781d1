"""Products that threads share: each gets its own, whatever arrives together."""

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from models import products
from models.products import Products, Rows

RANDOM = np.random.default_rng(5)
MATRIX = RANDOM.normal(size=(3_000, 16)).astype(np.float32)
VECTORS = RANDOM.normal(size=(40, 16)).astype(np.float32)


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is too large for one product, and copies are few."""
    monkeypatch.setattr(products, "SMALL", 0)


def at_once(each: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=each, args=[n]) for n in range(len(VECTORS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


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


def test_rows_that_come_again_are_copied_and_the_rest_is_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(products, "COPIES_BYTES_MAX", 2 * 700 * 16 * 4)
    made = Products(MATRIX)
    some = [Rows(np.arange(n, 3_000, 5)) for n in range(4)]

    def ask(n: int) -> None:
        rows = some[n % len(some)]
        for _ in range(3):
            product = made.among(VECTORS[n], rows)
            expected = (MATRIX @ VECTORS[n])[rows.places]
            assert product[rows.places] == pytest.approx(expected, abs=1e-4)

    failed: list[BaseException] = []
    monkeypatch.setattr(threading, "excepthook", lambda told: failed.append(told.exc_value))
    at_once(ask)
    assert not failed
    last = made.among(VECTORS[0], some[0])
    assert np.count_nonzero(last) <= 600
    assert made._copies._bytes <= products.COPIES_BYTES_MAX


def test_rows_that_come_once_and_wide_ones_are_not_copied() -> None:
    made = Products(MATRIX)
    for rows in (Rows(np.arange(5)), Rows(np.arange(2_000))):
        assert made.among(VECTORS[0], rows) == pytest.approx(MATRIX @ VECTORS[0], abs=1e-4)
    assert not made._copies._made


def test_a_failure_reaches_whoever_asked() -> None:
    with pytest.raises(ValueError, match=r"shapes|mismatch"):
        Products(MATRIX).of(np.ones(3, np.float32))

"""The blend's best items are those that scoring all of them gives, however few are looked at."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import products
from models.metrics import top
from models.protocol import History, Model
from models.zoo import narrow
from models.zoo.blend import Blend
from models.zoo.counting import Popular, RecentBuyers, Trending
from models.zoo.factors import ALS
from models.zoo.personal import BuyAgain
from profiles.facts import Kind

ITEMS = 600
DAY_MS = 86_400_000


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits under which 600 items are many."""
    monkeypatch.setattr(products, "SMALL", 0)
    monkeypatch.setattr(products, "HEAD_BYTES_MAX", 200 * 8 * 4)
    monkeypatch.setattr(narrow, "BLOCK_ROWS", 16)
    monkeypatch.setattr(narrow, "ITEMS_MIN", 0)
    monkeypatch.setattr(narrow, "LIKED", 24)


def blend_of(seed: int, weights: list[float]) -> Blend:
    """Counts and lengths of factors with a long tail, weighed as told."""
    random = np.random.default_rng(seed)
    length = random.pareto(1.2, ITEMS)[:, None]
    factors = (random.normal(0.3, 1, (ITEMS, 8)) * length).astype(np.float32)
    parts: list[Model] = [
        kind.restore({}, {"scores": random.pareto(1, ITEMS).astype(np.float32)})
        for kind in (Popular, RecentBuyers, Trending)
    ]
    demand = random.random(ITEMS).astype(np.float32)
    learned = {"size": np.array([ITEMS]), "demand": demand, "gaps": demand * 30 + 1}
    parts.append(BuyAgain.restore(BuyAgain().parameters(), learned))
    parts.append(ALS.restore({"factors": 8}, {"items": factors}))
    blend = Blend(parts)
    arrays = dict(blend.arrays())
    arrays["weights"] = np.array([weights, weights[::-1]], np.float32)
    arrays["again"] = np.array([0.5, 1.0])
    return Blend.restore(blend.parameters(), arrays)


def history(seed: int, size: int) -> History:
    random = np.random.default_rng(seed)
    return History(
        random.integers(0, ITEMS, size).astype(np.int32),
        random.choice([Kind.VIEWED, Kind.BOUGHT], size).astype(np.int8),
        (random.random(size) * 90 * DAY_MS).astype(np.int64),
        np.ones(size, np.float32),
        100 * DAY_MS,
    )


weights = st.lists(st.floats(-1, 4, width=32), min_size=5, max_size=5)


@given(st.integers(0, 30), weights, st.integers(1, 25), st.floats(0.06, 1), st.integers(1, 20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_they_are_the_same_whatever_is_weighed_allowed_and_asked(
    small: None, seed: int, weights: list[float], size: int, share: float, count: int
) -> None:
    blend, asked = blend_of(seed, weights), history(seed, size)
    allowed = np.random.default_rng(seed).random(ITEMS) < share

    scores = blend.scores(asked)
    assert scores is not None
    right = top(scores * allowed, count)
    found = blend.best(asked, allowed, count)

    assert found is not None
    # Products of float32 are rounded in another order: what ties up to that may change places.
    assert scores[found.rows] == pytest.approx(scores[right], rel=1e-3, abs=1e-30)
    assert found.scores == pytest.approx(scores[found.rows], rel=1e-3, abs=1e-30)
    assert allowed[found.rows].all()
    assert len(set(found.rows.tolist())) == len(found.rows) == len(right)


def test_few_items_are_looked_at_where_counts_and_factors_have_a_long_tail(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    blend, looked = blend_of(3, [0.5, 0.5, 0.5, 1.0, 1.0]), 0
    read: Callable[..., products.Best] = products.Products.longest

    def longest(self: products.Products, *asked: object) -> products.Best:
        nonlocal looked
        best = read(self, *asked)
        looked += len(best.rows)
        return best

    monkeypatch.setattr(products.Products, "longest", longest)
    monkeypatch.setattr(blend, "scores", None)  # nobody may score all
    for seed in range(20):
        assert blend.best(history(seed, 10), np.ones(ITEMS, bool), 10) is not None
    assert looked < 20 * ITEMS / 3


def test_a_blend_of_other_parts_scores_all() -> None:
    blend = Blend.restore(
        Blend([Popular()]).parameters(),
        {
            "weights": np.ones((2, 1), np.float32),
            "again": np.array([0.0, 1.0]),
            "popular.scores": np.arange(9, dtype=np.float32),
        },
    )
    best = blend.best(_views(2, 4), np.ones(9, bool), 3)

    assert best is not None
    assert best.rows.tolist() == [8, 7, 6]


def _views(*items: int) -> History:
    return History(
        np.array(items, np.int32),
        np.full(len(items), Kind.VIEWED, np.int8),
        np.arange(len(items), dtype=np.int64),
        np.ones(len(items), np.float32),
        DAY_MS,
    )

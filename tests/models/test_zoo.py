"""One suite that every model runs, on data whose right answer is obvious."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from models import zoo
from models.errors import NotEnoughData, TooManyItems
from models.interactions import DAY_MS, Interactions
from models.protocol import NOBODY, Model
from models.zoo.counting import Popular, RecentBuyers, Trending
from models.zoo.factors import ALS
from models.zoo.linear import EASE, EASE_ITEMS_MAX, ItemKNN, history_values
from models.zoo.personal import BuyAgain, RecentlyViewed
from profiles.facts import Kind
from tests.models.shops import DOG, NOW, TEA, history_of, shop

SHOP = shop()
SMALL = {
    "als": {"factors": 8, "regularization": 1.0},
    "content": {"factors": 8, "regularization": 1.0},
    "ease": {"regularization": 5.0},
}
TASTES = ("item_knn", "als", "ease", "content", "blend")
"""Models that know what goes with what from people; the others need orders or visits."""


def made(name: str) -> Model:
    model: Model = zoo.CLASSES[name](**SMALL.get(name, {}))
    return model.fit(SHOP, NOW)


@pytest.fixture(params=sorted(zoo.CLASSES))
def model(request: pytest.FixtureRequest) -> Model:
    return made(request.param)


def best(model: Model, *done: tuple[str, Kind], count: int = 3) -> list[str]:
    scores = model.scores(history_of(SHOP, *done))
    assert scores is not None
    return [str(SHOP.items[code]) for code in np.argsort(-scores, kind="stable")[:count]]


# --- every model ----------------------------------------------------------------------------------


def test_scores_are_finite_one_for_each_item(model: Model) -> None:
    scores = model.scores(history_of(SHOP, ("tea", Kind.BOUGHT), ("cup", Kind.VIEWED)))
    assert scores is not None
    assert scores.shape == SHOP.items.shape
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()


def test_nobody_gets_the_counts_or_nothing(model: Model) -> None:
    assert (model.scores(NOBODY) is None) == model.personal


def test_asking_twice_gives_the_same_and_fitting_again_elsewhere_does_not_matter(
    model: Model,
) -> None:
    history = history_of(SHOP, ("tea", Kind.BOUGHT), ("cup", Kind.VIEWED))
    first = model.scores(history)
    again = made(model.name).scores(history)
    second = model.scores(history)
    assert first is not None
    assert second is not None
    assert again is not None
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, again, rtol=1e-3, atol=1e-5)


def test_what_is_saved_answers_as_before(model: Model, tmp_path: Path) -> None:
    for name, array in model.arrays().items():
        np.save(tmp_path / f"{name}.npy", array, allow_pickle=False)
    arrays: dict[str, Any] = {
        path.stem: np.load(path, mmap_mode="r") for path in tmp_path.iterdir()
    }
    restored = zoo.CLASSES[model.name].restore(dict(model.parameters()), arrays)
    history = history_of(SHOP, ("tea", Kind.BOUGHT), ("cup", Kind.VIEWED))
    expected = model.scores(history)
    assert expected is not None
    np.testing.assert_allclose(restored.scores(history), expected, rtol=1e-6)


def test_the_future_is_not_learned(model: Model) -> None:
    future = Interactions.of(
        [("p", "tea", "Order Completed", NOW - DAY_MS, 1.0)]
        + [(f"q{n}", "bone", "Order Completed", NOW + DAY_MS, 1.0) for n in range(50)]
    )
    fitted = zoo.CLASSES[model.name](**SMALL.get(model.name, {})).fit(future, NOW)
    scores = fitted.scores(history_of(future, ("tea", Kind.BOUGHT), ("tea", Kind.VIEWED)))
    assert scores is not None
    assert scores[future.item_code["bone"]] <= 0 or fitted.name == "als"
    assert abs(scores[future.item_code["bone"]]) < 1e-3


@pytest.mark.parametrize("name", sorted({*zoo.CANDIDATES, *zoo.BASELINES}))
def test_a_model_learns_nothing_from_nothing(name: str) -> None:
    with pytest.raises(NotEnoughData):
        zoo.CLASSES[name]().fit(Interactions.of([]), NOW)


@pytest.mark.parametrize("name", sorted(zoo.CLASSES))
def test_one_person_and_one_item_do_no_harm(name: str) -> None:
    tiny = Interactions.of([("p", "tea", "Order Completed", NOW - DAY_MS, 1.0)])
    model = zoo.CLASSES[name](**SMALL.get(name, {})).fit(tiny, NOW)
    scores = model.scores(history_of(tiny, ("tea", Kind.BOUGHT), ("tea", Kind.VIEWED)))
    assert scores is not None
    assert np.isfinite(scores).all()


def test_reasons_name_items_of_the_history(model: Model) -> None:
    history = history_of(SHOP, ("tea", Kind.BOUGHT), ("leash", Kind.VIEWED))
    every = np.arange(len(SHOP.items), dtype=np.int32)
    causes = model.because(history, every)
    if causes is not None and model.name not in ("buy_again", "recently_viewed"):
        assert set(causes.tolist()) <= {-1, *history.items.tolist()}


# --- each model -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASTES)
def test_tea_drinkers_get_things_for_tea(name: str) -> None:
    model = made(name)
    scores = model.scores(history_of(SHOP, ("tea", Kind.BOUGHT)))
    assert scores is not None
    code = SHOP.item_code
    assert min(scores[code[i]] for i in TEA[1:]) > max(scores[code[i]] for i in DOG)
    causes = model.because(history_of(SHOP, ("tea", Kind.BOUGHT), ("bone", Kind.VIEWED)),
                           np.array([code["cup"], code["bowl"]], np.int32))  # fmt: skip
    assert causes is not None
    assert [str(SHOP.items[cause]) for cause in causes] == ["tea", "bone"]


@pytest.mark.parametrize("name", TASTES)
def test_a_cup_is_like_tea(name: str) -> None:
    likeness = made(name).similar(SHOP.item_code["cup"])
    assert likeness is not None
    assert likeness[SHOP.item_code["tea"]] > likeness[SHOP.item_code["bone"]]


@pytest.mark.parametrize("name", ["popular", "recent_buyers"])
def test_what_everybody_buys_is_popular(name: str) -> None:
    assert best(made(name), ("tea", Kind.BOUGHT), count=1) == ["salt"]


def test_trending_prefers_the_newer() -> None:
    shifted = Interactions.of(
        [(f"p{n}", "old", "Order Completed", NOW - 90 * DAY_MS, 1.0) for n in range(10)]
        + [(f"p{n}", "new", "Order Completed", NOW - DAY_MS, 1.0) for n in range(5)]
    )
    code = shifted.item_code
    trending, popular = Trending(30).fit(shifted, NOW), Popular().fit(shifted, NOW)
    assert trending.scores(NOBODY)[code["new"]] > trending.scores(NOBODY)[code["old"]]
    assert popular.scores(NOBODY)[code["new"]] < popular.scores(NOBODY)[code["old"]]


def test_one_person_who_buys_often_counts_once_among_recent_buyers() -> None:
    data = Interactions.of(
        [("p", "a", "Order Completed", NOW - n, 1.0) for n in range(1, 9)]
        + [(f"q{n}", "b", "Order Completed", NOW - DAY_MS, 1.0) for n in range(2)]
    )
    assert RecentBuyers().fit(data, NOW).scores(NOBODY).tolist() == [1, 2]


def test_buy_again_knows_only_what_was_bought_and_prefers_the_newer() -> None:
    model = made("buy_again")
    history = (("bone", Kind.BOUGHT), ("tea", Kind.BOUGHT), ("cup", Kind.VIEWED))
    scores = model.scores(history_of(SHOP, *history))
    assert scores is not None
    assert {str(SHOP.items[n]) for n in np.flatnonzero(scores)} == {"bone", "tea"}
    assert isinstance(model, BuyAgain)
    assert model.scores(history_of(SHOP, ("cup", Kind.VIEWED))) is None


def test_recently_viewed_are_distinct_and_the_newest_come_first() -> None:
    seen = (("tea", Kind.VIEWED), ("cup", Kind.VIEWED), ("tea", Kind.ADDED), ("bone", Kind.BOUGHT))
    assert best(made("recently_viewed"), *seen, count=2) == ["tea", "cup"]
    assert RecentlyViewed().fit(SHOP, NOW).scores(history_of(SHOP, ("tea", Kind.BOUGHT))) is None


def test_ease_refuses_more_items_than_fit_and_says_what_to_use() -> None:
    many = Interactions.of(
        [("p", f"i{n}", "Order Completed", NOW - 1, 1.0) for n in range(EASE_ITEMS_MAX + 1)]
    )
    with pytest.raises(TooManyItems, match="use als instead"):
        EASE().fit(many, NOW)


def test_als_folds_in_what_implicit_would() -> None:
    from implicit.cpu.als import AlternatingLeastSquares

    matrix = SHOP.matrix(NOW, None)
    model = ALS(factors=8, regularization=1.0, half_life_days=None).fit(SHOP, NOW)
    theirs = AlternatingLeastSquares(factors=8, alpha=4, regularization=1.0, random_state=42,
                                     iterations=1, num_threads=1, use_cg=False)  # fmt: skip
    theirs.fit(matrix, show_progress=False)
    theirs.item_factors = np.array(model.arrays()["items"])
    theirs._YtY = None
    tea = SHOP.item_code["tea"]
    row = sp.csr_matrix((np.ones(1, np.float32), ([0], [tea])), shape=(1, len(SHOP.items)))
    vector = theirs.recalculate_user(0, row)
    ours = model.scores(history_of(SHOP, ("tea", Kind.BOUGHT)))
    assert ours is not None
    np.testing.assert_allclose(
        ours, np.array(model.arrays()["items"]) @ vector, rtol=1e-2, atol=1e-3
    )


def test_neighbours_leave_out_the_item_itself() -> None:
    model = ItemKNN().fit(SHOP, NOW)
    for item in range(len(SHOP.items)):
        likeness = model.similar(item)
        assert likeness is not None
        assert likeness[item] == 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([*TEA, *DOG, "salt"]),
                          st.sampled_from([Kind.BOUGHT, Kind.VIEWED, Kind.ADDED])), max_size=12))  # fmt: skip
def test_any_history_gets_finite_scores(done: list[tuple[str, Kind]]) -> None:
    for name in zoo.CLASSES:
        scores = _FITTED[name].scores(history_of(SHOP, *done))
        assert scores is None or np.isfinite(scores).all()


_FITTED = {name: made(name) for name in zoo.CLASSES}


@pytest.mark.parametrize("name", sorted(zoo.CLASSES))
def test_another_future_leaves_what_was_learned_as_it_was(name: str) -> None:
    past = [("p", "tea", "Order Completed", NOW - DAY_MS, 1.0)]
    past += [(f"q{n}", i, "Order Completed", NOW - n * DAY_MS, 1.0)
             for n in range(1, 30) for i in (TEA if n % 2 else DOG)]  # fmt: skip

    def learned(future: list[str]) -> dict[str, Any]:
        later = [(f"q{n}", i, "Order Completed", NOW + n, 1.0) for n, i in enumerate(future)]
        data = Interactions.of([*past, *later, ("q1", "cup", "Product Viewed", NOW, 1.0)])
        return dict(zoo.CLASSES[name](**SMALL.get(name, {})).fit(data, NOW).arrays())

    one, other = learned(["bone"] * 20), learned(["tea"] * 20)
    assert one.keys() == other.keys()
    for key, values in one.items():
        np.testing.assert_array_equal(values, other[key])


@pytest.mark.parametrize("size", [1, 2, 511, 512, 513])
def test_ease_in_place_is_the_formula(size: int) -> None:
    from models.zoo.linear import _inverse_lower, _off_diagonal

    values = np.random.default_rng(size).random((size + 5, size))
    gram = values.T @ values + 5 * np.eye(size)
    inverse = np.linalg.inv(gram)
    expected = inverse / -np.diag(inverse)
    np.fill_diagonal(expected, 0)
    found = _off_diagonal(_inverse_lower(np.asfortranarray(gram)))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_neighbours_of_a_history_are_those_of_the_matrix() -> None:
    model = ItemKNN().fit(SHOP, NOW)
    history = history_of(SHOP, ("tea", Kind.BOUGHT), ("bone", Kind.VIEWED), ("tea", Kind.VIEWED))
    row = np.zeros(len(SHOP.items), np.float32)
    for item, value in zip(*history_values(history, model.half_life_days), strict=True):
        row[item] = value
    scores = model.scores(history)
    assert scores is not None
    np.testing.assert_allclose(scores, model._likeness.T @ row, rtol=1e-6)

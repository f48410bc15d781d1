"""Metrics by hand, the split by time, and a verdict that baselines can win."""

import io

import numpy as np
import pytest

from models.cases import cases_of
from models.errors import ModelError, NotEnoughData
from models.evaluation import leaderboard
from models.interactions import DAY_MS, Interactions
from models.judging import Ground, judge
from models.metrics import interval, ndcg, recall, reciprocal_rank, top
from models.protocol import Model
from models.zoo.counting import Popular, RecentBuyers, Trending
from models.zoo.linear import EASE
from models.zoo.personal import BuyAgain
from tests.models.shops import NOW, rows, shop


def hits(*found: int) -> np.ndarray:
    return np.array(found, dtype=bool)


def test_ndcg_by_hand() -> None:
    assert ndcg(hits(1, 0, 0), 1, 10) == 1
    assert ndcg(hits(0, 1), 1, 10) == pytest.approx(1 / np.log2(3))
    assert ndcg(hits(1, 1), 5, 2) == 1
    assert ndcg(hits(1, 0), 2, 10) == pytest.approx(1 / (1 + 1 / np.log2(3)))
    assert ndcg(hits(), 3, 10) == ndcg(hits(1), 0, 10) == 0


def test_recall_and_reciprocal_rank_by_hand() -> None:
    assert recall(hits(1, 0, 1), 4) == 0.5
    assert reciprocal_rank(hits(0, 0, 1)) == pytest.approx(1 / 3)
    assert reciprocal_rank(hits(0)) == 0


def test_top_leaves_out_what_has_no_score() -> None:
    scores = np.array([0.0, 3.0, -1.0, 3.0, 5.0], np.float32)
    assert top(scores, 10).tolist() == [4, 1, 3]
    assert top(scores, 2).tolist() == [4, 1]
    assert top(np.zeros(3, np.float32), 2).tolist() == []


def test_an_interval_holds_the_mean() -> None:
    values = np.random.default_rng(1).random(500)
    low, high = interval(values)
    assert low < values.mean() < high
    assert high - low < 0.1
    assert interval(np.empty(0)) == (0, 0)


def test_people_are_judged_by_what_they_bought_after_the_cut() -> None:
    cut = NOW - 30 * DAY_MS
    data = Interactions.of(
        [
            ("old", "tea", "Order Completed", cut - DAY_MS, 1.0),
            ("old", "cup", "Product Viewed", cut - DAY_MS, 1.0),
            ("old", "tea", "Order Completed", cut + DAY_MS, 1.0),
            ("old", "cup", "Order Completed", cut + DAY_MS, 1.0),
            ("old", "unheard", "Order Completed", cut + DAY_MS, 1.0),
            ("new", "tea", "Order Completed", cut + DAY_MS, 1.0),
            ("idle", "tea", "Order Completed", cut - DAY_MS, 1.0),
        ]
    )
    (case,), cold = cases_of(data, cut, NOW)
    code = data.item_code
    assert len(cold) == 1
    assert case.fresh.tolist() == [code["unheard"]]
    assert set(case.truth.tolist()) == {code["tea"], code["cup"]}
    assert case.seen.tolist() == [code["tea"]]
    assert len(case.history) == 2
    assert max(case.history.times_ms) < cut


def test_buy_again_finds_repeats_and_nothing_new() -> None:
    data = shop(80)
    cut = NOW - 30 * DAY_MS
    cases, _ = cases_of(data, cut, NOW)
    judged = judge(BuyAgain().fit(data, cut), cases, Ground(len(data.items)))
    assert np.nanmean(judged.ndcg["all"]) > 0.5
    assert np.nansum(judged.ndcg["novel"]) == 0


def grid() -> list[list[Model]]:
    return [
        [Popular()],
        [RecentBuyers()],
        [Trending(7), Trending(30)],
        [EASE(5), EASE(50)],
        [BuyAgain()],
    ]


def test_a_model_that_knows_tastes_beats_the_baselines() -> None:
    board = leaderboard(shop(300), grid())
    assert board.best.model == "ease"
    assert board.refusal("ease") == ""
    assert board.row("ease").trials == 2
    score = board.row("ease").scores["novel"]
    assert score.low <= score.ndcg <= score.high
    assert all(low > 0 for _, low, _ in board.best.over_baselines.values())


def test_a_model_that_baselines_beat_is_refused() -> None:
    # Everybody buys at random, so popularity is all there is to know.
    random = np.random.default_rng(3)
    data = Interactions.of(
        (
            f"p{n}",
            f"i{random.integers(30)}",
            "Order Completed",
            NOW - int(random.integers(90)) * DAY_MS,
            1.0,
        )
        for n in random.integers(200, size=3_000)
    )
    board = leaderboard(data, grid())
    assert "does not beat" in board.refusal("ease")


def test_tuning_never_sees_the_test_window() -> None:
    seen: list[int] = []

    class Spy(EASE):
        def fit(self, interactions: Interactions, now_ms: int) -> "Spy":
            seen.append(now_ms)
            super().fit(interactions, now_ms)
            return self

    data = shop(120)
    end = data.window[1] + 1
    leaderboard(data, [[Popular()], [Spy(5), Spy(50)]])
    assert seen == [end - 60 * DAY_MS, end - 60 * DAY_MS, end - 30 * DAY_MS]


def test_too_few_people_to_judge_by_is_said() -> None:
    with pytest.raises(NotEnoughData, match="20 are needed"):
        leaderboard(Interactions.of(rows(people=4)), grid())
    with pytest.raises(NotEnoughData, match="no interactions"):
        leaderboard(Interactions.of([]), grid())


def test_an_interval_of_very_many_people_needs_little_memory() -> None:
    import tracemalloc

    values = np.random.default_rng(1).random(100_000)
    tracemalloc.start()
    low, high = interval(values)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert low < values.mean() < high
    assert peak < 200e6  # all draws at once would take 1,600 MB


def test_a_leaderboard_shows_itself() -> None:
    import msgspec
    from rich.console import Console

    board = leaderboard(shop(120), grid())
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(board.table())
    shown = console.export_text()
    assert all(row.model in shown for row in board.rows)
    assert msgspec.json.decode(board.to_json(), type=type(board)) == board
    try:
        import matplotlib as mpl
    except ImportError:
        with pytest.raises(ModelError, match="needs matplotlib"):
            board.plot()
    else:
        mpl.use("Agg")
        assert len(board.plot().patches) == len(board.rows)

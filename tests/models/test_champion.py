"""A champion over time: challengers that do not beat it, its age, its drift, data from the future."""

from pathlib import Path

import pytest

from models.artefact import Manifest
from models.champion import challenge, health, made
from models.errors import ModelError, NotEnoughData, PromotionRefused
from models.evaluation import leaderboard
from models.interactions import DAY_MS, Interactions, Row
from models.protocol import Model
from models.registry import Registry
from models.train import train
from models.tuning import tune
from models.zoo.blend import Blend
from models.zoo.counting import Popular, RecentBuyers, Trending
from models.zoo.linear import EASE, ItemKNN
from tests.models.shops import NOW, rows, shop


def grids(*candidates: Model) -> list[list[Model]]:
    return [[Popular()], [RecentBuyers()], [Trending()], *([each] for each in candidates)]


def test_the_champions_settings_stay_unless_others_beat_them(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    first = train(shop(200), registry, NOW, default=lambda: grids(EASE(5)))
    second = train(
        shop(200), registry, NOW + 1, default=lambda: grids(ItemKNN()),
        champion=registry.manifest(first.version),
    )  # fmt: skip
    assert second.champion == "ease"
    assert "item_knn does not beat the champion's ease on novel items: nDCG@10" in second.note
    assert second.refusal == ""
    assert "ease" in registry.load(second.version).models


def test_a_challenger_that_is_better_takes_over(tmp_path: Path) -> None:
    weak = Manifest(
        version="v1", champion="ease", trained_ms=NOW, window_ms=(0, NOW), interactions=1, people=1,
        items=1, data_hash="", parameters={"ease": {"regularization": 1e9, "half_life_days": 0.01}},
    )  # fmt: skip
    data = Interactions.of([row for row in rows(400) if row[1] != "salt"])
    board = leaderboard(data, grids(EASE(5)))
    found = challenge(data, board, weak)
    assert found.won
    assert "beats the champion's ease" in found.why or "best again" in found.why


def test_the_same_settings_again_are_no_challenge() -> None:
    data = shop(200)
    board = leaderboard(data, [*grids(EASE(5)), [Blend()]])
    best = board.best
    manifest = Manifest(
        version="v1", champion=best.model, trained_ms=NOW, window_ms=(0, NOW), interactions=1,
        people=1, items=1, data_hash="", parameters={best.model: best.parameters},
    )  # fmt: skip
    assert challenge(data, board, manifest).why == "the champion's settings are the best again"
    again = made("blend", board.row("blend").parameters)
    assert dict(again.parameters()) == board.row("blend").parameters
    with pytest.raises(ModelError, match="mind_reading"):
        made("mind_reading", {})


def test_a_candidate_whose_window_lies_in_the_future_is_refused(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    train(shop(200), registry, NOW - 20 * DAY_MS, default=lambda: grids(EASE(5)))
    with pytest.raises(
        PromotionRefused, match=r"ends 19\.\d days in the future: correct the times"
    ):
        registry.promote("candidate")


def test_a_champion_tells_its_age_and_how_it_does_since(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    train(shop(200), registry, NOW, default=lambda: grids(EASE(5)))
    bundle = registry.load("candidate")
    later: list[Row] = [
        (
            user,
            {"tea": "bone", "cup": "new"}.get(str(item), str(item)),
            event,
            time + 40 * DAY_MS,
            1.0,
        )
        for user, item, event, time, _ in rows(200, seed=2)
        if time > NOW - 20 * DAY_MS
    ]
    found = health(bundle, Interactions.of([*rows(200), *later]), NOW + 40 * DAY_MS)
    assert found.stale_days == pytest.approx(
        40 + (NOW - bundle.manifest.window_ms[1]) / DAY_MS, abs=0.1
    )
    assert found.new_interactions == len(later)
    assert found.unknown_items is not None
    assert 0 < found.unknown_items < 1
    assert found.people > 20
    assert found.ndcg_promised is not None
    assert found.ndcg_since is not None
    assert found.ndcg_since < found.ndcg_promised, "tea drinkers have got dogs: that is drift"

    quiet = health(bundle, shop(200), NOW)
    assert (quiet.new_interactions, quiet.unknown_items, quiet.ndcg_since) == (0, None, None)


def test_tuning_by_trials_never_sees_the_test_window() -> None:
    pytest.importorskip("optuna", reason="pip install 'onefold[tune]'")
    data = shop(200)
    end = data.window[1] + 1
    seen: list[int] = []

    class Spy(EASE):
        def fit(self, interactions: Interactions, now_ms: int) -> "Spy":
            seen.append(max(interactions.window[1], now_ms))
            super().fit(interactions, now_ms)
            return self

    model, tuned = tune(
        data,
        "ease",
        trials=4,
        space=lambda trial: Spy(trial.suggest_float("regularization", 1, 90)),
    )
    assert max(seen) < end - 30 * DAY_MS
    assert tuned.trials == len(seen) == 4
    assert dict(model.parameters()) == tuned.parameters
    assert 0 < tuned.quality <= 1
    with pytest.raises(ModelError, match="popular has no settings to search"):
        tune(data, "popular")
    with pytest.raises(NotEnoughData, match="20 are needed"):
        tune(Interactions.of(rows(4)), "ease", trials=1)

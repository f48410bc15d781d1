"""The suite that authors run on their models: ours keep it, and a model that breaks a promise is told."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from models import zoo
from models.contract import ModelContract, check
from models.errors import ModelError
from models.interactions import Interactions
from models.protocol import History, Model, Scores
from models.registry import Registry
from models.train import train
from models.zoo.counting import Popular, RecentBuyers, Trending
from models.zoo.linear import EASE
from tests.models.shops import NOW, shop

SMALL: dict[str, dict[str, Any]] = {
    "als": {"factors": 8}, "content": {"factors": 8}, "ease": {"regularization": 5},
    "blend": {"parts": [Popular(), EASE(5)]},
}  # fmt: skip


class TestEASE(ModelContract):
    def make(self) -> Model:
        return EASE(5)


@pytest.mark.parametrize("name", sorted(zoo.CLASSES))
def test_every_model_keeps_the_contract(name: str) -> None:
    assert len(check(lambda: zoo.CLASSES[name](**SMALL.get(name, {})))) == 8


class Mine(EASE):
    """Somebody's own: EASE on square roots."""

    name = "mine"

    def scores(self, history: History) -> Scores | None:
        scores = super().scores(history)
        return None if scores is None else np.sqrt(np.maximum(scores, 0))


class Prophet(Popular):
    name = "prophet"

    def fit(self, interactions: Interactions, now_ms: int) -> Self:
        return super().fit(interactions, now_ms * 2)


class Forgetful(EASE):
    name = "forgetful"

    def arrays(self) -> Mapping[str, np.ndarray[Any, Any]]:
        return {"weights": np.zeros_like(super().arrays()["weights"])}


@pytest.mark.parametrize(
    ("model", "promise"), [(Prophet, "holds the future"), (Forgetful, "answers the same")]
)
def test_a_broken_promise_is_named(model: type[Model], promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check(model)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a package with this entry point were installed."""
    entry = EntryPoint("mine", "tests.models.test_contract:Mine", zoo.ENTRY_POINTS)
    monkeypatch.setattr(zoo, "entry_points", lambda group: [entry])
    zoo.added.cache_clear()


@pytest.fixture(autouse=True)
def _forget() -> Any:
    yield
    zoo.added.cache_clear()


@pytest.mark.usefixtures("installed")
def test_a_model_of_a_package_is_trained_judged_stored_and_loaded(tmp_path: Path) -> None:
    assert "mine" in {grid[0].name for grid in zoo.default()}
    grids: list[list[Model]] = [[Popular()], [RecentBuyers()], [Trending()], [Mine(5)]]
    registry = Registry(tmp_path)

    manifest = train(shop(200), registry, NOW, default=lambda: grids)

    assert manifest.champion == "mine"
    assert type(registry.load("candidate").models["mine"]).__name__ == "Mine"


@pytest.mark.parametrize(
    "value", ["tests.models.nowhere:Mine", "models.zoo.linear:EASE", "json:loads"]
)
def test_an_entry_point_that_is_no_model_is_named(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = EntryPoint("odd", value, zoo.ENTRY_POINTS)
    monkeypatch.setattr(zoo, "entry_points", lambda group: [entry])
    zoo.added.cache_clear()
    with pytest.raises(ModelError, match="entry point odd"):
        zoo.default()

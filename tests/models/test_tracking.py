"""A training in MLflow: what is logged, and what is said where it cannot be."""

import sys
from pathlib import Path

import pytest

from models import tracking
from models.errors import ModelError
from models.protocol import Model
from models.registry import Registry
from models.train import train
from models.zoo.counting import Popular, RecentBuyers, Trending
from models.zoo.linear import EASE
from tests.models.shops import NOW, shop


def test_without_mlflow_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    with pytest.raises(ModelError, match=r"pip install 'onefold\[mlflow\]'"):
        tracking.check()


def test_a_training_is_a_run_with_settings_measures_and_where_the_artefact_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="pip install 'onefold[mlflow]'")
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv(
        "MLFLOW_ALLOW_FILE_STORE", "true"
    )  # MLflow 3 asks for it; a server is the usual place
    registry = Registry(tmp_path / "models")
    grids: list[list[Model]] = [[Popular()], [RecentBuyers()], [Trending()], [EASE(5)]]
    manifest = train(shop(200), registry, NOW, default=lambda: grids)
    uri = (tmp_path / "runs").as_uri()
    artefact = registry.folder_of(manifest.version)

    run_id = tracking.log(uri, manifest, artefact, promoted=True)
    again = tracking.log(uri, manifest, artefact, promoted=False)

    client = MlflowClient(tracking_uri=uri)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["champion"] == manifest.champion == "ease"
    assert float(run.data.params["ease.regularization"]) == 5
    assert manifest.leaderboard is not None
    assert run.data.metrics["ease.novel.ndcg"] == pytest.approx(
        manifest.leaderboard.row("ease").scores["novel"].ndcg
    )
    assert run.data.metrics["interactions"] == manifest.interactions
    assert run.data.tags["onefold.artefact"] == artefact.as_uri()
    assert run.data.tags["onefold.promoted"] == "true"
    assert client.get_run(again).info.experiment_id == run.info.experiment_id

    nowhere = tmp_path / "file"
    nowhere.write_text("")
    with pytest.raises(ModelError, match="did not take the run"):
        tracking.log((nowhere / "runs").as_uri(), manifest, artefact, promoted=True)

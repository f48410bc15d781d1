"""Logging a training to MLflow (an extra): its settings, its leaderboard, and where the artefact is."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from models.artefact import Manifest
from models.errors import ModelError

EXPERIMENT: Final = "onefold"
INSTALL: Final = "pip install 'onefold[mlflow]'"
TEXT_MAX: Final = 500
"""Characters of a parameter: MLflow's file and SQL stores take that many everywhere."""


def check() -> Any:
    """MLflow's client; ModelError with how to install it. Asked before hours of training, not after."""
    try:
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise ModelError(f"logging to MLflow needs it: {INSTALL}") from None
    return MlflowClient


def log(uri: str, manifest: Manifest, artefact: Path, *, promoted: bool) -> str:
    """One run for one training; its id. ModelError if the server does not take it.

    Nothing of a person goes there: settings, counts, measures, and the folder of the artefact with the hash
    of what it learned from.
    """
    client_of = check()
    try:
        client = client_of(tracking_uri=uri)
        found = client.get_experiment_by_name(EXPERIMENT)
        experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT)
        run = client.create_run(experiment, run_name=manifest.version)
        for key, value in _parameters(manifest):
            client.log_param(run.info.run_id, key, str(value)[:TEXT_MAX])
        for key, measure in _measures(manifest):
            if math.isfinite(measure):
                client.log_metric(run.info.run_id, key, measure)
        tags = {
            "onefold.version": manifest.version,
            "onefold.artefact": artefact.absolute().as_uri(),
            "onefold.data_hash": manifest.data_hash,
            "onefold.promoted": str(promoted).lower(),
            "onefold.refusal": manifest.refusal,
        }
        for key, text in tags.items():
            client.set_tag(run.info.run_id, key, text)
        client.set_terminated(run.info.run_id)
    except Exception as error:  # its own errors, and those of every way to its server
        raise ModelError(f"MLflow at {uri} did not take the run: {type(error).__name__}") from error
    return str(run.info.run_id)


def _parameters(manifest: Manifest) -> Iterator[tuple[str, Any]]:
    yield "champion", manifest.champion
    yield "trained_ms", manifest.trained_ms
    yield "window_ms", f"{manifest.window_ms[0]}-{manifest.window_ms[1]}"
    for model, settings in sorted(manifest.parameters.items()):
        for name, value in settings.items():
            yield f"{model}.{name}", value


def _measures(manifest: Manifest) -> Iterator[tuple[str, float]]:
    yield "interactions", manifest.interactions
    yield "people", manifest.people
    yield "items", manifest.items
    if manifest.leaderboard is None:
        return
    for row in manifest.leaderboard.rows:
        for part, scores in row.scores.items():
            yield f"{row.model}.{part}.ndcg", scores.ndcg
            yield f"{row.model}.{part}.recall", scores.recall

"""Tuning by `optuna` (an extra), on the validation window only: nobody who tunes is told of the test window."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from models.cases import PEOPLE_MIN, cases_of
from models.errors import ModelError, NotEnoughData
from models.evaluation import TEST_DAYS, Progress, quality_of
from models.interactions import DAY_MS, Interactions
from models.protocol import Model
from models.zoo.factors import ALS
from models.zoo.linear import EASE, ItemKNN
from models.zoo.personal import BuyAgain
from models.zoo.sessions import SessionKNN

SEED: Final = 42

Space = Callable[[Any], Model]
"""Makes a model of what an `optuna` trial suggests."""


def _als(trial: Any) -> Model:
    return ALS(
        factors=trial.suggest_categorical("factors", [64, 128]),
        alpha=trial.suggest_float("alpha", 1, 16, log=True),
        regularization=trial.suggest_float("regularization", 2, 200, log=True),
        half_life_days=trial.suggest_float("half_life_days", 30, 720, log=True),
        looks=trial.suggest_float("looks", 0.03, 1, log=True),
    )


def _ease(trial: Any) -> Model:
    return EASE(
        regularization=trial.suggest_float("regularization", 10, 3_000, log=True),
        half_life_days=trial.suggest_float("half_life_days", 30, 720, log=True),
        looks=trial.suggest_float("looks", 0.03, 1, log=True),
    )


def _item_knn(trial: Any) -> Model:
    return ItemKNN(
        neighbours=trial.suggest_int("neighbours", 20, 400, log=True),
        b=trial.suggest_float("b", 0, 1),
        fade=trial.suggest_float("fade", 0.4, 1),
        half_life_days=trial.suggest_float("half_life_days", 30, 720, log=True),
        looks=trial.suggest_float("looks", 0.03, 1, log=True),
    )


def _session_knn(trial: Any) -> Model:
    return SessionKNN(
        fade=trial.suggest_float("fade", 0.5, 10, log=True),
        near=trial.suggest_float("near", 0.5, 10, log=True),
        half_life_days=trial.suggest_float("half_life_days", 14, 720, log=True),
    )


def _buy_again(trial: Any) -> Model:
    return BuyAgain(
        half_life_days=trial.suggest_float("half_life_days", 30, 720, log=True),
        cadence=trial.suggest_float("cadence", 0, 1),
    )


SPACES: Final[Mapping[str, Space]] = {
    "als": _als, "ease": _ease, "item_knn": _item_knn, "session_knn": _session_knn,
    "buy_again": _buy_again,
}  # fmt: skip


class Tuned(msgspec.Struct, frozen=True):
    """The best settings that were found."""

    model: str
    parameters: dict[str, Any]
    quality: float
    """nDCG@10 on the validation window; on the test window it will be lower: it was chosen for this one."""
    trials: int


def tune(
    interactions: Interactions,
    name: str,
    *,
    trials: int = 20,
    test_days: int = TEST_DAYS,
    end_ms: int | None = None,
    space: Space | None = None,
    progress: Progress = lambda what, done, total: None,
) -> tuple[Model, Tuned]:
    """Search a model's settings; a model with the best, not fitted for later.

    What happened in the last `test_days` is cut off before the first trial, so no trial can see it.
    """
    try:
        import optuna
    except ImportError:
        raise ModelError("tuning needs optuna: pip install 'onefold[tune]'") from None
    if space is None and name not in SPACES:
        raise ModelError(f"{name} has no settings to search; {', '.join(SPACES)} have")
    chosen = space or SPACES[name]
    end = (interactions.window[1] + 1 if end_ms is None else end_ms) - test_days * DAY_MS
    start = end - test_days * DAY_MS
    past = interactions.until(end)
    cases, _ = cases_of(past, start, end)
    if len(cases) < PEOPLE_MIN:
        raise NotEnoughData(
            f"{len(cases)} people were there before the validation window and bought in it; "
            f"{PEOPLE_MIN} are needed to tell settings apart"
        )
    count = 0

    def objective(trial: Any) -> float:
        nonlocal count
        progress(f"tuning {name}", count, trials)
        count += 1
        return quality_of(chosen(trial).fit(past, start), cases, len(past.items))

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=SEED))
    study.optimize(objective, n_trials=trials)
    model = chosen(study.best_trial)
    return model, Tuned(name, dict(model.parameters()), float(study.best_value), trials)

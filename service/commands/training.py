"""`onefold train`: once, or again and again beside a running service."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from models import tracking, zoo
from models.artefact import Manifest
from models.errors import ModelError, NoSuchModel
from models.evaluation import Progress
from models.interactions import Interactions
from models.protocol import Model
from models.registry import CHAMPION
from models.train import train as train_models
from service.commands.models import board_progress, load_interactions, load_judged, render_board
from service.output import console, errors, json_option, print_json
from service.pages import Pages
from service.standing import ChampionStanding
from service.workspace import Workspace, pass_workspace

HOUR_MS: Final = 3_600_000
LOOK_SECONDS: Final = 60
"""How often `--watch` looks whether it is time: counting events costs a store a scan of its rows."""


@click.command("train")
@click.option("--test-days", default=30, show_default=True, help="Newest days to judge models on.")
@click.option("--promote/--no-promote", default=True, help="Promote it if no baseline beats it.")
@click.option("--trials", type=click.IntRange(1), metavar="N",
              help="Search N settings a model with optuna, instead of the few that ship.")  # fmt: skip
@click.option("--spark", is_flag=True, help="Learn ALS on Spark: more data than one machine holds.")
@click.option("--mlflow", metavar="URI",
              help="Log settings, leaderboard and the artefact's place to this MLflow.")  # fmt: skip
@click.option("--watch", is_flag=True, help="Stay, and train again when it is time.")
@click.option("--every-hours", default=24.0, show_default=True, help="With --watch: how often.")
@click.option("--new-events", type=click.IntRange(1), metavar="N",
              help="With --watch: also after N new events.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(1), metavar="N",
              help="With --watch: stop after N trainings.")  # fmt: skip
@json_option
@pass_workspace
def train(
    workspace: Workspace, /, test_days: int, promote: bool, trials: int | None, spark: bool,
    mlflow: str | None, as_json: bool, **watching: Any,
) -> None:  # fmt: skip
    """Tune, judge and train every model, store the result, and promote it if it deserves it.

    With --watch, /metrics on worker.metrics_port says how stale the champion is, and how it did by then.
    """
    standing = ChampionStanding(workspace.registry, workspace.metrics.champion)
    if mlflow is not None:
        tracking.check()

    def once() -> None:
        with board_progress() as progress:
            known = load_interactions(workspace)
            if watching["watch"]:
                standing.look(known, workspace.now_ms())
            manifest = train_models(
                known, workspace.registry, workspace.now_ms(), test_days=test_days,
                progress=progress, default=lambda: _grids(known, test_days, trials, spark, progress),
                champion=_champion(workspace), judged=load_judged(workspace, known, test_days),
            )  # fmt: skip
        if promoted := promote and not manifest.refusal:
            workspace.registry.promote(manifest.version)
        _say(manifest, promoted, as_json)
        if mlflow is not None:
            artefact = workspace.registry.folder_of(manifest.version)
            try:
                run = tracking.log(mlflow, manifest, artefact, promoted=promoted)
            except ModelError as error:
                # It is trained and stored all the same; only a command that ends can fail by it.
                errors.print(f"not logged: {error}", markup=False)
                if not watching["watch"]:
                    raise SystemExit(1) from None
            else:
                errors.print(f"MLflow run  {run}", markup=False)

    if not watching["watch"]:
        once()
        return
    schedule = Schedule(int(watching["every_hours"] * HOUR_MS), watching["new_events"])
    with _pages(workspace, standing):
        watch(once, schedule, workspace.now_ms, workspace.store.timeline.count, watching["rounds"])


@contextmanager
def _pages(workspace: Workspace, standing: ChampionStanding) -> Iterator[None]:
    """`/metrics` while it watches."""
    own = workspace.config.worker
    workspace.metrics.asked.append(standing.tell)
    pages = Pages(workspace.metrics.text, lambda: True, own.metrics_host, own.metrics_port)
    pages.start()
    errors.print(f"metrics    http://{pages.host}:{pages.port}/metrics", markup=False)
    try:
        yield
    finally:
        pages.stop()


class Schedule:
    """When it is time to train again."""

    def __init__(self, every_ms: int, new_events: int | None = None) -> None:
        if every_ms <= 0:
            raise click.BadParameter("--every-hours must be above 0")
        self.every_ms, self.new_events = every_ms, new_events
        self._last: tuple[int, int] | None = None

    def due(self, now_ms: int, events: Callable[[], int]) -> bool:
        """Whether the time has come; events are counted only if that decides."""
        if self._last is None:
            return True
        last_ms, counted = self._last
        if now_ms - last_ms >= self.every_ms:
            return True
        return self.new_events is not None and events() - counted >= self.new_events

    def done(self, now_ms: int, events: Callable[[], int]) -> None:
        """It was trained on what there is now."""
        self._last = (now_ms, events() if self.new_events is not None else 0)


def watch(
    once: Callable[[], None],
    schedule: Schedule,
    now_ms: Callable[[], int],
    events: Callable[[], int],
    rounds: int | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Train whenever the schedule says so, until interrupted or for some rounds.

    A training that fails is said and tried again when it is due next: the champion goes on answering.
    """
    done = 0
    while rounds is None or done < rounds:
        if not schedule.due(now_ms(), events):
            sleep(LOOK_SECONDS)
            continue
        schedule.done(now_ms(), events)
        try:
            once()
        except ModelError as error:
            errors.print(f"not trained: {error}", markup=False)
        done += 1


def _champion(workspace: Workspace) -> Manifest | None:
    """What answers now; None if nothing does, or if it cannot be read, which the newcomer then mends."""
    try:
        return workspace.registry.manifest(CHAMPION)
    except NoSuchModel:
        return None
    except ModelError as error:
        errors.print(f"the champion cannot be read: {error}", markup=False)
        return None


def _grids(
    known: Interactions, test_days: int, trials: int | None, spark: bool, progress: Progress
) -> list[list[Model]]:
    grids = zoo.fitting(zoo.default(), known)
    if trials is not None:
        from models.tuning import SPACES, tune

        grids = [
            [tune(known, grid[0].name, trials=trials, test_days=test_days, progress=progress)[0]]
            if grid[0].name in SPACES
            else grid
            for grid in grids
        ]
    if spark:
        from models.spark import SparkALS

        grids = [
            [SparkALS(**model.parameters()) for model in grid] if grid[0].name == "als" else grid
            for grid in grids
        ]
    return grids


def _say(manifest: Manifest, promoted: bool, as_json: bool) -> None:
    if as_json:
        print_json({"manifest": manifest, "promoted": promoted})
        return
    if manifest.leaderboard is not None:
        console.print(render_board(manifest.leaderboard))
    console.print(
        f"version {manifest.version}: {manifest.champion} for {manifest.people:,} people and "
        f"{manifest.items:,} items, {manifest.interactions:,} interactions"
    )
    if manifest.note:
        console.print(f"beside the champion: {manifest.note}", markup=False)
    if promoted:
        console.print("promoted: the service answers with it within seconds")
    elif manifest.refusal:
        console.print(f"[yellow]not promoted[/]: {manifest.refusal}")

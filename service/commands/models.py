"""`onefold evaluate` and `models`: what data scientists type. `train` is in training."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Group, RenderableType

from models import data
from models.artefact import Manifest
from models.champion import health
from models.errors import ModelError, NoSuchModel, NotEnoughData, PromotionRefused
from models.evaluation import Leaderboard, Progress, leaderboard
from models.files import Columns, read
from models.health import Health
from models.interactions import Interactions
from models.judging import SLICES, K
from models.registry import ALIASES
from service.commands.models_report import report_command, rules_command
from service.output import (
    console,
    errors,
    json_option,
    print_json,
    show,
    steps_progress,
    table,
    when,
)
from service.workspace import Workspace, pass_workspace

BAR_CELLS = 24


@contextmanager
def board_progress() -> Iterator[Progress]:
    """A bar that training and evaluation tell how far they are."""
    with steps_progress() as bar:
        task = bar.add_task("reading events", total=None)

        def step(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        yield step


def load_interactions(workspace: Workspace) -> Interactions:
    """What everybody did with items, from the store, and what the catalogue says of them."""
    return data.described(
        data.interactions(workspace.store, workspace.config.identity), workspace.store
    )


def load_judged(workspace: Workspace, known: Interactions, test_days: int) -> Interactions:
    """The same as a leaderboard may know it: who is who as of the cut."""
    return data.judged(workspace.store, workspace.config.identity, known, test_days)


@click.command("evaluate")
@click.option("--data", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Judge on a CSV or Parquet file instead of the store.")  # fmt: skip
@click.option("--user-column", default="user", show_default=True)
@click.option("--item-column", default="item", show_default=True)
@click.option("--time-column", default="time_ms", show_default=True,
              help="Dates, or seconds or milliseconds since 1970.")  # fmt: skip
@click.option("--event-column", help="view, cart, purchase, …; without it every row is a purchase.")
@click.option("--quantity-column", help="How many; without it one.")
@click.option("--random-split", is_flag=True,
              help="The file has no times: split at random, which flatters every model.")  # fmt: skip
@click.option("--test-days", default=30, show_default=True, help="Newest days to judge models on.")
@json_option
@pass_workspace
def evaluate(
    workspace: Workspace, /, file: Path | None, random_split: bool, test_days: int, as_json: bool,
    **named: str | None,
) -> None:  # fmt: skip
    """Choose settings, compare every model on the newest days, with intervals, and say which is best."""
    columns = Columns(
        named["user_column"] or "",
        named["item_column"] or "",
        None if random_split else named["time_column"],
        named["event_column"],
        named["quantity_column"],
    )
    with board_progress() as progress:
        if file is None:
            known = load_judged(workspace, load_interactions(workspace), test_days)
            board = leaderboard(known, test_days=test_days, progress=progress)
        else:
            board = _judge_file(file, columns, test_days, progress)
    show(board, as_json, render_board)


def _judge_file(file: Path, columns: Columns, test_days: int, progress: Progress) -> Leaderboard:
    try:
        found = read(file, columns)
        for why, rows in found.left_out.items():
            errors.print(f"{file}: {rows:,} of {found.rows:,} rows left out: {why}", markup=False)
        try:
            return leaderboard(found.interactions, test_days=test_days, progress=progress)
        except NotEnoughData as error:
            raise NotEnoughData(f"{file}: {error}") from None
    except ModelError as error:
        hint = ""
        if columns.time is not None and f"no column {columns.time!r}" in str(error):
            hint = "; name it with --time-column, or ask for --random-split if there are no times"
        raise click.ClickException(f"{error}{hint}") from None


def render_board(board: Leaderboard) -> RenderableType:
    """The leaderboard for people: a bar for each model's quality on new items."""
    most = max((row.scores["novel"].ndcg for row in board.rows), default=0) or 1
    rows = []
    for row in board.rows:
        every, novel = row.scores["all"], row.scores["novel"]
        bar = "█" * round(BAR_CELLS * novel.ndcg / most)
        rows.append(
            (
                row.model,
                f"{every.ndcg:.3f} [{every.low:.3f}, {every.high:.3f}]",
                f"{novel.ndcg:.3f} [{novel.low:.3f}, {novel.high:.3f}]",
                bar,
                f"{row.coverage:.0%}",
            )
        )
    head = (
        f"{board.people:,} people who bought from {when(board.test_start_ms)} to "
        f"{when(board.test_end_ms)}; {board.repeat_share:.0%} of it they had bought before; "
        f"{board.cold_people:,} new people are left out"
    )
    refusal = board.refusal(board.best.model)
    best = board.best
    verdict = refusal or f"{best.model} beats every baseline on items that are new to a person"
    slices = [
        f"{name} {score.ndcg:.3f} ({score.people:,})"
        for name, score in best.scores.items()
        if name not in SLICES
    ]
    if slices:
        verdict += f"\n{best.model}, nDCG@{K} by slice (people): {', '.join(slices)}"
    return Group(
        head,
        table(["model", f"nDCG@{K} all", f"nDCG@{K} new items", "", "coverage"], rows),
        verdict,
    )


@click.group("models")
def models() -> None:
    """Trained models: list, promote, roll back."""


@models.command("list")
@json_option
@pass_workspace
def list_models(workspace: Workspace, as_json: bool) -> None:
    """List versions, newest first, and which of them answers."""
    versions = workspace.registry.versions()
    aliases = _aliases(workspace)
    if as_json:
        print_json({"aliases": aliases, "versions": [_summary(manifest) for manifest in versions]})
        return
    if not versions:
        console.print("no models; `onefold train` makes one")
        return
    console.print(
        table(
            [
                "version",
                "alias",
                "model",
                "trained",
                "interactions",
                "new items",
                "may be promoted",
            ],
            [
                (
                    manifest.version,
                    ", ".join(name for name, at in aliases.items() if at == manifest.version),
                    manifest.champion,
                    when(manifest.trained_ms),
                    manifest.interactions,
                    f"{manifest.leaderboard.best.scores['novel'].ndcg:.3f}"
                    if manifest.leaderboard
                    else "",
                    manifest.refusal or "yes",
                )
                for manifest in versions
            ],
        )
    )


@models.command("promote")
@click.argument("version", default="candidate")
@click.option(
    "--force", metavar="REASON", help="Promote it though a baseline beats it, and say why."
)
@json_option
@pass_workspace
def promote(workspace: Workspace, version: str, force: str | None, as_json: bool) -> None:
    """Make a version (default: the candidate) the champion."""
    try:
        manifest = workspace.registry.promote(version, force=force or "")
    except PromotionRefused as error:
        errors.print(f"refused: {error}", markup=False)
        errors.print('`--force "reason"` promotes it all the same', markup=False)
        raise SystemExit(1) from None
    _moved(manifest, as_json)


@models.command("rollback")
@json_option
@pass_workspace
def rollback(workspace: Workspace, as_json: bool) -> None:
    """Make the former champion champion again."""
    _moved(workspace.registry.roll_back(), as_json)


@models.command("health")
@click.argument("version", default="champion")
@json_option
@pass_workspace
def show_health(workspace: Workspace, version: str, as_json: bool) -> None:
    """How old a version is, and how it does with what happened since it learned (drift)."""
    found = health(
        workspace.registry.load(version), load_interactions(workspace), workspace.now_ms()
    )
    show(found, as_json, _render_health)


def _render_health(found: Health) -> RenderableType:
    def said(value: float | None, how: str) -> str:
        return "too little to say" if value is None else format(value, how)

    return table(
        ["", ""],
        [
            ("version", f"{found.version} ({found.model})"),
            ("newest interaction it knows", f"{found.stale_days:.1f} days ago"),
            ("interactions since", f"{found.new_interactions:,}"),
            ("of items it does not know", said(found.unknown_items, ".1%")),
            (f"nDCG@{K} on new items, promised", said(found.ndcg_promised, ".3f")),
            (f"nDCG@{K} on new items, since ({found.people:,} people)",
             said(found.ndcg_since, ".3f")),
        ],
    )  # fmt: skip


models.add_command(report_command)
models.add_command(rules_command)


def _moved(manifest: Manifest, as_json: bool) -> None:
    if as_json:
        print_json(_summary(manifest))
    else:
        console.print(f"champion is {manifest.version} ({manifest.champion}) now")


def _aliases(workspace: Workspace) -> dict[str, str]:
    found = {}
    for name in ALIASES:
        try:
            found[name] = workspace.registry.resolve(name)
        except NoSuchModel:
            continue
    return found


def _summary(manifest: Manifest) -> dict[str, Any]:
    return {
        "version": manifest.version,
        "champion": manifest.champion,
        "trained_ms": manifest.trained_ms,
        "interactions": manifest.interactions,
        "people": manifest.people,
        "items": manifest.items,
        "refusal": manifest.refusal,
    }

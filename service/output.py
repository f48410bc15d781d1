"""How commands speak: tables and sentences for people, one JSON value for programs."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from profiles.money import MICROS

PIPED_WIDTH: Final = 1_000
"""Columns where no terminal says how many it has: what `grep` or a program reads is not broken into lines."""


def _width() -> int | None:
    """None: the terminal's, or what COLUMNS says."""
    return None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH


console = Console(highlight=False, width=_width())
errors = Console(stderr=True, highlight=False)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON value.")


def print_json(value: Any) -> None:
    """`value` on standard output, as JSON."""
    sys.stdout.write(
        json.dumps(msgspec.to_builtins(value, enc_hook=_plain), ensure_ascii=False, indent=2)
    )
    sys.stdout.write("\n")


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)


def so_many(count: int, one: str, more: str) -> str:
    """`1 person`, `2,000 people`."""
    return f"{count:,} {one if count == 1 else more}"


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> Table:
    """A plain table; numbers to the right."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    filled = [list(row) for row in rows]
    for index, column in enumerate(columns):
        numeric = bool(filled) and all(isinstance(row[index], int | float) for row in filled)
        made.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in filled:
        made.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    return made


def show(value: Any, as_json: bool, render: Callable[[Any], Any]) -> None:
    """Print `value` as JSON, or what `render` makes of it."""
    if as_json:
        print_json(value)
    else:
        console.print(render(value))


def bytes_progress() -> Progress:
    """A progress bar of bytes, for files."""
    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(),
        TextColumn("{task.fields[note]}"), TimeElapsedColumn(), TimeRemainingColumn(),
        console=errors, transient=not errors.is_terminal,
    )  # fmt: skip


def steps_progress() -> Progress:
    """A progress bar of steps."""
    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), console=errors, transient=True,
    )  # fmt: skip


def rows_progress() -> Progress:
    """Several progress bars of rows, which stay when they are done."""
    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), console=errors, transient=not errors.is_terminal,
    )  # fmt: skip


class StepBars:
    """Hears how far steps are, of which it learns when they begin; a bar for each."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, step: str, done: int, total: int = 0) -> None:
        """`done` of `total` rows; 0: nobody knows of how many."""
        if step not in self._tasks:
            self._tasks[step] = self._progress.add_task(step, total=None)
        self._progress.update(self._tasks[step], completed=done, total=total or None)


def when(time_ms: int | None) -> str:
    """A time as people read it, UTC."""
    if time_ms is None:
        return "never"
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def amount(micros: int, currency: str) -> str:
    """Money as people read it."""
    return f"{micros / MICROS:,.2f} {currency}"

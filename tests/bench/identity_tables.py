"""Tables of identity's benchmark."""

from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from models.scores import Clustered

WIDTH: Final = 150
"""Columns of a table that goes to a file."""

console = Console(highlight=False, width=None if Console().is_terminal else WIDTH)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], words: int) -> None:
    """Print a table: the first `words` columns to the left, numbers to the right."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for place, column in enumerate(columns):
        made.add_column(column, justify="left" if place < words else "right", no_wrap=True)
    for row in rows:
        made.add_row(*row)
    console.print()
    console.print(made)


def share(value: float) -> str:
    """A share in per cent, finer where it is small."""
    return "0" if value == 0 else f"{value:.3%}" if value < 0.01 else f"{value:.1%}"


def precise(value: float) -> str:
    """A precision or recall; only what is 1 looks like it."""
    return "1" if value == 1 else f"{min(value, 0.9999):.4f}"


SCORES: Final = ("largest", "pair P", "R", "B³ P", "R", "in wrong", "strangers")


def scores(score: Clustered) -> tuple[str, ...]:
    """The cells of SCORES."""
    return (
        f"{score.largest:,}",
        *map(precise, (*score.pairs, *score.b3)),
        share(score.wrong),
        share(score.strangers),
    )


def least_recall(score: Clustered) -> float:
    """Of pairs, or of B³."""
    return min(score.pairs.recall, score.b3.recall)

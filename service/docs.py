"""Writes the tables of README.md from the code: `python -m service.docs`. A test fails if they are old."""

from pathlib import Path
from typing import Final

from service.cli import COMMANDS
from service.config_docs import describe

README: Final = Path(__file__).resolve().parents[1] / "README.md"


def commands() -> str:
    """The table of commands."""
    head = "| command | what it does |\n|---|---|\n"
    return head + "\n".join(
        f"| `onefold {name}` | {text} |" for name, (_, _, text) in COMMANDS.items()
    )


def settings() -> str:
    """The table of settings."""
    head = ["| setting | type | default | environment | |", "|---|---|---|---|---|"]
    cells = [(row.path, row.type, row.default, row.env, row.doc) for row in describe()]
    return "\n".join(
        head
        + [
            "| "
            + " | ".join([f"`{path}`", type_, f"`{default}`" if default else "", f"`{env}`", doc])
            + " |"
            for path, type_, default, env, doc in (map(_cell, row) for row in cells)
        ]
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def filled(text: str) -> str:
    """`text` with its tables as the code has them."""
    for name, table in (("commands", commands()), ("settings", settings())):
        before, found, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if not (found and end):
            raise ValueError(f"README.md has no place for the table of {name}")
        text = before + found + table + "\n" + end + after
    return text


if __name__ == "__main__":
    README.write_text(filled(README.read_text()))

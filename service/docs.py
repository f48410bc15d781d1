"""Writes the tables of the documents from the code: `python -m service.docs`. A test fails if they are old."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from destinations.settings import KINDS, Common
from service.cli import COMMANDS
from service.config_docs import describe, rows_of
from service.metrics import Metrics

ROOT: Final = Path(__file__).resolve().parents[1]
README: Final = ROOT / "README.md"
METRICS: Final = ROOT / "deploy" / "METRICS.md"
DESTINATIONS: Final = ROOT / "docs" / "destinations.md"


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


def destination_fields(kind: type[Common]) -> str:
    """The table of the fields that `kind` adds to those of every destination."""
    own = kind.__annotations__.keys() - {"kind"}
    rows = ["| field | type | default | |", "|---|---|---|---|"]
    for row in rows_of(kind, ""):
        if row.path.partition(".")[0] in own:
            default = "" if row.default == "null" else row.default
            cells = [f"`{row.path}`", row.type, f"`{default}`" if default else "", row.doc]
            rows.append("| " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(rows)


def metrics() -> str:
    """The table of metrics, as a process registers them."""
    rows = ["| metric | type | labels | |", "|---|---|---|---|"]
    for collector in Metrics().registry._collector_to_names:
        # The library tells a metric's labels nowhere else before it has samples.
        labels = ", ".join(f"`{name}`" for name in getattr(collector, "_labelnames", ()))
        for family in collector.collect():
            name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
            shown = "`version`" if family.type == "info" else labels
            rows.append(f"| `{name}` | {family.type} | {shown} | {_cell(family.documentation)} |")
    return "\n".join(rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


_KINDS: Final[Mapping[str, type[Common]]] = {"common": Common, **KINDS}
TABLES: Final[Mapping[Path, Mapping[str, Callable[[], str]]]] = {
    README: {"commands": commands, "settings": settings},
    METRICS: {"metrics": metrics},
    DESTINATIONS: {name: partial(destination_fields, kind) for name, kind in _KINDS.items()},
}


def filled(path: Path) -> str:
    """The document at `path` with its tables as the code has them."""
    text = path.read_text()
    for name, table in TABLES[path].items():
        before, found, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if not (found and end):
            raise ValueError(f"{path.name} has no place for the table of {name}")
        text = before + found + table() + "\n" + end + after
    return text


if __name__ == "__main__":
    for each in TABLES:
        each.write_text(filled(each))

"""How `onefold segments` shows plans, previews and histories to people."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Final

import yaml
from rich.console import Group, RenderableType
from rich.text import Text

from ingest.segments.asking import Flows, Status
from ingest.segments.defining import Plan
from ingest.segments.sampling import Preview
from profiles.segments.catalogue import Edit
from profiles.segments.tree import Definition, Segment
from profiles.segments.write import write
from service.commands.naming import Names
from service.output import table, when
from service.workspace import Workspace

EXAMPLES_SHOWN: Final = 5
BAR_CELLS: Final = 30


def plan_text(made: Plan) -> RenderableType:
    """What a plan would change."""
    lines: list[RenderableType] = []
    for mark, style, keys in (
        ("+", "green", made.added), ("~", "yellow", made.changed), ("-", "red", made.removed)
    ):  # fmt: skip
        lines += [Text(f"{mark} {key}", style) for key in sorted(keys)]
    lines.append(
        Text(
            f"{len(made.added)} to add, {len(made.changed)} to change, {len(made.removed)} to remove, "
            f"{len(made.unchanged)} unchanged"
        )
    )
    return Group(*lines)


def difference(key: str, old: Definition | None, new: Definition | None) -> RenderableType:
    """How a definition differs from the one in force, line by line."""
    before = written(old).splitlines() if old else []
    after = written(new).splitlines() if new else []
    lines = difflib.unified_diff(before, after, f"{key} (in force)", key, lineterm="")
    styles = {"+": "green", "-": "red", "@": "cyan"}
    return Group(*(Text(line, styles.get(line[:1], "")) for line in lines))


def written(definition: Definition) -> str:
    """A definition as YAML."""
    text: str = yaml.safe_dump(write(definition), sort_keys=False, allow_unicode=True)
    return text


def preview_text(workspace: Workspace, draft: Segment, found: Preview) -> RenderableType:
    """What a draft would be."""
    size = found.size
    about = "" if size.exact else "about "
    lines = [
        Text(f"{draft.name}", "bold"),
        Text(f"  {about}{size.people:,} people · {about}{size.devices:,} anonymous devices"),
    ]
    if not size.exact:
        lines.append(
            Text(f"  between {size.low:,} and {size.high:,} in all, with 95 % confidence "
                 f"({found.looked_at:,} of {found.of:,} identifiers looked at)", "dim")
        )  # fmt: skip
    if found.identifiers:
        lines.append(Text("  known by " + counts(found.identifiers)))
    lines.append(Text("  consent: " + (counts(found.consent) or "none was given")))
    for key, count in list(found.overlap.items())[:EXAMPLES_SHOWN]:
        lines.append(Text(f"  overlap with {key}: {about}{count:,}"))
    names = Names(workspace.reader, found.examples[:EXAMPLES_SHOWN])
    if found.examples:
        shown = ", ".join(names.bare(node) for node in found.examples[:EXAMPLES_SHOWN])
        lines.append(Text(f"  for example {shown}"))
    return Group(*lines)


def counts(of: Mapping[str, int]) -> str:
    """Names with their counts, the most frequent first."""
    ranked = sorted(of.items(), key=lambda entry: -entry[1])
    return " · ".join(f"{key} {count:,}" for key, count in ranked)


def history_table(flows: Sequence[Flows], status: Status) -> RenderableType:
    """How a size came about, the newest last."""
    size = status.people + status.devices
    largest = max((abs(each.change) for each in flows), default=0)
    rows = []
    for each in reversed(flows):
        cells = round(BAR_CELLS * abs(each.change) / largest) if largest else 0
        rows.append(
            (when(each.from_ms)[:16], size, each.entered, each.left,
             f"+{each.entered_by_identity} −{each.left_by_identity}",
             f"+{each.entered_by_definition} −{each.left_by_definition}",
             ("▇" if each.change >= 0 else "░") * cells)
        )  # fmt: skip
        size -= each.change
    columns = ["from", "size then", "entered", "left", "merges, splits", "definition", ""]
    return table(columns, reversed(rows)) if rows else Text("nobody entered or left yet", "dim")


def edit_text(edit: Edit) -> str:
    """What an edit put into force and removed."""
    put = ", ".join(each.id for each in edit.put)
    gone = ", ".join(edit.removed)
    return "; ".join(filter(None, (put, f"removed {gone}" if gone else "")))


def share(part: int, whole: int) -> str:
    """A part of a whole in percent."""
    return f"{part / whole:.0%}" if whole else "none"

"""`onefold segments check|diff|apply|remove|edits|fill`: put definitions into force."""

import getpass
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
from rich.markup import escape

from ingest.segments import defining
from ingest.segments.defining import Plan, Refused
from ingest.segments.names import known_names
from profiles.segments.write import write
from service.commands.segment_pictures import (
    difference,
    edit_text,
    plan_text,
)
from service.output import console, errors, json_option, print_json, steps_progress, table, when
from service.segment_files import read_segments
from service.workspace import Workspace, pass_workspace

FOLDER: Final = "segments"
"""Where definitions are looked for if no path is given."""

paths_argument = click.argument(
    "paths", nargs=-1, type=click.Path(exists=True, path_type=Path), metavar="[FILE|FOLDER]…"
)


@click.command("check")
@paths_argument
@json_option
@pass_workspace
def check(workspace: Workspace, paths: Sequence[Path], as_json: bool) -> None:
    """Say what is wrong with definitions, and what applying them would change."""
    made = plan_of(workspace, paths, prune=False)
    if as_json:
        print_json(_plain_plan(made))
    else:
        console.print(plan_text(made))


@click.command("diff")
@paths_argument
@click.option("--prune", is_flag=True, help="Show as removed what no file defines.")
@json_option
@pass_workspace
def diff(workspace: Workspace, paths: Sequence[Path], prune: bool, as_json: bool) -> None:
    """Show line by line how definitions differ from what is in force."""
    made = plan_of(workspace, paths, prune=prune)
    held = defining.in_force(workspace.catalogues.now())
    new = {**made.added, **made.changed}
    changed = sorted({*new, *made.removed})
    if as_json:
        print_json(
            {key: {"in_force": write(held[key]) if key in held else None,
                   "wanted": write(new[key]) if key in new else None} for key in changed}
        )  # fmt: skip
        return
    for key in changed:
        console.print(difference(key, held.get(key), new.get(key)))
    console.print(plan_text(made))


@click.command("apply")
@paths_argument
@click.option("--prune", is_flag=True, help="Remove what no file defines.")
@click.option("--author", help="Who defines; by default the name of the user.")
@click.option("--note", default="", help="Why; kept in the history.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show the plan only.")
@click.option("--wait/--no-wait", default=True, help="Evaluate everybody before returning.")
@json_option
@pass_workspace
def apply(
    workspace: Workspace, /, paths: Sequence[Path], *, prune: bool, author: str | None, note: str,
    yes: bool, dry_run: bool, wait: bool, as_json: bool,
) -> None:  # fmt: skip
    """Put definitions into force: a plan first, then a question, then everybody is evaluated for them."""
    made = plan_of(workspace, paths, prune=prune)
    if not as_json:
        console.print(plan_text(made))
    _make(workspace, made, author, note, yes=yes, dry_run=dry_run, wait=wait, as_json=as_json)


@click.command("remove")
@click.argument("ids", nargs=-1, required=True)
@click.option("--author", help="Who removes; by default the name of the user.")
@click.option("--note", default="", help="Why; kept in the history.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_workspace
def remove(
    workspace: Workspace,
    ids: Sequence[str],
    author: str | None,
    note: str,
    yes: bool,
    as_json: bool,
) -> None:
    """Take segments out of force: everybody leaves them."""
    made = defining.plan(workspace.catalogues.now(), {}, removed=ids)
    if not as_json:
        console.print(plan_text(made))
    _make(workspace, made, author, note, yes=yes, dry_run=False, wait=True, as_json=as_json)


@click.command("edits")
@click.argument("segment", required=False)
@json_option
@pass_workspace
def edits(workspace: Workspace, segment: str | None, as_json: bool) -> None:
    """Who changed what is defined, newest first."""
    found = [
        edit
        for edit in reversed(workspace.store.definitions.since(0))
        if segment is None or segment in (*(put.id for put in edit.put), *edit.removed)
    ]
    if as_json:
        print_json(found)
        return
    console.print(
        table(["revision", "when", "who", "what", "why"],
              [(e.revision, when(e.time_ms), e.author, edit_text(e), e.note) for e in found])
    )  # fmt: skip


@click.command("fill")
@json_option
@pass_workspace
def fill(workspace: Workspace, as_json: bool) -> None:
    """Evaluate everybody for what was defined or changed, from where that was left."""
    profiles = _fill(workspace, quiet=as_json)
    if as_json:
        print_json({"profiles": profiles})


def plan_of(workspace: Workspace, paths: Sequence[Path], *, prune: bool) -> Plan:
    """What files would change; a click error that says where they are wrong."""
    wanted_paths = list(paths) or [Path(FOLDER)]
    if not paths and not wanted_paths[0].exists():
        raise click.UsageError(f"no folder {FOLDER}/ here; name files or folders")
    held = workspace.catalogues.now()
    read = read_segments(
        wanted_paths, known=known_names(workspace.store), segments=held.segments,
        computed=held.computed,
    )  # fmt: skip
    for warning in read.warnings:
        errors.print(f"[yellow]warning[/] {escape(str(warning))}", soft_wrap=True)
    wrong = [str(each) for each in read.errors]
    files = {file.id: file for file in read.files}
    wrong += [
        f"{file.path}: {file.id} is defined in {files[file.id].path} too"
        for file in read.files
        if file is not files[file.id] and not wrong
    ]
    if wrong:
        raise click.ClickException("\n".join(wrong))
    try:
        return defining.plan(held, {key: file.tree for key, file in files.items()}, only=prune)
    except Refused as error:
        raise click.ClickException(
            "\n".join(
                f"{files[key].path}:{files[key].marks.line(each.path)}: {each.where}: {each.text}"
                for key, problems in sorted(error.problems.items())
                for each in problems
            )
        ) from error


def _make(
    workspace: Workspace, made: Plan, author: str | None, note: str, *,
    yes: bool, dry_run: bool, wait: bool, as_json: bool,
) -> None:  # fmt: skip
    edit = None
    if made and not dry_run:
        if not yes:
            click.confirm("Put this into force?", abort=True, err=as_json)
        edit = defining.apply(
            workspace.store.definitions, made, author=author or getpass.getuser(), note=note,
            now_ms=workspace.now_ms(),
        )  # fmt: skip
        if wait:
            _fill(workspace, quiet=as_json)
    if as_json:
        print_json(_plain_plan(made) | {"applied": edit.revision if edit else None})


def _fill(workspace: Workspace, *, quiet: bool = False) -> int:
    with steps_progress() as bar:
        task = bar.add_task("evaluating everybody", total=100)
        profiles = workspace.fill(lambda share: bar.update(task, completed=round(100 * share)))
    if not quiet:
        console.print(f"{profiles:,} profiles evaluated")
    return profiles


def _plain_plan(made: Plan) -> dict[str, Any]:
    return {
        "added": sorted(made.added), "changed": sorted(made.changed),
        "removed": list(made.removed), "unchanged": list(made.unchanged),
    }  # fmt: skip


COMMANDS: Final = (check, diff, apply, remove, edits, fill)

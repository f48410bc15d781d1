"""`onefold export`: audiences go out, are listed, and are sent by schedule."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from destinations.destination import Mode
from destinations.errors import DestinationError
from destinations.gate import IN_WORDS
from destinations.running import DRY, Outcome, Progress
from service.audience import open_audience
from service.config import ConfigError
from service.exporting import Exports, UnderWay, process_owner, shown
from service.exports_file import DestinationFile, find_destination, read_destinations
from service.output import (
    console,
    errors,
    json_option,
    print_json,
    rows_progress,
    so_many,
    table,
    when,
)
from service.stopping import asked_to_stop
from service.workspace import Workspace, pass_workspace
from storage.errors import StoreUnavailable
from storage.segment_ports import Delivery

LOOK_S: Final = 15.0
"""How often a watch looks for new files and for what is due."""
HISTORY: Final = 20


class _Destinations(click.Group):
    """A command for each destination, beside those that are always there."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name) or _command(cmd_name)


@click.group("export", cls=_Destinations, subcommand_metavar="NAME | list | history | run")
def export() -> None:
    r"""Send audiences to the destination NAME, which exports/NAME.yaml describes.

    Only members whose consent for the destination's purpose is granted are sent, and of sensitive segments only
    those that the file allows by name.

    \b
    onefold export lotame --dry-run                        # who would go, who would not and why
    onefold export lotame --segment regulars --delta
    onefold export run --watch                             # all of them, by their schedules
    """


def _command(name: str) -> click.Command:
    @click.command(name, short_help=f"Export to {name}.")
    @click.option("--segment", "segments", multiple=True, metavar="ID", help="Only these segments.")
    @click.option("--full", "mode", flag_value="full", help="Every member, whatever the file says.")
    @click.option("--delta", "mode", flag_value="delta", help="What changed since the last export.")
    @click.option("--dry-run", is_flag=True, help="Count and show masked rows; send nothing.")
    @click.option("--who", default=process_owner, show_default="your login", help="For the audit.")
    @json_option
    @pass_workspace
    def run(
        workspace: Workspace, segments: tuple[str, ...], mode: Mode | None, dry_run: bool, who: str,
        as_json: bool,
    ) -> None:  # fmt: skip
        """Export once, now."""
        file = find_destination(_folder(workspace), name)
        with _progress(file) as report:
            outcome = Exports(workspace, open_audience).run(
                file, who=who, segments=segments, mode=mode, dry=dry_run, progress=report
            )
        if as_json:
            print_json(outcome)
        else:
            _say(outcome)

    return run


def _folder(workspace: Workspace) -> Path:
    return Path(workspace.config.exports)


@contextmanager
def _progress(file: DestinationFile) -> Iterator[Progress]:
    with rows_progress() as progress:
        task = progress.add_task(f"exporting to {file.name}", total=None)
        yield lambda people: progress.update(task, completed=people)


def _say(outcome: Outcome) -> None:
    done = outcome.delivery
    would = "would go" if done.result == DRY else "went"
    console.print(
        f"{so_many(done.people, 'person', 'people')} of "
        f"{so_many(len(done.segments), 'segment', 'segments')} {would} to {done.place} "
        f"({done.mode}, {so_many(done.rows, 'row', 'rows')})"
    )
    if done.withheld:
        console.print("withheld: " + _withheld(done.withheld))
    for name in done.files:
        console.print(f"  {name}")
    for row in outcome.samples:
        console.print(f"  {row}", markup=False)


def _withheld(counts: Mapping[str, int]) -> str:
    return " · ".join(f"{count:,} {IN_WORDS.get(why, why)}" for why, count in counts.items())


@export.command("list")
@json_option
@pass_workspace
def list_destinations(workspace: Workspace, as_json: bool) -> None:
    """Every destination, its schedule and its last export."""
    exports = Exports(workspace, open_audience)
    found = []
    for file in read_destinations(_folder(workspace)).values():
        last = next(iter(workspace.store.deliveries.list(1, file.name)), None)
        found.append(shown(exports, file, last))
    if as_json:
        print_json(found)
        return
    if not found:
        console.print(f"{_folder(workspace)}: no destinations (docs/destinations.md shows some)")
        return
    rows = [
        (
            each.name, each.kind, ", ".join(each.segments), ", ".join(each.purpose), each.mode, each.schedule,
            when(each.next_ms) if each.next_ms is not None else "",
            f"{when(each.last.started_ms)} {each.last.result}" if each.last else "never",
        )
        for each in found
    ]  # fmt: skip
    columns = ["name", "kind", "segments", "purpose", "mode", "schedule", "next", "last"]
    console.print(table(columns, rows))


@export.command("history")
@click.option("--destination", metavar="NAME", help="Only of this one.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=HISTORY, show_default=True)
@json_option
@pass_workspace
def history(workspace: Workspace, destination: str | None, limit: int, as_json: bool) -> None:
    """The newest exports: who sent what where, and who was withheld."""
    runs = workspace.store.deliveries.list(limit, destination)
    if as_json:
        print_json(runs)
        return
    columns = ["when", "destination", "who", "segments", "mode", "people", "withheld", "result", ""]
    rows = [
        (
            when(each.started_ms), each.destination, each.who, ", ".join(each.segments), each.mode, each.people,
            _withheld(each.withheld), _result(each), each.detail or each.place,
        )
        for each in runs
    ]  # fmt: skip
    console.print(table(columns, rows))


def _result(run: Delivery) -> str:
    return "under way, or killed" if run.ended_ms is None else run.result


@export.command("run")
@click.option("--watch", is_flag=True, help="Go on until told to stop, exporting by schedule.")
@json_option
@pass_workspace
def run_due(workspace: Workspace, watch: bool, as_json: bool) -> None:
    """Export to every destination that is due by its schedule; the others are not touched."""
    done: list[Delivery] = []
    with asked_to_stop() as stop:
        failed = 0 if watch else _run_due(workspace, done, stop, quiet=as_json)
        pause_s = 0.0
        while watch and not stop.wait(pause_s):
            try:
                _run_due(workspace, done, stop, quiet=as_json)
                pause_s = _pause_s(workspace)
            except (ConfigError, StoreUnavailable) as error:
                # A file that somebody is writing, or a store that comes back.
                errors.print(str(error), markup=False)
                pause_s = LOOK_S
            del done[:-HISTORY]
    if as_json:
        print_json(done)
    elif not watch and not done and not failed:
        console.print("nothing is due")
    if failed and not watch:
        raise click.ClickException(f"{failed} exports failed; `onefold export history`")


def _run_due(
    workspace: Workspace, done: list[Delivery], stop: threading.Event, *, quiet: bool
) -> int:
    """Export what is due now; how many failed."""
    exports, failed = Exports(workspace, open_audience), 0
    for file in read_destinations(_folder(workspace)).values():
        if stop.is_set() or not exports.is_due(file):
            continue
        try:
            with _progress(file) as report:
                outcome = exports.run_due(
                    file, who=f"schedule ({process_owner()})", progress=report
                )
        except UnderWay:
            continue  # by this schedule, as likely as not
        except (DestinationError, StoreUnavailable) as error:
            # One that fails is tried again; it must not keep the others waiting.
            failed += 1
            errors.print(f"{file.name}: {error}", markup=False)
            continue
        if outcome is not None:
            done.append(outcome.delivery)
            if not quiet:
                _say(outcome)
    return failed


def _pause_s(workspace: Workspace) -> float:
    exports = Exports(workspace, open_audience)
    due = [
        when_due
        for file in read_destinations(_folder(workspace)).values()
        if (when_due := exports.due_ms(file)) is not None
    ]
    left_s = (min(due) - workspace.now_ms()) / 1000 if due else LOOK_S
    return min(max(left_s, 1.0), LOOK_S)

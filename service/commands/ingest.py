"""`onefold ingest`: load events from files."""

import click

from ingest.files import Batch, FoundFile, find_files
from ingest.loading import Loaded, load
from service.output import bytes_progress, console, json_option, print_json
from service.workspace import Workspace, pass_workspace


@click.command("ingest")
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--source",
    "source_name",
    default="",
    help="The source of these files (default: the folder's name in RudderStack's layout, else `files`).",
)
@json_option
@pass_workspace
def ingest(workspace: Workspace, files: tuple[str, ...], source_name: str, as_json: bool) -> None:
    """Load JSON lines (plain or gzip): paths, folders, globs, s3:// and other URLs, or - for standard input.

    A file that was loaded is skipped, one that was left in the middle goes on from there, and no event
    ever counts twice.
    """
    found = find_files(files)
    total = sum(file.size or 0 for file in found)
    with bytes_progress() as progress:
        task = progress.add_task("loading", total=total or None, note="")
        before = 0

        def report(file: FoundFile, batch: Batch | None, so_far: Loaded) -> None:
            nonlocal before
            done = before + (batch.bytes_read if batch else file.size or 0)
            progress.update(task, completed=done, note=f"{so_far.events:,} events")
            if batch is None or batch.position.finished:
                before += file.size or 0

        loaded = load(
            found, workspace.store, workspace.pipeline, workspace.sources, workspace.now_ms(),
            source_name=source_name, progress=report,
        )  # fmt: skip
    if as_json:
        print_json(loaded)
        return
    console.print(
        f"{loaded.events:,} events from {loaded.files:,} files: {loaded.counted:,} new, "
        f"{loaded.events - loaded.counted:,} known already"
        + (f"; {loaded.skipped:,} files were loaded before" if loaded.skipped else "")
    )
    if loaded.refused:
        console.print(f"{loaded.refused:,} refused; see `onefold deadletters list`")

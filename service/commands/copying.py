"""`onefold copy`: take a grown embedded store along to Cassandra."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from service.config_checks import need_cassandra
from service.output import console, errors, json_option, print_json, rows_progress
from service.patience import Pauses, passing_errors, patiently
from service.workspace import Workspace, pass_workspace
from storage.copying import Copied, copy, differences
from storage.ports import Store
from storage.sqlite import SqliteStore, open_store

SAMPLE = 200
T = TypeVar("T")


@click.command("copy")
@click.option("--from", "source", required=True, metavar="sqlite:PATH", help="The store to copy.")
@click.option("--to", "target", required=True, metavar="cassandra:", help="The configured cluster.")
@click.option(
    "--sample",
    default=SAMPLE,
    show_default=True,
    help="Profiles compared byte for byte at the end.",
)
@json_option
@pass_workspace
def copy_store(workspace: Workspace, source: str, target: str, sample: int, as_json: bool) -> None:
    r"""Copy an embedded store into Cassandra, go on if that was interrupted, and compare at the end.

    Nobody may write to the source meanwhile, and workers start afterwards: their events fold on top. The
    keys are the same: store.keys names those of the source.

    \b
    onefold migrate
    onefold copy --from sqlite:onefold-data/onefold.sqlite --to cassandra:
    """
    kind, _, path = source.partition(":")
    if kind != "sqlite" or not path:
        raise click.BadParameter("must be sqlite:PATH", param_hint="--from")
    if target != "cassandra:":
        raise click.BadParameter(
            "must be cassandra:, the one of the configuration", param_hint="--to"
        )
    if not Path(path).exists():
        raise click.BadParameter(f"{path}: no such file", param_hint="--from")
    need_cassandra(workspace.config, "copy --to cassandra:")
    held, _ = open_store(Path(path), workspace.keys_path, read_only=True)
    try:
        uris = _files(held)
        copied = _patiently(
            lambda: _copied(held, workspace.store, str(Path(path).resolve()), uris), workspace
        )
        with errors.status("comparing"):
            found = _patiently(lambda: differences(held, workspace.store, sample, uris), workspace)
    finally:
        held.close()
    if as_json:
        print_json({"rows": copied.rows, "resumed": copied.resumed, "differences": found})
    else:
        _say(copied, found, workspace.place, sample)
    if found:
        raise SystemExit(1)


def _patiently(attempt: Callable[[], T], workspace: Workspace) -> T:
    """What `attempt` returns; a cluster that is overloaded is given time, and copying goes on from there."""
    pauses = Pauses(workspace.config.worker.retry_max_s)
    while True:
        done = patiently(attempt, passing_errors(), threading.Event(), pauses, _mention)
        if done is not None:
            return done


def _mention(text: str) -> None:
    errors.print(text, markup=False, soft_wrap=True)


def _files(store: SqliteStore) -> list[str]:
    """The files that were loaded: the port asks for them by name."""
    return [uri for (uri,) in store.database.rows("SELECT uri FROM positions ORDER BY uri")]


def _copied(source: Store, target: Store, name: str, uris: list[str]) -> Copied:
    from ingest.workers.publishing import LEASE

    with rows_progress() as progress:
        tasks = {}

        def report(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(step, total=None)
            progress.update(tasks[step], completed=done, total=max(total, done) or None)

        return copy(source, target, report, name=name, uris=uris, lease=LEASE)


def _say(copied: Copied, found: list[str], place: str, sample: int) -> None:
    if copied.resumed:
        console.print(f"went on in {copied.resumed}")
    rows = ", ".join(f"{count:,} {step}" for step, count in copied.rows.items())
    console.print(f"copied {rows}\n  to {place}", markup=False, soft_wrap=True)
    if found:
        console.print(f"{len(found):,} differences; copy again:")
        for each in found[:20]:
            console.print(f"  {each}", markup=False, soft_wrap=True)
    else:
        console.print(f"counts are equal, and {sample:,} sampled profiles byte for byte")

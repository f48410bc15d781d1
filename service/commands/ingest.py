"""`onefold ingest`: load events from files and Kafka topics."""

import threading
from typing import cast

import click

from ingest.errors import SourceError
from ingest.files import Batch, FoundFile, find_files
from ingest.loading import Loaded, load
from ingest.pipeline import Pipeline
from service.output import bytes_progress, console, json_option, print_json, rows_progress
from service.stopping import asked_to_stop
from service.workspace import Workspace, pass_workspace

TOPIC = "kafka://"


@click.command("ingest")
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--source",
    "source_name",
    default="",
    help="The source of these events (default: the folder's name in RudderStack's layout, the topic's name, "
    "else `files`).",
)
@json_option
@pass_workspace
def ingest(workspace: Workspace, files: tuple[str, ...], source_name: str, as_json: bool) -> None:
    r"""Load JSON lines (plain or gzip): paths, folders, globs, s3:// and other URLs, or - for standard input.

    Or Kafka topics as RudderStack writes them: kafka://host:port/topic, up to their present end, and beyond
    it with ?follow=true. What was loaded is skipped, what was left in the middle goes on from there, and no
    event ever counts twice. Where workers run, it goes behind live events.

    \b
    onefold ingest 'rudder-logs/**/*.json.gz'
    onefold ingest kafka://broker:9092/rudder-events
    """
    total = Loaded()
    paths = [each for each in files if not each.startswith(TOPIC)]
    if paths:
        _add(total, _load_files(workspace, paths, source_name))
    topics = [each for each in files if each.startswith(TOPIC)]
    for url in topics:
        # What is under way is finished; the next run goes on from there.
        with asked_to_stop() as stop:
            _add(total, _load_topic(workspace, url, source_name, stop))
        if stop.is_set():
            break
    if as_json:
        print_json(total)
    else:
        _say(total, workspace.config.store.kind == "cassandra")


def _load_files(workspace: Workspace, paths: list[str], source_name: str) -> Loaded:
    found = find_files(paths)
    size = sum(file.size or 0 for file in found)
    with bytes_progress() as progress:
        task = progress.add_task("loading", total=size or None, note="")
        before = 0

        def report(file: FoundFile, batch: Batch | None, so_far: Loaded) -> None:
            nonlocal before
            done = before + (batch.bytes_read if batch else file.size or 0)
            progress.update(task, completed=done, note=f"{so_far.events:,} events")
            if batch is None or batch.position.finished:
                before += file.size or 0

        # `load` calls nothing but `process`, which every sink has.
        sink = cast(Pipeline, workspace.history)
        return load(
            found, workspace.store, sink, workspace.sources, workspace.now_ms(),
            source_name=source_name, progress=report,
        )  # fmt: skip


def _load_topic(workspace: Workspace, text: str, source_name: str, stop: threading.Event) -> Loaded:
    from ingest.kafka.reading import TopicBatch, TopicUrl, load_topic, parse_topic_url

    url = parse_topic_url(text)
    settings = workspace.config.kafka
    own = {settings.topic(name) for name in ("events", "backfill", "activity", "links")}
    if workspace.config.store.kind == "cassandra" and url.topic in own:
        raise SourceError(f"{text}: workers read this topic anyway")
    url = TopicUrl(url.topic, url.brokers, url.follow, source_name or url.source)
    with rows_progress() as progress:
        task = progress.add_task(f"loading {url.topic}", total=None)

        def report(batch: TopicBatch, so_far: Loaded) -> None:
            done = so_far.events + so_far.refused
            progress.update(task, completed=done, total=done + batch.left)

        return load_topic(
            url, settings, workspace.store, workspace.history, workspace.sources,
            stop=stop, progress=report,
        )  # fmt: skip


def _add(total: Loaded, more: Loaded) -> None:
    total.files += more.files
    total.skipped += more.skipped
    total.events += more.events
    total.counted += more.counted
    total.refused += more.refused


def _say(loaded: Loaded, sent: bool) -> None:
    what = f"{loaded.events:,} events from {loaded.files:,} files or topics"
    what += ": sent to the workers" if sent else (
        f": {loaded.counted:,} new, {loaded.events - loaded.counted:,} known already"
    )  # fmt: skip
    console.print(
        what + (f"; {loaded.skipped:,} files were loaded before" if loaded.skipped else "")
    )
    if loaded.refused:
        console.print(f"{loaded.refused:,} refused; see `onefold deadletters list`")

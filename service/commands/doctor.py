"""`onefold doctor`: what works here, what is missing, and what to do about it."""

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import click
from rich.markup import escape

from service.findings import BAD, NOTE, OK, Finding
from service.output import console, json_option, print_json, table, when
from service.workspace import Workspace, pass_workspace
from storage.errors import StoreError

PYTHON_MIN: Final = (3, 11)
FREE_BYTES_MIN: Final = 1 << 30
OLD_MODEL_MS: Final = 30 * 86_400_000

_EXTRAS: Final = {
    # module: (what it is for, how to install it)
    "s3fs": ("onefold ingest s3://…", "pip install 'onefold[s3]'"),
    "pandas": ("onefold evaluate --data, notebooks", "pip install 'onefold[notebook]'"),
    "optuna": ("onefold train --trials", "pip install 'onefold[tune]'"),
    "pyspark": ("onefold train --spark", "pip install 'onefold[spark]'"),
    "mlflow": ("onefold train --mlflow URI", "pip install 'onefold[mlflow]'"),
    "cassandra": ("store.kind: cassandra", "pip install 'onefold[cassandra]'"),
    "confluent_kafka": ("workers, onefold ingest kafka://…", "pip install 'onefold[kafka]'"),
}
_NEEDED_BY: Final = {"cassandra": "cassandra", "confluent_kafka": "cassandra"}
"""The kind of store that does not work without a module."""


@click.command("doctor")
@json_option
@pass_workspace
def doctor(workspace: Workspace, as_json: bool) -> None:
    """Check the machine, the configuration, the store and the models. Exit status 1: a problem."""
    findings = [
        *_machine(workspace), *_ports(workspace), *_servers(workspace), *_store(workspace),
        *_models(workspace),
    ]  # fmt: skip
    if as_json:
        print_json(findings)
    else:
        marks = {OK: "[green]ok[/]", NOTE: "[yellow]note[/]", BAD: "[red]problem[/]"}
        console.print(
            table(["", "about", "found", "what to do"],
                  [(marks[f.state], *map(escape, (f.about, f.found, f.todo))) for f in findings])
        )  # fmt: skip
    if any(finding.state == BAD for finding in findings):
        raise SystemExit(1)


def _machine(workspace: Workspace) -> Iterator[Finding]:
    running = ".".join(map(str, sys.version_info[:3]))
    old = sys.version_info < PYTHON_MIN
    yield Finding("Python", BAD if old else OK, running, "install 3.11 or newer" if old else "")
    for package in ("grpcio", "implicit", "numpy", "uvicorn"):
        try:
            yield Finding(package, OK, version(package))
        except PackageNotFoundError:
            yield Finding(package, BAD, "missing", "make setup")
    for module, (purpose, install) in _EXTRAS.items():
        if find_spec(module) is None:
            needed = _NEEDED_BY.get(module) == workspace.config.store.kind
            yield Finding(module, BAD if needed else NOTE, f"not installed: {purpose}", install)
        else:
            yield Finding(module, OK, purpose)


def _ports(workspace: Workspace) -> Iterator[Finding]:
    config = workspace.config
    for about, host, port in (
        ("gRPC port", config.grpc.host, config.grpc.port),
        ("collector port", config.collector.host, config.collector.port),
    ):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                yield Finding(about, OK, f"{host}:{port} is free")
            except OSError as error:
                yield Finding(
                    about, NOTE, f"{host}:{port}: {error.strerror}",
                    "is `onefold serve` running already? else choose another in onefold.yaml",
                )  # fmt: skip


def _servers(workspace: Workspace) -> Iterator[Finding]:
    config = workspace.config
    if config.store.kind == "cassandra" and find_spec("cassandra"):
        from storage.cassandra.survey import survey

        for each in survey(config.cassandra):
            yield Finding(each.about, each.state, each.found, each.todo)
    if config.kafka.brokers and find_spec("confluent_kafka"):
        from service.commands.doctor_kafka import kafka_findings

        try:
            generation = workspace.live_generation
        except StoreError:
            generation = 1  # why is said elsewhere
        yield from kafka_findings(config.kafka, generation)


def _store(workspace: Workspace) -> Iterator[Finding]:
    if workspace.config.store.kind == "cassandra":
        if not find_spec("cassandra"):
            return
        try:
            yield from _contents(workspace)
        except StoreError as error:
            yield Finding("store", BAD, str(error), "mend what is said above first")
        return
    path = workspace.store_path
    folder = next(parent for parent in (path.parent, *path.absolute().parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    short = free < FREE_BYTES_MIN
    yield Finding(
        "disk", BAD if short else OK, f"{free / 1e9:,.0f} GB free at {folder}",
        "free some space: a million events take about 2 GB" if short else "",
    )  # fmt: skip
    if not os.access(folder, os.W_OK):
        yield Finding("store", BAD, f"{folder} cannot be written", "choose another with --data")
        return
    if not path.exists():
        yield Finding(
            "store", NOTE, f"{path} is not there yet", "onefold ingest FILES… or onefold demo"
        )
        return
    try:
        yield from _contents(workspace)
    except StoreError as error:
        yield Finding("store", BAD, str(error), "restore the file and its keys from a backup")


def _contents(workspace: Workspace) -> Iterator[Finding]:
    """What is stored; raises what keeps the store from being read before it says anything."""
    store = workspace.store
    events, parts = store.timeline.count(), store.parts.count()
    clusters, refusals = store.people.counts()
    letters = sum(store.dead_letters.counts().values())
    items = store.catalog.count()
    yield Finding(
        "store", OK, f"{events:,} events under {parts:,} identifiers, in {workspace.place}"
    )
    yield from _keys(workspace.keys_path)
    yield Finding("people", OK, f"{clusters:,} of two identifiers or more")
    yield Finding(
        "conflicts", NOTE if refusals else OK, f"{refusals:,} links were not joined",
        "onefold identity conflicts" if refusals else "",
    )  # fmt: skip
    yield Finding(
        "dead letters", NOTE if letters else OK, f"{letters:,} messages were refused",
        "onefold deadletters list" if letters else "",
    )  # fmt: skip
    yield Finding(
        "catalogue", OK if items else NOTE, f"{items:,} items",
        "" if items else "onefold catalog import FILE: names, prices and stock for recommendations",
    )  # fmt: skip
    yield from _segments(workspace)


def _segments(workspace: Workspace) -> Iterator[Finding]:
    catalogue = workspace.catalogues.now()
    yield Finding("segments", OK, f"{len(catalogue.segments):,} in force")
    for key, why in sorted(catalogue.broken.items()):
        # Were an upgrade to read it again, events of the time between would be missing.
        yield Finding(
            f"segment {key}", BAD, f"left out: {why}",
            f"onefold segments remove {key}, then mend its file and apply it",
        )  # fmt: skip


def _keys(path: Path) -> Iterator[Finding]:
    open_to_all = path.stat().st_mode & 0o077
    yield Finding(
        "keys", BAD if open_to_all else OK, f"{path}" + (" can be read by others" if open_to_all else ""),
        f"chmod 600 {path}" if open_to_all else "",
    )  # fmt: skip


def _models(workspace: Workspace) -> Iterator[Finding]:
    versions = workspace.registry.versions()
    if not versions:
        yield Finding("models", NOTE, "none is trained", "onefold train")
        return
    newest = versions[0]
    old = workspace.now_ms() - newest.trained_ms > OLD_MODEL_MS
    yield Finding(
        "models", NOTE if old else OK, f"{len(versions):,}; the newest was trained {when(newest.trained_ms)}",
        "onefold train" if old else "",
    )  # fmt: skip
    if workspace.registry.alias_stamp("champion") == (0, 0):
        yield Finding(
            "champion", NOTE, newest.refusal or "none is promoted", "onefold models promote"
        )

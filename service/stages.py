"""The stages of `onefold worker`, put together from the configuration."""

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from ingest.folding import Folder
from ingest.log import Log
from ingest.rebuild import Base, Refolder
from ingest.workers.evaluate import evaluate_worker
from ingest.workers.fold import PARTS_CACHED_MAX, fold_worker
from ingest.workers.identify import identify_worker
from ingest.workers.record import record_worker
from ingest.workers.running import Worker
from service.workspace import Workspace
from storage.cassandra.store import CassandraStore
from storage.catalogues import WORKERS_AGE_S, Catalogues
from storage.errors import StoreError

GENERATION_AGE_S_MAX: Final = 30.0
"""A switch of generations takes effect on backfills within this."""


def open_stage(workspace: Workspace, stage: str) -> Worker:
    """The worker of a stage, its store and log reached; what cannot be reached is tried again by others.

    StoreError or LogError: Unavailable where trying again may help, else what the message says is wrong.
    """
    _ = workspace.store
    settings = workspace.config.kafka
    topics = [*map(settings.topic, TOPICS[stage])]
    if stage == "record":
        topics += settings.inputs
    # A consumer waits for topics that never come, and a producer says nothing until it is too late.
    workspace.log.check(topics)
    return STAGES[stage](workspace, workspace.log)


def _record(workspace: Workspace, log: Log) -> Worker:
    return record_worker(
        log, workspace.store, workspace.keys, workspace.config.identity, workspace.sources,
        workspace.config.kafka, workspace.now_ms,
        generation=_LiveGeneration(workspace), **_shared(workspace),
    )  # fmt: skip


class _LiveGeneration:
    """Which generation of derived tables answers now; asked again every half a minute."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._known = workspace.live_generation
        self._asked = time.monotonic()

    def __call__(self) -> int:
        if time.monotonic() - self._asked > GENERATION_AGE_S_MAX:
            from storage.cassandra.schema import live_generation

            self._asked = time.monotonic()
            store = self._workspace.store
            assert isinstance(store, CassandraStore)  # noqa: S101  # workers have no other
            facts, _ = self._workspace.config.cassandra.keyspaces(self._known)
            with suppress(StoreError):
                self._known = live_generation(store.connection, facts) or self._known
        return self._known


def _fold(workspace: Workspace, log: Log) -> Worker:
    catalogues = Catalogues(workspace.store.definitions, WORKERS_AGE_S)
    return fold_worker(
        log, workspace.store, workspace.config.kafka, workspace.now_ms,
        generation=workspace.live_generation, folder=_folder(workspace, catalogues),
        catalogues=catalogues, live=workspace.generation is None, **_shared(workspace),
    )  # fmt: skip


def _folder(workspace: Workspace, catalogues: Catalogues) -> Folder:
    """What folds; into a generation that is being built, leaves start from what is live of them."""
    if workspace.generation is None:
        return Folder(workspace.store, PARTS_CACHED_MAX, catalogue=catalogues.now)
    live = workspace.live_store()
    refolder = Refolder(
        workspace.keys,
        workspace.config.identity,
        workspace.sources.named,
        catalogues.now(),
    )
    return Folder(workspace.store, PARTS_CACHED_MAX, Base(live, refolder), catalogues.now)


def _identify(workspace: Workspace, log: Log) -> Worker:
    return identify_worker(
        log, workspace.store, workspace.config.identity, workspace.config.kafka,
        _holder(), people_meter=workspace.metrics.ingest, **_shared(workspace),
    )  # fmt: skip


def _evaluate(workspace: Workspace, log: Log) -> Worker:
    store = workspace.store
    assert isinstance(store, CassandraStore)  # noqa: S101  # workers have no other
    return evaluate_worker(
        log, store, workspace.config.identity, workspace.config.kafka, workspace.now_ms, _holder(),
        generation=workspace.live_generation, segment_meter=workspace.metrics.ingest,
        **_shared(workspace),
    )  # fmt: skip


def _holder() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _shared(workspace: Workspace) -> dict[str, Any]:
    return {
        "meter": workspace.metrics.ingest,
        "batch_messages": workspace.config.worker.batch_events,
        "retry_max_s": workspace.config.worker.retry_max_s,
    }


STAGES: Final[Mapping[str, Callable[[Workspace, Log], Worker]]] = {
    "record": _record, "fold": _fold, "identify": _identify, "evaluate": _evaluate,
}  # fmt: skip
TOPICS: Final[Mapping[str, tuple[str, ...]]] = {
    "record": ("events", "backfill", "activity", "links", "evaluate"),
    "fold": ("activity", "evaluate"),
    "identify": ("links", "changes", "evaluate"),
    "evaluate": ("evaluate", "activity", "segments"),
}
"""What each stage reads and writes; all write dead letters too."""

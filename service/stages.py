"""The stages of `onefold worker`, put together from the configuration."""

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final

from ingest.log import Log
from ingest.workers.fold import fold_worker
from ingest.workers.identify import identify_worker
from ingest.workers.record import record_worker
from ingest.workers.running import Worker
from service.workspace import Workspace


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
        workspace.config.kafka, workspace.now_ms, **_shared(workspace),
    )  # fmt: skip


def _fold(workspace: Workspace, log: Log) -> Worker:
    return fold_worker(
        log, workspace.store, workspace.config.kafka, workspace.now_ms,
        generation=workspace.live_generation, **_shared(workspace),
    )  # fmt: skip


def _identify(workspace: Workspace, log: Log) -> Worker:
    return identify_worker(
        log, workspace.store, workspace.config.identity, workspace.config.kafka,
        f"{socket.gethostname()}:{os.getpid()}", people_meter=workspace.metrics.ingest,
        **_shared(workspace),
    )  # fmt: skip


def _shared(workspace: Workspace) -> dict[str, Any]:
    return {
        "meter": workspace.metrics.ingest,
        "batch_messages": workspace.config.worker.batch_events,
        "retry_max_s": workspace.config.worker.retry_max_s,
    }


STAGES: Final[Mapping[str, Callable[[Workspace, Log], Worker]]] = {
    "record": _record, "fold": _fold, "identify": _identify,
}  # fmt: skip
TOPICS: Final[Mapping[str, tuple[str, ...]]] = {
    "record": ("events", "backfill", "activity", "links"),
    "fold": ("activity",),
    "identify": ("links", "changes"),
}
"""What each stage reads and writes; all write dead letters too."""

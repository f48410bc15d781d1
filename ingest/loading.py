"""Load files from where each was left; a batch's position is stored with what it said."""

from collections.abc import Callable, Sequence

import msgspec

from ingest.files import BATCH_EVENTS, Batch, FoundFile, read_batches
from ingest.pipeline import EventSink
from ingest.sources import Sources
from storage.ports import Store


class Loaded(msgspec.Struct):
    """What a load did."""

    files: int = 0
    skipped: int = 0
    """Files that were loaded before and have not changed since."""
    events: int = 0
    counted: int = 0
    """Events that were new."""
    refused: int = 0


def load(
    files: Sequence[FoundFile],
    store: Store,
    sink: EventSink,
    sources: Sources,
    now_ms: int,
    *,
    source_name: str = "",
    batch_events: int = BATCH_EVENTS,
    progress: Callable[[FoundFile, Batch | None, Loaded], None] = lambda file, batch, so_far: None,
) -> Loaded:
    """Load `files` one after the other. Run again, or stopped and run again, nothing counts twice."""
    so_far = Loaded()
    held = store.positions.get([file.uri for file in files])
    for file in files:
        position = held.get(file.uri)
        same = position is not None and position.fingerprint == file.fingerprint != ""
        if position is not None and same and position.finished:
            so_far.skipped += 1
            progress(file, None, so_far)
            continue
        after_line = position.line if position is not None and same else 0
        for batch in read_batches(
            file, sources, now_ms, source_name=source_name, after_line=after_line, size=batch_events
        ):
            outcome = sink.process(batch.events, batch.refused, [batch.position], origin=file.uri)
            so_far.events += outcome.events
            so_far.counted += outcome.counted
            so_far.refused += outcome.refused
            progress(file, batch, so_far)
        so_far.files += 1
    return so_far

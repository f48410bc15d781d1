"""Events from files: JSON lines, plain or gzip, here or in object storage, from where each was left.

RudderStack's layout is `…/rudder-logs/<source>/<date>/*.json.gz` (facts/rudderstack.md §2); the folder
above the date names the source.
"""

import glob
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO, Final, cast

import fsspec
import msgspec

from identity.event import Event
from ingest.decode import EVENT_BYTES_MAX, Refused, decode
from ingest.errors import SourceError
from ingest.lines import READ_ERRORS, read_lines
from ingest.sources import Sources
from storage.ports import StoredPosition

BATCH_EVENTS: Final = 5_000
"""Events of one transaction in a bulk load: grouping reads and writes saves a tenth over 2,000."""
STANDARD_INPUT: Final = "-"

_SUFFIXES: Final = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz")
_RUDDER: Final = re.compile(r"rudder-logs/(?P<source>[^/]+)/\d[\d-]+\d/[^/]+$")


class FoundFile(msgspec.Struct, frozen=True):
    """A file to load."""

    uri: str
    size: int | None
    fingerprint: str


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Events of one file, and where it stands after them."""

    events: list[Event]
    refused: list[Refused]
    position: StoredPosition
    bytes_read: int
    """Of the file as it is stored, so far."""


def find_files(patterns: Sequence[str]) -> list[FoundFile]:
    """The files that paths, folders, globs and URLs name, in order; SourceError if one names none."""
    found: dict[str, FoundFile] = {}
    for pattern in patterns:
        if pattern == STANDARD_INPUT:
            found[pattern] = FoundFile(pattern, None, "")
            continue
        files = list(_remote(pattern) if "://" in pattern else _local(pattern))
        if not files:
            raise SourceError(f"{pattern}: no such file, and no file with events below it")
        found |= {file.uri: file for file in files}
    return list(found.values())


def _local(pattern: str) -> Iterator[FoundFile]:
    for name in sorted(glob.glob(pattern, recursive=True)) or [pattern]:
        for file in _below(name) if os.path.isdir(name) else [name]:
            try:
                about = Path(file).stat()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise SourceError(f"{file}: {error.strerror}") from error
            yield FoundFile(file, about.st_size, f"{about.st_size}-{about.st_mtime_ns}")


def _below(folder: str) -> list[str]:
    def refuse(error: OSError) -> None:
        raise SourceError(f"{error.filename}: {error.strerror}") from error

    return sorted(
        os.path.join(inside, name)
        for inside, _, names in os.walk(folder, onerror=refuse)
        for name in names
        if name.endswith(_SUFFIXES)
    )


def _remote(pattern: str) -> Iterator[FoundFile]:
    try:
        system, path = fsspec.core.url_to_fs(pattern)
        names = system.glob(path) if "*" in path else system.find(path)
        for name in sorted(names):
            about = system.info(name)
            exact = name.strip("/") == path.strip("/")
            if about.get("type") == "directory" or not (exact or name.endswith(_SUFFIXES)):
                continue
            stamp = about.get("ETag") or about.get("LastModified") or about.get("mtime") or ""
            uri = system.unstrip_protocol(name)
            yield FoundFile(uri, about.get("size"), f"{about.get('size')}-{stamp}")
    except ImportError as error:
        raise SourceError(f"{pattern}: {error}; try pip install 'onefold[s3]'") from error
    except Exception as error:
        # Each object store's client has errors of its own.
        why = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise SourceError(f"{pattern}: {why}") from error


def read_batches(
    file: FoundFile,
    sources: Sources,
    now_ms: int,
    *,
    source_name: str = "",
    after_line: int = 0,
    size: int = BATCH_EVENTS,
) -> Iterator[Batch]:
    """The events of `file` after its first `after_line` lines. The last batch's position is finished.

    A line that is no event is in `refused`. SourceError if the file cannot be read to its end; what
    was read until then was yielded.
    """
    named = _RUDDER.search(file.uri)
    source = sources.named(source_name or (named["source"] if named else "files"))
    events: list[Event] = []
    refused: list[Refused] = []
    line = offset = 0

    def batch(finished: bool) -> Batch:
        position = StoredPosition(
            uri=file.uri, fingerprint=file.fingerprint, line=line, finished=finished
        )
        return Batch(events=events, refused=refused, position=position, bytes_read=offset)

    try:
        with _open(file.uri) as stream:
            for lines, read in read_lines(stream, EVENT_BYTES_MAX):
                offset = read  # for `batch`, too
                for raw in lines:
                    line += 1
                    if line <= after_line or not raw or raw.isspace():
                        continue
                    decoded = decode(raw.strip(), now_ms, source, believe_received_at=True)
                    if isinstance(decoded, Event):
                        events.append(decoded)
                    else:
                        refused.append(_at_line(decoded, line))
                    if len(events) + len(refused) >= size:
                        yield batch(finished=False)
                        events, refused = [], []
    except READ_ERRORS as error:
        if events or refused:
            yield batch(finished=False)
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise SourceError(f"{file.uri}: line {line + 1}: {why}") from error
    yield batch(finished=True)


def _at_line(refused: Refused, line: int) -> Refused:
    return msgspec.structs.replace(refused, detail=f"line {line}: {refused.detail}")


def _open(uri: str) -> AbstractContextManager[BinaryIO]:
    if uri == STANDARD_INPUT:
        return nullcontext(sys.stdin.buffer)
    if "://" in uri:
        return cast(BinaryIO, fsspec.open(uri, "rb").open())
    return open(uri, "rb")

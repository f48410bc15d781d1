"""Events from files: JSON lines, plain or gzip, here or in object storage, from where each was left.

RudderStack's layout is `…/rudder-logs/<source>/<date>/*.json.gz` (facts/rudderstack.md §2); the folder
above the date names the source.
"""

import glob
import re
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, cast

import fsspec
import msgspec
from isal import isal_zlib

from identity.event import Event
from ingest.decode import EVENT_BYTES_MAX, Refused, decode
from ingest.errors import SourceError
from ingest.sources import Sources
from storage.ports import StoredPosition

BATCH_EVENTS: Final = 5_000
"""Events of one transaction in a bulk load: grouping reads and writes saves a tenth over 2,000."""
BLOCK_BYTES: Final = 1 << 20
"""Read at a time: igzip is three times as fast in blocks as by lines (facts/limits.md §1)."""
STANDARD_INPUT: Final = "-"

_GZIP_MAGIC: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"
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
        path = Path(name)
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.name.endswith(_SUFFIXES))
        else:
            inside = [path] if path.exists() else []
        for file in inside:
            try:
                about = file.stat()
            except OSError as error:
                raise SourceError(f"{file}: {error.strerror}") from error
            yield FoundFile(str(file), about.st_size, f"{about.st_size}-{about.st_mtime_ns}")


def _remote(pattern: str) -> Iterator[FoundFile]:
    try:
        system, path = fsspec.core.url_to_fs(pattern)
        names = system.glob(path) if "*" in path else system.find(path)
        for name in sorted(names):
            if not name.endswith(_SUFFIXES):
                continue
            about = system.info(name)
            stamp = about.get("ETag") or about.get("LastModified") or about.get("mtime") or ""
            uri = system.unstrip_protocol(name)
            yield FoundFile(uri, about.get("size"), f"{about.get('size')}-{stamp}")
    except ImportError as error:
        raise SourceError(f"{pattern}: {error}; try pip install 'onefold[s3]'") from error
    except OSError as error:
        raise SourceError(f"{pattern}: {error.strerror or type(error).__name__}") from error


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
            for lines, offset in _line_blocks(stream):
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
    except (OSError, EOFError, zlib.error, isal_zlib.error) as error:
        if events or refused:
            yield batch(finished=False)
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise SourceError(f"{file.uri}: line {line + 1}: {why}") from error
    yield batch(finished=True)


def _at_line(refused: Refused, line: int) -> Refused:
    return msgspec.structs.replace(refused, detail=f"line {line}: {refused.detail}")


def _open(uri: str) -> BinaryIO:
    if uri == STANDARD_INPUT:
        return sys.stdin.buffer
    if "://" in uri:
        return cast(BinaryIO, fsspec.open(uri, "rb").open())
    return open(uri, "rb")  # noqa: SIM115 - the caller's `with` closes it


def _line_blocks(stream: BinaryIO) -> Iterator[tuple[list[bytes], int]]:
    """Runs of whole lines, and how many stored bytes were read for them.

    A line beyond the limit is cut to one byte more than the limit, so that `decode` refuses it and
    memory stays bounded.
    """
    rest = b""
    skipping = False
    offset = 0
    first = True
    for offset, block in _plain_blocks(stream):
        if first:
            block, first = block.removeprefix(_BOM), False  # noqa: PLW2901
        lines = (rest + block).split(b"\n") if not skipping else block.split(b"\n")
        if skipping:
            if len(lines) == 1:
                continue
            lines[0], skipping = rest, False
        rest = lines.pop()
        if len(rest) > EVENT_BYTES_MAX:
            rest, skipping = rest[: EVENT_BYTES_MAX + 1], True
        yield lines, offset
    if rest:
        yield [rest], offset


def _plain_blocks(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(stored bytes read so far, text) in blocks; gzip is told by its first two bytes."""
    offset = 0
    unzip = None
    block = stream.read(BLOCK_BYTES)
    zipped = block.startswith(_GZIP_MAGIC)
    while block:
        offset += len(block)
        if not zipped:
            yield offset, block
        while zipped and block:
            unzip = unzip or isal_zlib.decompressobj(wbits=31)
            text = unzip.decompress(block, 8 * BLOCK_BYTES)
            if text:
                yield offset, text
            # Several gzip members may stand one after the other in one file.
            block, unzip = (
                (unzip.unused_data, None) if unzip.eof else (unzip.unconsumed_tail, unzip)
            )
        block = stream.read(BLOCK_BYTES)
    if unzip is not None and not unzip.eof:
        raise EOFError("the gzip file ends too early")

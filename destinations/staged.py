"""Files on this disk before they are sent: gzip, split by size, checksums; equal bytes for equal lines."""

import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from isal import isal_zlib

from destinations.errors import TargetUnavailable

CHUNK_BYTES: Final = 256 * 1024
"""Lines are compressed in pieces of about this size, cut at the end of a line: their own bytes alone decide
where, so that the size of batches changes nothing, and a file's size is known at every cut."""
GZIP_LEVEL: Final = 2
_WBITS_GZIP: Final = 31
_STORED_EXTRA: Final = 1024
"""What a chunk that does not compress costs beside its bytes, and the end of the file: generous."""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StagedFile(msgspec.Struct, frozen=True):
    """A finished file."""

    path: Path
    bytes: int
    md5: str
    sha256: str


@contextmanager
def disk_errors(place: Path | str) -> Iterator[None]:
    """The disk's errors as this tree's."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise TargetUnavailable(
                f"{place}: no space left on the disk; free some and run it again, nothing was delivered"
            ) from error
        raise TargetUnavailable(f"{place}: {error.strerror or type(error).__name__}") from error


class LineFile:
    """One file of lines, gzip or plain."""

    def __init__(self, path: Path, *, compress: bool) -> None:
        self._path = path
        with disk_errors(path):
            self._file = path.open("wb")
        # A header without name and time: two files with the same lines are the same bytes.
        self._packer = (
            isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, _WBITS_GZIP) if compress else None
        )
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self.bytes = 0

    def add(self, lines: bytes) -> None:
        """Append whole lines."""
        if self._packer is not None:
            packed = self._packer.compress(lines) + self._packer.flush(isal_zlib.Z_SYNC_FLUSH)
            self._write(packed)
        else:
            self._write(lines)

    def _write(self, data: bytes) -> None:
        with disk_errors(self._path):
            self._file.write(data)
        self._md5.update(data)
        self._sha256.update(data)
        self.bytes += len(data)

    def finish(self) -> StagedFile:
        """Complete it."""
        if self._packer is not None:
            self._write(self._packer.flush(isal_zlib.Z_FINISH))
        with disk_errors(self._path):
            self._file.close()
        return StagedFile(self._path, self.bytes, self._md5.hexdigest(), self._sha256.hexdigest())

    def close(self) -> None:
        """Give it up."""
        try:
            self._file.close()
        except OSError:  # What is given up need not be whole.
            return


class SplitLines:
    """Lines in as many files as a limit on their size needs; empty: one empty file."""

    def __init__(
        self, folder: Path, name: str, *, compress: bool = True, bytes_max: int | None = None
    ) -> None:
        self._folder, self._name = folder, name
        self._compress, self._bytes_max = compress, bytes_max
        self._buffer = bytearray()
        self._done: list[StagedFile] = []
        self._file = self._open()

    def _open(self) -> LineFile:
        return LineFile(
            self._folder / f"{self._name}.{len(self._done) + 1}", compress=self._compress
        )

    def add(self, lines: bytes) -> None:
        """Append whole lines."""
        self._buffer += lines
        start = 0
        while len(self._buffer) - start >= CHUNK_BYTES:
            # The newline before the end of the chunk, or the first one after it where a line is that long.
            end = self._buffer.rfind(b"\n", start, start + CHUNK_BYTES) + 1
            end = end or self._buffer.find(b"\n", start + CHUNK_BYTES) + 1
            if not end:
                break
            self._chunk(bytes(self._buffer[start:end]))
            start = end
        del self._buffer[:start]

    def _chunk(self, lines: bytes) -> None:
        if (
            self._bytes_max is not None
            and self._file.bytes
            and self._file.bytes + len(lines) + _STORED_EXTRA > self._bytes_max
        ):
            self._done.append(self._file.finish())
            self._file = self._open()
        self._file.add(lines)

    def finish(self) -> list[StagedFile]:
        """Complete every file; in order."""
        if self._buffer:
            self._chunk(bytes(self._buffer))
            self._buffer.clear()
        self._done.append(self._file.finish())
        return self._done

    def close(self) -> None:
        """Give up what is not complete."""
        self._file.close()

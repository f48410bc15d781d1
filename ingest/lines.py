"""From a stream of bytes, plain or gzip, to its lines, in bounded memory."""

import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final, cast

import msgspec
from isal import isal_zlib

BLOCK_BYTES: Final = 1 << 18
"""Read at a time: igzip is three times as fast in blocks as by lines (facts/limits.md §1)."""
INFLATED_BYTES_MAX: Final = 1 << 18
"""Text made at a time, so that a gzip bomb comes in bites."""
ARRAY_BYTES_MAX: Final = 256 << 20
"""A file that is one JSON array is read as a whole; a larger one must be lines."""
READ_ERRORS: Final = cast(
    tuple[type[Exception], ...], (OSError, EOFError, zlib.error, isal_zlib.error)
)
"""What reading may raise (isal's stubs call its error a value)."""

_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 31
_BOM: Final = b"\xef\xbb\xbf"
_decode_array: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


def read_lines(stream: BinaryIO, line_bytes_max: int) -> Iterator[tuple[list[bytes], int]]:
    """Runs of lines, and how many stored bytes were read for them. READ_ERRORS if it cannot be read.

    A line beyond the limit is cut to one byte more than the limit. The elements of a file that is one
    JSON array are its lines. A last line that ends in a broken file is no line.
    """
    rest = b""
    skipping = False
    offset = 0
    blocks = _plain_blocks(stream)
    for number, (read, text) in enumerate(blocks):
        offset = read
        block = text.removeprefix(_BOM) if number == 0 else text
        if number == 0 and block.lstrip()[:1] == b"[":
            yield _array_elements(block, offset, blocks)
            return
        lines = block.split(b"\n")
        if skipping:
            if len(lines) == 1:
                continue
            lines[0], skipping = rest, False
        else:
            lines[0] = rest + lines[0]
        rest = lines.pop()
        if len(rest) > line_bytes_max:
            rest, skipping = rest[: line_bytes_max + 1], True
        yield lines, offset
    if rest:
        yield [rest], offset


def _array_elements(
    block: bytes, offset: int, blocks: Iterator[tuple[int, bytes]]
) -> tuple[list[bytes], int]:
    parts, size = [block], len(block)
    for read, more in blocks:
        offset, size = read, size + len(more)
        if size > ARRAY_BYTES_MAX:
            raise OSError("a JSON array this large cannot be loaded; write one event a line")
        parts.append(more)
    text = b"".join(parts)
    try:
        return [bytes(element) for element in _decode_array(text)], offset
    except (msgspec.DecodeError, RecursionError, ValueError):
        return text.split(b"\n"), offset  # lines that begin with a bracket


def _plain_blocks(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(stored bytes read so far, text) in blocks; gzip is told by its first two bytes."""
    block = stream.read(BLOCK_BYTES)
    if block.startswith(_GZIP_MAGIC):
        yield from _inflated(stream, block)
        return
    offset = 0
    while block:
        offset += len(block)
        yield offset, block
        block = stream.read(BLOCK_BYTES)


def _inflated(stream: BinaryIO, block: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    member = None
    while block:
        offset += len(block)
        while block:
            if member is None:
                if offset > len(block):
                    block = block.lstrip(b"\0")  # padding after a member, as gzip(1) allows
                    if not block:
                        break
                member = isal_zlib.decompressobj(wbits=_GZIP_WINDOW)
            text = member.decompress(block, INFLATED_BYTES_MAX)
            if text:
                yield offset, text
            # Several members may stand one after the other.
            block = member.unused_data if member.eof else member.unconsumed_tail
            member = None if member.eof else member
        block = stream.read(BLOCK_BYTES)
    if member is not None:
        raise EOFError("the gzip file ends too early")

"""Request bodies within bounds: in bytes on the wire, in bytes inflated, in time, and all together."""

import asyncio
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, cast

from isal import isal_zlib

from ingest.http.asgi import Gone, Receive, Rejection, Request

BODY_BYTES_MAX: Final = 4_000 * 1024
"""RudderStack's limit of a body after decompression (facts/rudderstack.md §1.4)."""
BODY_SECONDS_MAX: Final = 30.0
"""A body that takes longer to arrive is given up: SDKs time out after 10 to 15 seconds."""
REQUESTS_IN_FLIGHT_MAX: Final = 2_000
"""Requests worked on at a time; one more is told to come again, which all SDKs do."""
BYTES_IN_FLIGHT_MAX: Final = 256 * 1024 * 1024
"""Bytes of bodies held at a time, so that memory stays bounded whatever arrives."""

DISCARD_BYTES_MAX: Final = 64 * 1024 * 1024
"""A body of this announced length is still discarded to its end; beyond it the connection is closed."""

CLOSE: Final = (b"connection", b"close")
"""Said where the rest of a body is not even discarded, and by a process that ends."""
_RETRY: Final = (b"retry-after", b"1")
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_ERRORS: Final = cast(
    tuple[type[Exception], ...], (isal_zlib.error, zlib.error, ValueError)
)  # isal's stubs call its error a value
_ZLIB_WINDOW: Final = 47
"""zlib's way to say: gzip or zlib, whichever the first bytes tell."""


class InFlight:
    """What is being worked on; refuses more than fits."""

    def __init__(
        self, requests_max: int = REQUESTS_IN_FLIGHT_MAX, bytes_max: int = BYTES_IN_FLIGHT_MAX
    ) -> None:
        self._requests_max, self._bytes_max = requests_max, bytes_max
        self.requests = self.bytes = 0

    @contextmanager
    def request(self) -> Iterator["Held"]:
        """Room for one request; a Rejection if there is none."""
        if self.requests >= self._requests_max or self.bytes >= self._bytes_max:
            raise Rejection(503, "too many requests in flight, try again", _RETRY)
        held = Held(self)
        self.requests += 1
        try:
            yield held
        finally:
            self.requests -= 1
            self.bytes -= held.bytes


class Held:
    """The bytes that one request holds."""

    def __init__(self, within: InFlight) -> None:
        self._within = within
        self.bytes = 0

    def add(self, count: int) -> None:
        """Count some more."""
        self.bytes += count
        self._within.bytes += count


async def read_body(request: Request, receive: Receive, bytes_max: int, held: Held) -> bytes:
    """The body, inflated if it is compressed, whatever the headers say.

    Its type is told by its first bytes: SDKs and proxies get `Content-Encoding` wrong. A Rejection
    (400, 408, 413, 415) if it is too long, too slow or no gzip.
    """
    announced = request.content_length()
    if announced > bytes_max:
        raise _too_large(*([CLOSE] if announced > DISCARD_BYTES_MAX else []))
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            body = await _read(receive, bytes_max, held)
    except TimeoutError:
        raise Rejection(408, "the body took too long", CLOSE) from None
    encoding = request.headers.get(b"content-encoding", b"").strip().lower()
    if body.startswith(_GZIP_MAGIC) or (encoding == b"deflate" and body[:1] == b"\x78"):
        body = inflate(body, bytes_max)
        held.add(len(body))
    elif encoding in (b"br", b"zstd"):
        raise Rejection(415, "content encoding must be gzip")
    return body


async def _read(receive: Receive, bytes_max: int, held: Held) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > bytes_max:
            raise _too_large()
        held.add(len(chunk))
        chunks.append(chunk)
        if not message.get("more_body"):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def inflate(body: bytes, bytes_max: int) -> bytes:
    """`body` decompressed, never making more than `bytes_max` bytes; a Rejection if there is more."""
    parts: list[bytes] = []
    size = 0
    while body:
        stream = isal_zlib.decompressobj(wbits=_ZLIB_WINDOW)
        try:
            part = stream.decompress(body, bytes_max - size + 1)
        except _GZIP_ERRORS:
            raise Rejection(400, "invalid gzip") from None
        size += len(part)
        if size > bytes_max:
            raise _too_large()
        if not stream.eof:
            raise Rejection(400, "invalid gzip")
        parts.append(part)
        body = stream.unused_data  # several members may follow one another
    return b"".join(parts)


def _too_large(*headers: tuple[bytes, bytes]) -> Rejection:
    # The rest is taken off the wire unread: closing at once would reset the connection before the
    # client has read this answer, and it would try the same body again.
    return Rejection(413, "request size exceeds max limit", *headers)

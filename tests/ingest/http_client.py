"""A small HTTP client, and what stands behind the collector in its tests."""

import asyncio
import base64
import gzip
import http.client
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from identity.event import Event, Source
from ingest.collector import Collector
from ingest.deadletters import Refused
from ingest.http.keys import WriteKeys
from ingest.http.serve import CollectorServer

NOW = 1_795_000_000_000
WEB = Source(name="web")
BACKEND = Source(name="backend", trusted=True)
KEYS = WriteKeys({"web-key": WEB, "backend-key": BACKEND})


class Recording:
    """Keeps what was submitted; raises what `failures` holds first, one a call."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.refused: list[Refused] = []
        self.calls = 0
        self.failures: list[Exception] = []
        self.hold: asyncio.Event | None = None

    async def __call__(self, events: Sequence[Event], refused: Sequence[Refused]) -> None:
        """Take a submission."""
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        self.events += events
        self.refused += refused

    @property
    def names(self) -> list[str]:
        """Types, and names of tracks, in order."""
        return [event.name or event.type for event in self.events]


class Reply(msgspec.Struct):
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


class Client:
    """Asks one server."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, found, response.read())
        finally:
            connection.close()

    def post(self, path: str, body: Any, key: str = "web-key", **headers: str) -> Reply:
        """A POST with basic authentication; JSON is made of what is not bytes."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", path, raw, {"Authorization": basic(key), **head} if key else head)


def basic(key: str) -> str:
    """The header that bears a write key."""
    return "Basic " + base64.b64encode(f"{key}:".encode()).decode()


def bomb(size: int) -> bytes:
    """Gzip that inflates to `size` bytes of JSON."""
    return gzip.compress(b'{"type":"page","anonymousId":"a","x":"' + b"0" * size + b'"}')


@contextmanager
def serving(collector: Collector) -> Iterator[Client]:
    """The collector behind a real uvicorn on a free port of the loopback."""
    server = CollectorServer(collector)
    server.start()
    try:
        yield Client(server.port)
    finally:
        server.stop()

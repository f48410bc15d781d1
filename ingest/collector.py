"""The HTTP collector: where the official RudderStack and Segment SDKs send events (DESIGN §7).

What SDKs need, each learnt from a real one (facts/rudderstack.md §3): exactly 200 once the events are
durable, errors in plain text, any header from any page, and 5xx where trying again helps.
"""

import logging
import traceback
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

import msgspec

from identity.event import Event, Source
from ingest.deadletters import Refused
from ingest.decode import EVENT_BYTES_MAX, decode, decode_many
from ingest.http.asgi import Answer, Gone, Receive, Rejection, Request, Scope, Send, send_answer
from ingest.http.body import BODY_BYTES_MAX, CLOSE, Held, InFlight, read_body
from ingest.http.keys import WriteKeys
from ingest.http.pixel import GIF, event_of_query
from ingest.log import LogError
from ingest.mend import mend
from storage.errors import StoreUnavailable

BATCH_EVENTS_MAX: Final = 10_000
"""Events in one request: Segment takes 2,500, and 4 MB hold about 10,000 of the smallest real ones."""

_TYPE_OF: Final = {
    # RudderStack's endpoints, and the short ones of Segment's SDKs for browsers and phones.
    **{f"/v1/{name}": name for name in ("identify", "track", "page", "screen", "group", "alias")},
    **{
        f"/v1/{name[0]}": name for name in ("identify", "track", "page", "screen", "group", "alias")
    },
    "/v1/merge": "merge",
}
_BATCHES: Final = frozenset({"/v1/batch", "/v1/import", "/v1/b", "/beacon/v1/batch"})
_PIXELS: Final = {"/pixel/v1/track": "track", "/pixel/v1/page": "page"}
_WORDS: Final = {
    # RudderStack's words, which people search for.
    "invalid_json": "invalid json",
    "not_an_object": "event is not a valid rudder event",
    "no_identifier": "request neither has anonymousId nor userId",
}
_METRICS: Final = b"text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format."""
_JSON: Final = b"application/json; charset=utf-8"
_log: Final = logging.getLogger(__name__)


class Submit(Protocol):
    """Where the collector hands events on."""

    async def __call__(self, events: Sequence[Event], refused: Sequence[Refused]) -> None:
        """Return when all of them are durable; StoreUnavailable where trying again may help."""


class _Keyed(msgspec.Struct, rename="camel"):
    write_key: Any = None


class _Batch(msgspec.Struct):
    batch: list[msgspec.Raw] | None = None


_decode_keyed: Final = msgspec.json.Decoder(_Keyed).decode
_decode_batch: Final = msgspec.json.Decoder(_Batch).decode


async def _nothing() -> None:
    return


def _unmetered(endpoint: str, status: int) -> None:
    return


class Collector:
    """An ASGI application that takes events and hands them to `submit`."""

    def __init__(
        self,
        keys: WriteKeys,
        submit: Submit,
        clock: Callable[[], int],
        *,
        body_bytes_max: int = BODY_BYTES_MAX,
        in_flight: InFlight | None = None,
        ready: Callable[[], bool] = lambda: True,
        on_stop: Callable[[], Awaitable[None]] = _nothing,
        leaving: Callable[[], bool] = lambda: False,
        version: str = "",
        metrics: Callable[[], bytes] | None = None,
        answered: Callable[[str, int], None] = _unmetered,
    ) -> None:
        """`clock` gives milliseconds since 1970; `on_stop` is awaited after the last request.

        While `leaving`, each answer closes its connection, so that the next request finds another process.
        `metrics` makes the page of that name; `answered` is told of each answer's endpoint, `other` where
        there is none, and status.
        """
        self._keys = keys
        self._submit = submit
        self._clock = clock
        self._body_bytes_max = body_bytes_max
        self._in_flight = in_flight or InFlight()
        self._on_stop = on_stop
        self._leaving = leaving
        self._answered = answered
        self._pages: dict[str, Callable[[], Answer]] = {
            "/health": lambda: Answer(200, b'{"server":"UP"}', _JSON),
            "/healthz": lambda: Answer(200, b"ok"),
            "/readyz": lambda: Answer(200, b"ok") if ready() else Answer(503, b"not ready"),
            "/version": lambda: Answer(200, msgspec.json.encode({"version": version}), _JSON),
            "/robots.txt": lambda: Answer(200, b"User-agent: *\nDisallow: /\n"),
        }
        if metrics is not None:
            self._pages["/metrics"] = lambda: Answer(200, metrics(), _METRICS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's entry."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            return
        request = Request(scope)
        try:
            answer = await self._answer(request, receive)
        except Gone:
            return
        except Rejection as rejection:
            answer = rejection.answer
        except Exception as error:
            # Never the message: it may hold what a person typed.
            where = "".join(traceback.format_tb(error.__traceback__))
            _log.error("answering failed: %s\n%s", type(error).__name__, where)
            answer = Answer(500, b"internal error, try again")
        # Of a pixel, what became of its event: the image is sent in any case.
        self._answered(self._endpoint(request.path), answer.status)
        if request.path in _PIXELS and request.method in ("GET", "HEAD"):
            answer = Answer(200, GIF, b"image/gif", ((b"cache-control", b"no-store"),))
        if self._leaving():
            answer = msgspec.structs.replace(answer, headers=(*answer.headers, CLOSE))
        await send_answer(send, answer, request)

    def _endpoint(self, path: str) -> str:
        known = path in _TYPE_OF or path in _BATCHES or path in _PIXELS or path in self._pages
        if known:
            return path
        return "/sourceConfig" if path.rstrip("/") == "/sourceConfig" else "other"

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._on_stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, request: Request, receive: Receive) -> Answer:
        method, path = request.method, request.path
        takes = path in _TYPE_OF or path in _BATCHES
        page = self._pages.get(path)
        config = path.rstrip("/") == "/sourceConfig"
        if not (takes or page or config or path in _PIXELS):
            return Answer(404, b"404 page not found")
        if method == "OPTIONS":
            return Answer(204, b"")
        if method != "POST" if takes else method not in ("GET", "HEAD"):
            allow = b"POST, OPTIONS" if takes else b"GET, HEAD, OPTIONS"
            raise Rejection(405, "method not allowed", (b"allow", allow))
        if page:
            return page()
        if config:
            return self._source_config(request)
        with self._in_flight.request() as held:
            if path in _PIXELS:
                return await self._take_pixel(request)
            return await self._take(request, receive, held)

    def _source(self, request: Request, body_key: str = "") -> Source:
        """Whose key the request bears: in its head, in its query (beacon, pixel), or in its body (Segment)."""
        if request.path.startswith("/v1/"):
            key, place = request.basic_user() or body_key, "header"
        else:
            key, place = request.query().get("writeKey") or request.basic_user(), "query params"
        if not key:
            raise Rejection(401, f"failed to read writekey from {place}")
        source = self._keys.source_of(key)
        if source is None:
            raise Rejection(401, "invalid write key")
        return source

    def _source_config(self, request: Request) -> Answer:
        """What analytics-js needs to start: a source without destinations."""
        source = self._source(request)
        about = {"id": source.name, "name": source.name, "enabled": True}
        body = msgspec.json.encode({"source": {**about, "config": {}, "destinations": []}})
        return Answer(200, body, _JSON)

    async def _take_pixel(self, request: Request) -> Answer:
        source = self._source(request)
        raw = event_of_query(request.query())
        return await self._hand_on(
            *_sorted(decode(raw, self._clock(), source, _PIXELS[request.path]))
        )

    async def _take(self, request: Request, receive: Receive, held: Held) -> Answer:
        keyed = bool(request.basic_user()) or not request.path.startswith("/v1/")
        source = self._source(request) if keyed else None
        body = await read_body(request, receive, self._body_bytes_max, held)
        if not body:
            raise Rejection(400, "request body is nil")
        if source is None:
            source = self._source(request, _key_in(body))
        received_ms = self._clock()
        if request.path not in _BATCHES:
            decoded = decode(body, received_ms, source, _TYPE_OF[request.path])
            return await self._hand_on(*_sorted(decoded))
        messages = _split(body, received_ms, source)
        if isinstance(messages, Refused):
            return await self._hand_on([], [messages])
        return await self._hand_on(*decode_many(messages, received_ms, source))

    async def _hand_on(self, events: list[Event], refused: list[Refused]) -> Answer:
        try:
            await self._submit(events, refused)
        except (StoreUnavailable, LogError, OSError) as error:
            _log.warning("events not taken: %s", type(error).__name__)
            raise Rejection(503, "store unavailable, try again", (b"retry-after", b"1")) from None
        if refused and not events:
            raise Rejection(400, _words(refused[0]))
        return Answer(200, b"ok")


def _sorted(decoded: Event | Refused) -> tuple[list[Event], list[Refused]]:
    return ([decoded], []) if isinstance(decoded, Event) else ([], [decoded])


def _key_in(body: bytes) -> str:
    try:
        key = _decode_keyed(body).write_key
    except (msgspec.DecodeError, RecursionError, ValueError):
        return ""
    return key.strip() if isinstance(key, str) else ""


def _split(body: bytes, received_ms: int, source: Source) -> list[msgspec.Raw] | Refused:
    """The messages of a batch; what is no batch is one refused message, kept as far as it may be long."""
    try:
        messages = _messages(body)
    except RecursionError:
        reason, detail = "too_deep", "the batch is nested too deeply"
    except msgspec.ValidationError:
        reason, detail = "not_an_object", "a batch is an object with a list `batch`"
    except (msgspec.DecodeError, ValueError) as error:
        # msgspec names the place, not the content.
        reason, detail = (
            "invalid_json",
            str(error) if isinstance(error, msgspec.DecodeError) else "",
        )
    else:
        if not messages:
            raise Rejection(400, "empty batch payload")
        if len(messages) > BATCH_EVENTS_MAX:
            raise Rejection(413, f"a batch has at most {BATCH_EVENTS_MAX} events")
        return messages
    return Refused(
        reason=reason, detail=detail, raw=body[:EVENT_BYTES_MAX], received_ms=received_ms,
        source=source.name,
    )  # fmt: skip


def _messages(body: bytes) -> list[msgspec.Raw]:
    try:
        return _decode_batch(body).batch or []
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if (mended := mend(body)) == body:
            raise
    return _decode_batch(mended).batch or []


def _words(refused: Refused) -> str:
    words = _WORDS.get(refused.reason)
    return words or f"event is not a valid rudder event: {refused.detail}"

"""ASGI as far as the collector needs it: what a request says, and how an answer is sent."""

import base64
import binascii
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

QUERY_FIELDS_MAX: Final = 200
"""Fields of a query: a pixel carries an event's few properties."""
CORS_SECONDS: Final = b"900"
"""How long a browser may remember a preflight: RudderStack's figure (facts/rudderstack.md §3)."""

_PLAIN: Final = b"text/plain; charset=utf-8"
_ANY_HEADERS: Final = b"Authorization, Content-Type, Content-Encoding, AnonymousId, SentAt"


class Answer(msgspec.Struct, frozen=True):
    """What is sent back."""

    status: int
    body: bytes
    content_type: bytes = _PLAIN
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Rejection(Exception):
    """A request that is answered with an error, in plain text: JSON would make an SDK retry it."""

    def __init__(self, status: int, text: str, *headers: tuple[bytes, bytes]) -> None:
        self.answer = Answer(status, text.encode(), headers=headers)


class Gone(Exception):
    """The client went away before its request was complete."""


class Request:
    """A request's line and headers."""

    def __init__(self, scope: Scope) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self._query: bytes = scope["query_string"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])

    def query(self) -> dict[str, str]:
        """The query's fields, the first of each name; a Rejection if there are too many."""
        try:
            pairs = parse_qsl(
                self._query.decode("latin-1"),
                keep_blank_values=True,
                max_num_fields=QUERY_FIELDS_MAX,
            )
        except ValueError:
            raise Rejection(400, "too many query parameters") from None
        return dict(reversed(pairs))

    def basic_user(self) -> str:
        """The user of basic authentication, where SDKs put the write key; "" without one."""
        scheme, _, encoded = self.headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"basic":
            return ""
        try:
            text = base64.b64decode(encoded.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return ""
        return text.partition(":")[0].strip()

    def content_length(self) -> int:
        """The announced length of the body; 0 if there is none."""
        announced = self.headers.get(b"content-length", b"")
        return int(announced) if announced.isdigit() and len(announced) < 19 else 0


def cors(request: Request) -> tuple[tuple[bytes, bytes], ...]:
    """Headers that let any page send events, with any header (SDKs add some when they retry)."""
    origin = request.headers.get(b"origin")
    if origin is None:
        return ()
    allowed: tuple[tuple[bytes, bytes], ...] = (
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", b"true"),
        (b"vary", b"Origin"),
    )
    if request.method == "OPTIONS":
        asked = request.headers.get(b"access-control-request-headers", _ANY_HEADERS)
        allowed += (
            (b"access-control-allow-methods", b"GET, HEAD, POST, OPTIONS"),
            (b"access-control-allow-headers", asked),
            (b"access-control-max-age", CORS_SECONDS),
        )
    return allowed


async def send_answer(send: Send, answer: Answer, request: Request) -> None:
    """Send `answer`, without its body where only the head was asked for."""
    length = str(len(answer.body)).encode()
    headers = [(b"content-type", answer.content_type), (b"content-length", length)]
    headers += answer.headers + cors(request)
    body = b"" if request.method == "HEAD" else answer.body
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

"""Posting over HTTP: time-outs that hold, no redirects, answers of any kind understood as one of four."""

import http.client
import ipaddress
import random
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final, Self
from urllib.parse import urlsplit

import msgspec

from destinations.errors import TargetRefused, TargetUnavailable

ANSWER_BYTES_MAX: Final = 64 * 1024
"""Of an answer, which is a status and a word: more is not read."""
PAUSE_FIRST_S: Final = 0.5
PAUSE_MAX_S: Final = 30.0
RETRY_AFTER_MAX_S: Final = 300.0
"""A server may ask for a pause, but not for a day."""
_READ_BYTES: Final = 8 * 1024


class Meaning(Enum):
    """What an answer means for what was sent."""

    TAKEN = "taken"
    LATER = "later"
    BAD = "bad"
    """This message will never be taken; others may."""
    STOP = "stop"
    """Nothing will be taken: the address, the credentials or the rights are wrong."""


class Answer(msgspec.Struct, frozen=True):
    """What a server said."""

    status: int
    body: bytes = b""
    retry_after_s: float | None = None

    @property
    def meaning(self) -> Meaning:
        """What that means."""
        if 200 <= self.status < 300:
            return Meaning.TAKEN
        if self.status in (408, 425, 429) or self.status >= 500:
            return Meaning.LATER
        return Meaning.BAD if self.status in (400, 409, 413, 422) else Meaning.STOP


class Address(msgspec.Struct, frozen=True):
    """Where to post."""

    host: str
    port: int
    path: str
    tls: bool

    @classmethod
    def parse(cls, url: str) -> Self:
        """ValueError unless it is `https://`, or `http://` to this machine."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an address such as https://example.com/audiences")
        if parts.username or parts.password:
            raise ValueError("must not hold a user or password")
        tls = parts.scheme == "https"
        if not tls and not _is_loopback(parts.hostname):
            raise ValueError("must be https://: what is posted are people")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.hostname, parts.port or (443 if tls else 80), path, tls)

    @property
    def place(self) -> str:
        """For people, without what a query may hide."""
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{self.host}:{self.port}{self.path.partition('?')[0]}"


class Poster:
    """Posts to one address, for one thread; a connection is kept while the other side keeps it."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """What the server says, within the time-out. TargetUnavailable if it says nothing that is HTTP."""
        deadline = time.monotonic() + self._timeout_s
        try:
            kept = self._connection is not None
            try:
                return self._exchange(body, headers, deadline)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                # A kept connection that the other side has closed is no failure of the server.
                self.close()
                if not kept:
                    raise
                return self._exchange(body, headers, deadline)
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise TargetRefused(f"{self._address.place}: {error.verify_message}") from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            what = "no answer in time" if isinstance(error, TimeoutError) else _reason(error)
            raise TargetUnavailable(f"{self._address.place}: {what}") from error

    def _exchange(self, body: bytes, headers: Mapping[str, str], deadline: float) -> Answer:
        connection = self._connected()
        left = max(deadline - time.monotonic(), 0.001)
        connection.timeout = left
        # A server that sends a byte a second never runs into the socket's own time-out.
        watch = threading.Timer(left, _cut, [connection])
        watch.daemon = True
        watch.start()
        try:
            connection.request("POST", self._address.path, body, dict(headers))
            response = connection.getresponse()
            answered = self._read(response, deadline)
        except (OSError, http.client.HTTPException, AttributeError) as error:
            if time.monotonic() >= deadline:
                raise TimeoutError from error
            if isinstance(error, AttributeError):
                raise http.client.HTTPException("connection closed") from error
            raise
        finally:
            watch.cancel()
        if response.will_close or not response.isclosed():
            self.close()
        return answered

    def _read(self, response: http.client.HTTPResponse, deadline: float) -> Answer:
        body = b""
        while len(body) < ANSWER_BYTES_MAX:
            some = response.read1(_READ_BYTES)
            if not some:
                break
            body += some
            if time.monotonic() > deadline:
                raise TimeoutError
        return Answer(response.status, body, _seconds(response.headers.get("Retry-After")))

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            address = self._address
            if address.tls:
                self._connection = http.client.HTTPSConnection(
                    address.host, address.port, timeout=self._timeout_s,
                    context=ssl.create_default_context(),
                )  # fmt: skip
            else:
                self._connection = http.client.HTTPConnection(
                    address.host, address.port, timeout=self._timeout_s
                )
        elif self._connection.sock is not None:
            self._connection.sock.settimeout(self._timeout_s)
        return self._connection

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def patiently(
    attempt: Callable[[], Answer],
    retry_max_s: float,
    sleep: Callable[[float], None] = time.sleep,
    chance: Callable[[], float] = random.random,
) -> Answer:
    """An answer that is not LATER, tried with growing pauses; TargetUnavailable when the time is over."""
    give_up = time.monotonic() + retry_max_s
    pause = PAUSE_FIRST_S
    while True:
        asked: float | None = None
        try:
            answer = attempt()
        except TargetUnavailable as error:
            failure = error
        else:
            if answer.meaning is not Meaning.LATER:
                return answer
            asked = answer.retry_after_s
            failure = TargetUnavailable(f"answered {answer.status}")
        wait = pause * (0.5 + chance() / 2) if asked is None else min(asked, RETRY_AFTER_MAX_S)
        if time.monotonic() + wait > give_up:
            raise failure
        sleep(wait)
        pause = min(pause * 2, PAUSE_MAX_S)


def _cut(connection: http.client.HTTPConnection) -> None:
    sock = connection.sock
    if sock is not None:
        try:
            sock.shutdown(2)
        except OSError:  # It has ended meanwhile.
            return


def _seconds(text: str | None) -> float | None:
    # A date is allowed there, too; then our own pauses do.
    return float(text) if text is not None and text.strip().isdecimal() else None


def _reason(error: BaseException) -> str:
    strerror = getattr(error, "strerror", None)
    return f"{strerror}" if strerror else f"not an HTTP answer ({type(error).__name__})"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""Signed webhooks: audience events in batches, tried again, and letters where they are refused for good.

`X-Onefold-Signature: v1=<hex HMAC-SHA256 of "<timestamp>.<body>">`, with `X-Onefold-Timestamp` in seconds: a
receiver compares in constant time and refuses old times. `Idempotency-Key` is equal for equal events.
"""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Any, Final

from destinations.destination import Acknowledges, Letter, Run, Sealed, Update
from destinations.errors import TargetRefused, TargetUnavailable
from destinations.events import Shape, encode
from destinations.gate import Tally, Withheld
from destinations.http import Address, Answer, Meaning, Poster, patiently
from destinations.settings import WebhookSettings
from storage.chunks import chunks

SIGNATURE: Final = "X-Onefold-Signature"
TIMESTAMP: Final = "X-Onefold-Timestamp"
KEY: Final = "Idempotency-Key"


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What `X-Onefold-Signature` holds for one secret."""
    content = timestamp.encode() + b"." + body
    return "v1=" + hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()


class Webhook:
    """`Destination`."""

    kind = "webhook"
    replaces = False
    acknowledges: Acknowledges = "batch"

    def __init__(self, settings: WebhookSettings, now_ms: Callable[[], int]) -> None:
        self._settings = settings
        self.types = frozenset(settings.identifiers)
        self.traits: frozenset[str] = frozenset()
        self._address = Address.parse(settings.url or "")
        self._secrets = [each for each in (settings.secret, settings.old_secret) if each]
        self._shape = Shape(settings.shape, settings.identifiers)
        self._now_ms = now_ms
        self._poster = Poster(self._address, settings.timeout_s)
        self._letter: Letter = lambda raw, why: None
        self._tally = Tally()
        self._sum = hashlib.sha256()

    @property
    def place(self) -> str:
        """See `Destination`."""
        return self._address.place

    def begin(self, run: Run) -> None:
        """See `Destination`."""
        self._letter = run.letter
        self._sum = hashlib.sha256()

    def render(self, updates: Sequence[Update], tally: Tally) -> list[dict[str, Any]]:
        """See `Destination`."""
        self._tally = tally
        return self._shape.events(updates, tally)

    def deliver(self, rows: Sequence[dict[str, Any]]) -> None:
        """See `Destination`."""
        for some in chunks(rows, self._settings.batch):
            self._post(some)

    def _post(self, events: Sequence[dict[str, Any]]) -> None:
        body = encode(events[0] if self._settings.batch == 1 else {"batch": events})
        try:
            answer = patiently(lambda: self._attempt(body, events), self._settings.retry_max_s)
        except TargetUnavailable as error:
            raise TargetUnavailable(
                f"{self.place}: {str(error).removeprefix(f'{self.place}: ')}; "
                "the next run goes on from there"
            ) from error
        if answer.meaning is Meaning.STOP:
            raise TargetRefused(
                f"{self.place}: answered {answer.status}; check `url` and what it expects"
            )
        if answer.meaning is Meaning.TAKEN:
            self._sum.update(body)
        elif len(events) > 1:
            # One of them is bad: the others need not suffer.
            half = len(events) // 2
            self._post(events[:half])
            self._post(events[half:])
        else:
            self._tally.withhold(Withheld.REFUSED_THERE)
            self._letter(encode(events[0]), f"answered {answer.status}")

    def _attempt(self, body: bytes, events: Sequence[dict[str, Any]]) -> Answer:
        timestamp = str(self._now_ms() // 1000)
        key = hashlib.sha256("\0".join(each["messageId"] for each in events).encode()).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "onefold",
            TIMESTAMP: timestamp,
            SIGNATURE: ",".join(signature(each, timestamp, body) for each in self._secrets),
            KEY: key,
        }
        return self._poster.post(body, headers)

    def finish(self) -> Sealed:
        """See `Destination`."""
        self._poster.close()
        return Sealed(self._sum.hexdigest())

    def abandon(self) -> None:
        """See `Destination`."""
        self._poster.close()

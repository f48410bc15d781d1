"""Audience events to a Kafka topic, keyed by profile: one profile's events stay in order."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from destinations.destination import Acknowledges, Run, Sealed, Update
from destinations.errors import TargetUnavailable
from destinations.events import NAMESPACE, Shape, encode
from destinations.gate import Tally
from destinations.settings import KafkaDestinationSettings


class Sending(Protocol):
    """What is needed of a producer; `ingest.log.Producer` has it."""

    def send(
        self, topic: str, value: bytes, key: bytes = b"", headers: Mapping[str, bytes] | None = None
    ) -> None:
        """Hand over a message."""

    def flush(self) -> None:
        """Return when all that was sent is durable."""

    def close(self) -> None:
        """Let go of connections."""


class KafkaTopic:
    """`Destination`."""

    kind = "kafka"
    replaces = False
    acknowledges: Acknowledges = "batch"

    def __init__(
        self,
        settings: KafkaDestinationSettings,
        open_producer: Callable[[str], Sending],
        unavailable: tuple[type[Exception], ...] = (),
    ) -> None:
        """`open_producer` is given the topic, which must be there; `unavailable` are errors that pass by."""
        self._topic = settings.topic or ""
        self.types = frozenset(settings.identifiers)
        self.traits: frozenset[str] = frozenset()
        self._shape = Shape(settings.shape, settings.identifiers)
        self._open_producer = open_producer
        self._producer: Sending | None = None
        self._unavailable = unavailable
        self._sum = hashlib.sha256()

    @property
    def place(self) -> str:
        """See `Destination`."""
        return f"kafka topic {self._topic}"

    def begin(self, run: Run) -> None:
        """See `Destination`."""
        self._sum = hashlib.sha256()
        if not run.dry:
            try:
                self._producer = self._open_producer(self._topic)
            except self._unavailable as error:
                raise TargetUnavailable(f"{self.place}: {error}") from error

    def render(self, updates: Sequence[Update], tally: Tally) -> list[dict[str, Any]]:
        """See `Destination`."""
        return self._shape.events(updates, tally)

    def deliver(self, rows: Sequence[dict[str, Any]]) -> None:
        """See `Destination`."""
        assert self._producer is not None  # noqa: S101  # `begin` was called
        try:
            for event in rows:
                body = encode(event)
                key = bytes.fromhex(event["context"][NAMESPACE]["profile_id"])
                self._producer.send(
                    self._topic, body, key, {"message_id": event["messageId"].encode()}
                )
                self._sum.update(body)
            self._producer.flush()
        except self._unavailable as error:
            raise TargetUnavailable(f"{self.place}: {error}") from error

    def finish(self) -> Sealed:
        """See `Destination`."""
        self.abandon()
        return Sealed(self._sum.hexdigest())

    def abandon(self) -> None:
        """See `Destination`."""
        if self._producer is not None:
            self._producer.close()
            self._producer = None

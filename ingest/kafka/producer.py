"""Sending to Kafka: `ingest.log.Producer` on confluent-kafka, idempotent, durable on all in-sync replicas."""

import logging
import time
from collections.abc import Mapping
from typing import Final

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException

from ingest.kafka.client import Troubles, client_config, explained, made
from ingest.kafka.settings import KafkaSettings
from ingest.log import MESSAGE_BYTES_MAX, LogError, LogUnavailable, MessageTooLarge

LINGER_MS: Final = 5
"""How long a message waits for company while nobody flushes."""
QUEUE_MESSAGES_MAX: Final = 50_000
QUEUE_KB_MAX: Final = 65_536
"""What is under way; past it `send` waits."""
OVERHEAD_BYTES: Final = 1 << 16
"""Of key, headers and framing, which count towards librdkafka's limit."""
PURGE_S: Final = 1.0
LOOK_S: Final = 2.0

_logger = logging.getLogger(__name__)


class KafkaProducer:
    """`ingest.log.Producer`. Equal keys go where Java's clients send them (murmur2)."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._troubles = Troubles(settings)
        self._client = self._connected()
        self._failed: dict[tuple[int, str], KafkaError] = {}

    def _connected(self) -> ck.Producer:
        return made(
            ck.Producer,
            client_config(self._settings, self._troubles)
            | {
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
                "linger.ms": LINGER_MS,
                "partitioner": "murmur2_random",
                "message.timeout.ms": int(self._settings.timeout_s * 1000),
                "message.max.bytes": MESSAGE_BYTES_MAX + OVERHEAD_BYTES,
                "queue.buffering.max.messages": QUEUE_MESSAGES_MAX,
                "queue.buffering.max.kbytes": QUEUE_KB_MAX,
                "delivery.report.only.error": True,
                "on_delivery": self._reported,
            },
            self._settings,
        )

    def send(
        self, topic: str, value: bytes, key: bytes = b"", headers: Mapping[str, bytes] | None = None
    ) -> None:
        """Hand over a message; waits while too many are under way."""
        if len(value) + len(key) > MESSAGE_BYTES_MAX:
            raise MessageTooLarge(f"{topic}: a message of {len(value)} bytes")
        until = 0.0
        while True:
            try:
                self._client.produce(topic, value, key or None, headers=headers)  # type: ignore[arg-type]
            except BufferError:
                until = until or time.monotonic() + self._settings.timeout_s
                if time.monotonic() > until:
                    raise self._reason("the queue stays full") from None
                self._client.poll(0.1)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    raise MessageTooLarge(f"{topic}: a message of {len(value)} bytes") from None
                raise explained(error, self._settings, topic, "send") from error
            else:
                return

    def flush(self) -> None:
        """Return when all that was sent is durable; else a LogError that says where it failed."""
        left = self._client.flush(self._settings.timeout_s + PURGE_S)
        if left:
            # What is sent again must not be under way twice.
            self._client.purge()
            self._client.flush(PURGE_S)
        failed, self._failed = self._failed, {}
        if self._troubles.fatal:
            _logger.error("the producer gave up for good; a new one takes its place")
            self._client = self._connected()
            self._troubles.fatal = False
        if not failed and not left:
            self._troubles.over()
            return
        for (_, topic), error in failed.items():
            if error.code() == KafkaError._MSG_TIMED_OUT:
                self._check_topic(topic)
                raise self._reason(f"{topic}: no broker took the messages in time")
            raise explained(error, self._settings, topic, "write")
        raise self._reason("no broker took the messages in time")

    def close(self) -> None:
        """Let go of connections; what was not flushed is given up."""
        self._client.purge()
        self._client.flush(PURGE_S)

    def _reported(self, error: KafkaError | None, message: ck.Message) -> None:
        if error is not None:
            self._failed.setdefault((error.code(), message.topic() or ""), error)

    def _check_topic(self, topic: str) -> None:
        # Messages for a topic that is not there wait until their time is over.
        try:
            found = self._client.list_topics(topic, timeout=LOOK_S).topics[topic]
        except KafkaException:
            return
        if found.error is not None:
            raise explained(found.error, self._settings, topic, "write")

    def _reason(self, what: str) -> LogError:
        why = self._troubles.error
        return why or LogUnavailable(f"kafka at {self._settings.brokers}: {what}")

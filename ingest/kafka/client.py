"""How librdkafka is configured, and what its errors mean. Everything here says what, where and what to do.

Properties: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from ingest.kafka.settings import KafkaSettings
from ingest.log import LogError, LogRefused, LogUnavailable

ANSWER_S_MAX: Final = 5.0
"""The longest wait for a broker when a command starts."""
QUIET: Final = 2
"""Of librdkafka's own log, only what is critical: the rest comes as errors, which are told once."""

_LOGIN: Final = (
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
    KafkaError.ILLEGAL_SASL_STATE,
)
_NO_TOPIC: Final = "no such topic; `onefold migrate` makes those of kafka.prefix"
_NO_LOGIN: Final = (
    "{user} cannot log in ({mechanism}): {reason}; check kafka.username, kafka.password, "
    "kafka.sasl_mechanism and kafka.security_protocol"
)
_ADVICE: Final = {
    **dict.fromkeys(_LOGIN, _NO_LOGIN),
    KafkaError._SSL: "no encrypted connection: {reason}; check kafka.tls_ca, and that the listener speaks "
    "{protocol}",
    KafkaError.UNKNOWN_TOPIC_OR_PART: _NO_TOPIC,
    KafkaError._UNKNOWN_TOPIC: _NO_TOPIC,
    KafkaError._UNKNOWN_PARTITION: _NO_TOPIC,
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "{user} may not {doing} it; grant Describe, Read and Write on "
    "topics that begin with {prefix}., and Read on kafka.inputs",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "{user} may not join this group; grant Read on groups that begin "
    "with {prefix}.",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "{user} has no right on the cluster: {reason}; grant "
    "IdempotentWrite, and Create for `onefold migrate`",
}
"""What is refused, and what to do about it. Everything else may pass."""
_TELLING: Final = (*_LOGIN, KafkaError._SSL, KafkaError._RESOLVE, KafkaError._TRANSPORT)
"""What is wrong, the most telling first; "all brokers are down" only follows from it."""

_logger = logging.getLogger(__name__)


class Troubles:
    """The newest error that a client reported on its own, until it works again. For librdkafka's `error_cb`."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._error: KafkaError | None = None
        self.fatal = False
        """The client is of no use any more; a new one is."""

    def heard(self, error: KafkaError) -> None:
        """Note an error; a repeated one is logged once."""
        self.fatal = self.fatal or error.fatal()
        known = self._error
        if known is None or _rank(error) <= _rank(known):
            follows = error.code() == KafkaError._ALL_BROKERS_DOWN
            if not follows and (known is None or known.code() != error.code()):
                _logger.warning("%s", explained(error, self._settings))
            self._error = error

    def over(self) -> None:
        """A broker answered."""
        if self._error is not None:
            _logger.warning("kafka: %s answers again", self._settings.brokers)
        self._error = None

    @property
    def error(self) -> LogError | None:
        """What is wrong, if anything is."""
        return None if self._error is None else explained(self._error, self._settings)


def _rank(error: KafkaError) -> int:
    return _TELLING.index(error.code()) if error.code() in _TELLING else len(_TELLING)


Client = TypeVar("Client")


def made(
    kind: Callable[[dict[str, Any]], Client], config: dict[str, Any], settings: KafkaSettings
) -> Client:
    """A client of librdkafka; LogRefused if it cannot be configured so."""
    try:
        return kind(config)
    except KafkaException as error:
        raise LogRefused(
            f"kafka at {settings.brokers}: {error.args[0].str()}; check kafka.tls_ca and the other settings "
            "of kafka"
        ) from error


def client_config(settings: KafkaSettings, troubles: Troubles) -> dict[str, Any]:
    """What consumers, producers and the administrator have in common."""
    if not settings.brokers:
        raise LogRefused("no Kafka is configured: set kafka.brokers")
    config: dict[str, Any] = {
        "bootstrap.servers": settings.brokers,
        "client.id": settings.prefix,
        "security.protocol": settings.security_protocol,
        "socket.keepalive.enable": True,
        "log_level": QUIET,
        "error_cb": troubles.heard,
    }
    if settings.security_protocol.startswith("sasl"):
        config |= {
            "sasl.mechanism": settings.sasl_mechanism,
            "sasl.username": settings.username or "",
            "sasl.password": _password(settings),
        }
    if settings.tls_ca is not None and settings.security_protocol.endswith("ssl"):
        if not Path(settings.tls_ca).is_file():  # librdkafka would not say which
            raise LogRefused(f"kafka.tls_ca: {settings.tls_ca}: no such file")
        config["ssl.ca.location"] = settings.tls_ca
    return config


def _password(settings: KafkaSettings) -> str:
    if settings.password is None and settings.password_file is not None:
        try:
            return Path(settings.password_file).read_text().strip()
        except OSError as error:
            raise LogRefused(
                f"kafka.password_file: {settings.password_file}: {error.strerror}"
            ) from error
    return settings.password or ""


def explained(
    error: KafkaError | KafkaException, settings: KafkaSettings, name: str = "", doing: str = ""
) -> LogError:
    """librdkafka's error as one of ours; `name` is the topic or group that it is about."""
    cause: KafkaError = error.args[0] if isinstance(error, KafkaException) else error
    where = f"kafka at {settings.brokers}: " + (f"{name}: " if name else "")
    advice = _ADVICE.get(cause.code())
    if advice is None:
        return LogUnavailable(f"{where}{doing + ': ' if doing else ''}{cause.str()}")
    return LogRefused(
        where
        + advice.format(
            user=settings.username or "this process",
            mechanism=settings.sasl_mechanism,
            protocol=settings.security_protocol,
            prefix=settings.prefix,
            doing=doing or "use",
            reason=cause.str(),
        )
    )


class Admin:
    """An administrator whose errors are ours. Any thread may use it."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self.troubles = Troubles(settings)
        self.client = made(AdminClient, client_config(settings, self.troubles), settings)
        self.timeout_s = min(ANSWER_S_MAX, settings.timeout_s)

    def topics(self) -> dict[str, int]:
        """The partitions of every topic that this user may see; a LogError if no broker answers."""
        try:
            found = self.client.list_topics(timeout=self.timeout_s).topics
        except KafkaException as error:
            self.client.poll(0)  # hear why
            raise self.troubles.error or explained(error, self.settings) from error
        return {name: len(topic.partitions) for name, topic in found.items()}

    def check(self, topics: Sequence[str]) -> None:
        """LogUnavailable or LogRefused unless a broker answers, lets us in and has `topics`."""
        known = self.topics()
        missing = [topic for topic in topics if not known.get(topic)]
        if missing:
            raise LogRefused(
                f"kafka at {self.settings.brokers}: no topic {', '.join(missing)}, or no right to see it; "
                "`onefold migrate` makes those of kafka.prefix"
            )


def check(settings: KafkaSettings, topics: Sequence[str]) -> None:
    """LogUnavailable or LogRefused, within some seconds, unless Kafka is there and has `topics`."""
    Admin(settings).check(topics)

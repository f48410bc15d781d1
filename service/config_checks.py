"""What no single setting says: combinations that make no sense."""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from ingest.kafka.settings import KafkaSettings
from service.config import Config, ConfigError, Schema
from storage.cassandra.settings import CassandraSettings

Contradiction = tuple[str, str]
"""The setting where it is said, and what is wrong."""

_BROKER: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")
_TLS: Final = ("ssl", "sasl_ssl")
_SASL: Final = ("sasl_plaintext", "sasl_ssl")
_TOPICS: Final = ("events", "backfill", "activity", "links", "changes", "deadletters")


def contradictions(schema: Schema) -> Iterator[Contradiction]:
    """Everything that cannot be meant."""
    yield from _rules(schema)
    yield from _write_keys(schema)
    yield from _cassandra(schema.cassandra)
    yield from _kafka(schema.kafka)


def need_log(config: Config) -> None:
    """ConfigError unless events have somewhere to go: a store of one process, or Kafka."""
    if config.store.kind == "cassandra" and not config.kafka.brokers:
        raise ConfigError(
            f"{config.origin('store.kind')}: kafka.brokers: events go through Kafka "
            "where store.kind is cassandra; name its brokers"
        )


def need_workers(config: Config) -> None:
    """ConfigError unless stages run in processes of their own."""
    if config.store.kind == "sqlite":
        raise ConfigError(
            f"{config.origin('store.kind')}: store.kind: workers need cassandra; with sqlite all stages run "
            "in the process that takes the events (`onefold serve`, `onefold ingest`)"
        )
    need_log(config)


def need_cassandra(config: Config, command: str) -> None:
    """ConfigError unless the store is Cassandra's."""
    if config.store.kind != "cassandra":
        raise ConfigError(
            f"{config.origin('store.kind')}: store.kind: `onefold {command}` is for cassandra; the sqlite "
            "store makes itself and keeps itself up to date"
        )


def _rules(schema: Schema) -> Iterator[Contradiction]:
    for field in msgspec.structs.fields(schema.identity):
        value = getattr(schema.identity, field.name)
        if isinstance(value, int) and value < 0:
            yield f"identity.{field.name}", "must not be negative"


def _write_keys(schema: Schema) -> Iterator[Contradiction]:
    owner: dict[str, str] = {}
    for name, source in schema.source_table.items():
        if source.write_key is None:
            continue
        if source.write_key in owner:
            yield f"sources.{name}.write_key", f"is the write key of {owner[source.write_key]} too"
        owner.setdefault(source.write_key, name)


def _cassandra(settings: CassandraSettings) -> Iterator[Contradiction]:
    if not settings.hosts:
        yield "cassandra.hosts", "must name at least one node"
    if settings.username is None and settings.password is not None:
        yield "cassandra.password", "whose? set cassandra.username too"
    if settings.username is not None and settings.password is None:
        yield "cassandra.username", "set cassandra.password or cassandra.password_file too"


def _kafka(settings: KafkaSettings) -> Iterator[Contradiction]:
    for each in filter(None, settings.brokers.split(",")):
        if not _BROKER.fullmatch(each.strip()):
            yield (
                "kafka.brokers",
                f"must be host:port, several with commas between them, not {each!r}",
            )
    if settings.inputs and not settings.brokers:
        yield "kafka.inputs", "set kafka.brokers too"
    own = {settings.topic(name) for name in _TOPICS} & set(settings.inputs)
    if own:
        yield (
            "kafka.inputs",
            f"{', '.join(sorted(own))} is read anyway: inputs are topics of others",
        )
    protocol = settings.security_protocol
    if protocol in _SASL and None in (settings.username, settings.password):
        yield (
            "kafka.security_protocol",
            f"{protocol} logs in: set kafka.username and kafka.password or kafka.password_file too",
        )
    if protocol not in _SASL and settings.username is not None:
        yield (
            "kafka.username",
            f"security_protocol {protocol} never logs in; use {' or '.join(_SASL)}",
        )
    if protocol not in _TLS and settings.tls_ca is not None:
        yield (
            "kafka.tls_ca",
            f"security_protocol {protocol} is not encrypted; use {' or '.join(_TLS)}",
        )

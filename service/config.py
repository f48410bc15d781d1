"""The configuration: one YAML file, environment variables over it, defaults that work without either."""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

from identity.event import Source
from identity.rules import Rules
from ingest.kafka.settings import KafkaSettings
from storage.cassandra.settings import CassandraSettings

FILE_NAME: Final = "onefold.yaml"
HIDDEN: Final = "…"
DEFAULT: Final = "default"

Text = Annotated[str, Meta(min_length=1, max_length=1000)]
Secret = Annotated[str, Meta(min_length=1, max_length=1000, extra={"secret": True})]
Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0)]


class ConfigError(Exception):
    """The configuration cannot be used; the message names file, line and field of everything wrong."""


class Setting(msgspec.Struct, frozen=True):
    """One setting in force."""

    path: str
    value: Any
    """Plain; secrets are hidden."""
    origin: str
    """`default`, `<file>:<line>` or the environment variable."""


class StoreConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where facts are kept."""

    kind: Literal["sqlite", "cassandra"] = "sqlite"
    """`sqlite`: one file, everything in one process. `cassandra`: many processes, with Kafka between them."""
    path: str = ""
    """The database file of `sqlite`. Empty: `onefold.sqlite` in the data folder."""
    keys: str = ""
    """The file of the workspace's keys. Empty: `onefold.keys` in the data folder."""


class GrpcConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How the gRPC server listens and what it bears."""

    host: Text = "127.0.0.1"
    """The address to listen on; `0.0.0.0` or `::` for all."""
    port: Port = 50051
    """The port to listen on; 0 for any free one."""
    reflection: bool | None = None
    """Whether tools such as grpcurl may list the services. Null: only on a loopback address."""
    workers: Annotated[int, Meta(ge=1, le=256)] = 4
    """Calls answered at the same time by one process. Python runs one at a time: more would wait."""
    message_bytes_max: Annotated[int, Meta(ge=1024, le=256 * 1024 * 1024)] = 4 * 1024 * 1024
    """The largest request and the largest reply, in bytes; clients receive 4 MiB by default."""
    deadline_max_s: Annotated[float, Meta(gt=0)] = 30.0
    """The longest that one batch call is worked on, in seconds, whatever its caller allows."""
    reuse_port: bool = False
    """Whether several processes share the port (SO_REUSEPORT)."""
    drain_s: Seconds = 0.0
    """Seconds between saying NOT_SERVING (and `/readyz` 503) and refusing calls, for balancers to notice."""
    grace_s: Seconds = 5.0
    """Seconds that calls under way may still take at the end."""

    @property
    def reflects(self) -> bool:
        """Whether reflection is on."""
        return is_loopback(self.host) if self.reflection is None else self.reflection


class CollectorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How the HTTP collector listens, where the SDKs send events."""

    host: Text = "127.0.0.1"
    """The address to listen on; `0.0.0.0` or `::` for all."""
    port: Port = 8080
    """The port to listen on; 0 for any free one."""
    any_key: bool | None = None
    """Whether any write key is accepted. Null: only on a loopback address while no source has a key."""
    body_bytes_max: Annotated[int, Meta(ge=1024)] = 4_000_000
    """The largest body, in bytes, before and after decompression; RudderStack's own limit."""
    reuse_port: bool = False
    """Whether several processes share the port (SO_REUSEPORT)."""
    metrics: bool | None = None
    """Whether `/metrics` is served on this port too. Null: only on a loopback address."""

    @property
    def shows_metrics(self) -> bool:
        """Whether `/metrics` is served."""
        return is_loopback(self.host) if self.metrics is None else self.metrics


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How `onefold worker` works."""

    batch_events: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    """Messages that one batch takes from Kafka at most."""
    metrics_host: Text = "127.0.0.1"
    """The address of `/metrics`, `/healthz` and `/readyz`; `0.0.0.0` or `::` for all."""
    metrics_port: Port = 9464
    """Their port, or the next free one above it; 0 for any. `serve` has one, too, where it shares its ports."""
    retry_max_s: Annotated[float, Meta(gt=0, le=600)] = 30.0
    """The longest wait between two tries to reach a server that does not answer, of `onefold serve` too."""


class SourceConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where events come from, and how far they are believed. Sources that are not named are not trusted."""

    write_key: Secret | None = None
    """The key that the SDK sends; a source without one is a folder of files or a topic."""
    write_key_file: Text | None = None
    """A file that holds the write key."""
    trusted: bool = False
    """Whether its claims about identity are believed: yes for a back end, no for browsers and apps."""
    alias_previous_is_device: bool = False
    """Whether `previousId` of its aliases is an anonymous id."""
    user_hash_secret: Secret | None = None
    """If set, `context.userHash` must be the HMAC-SHA256 of the user id, or the event links nothing."""
    user_hash_secret_file: Text | None = None
    """A file that holds that secret."""


class ModelsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where models are kept, and how they age."""

    registry: str = ""
    """The folder of trained models. Empty: `models` in the data folder."""
    refresh_s: Annotated[float, Meta(gt=0)] = 2.0
    """Seconds between looks at the champion, the catalogue and the rules: what changed counts after this."""
    rules: str = ""
    """The folder of rules that pin, promote and hide items. Empty: `merchandising` in the data folder."""
    sensitive_consent: str = "sensitive"
    """The purpose of consent without which nobody is shown items that the catalogue marks sensitive."""


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be configured."""

    data: Text = "./onefold-data"
    """The folder of the store, the keys and the models, relative to the configuration file."""
    currency: Annotated[str, Meta(pattern="^([A-Z]{3})?$")] = ""
    """The currency that people are shown first (ISO 4217). Empty: the one with most orders."""
    store: StoreConfig = StoreConfig()
    cassandra: CassandraSettings = CassandraSettings()
    kafka: KafkaSettings = KafkaSettings()
    grpc: GrpcConfig = GrpcConfig()
    collector: CollectorConfig = CollectorConfig()
    worker: WorkerConfig = WorkerConfig()
    source_table: dict[str, SourceConfig] = msgspec.field(default_factory=dict, name="sources")
    """Sources by name, for example `sources: {backend: {write_key: …, trusted: true}}`."""
    identity: Rules = Rules()
    models: ModelsConfig = ModelsConfig()
    exports: Text = "./exports"
    """The folder of destinations, a YAML file for each, relative to the configuration file."""


class Config(Schema, frozen=True, kw_only=True):
    """The configuration in force, with its paths and secrets in place."""

    origins: dict[str, str] = {}
    """Where each setting that is no default comes from."""

    def sources(self) -> dict[str, Source]:
        """The configured sources by name."""
        return {
            name: Source(
                name=name,
                trusted=each.trusted,
                alias_previous_is_device=each.alias_previous_is_device,
                user_hash_secret=each.user_hash_secret,
            )
            for name, each in self.source_table.items()
        }

    def write_keys(self) -> dict[str, Source]:
        """The source of each write key."""
        sources = self.sources()
        return {
            each.write_key: sources[name]
            for name, each in self.source_table.items()
            if each.write_key is not None
        }

    def origin(self, path: str) -> str:
        """Where the setting `path` comes from, for messages."""
        return self.origins.get(path, "configuration")

    @property
    def accepts_any_key(self) -> bool:
        """Whether the collector takes events with any write key."""
        if self.collector.any_key is None:
            return is_loopback(self.collector.host) and not self.write_keys()
        return self.collector.any_key

    def settings(self) -> list[Setting]:
        """Every setting in force and where it comes from, without secrets."""
        return [
            Setting(
                path,
                HIDDEN if secret and value is not None else value,
                self.origins.get(path, DEFAULT),
            )
            for path, value, secret in _leaves(self, Schema, "")
        ]

    def redacted(self) -> dict[str, Any]:
        """Every setting in force as nested plain values, without secrets."""
        return _shown(self, Schema)


def load_config(
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    data: Path | None = None,
) -> Config:
    """The configuration of `path`, else of `./onefold.yaml` if it is there, else the defaults.

    Variables `ONEFOLD_SECTION__FIELD` lie over the file, and `data` over both. Relative paths in a file
    are relative to its folder. ConfigError names everything that is wrong.
    """
    from service.config_file import read_config

    return read_config(path, environ or {}, data=data)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def section_of(kind: Any) -> type[msgspec.Struct] | None:
    """The struct that a field holds, or None for a plain value."""
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None


def table_of(kind: Any) -> type[msgspec.Struct] | None:
    """The struct of a field that holds structs by name, or None."""
    if get_origin(kind) is dict:
        return section_of(get_args(kind)[1])
    return None


_CHOICE: Final = re.compile(r"\^\(([\w-]+(?:\|[\w-]+)+)\)\$")


def choices_of(kind: Any) -> tuple[str, ...]:
    """The values of a field that takes only a few: a Literal, or a text with a pattern `^(a|b)$`."""
    if get_origin(kind) is Literal:
        return tuple(map(str, get_args(kind)))
    for note in getattr(kind, "__metadata__", ()):
        if isinstance(note, Meta) and (found := _CHOICE.fullmatch(note.pattern or "")):
            return tuple(found[1].split("|"))
    return ()


def is_secret(kind: Any) -> bool:
    """Whether a field's type is `Secret`, or allows it."""
    for part in (kind, *get_args(kind)):
        for note in getattr(part, "__metadata__", ()):
            if isinstance(note, Meta) and (note.extra or {}).get("secret"):
                return True
    return False


def _shown(value: Any, kind: type[msgspec.Struct]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        held = getattr(value, field.name)
        if section := section_of(field.type):
            tree[field.encode_name] = _shown(held, section)
        elif table := table_of(field.type):
            tree[field.encode_name] = {name: _shown(each, table) for name, each in held.items()}
        elif is_secret(field.type) and held is not None:
            tree[field.encode_name] = HIDDEN
        else:
            tree[field.encode_name] = msgspec.to_builtins(held)
    return tree


def _leaves(value: Any, kind: type[msgspec.Struct], prefix: str) -> Iterable[tuple[str, Any, bool]]:
    for field in msgspec.structs.fields(kind):
        path = prefix + field.encode_name
        held = getattr(value, field.name)
        if section := section_of(field.type):
            yield from _leaves(held, section, path + ".")
        elif table := table_of(field.type):
            for name, each in held.items():
                yield from _leaves(each, table, f"{path}.{name}.")
        else:
            yield path, msgspec.to_builtins(held), is_secret(field.type)

"""From a destination's settings to the destination: the one place that knows every kind."""

from collections.abc import Callable
from typing import Any

import msgspec

from destinations.destination import Destination
from destinations.errors import ExportRefused
from destinations.folders import Folder, open_folder
from destinations.ga4 import Ga4
from destinations.gate import Permission
from destinations.kafka import KafkaTopic, Sending
from destinations.lotame import Lotame
from destinations.lotame_email import LotameEmail
from destinations.settings import (
    Common,
    Ga4Settings,
    KafkaDestinationSettings,
    LotameEmailSettings,
    LotameSettings,
    Place,
    TableSettings,
    WebhookSettings,
)
from destinations.tables import Table
from destinations.webhook import Webhook

OUTSIDE: tuple[type[Common], ...] = (LotameSettings, LotameEmailSettings, Ga4Settings)
"""Advertising and analytics of others: the name of a sensitive segment must not reach them."""


def _no_producer(topic: str) -> Sending:
    raise ExportRefused(f"topic {topic}: set kafka.brokers in onefold.yaml")


class Means(msgspec.Struct, frozen=True, kw_only=True):
    """What destinations need of their process."""

    now_ms: Callable[[], int]
    producer: Callable[[str], Sending] = _no_producer
    """A producer for a topic that is there."""
    unavailable: tuple[type[Exception], ...] = ()
    """Errors of the producer that pass by."""


def make(name: str, settings: Common, means: Means) -> Destination:
    """The destination that settings describe."""
    match settings:
        case LotameSettings():
            return Lotame(settings, folder_at(settings.target))
        case LotameEmailSettings():
            return LotameEmail(settings, folder_at(settings.target))
        case Ga4Settings():
            return Ga4(settings, means.now_ms)
        case WebhookSettings():
            return Webhook(settings, means.now_ms)
        case KafkaDestinationSettings():
            return KafkaTopic(settings, means.producer, means.unavailable)
        case TableSettings():
            return Table(settings, folder_at(settings.target), name)
        case _:
            raise ExportRefused(
                f"{name}: nobody made a destination of kind {type(settings).__name__}"
            )


def permission_of(settings: Common, file: str) -> Permission:
    """Which segments a file lets out."""
    return Permission(
        segments=settings.segments,
        allow_sensitive=settings.allow_sensitive,
        aliases=settings.aliases,
        alias_sensitive=isinstance(settings, OUTSIDE),
        file=file,
    )


def folder_at(target: Place) -> Folder:
    """The folder of a target."""
    options: dict[str, Any] = {}
    if target.url.startswith(("s3://", "s3a://")):
        options = {"key": target.access_key, "secret": target.secret_key}
        if target.endpoint:
            options["client_kwargs"] = {"endpoint_url": target.endpoint}
    elif target.url.startswith("sftp://"):
        options = {
            "password": target.password, "private_key": target.private_key, "known_hosts": target.known_hosts,
        }  # fmt: skip
    return open_folder(
        target.url, {name: each for name, each in options.items() if each is not None}
    )

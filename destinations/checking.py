"""What no single field of a destination's file says: what is missing, and what cannot be meant."""

import difflib
from collections.abc import Iterator

from destinations.ga4 import property_name
from destinations.gate import EVERY
from destinations.http import Address
from destinations.lotame import BY_HOST_ONLY
from destinations.settings import (
    Common,
    Ga4Settings,
    KafkaDestinationSettings,
    LotameEmailSettings,
    LotameSettings,
    WebhookSettings,
)

Problem = tuple[str, str]
"""The field, and what is wrong."""


def problems(settings: Common) -> Iterator[Problem]:
    """Everything that keeps this destination from working."""
    yield from _common(settings)
    if isinstance(settings, LotameSettings):
        for name, idtype in settings.id_types.items():
            if idtype.upper() in BY_HOST_ONLY:
                yield (
                    f"id_types.{name}",
                    "Lotame takes e-mails in its own bucket: kind lotame_email",
                )
    elif isinstance(settings, LotameEmailSettings):
        if settings.client_id is None:
            yield "client_id", "is missing: Lotame's number of the client"
    elif isinstance(settings, Ga4Settings):
        yield from _ga4(settings)
    elif isinstance(settings, WebhookSettings):
        yield from _address("url", settings.url)
        if not settings.secret:
            yield "secret", "is missing: set secret_file, whose content signs what is posted"
    elif isinstance(settings, KafkaDestinationSettings) and not settings.topic:
        yield "topic", "is missing"


def _common(settings: Common) -> Iterator[Problem]:
    if not settings.purpose:
        yield "purpose", "is missing: nobody is sent without consent; name the purpose as events do"
    if not settings.segments:
        yield (
            "segments",
            f'is missing: ids of segments, or ["{EVERY}"] for all that are not sensitive',
        )
    every = EVERY in settings.segments
    for field in ("allow_sensitive", "aliases"):
        for segment in getattr(settings, field):
            if segment == EVERY:
                yield field, "each by its name"
            elif not every and segment not in settings.segments:
                close = difflib.get_close_matches(segment, settings.segments, n=1)
                hint = f"; did you mean {close[0]}?" if close else ""
                yield field, f"{segment} is not among segments{hint}"
    if settings.schedule.every and settings.schedule.at:
        yield "schedule.at", "every or at, not both"


def _ga4(settings: Ga4Settings) -> Iterator[Problem]:
    if (settings.measurement_id is None) == (settings.firebase_app_id is None):
        yield "measurement_id", "give one of measurement_id (web) and firebase_app_id (apps)"
    if not settings.api_secret:
        yield "api_secret", "is missing: set api_secret_file"
    yield from _address("url", settings.url)
    for segment in settings.segments:
        if segment != EVERY:
            try:
                property_name(settings.aliases.get(segment, segment))
            except ValueError as error:
                yield "aliases", str(error)


def _address(field: str, url: str | None) -> Iterator[Problem]:
    if url is None:
        yield field, "is missing"
        return
    try:
        Address.parse(url)
    except ValueError as error:
        yield field, str(error)

"""One customer event after decoding: what every later stage works on."""

from typing import Any

import msgspec

TYPES = ("identify", "track", "page", "screen", "group", "alias", "merge", "record")


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where events come from, and how far its claims are believed (DESIGN §3.1)."""

    name: str
    trusted: bool = False
    """A back end's claims are; a browser's are not, for anyone can send anything with its key."""
    alias_previous_is_device: bool = False
    """`previousId` of an alias is an anonymous id, though the message names no anonymousId."""
    user_hash_secret: str | None = None
    """Set: `context.userHash` must be the hex HMAC-SHA256 of the user id, or the event links nothing."""


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One message of the RudderStack / Segment spec, decoded and timed.

    Texts are stripped of surrounding space and invisible characters; "" means absent. All times are
    integer milliseconds since 1970, UTC. `raw` is the message as it was received (JSON, UTF-8):
    decoding it again with `received_ms` and `source` gives an equal event.
    """

    type: str
    """One of TYPES, in lower case."""
    message_id: str
    """The SDK's id, or a hash of the message where it has none. Never empty."""
    received_ms: int
    """When the server received it: the only clock that identity trusts."""
    time_ms: int
    """When it happened, corrected for the client's clock; at most 15 min after `received_ms`."""
    key_ms: int
    """The time that a retry repeats: originalTimestamp, else timestamp, else 0."""
    source: str
    name: str = ""
    """The event's name for track; the page's or screen's name."""
    user_id: str = ""
    anonymous_id: str = ""
    previous_id: str = ""
    device_id: str = ""
    advertising_id: str = ""
    ga_client_id: str = ""
    external_ids: tuple[tuple[str, str], ...] = ()
    """`context.externalId(s)` as (type, id)."""
    merge_ids: tuple[tuple[str, str], ...] = ()
    """For merge: its `mergeProperties` as (type, value), which are one person's."""
    user_hash: str = ""
    traits: dict[str, Any] = {}
    """`context.traits`; for identify, with the top-level traits laid over them."""
    properties: dict[str, Any] = {}
    consent: tuple[tuple[str, bool], ...] = ()
    """(purpose, granted) pairs that this message states."""
    raw: bytes = b""

"""What was refused, and why: the reasons, and what each of them means to whoever reads the list."""

from typing import Final

import msgspec

REASONS: Final = {
    "invalid_json": "the text is not JSON",
    "not_utf8": "the text is not UTF-8",
    "not_an_object": "an event is a JSON object, a batch an object with a list `batch`",
    "too_large": "an event or a line has more bytes than an event may have",
    "too_deep": "objects and lists are nested too deeply",
    "too_many_keys": "an event has more keys than any real event",
    "wrong_type": "a field that is needed has a type that cannot be read",
    "no_type": "the message does not say what type it is",
    "unknown_type": "the type is none of the specification",
    "no_event_name": "a track that does not say which event",
    "no_identifier": "neither a user, nor an anonymous, nor any other identifier is there",
    "names_nobody": "every identifier in it is blocked or malformed",
}
"""Every reason that ingest refuses with. Stored with the letter and counted: never rename one."""


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not an event, kept as it came. `detail` never quotes values."""

    reason: str
    """One of REASONS."""
    detail: str
    raw: bytes
    received_ms: int
    source: str

"""Events in the query of an image: for e-mails and pages without JavaScript."""

from typing import Any, Final

import msgspec

GIF: Final = bytes.fromhex(
    "47494638396101000100800000000000ffffff21f90401000000002c000000000100010000020144003b"
)
"""One transparent pixel."""
LEVELS_MAX: Final = 8
"""Levels that a field's name may spell, as in `context.page.url`."""


def event_of_query(query: dict[str, str]) -> bytes:
    """The event that a pixel's query spells, as JSON. A dot in a name is a level, as RudderStack reads it."""
    event: dict[str, Any] = {}
    for name, value in query.items():
        path = name.split(".")
        if name == "writeKey" or not all(path) or len(path) > LEVELS_MAX:
            continue
        at = event
        for level in path[:-1]:
            inner = at.setdefault(level, {})
            if not isinstance(inner, dict):
                break
            at = inner
        else:
            at[path[-1]] = value
    return msgspec.json.encode(event)

"""Times as clients write them, and when an event happened (facts: rudderstack.md §1.3, DESIGN §4)."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

SKEW_MIN_MS: Final = 60_000
"""A client's clock that is off by less is taken as right, so that two deliveries give one time."""
FUTURE_MAX_MS: Final = 15 * 60_000
"""An event later than this after its receipt happened when it was received."""
EARLIEST_MS: Final = 0
LATEST_MS: Final = 7_258_118_400_000
"""The year 2200: a time beyond it is not a time."""
TEXT_MAX: Final = 64

_FORMATS: Final = (
    "%a %b %d %Y %H:%M:%S GMT%z",  # JavaScript's Date as text
    "%Y-%m-%d %H:%M:%S.%f %z UTC",
    "%Y-%m-%d %H:%M:%S %z UTC",
    "%Y-%m-%d %H:%M:%S UTC",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y",
    "%b %d, %Y",
    "%d %b %Y",
    "%b %d, %Y %I:%M:%S %p",
)
"""Go's and others' ways of printing a time; UTC where they name no zone."""
_ZONE_NAME: Final = re.compile(r"\s*\([^()]*\)$")
_DATE_DIGITS: Final = 8
"""`20261231` is a day; other runs of digits count seconds or milliseconds."""
_ISO_MIN: Final = len("2026-12-31T23:59:59Z")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_from_iso: Final = datetime.fromisoformat
_SECONDS_MAX: Final = 10**11
"""A smaller number counts seconds since 1970, a larger one milliseconds."""


def parse_ms(value: Any) -> int | None:
    """Milliseconds since 1970, or None where `value` is no time between 1970 and 2200."""
    if value is None:
        return None
    if isinstance(value, str):
        # Shorter texts may be numbers; nothing longer is a time, and parsing it would cost.
        if len(value) < _ISO_MIN or len(value) > TEXT_MAX:
            return _parse_short(value) if len(value) <= TEXT_MAX else None
        try:
            at = _from_iso(value)
        except ValueError:
            return _in_range(_parse_loosely(value.strip()))
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        try:
            since = at - _EPOCH
        except OverflowError:
            return None
        # Whole milliseconds without passing through a float; faster than dividing.
        ms = since.days * 86_400_000 + since.seconds * 1_000 + since.microseconds // 1_000
        return ms if EARLIEST_MS <= ms <= LATEST_MS else None
    return (
        None
        if isinstance(value, bool) or not isinstance(value, int | float)
        else _from_number(value)
    )


def event_time_ms(
    stated: int | None, original: int | None, sent: int | None, received_ms: int
) -> int:
    """When an event happened.

    `stated` is the message's `timestamp`; without it, the client's clock is corrected by how far
    `sentAt` is from the receipt. RudderStack's rule, with SKEW_MIN_MS and FUTURE_MAX_MS.
    """
    if stated is not None:
        at = stated
    elif original is not None and sent is not None:
        skew = received_ms - sent
        at = original if abs(skew) < SKEW_MIN_MS else original + skew
    else:
        at = received_ms if original is None else original
    return at if EARLIEST_MS <= at <= received_ms + FUTURE_MAX_MS else received_ms


def _ms(at: datetime) -> int:
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    try:
        return (at - _EPOCH) // _MILLISECOND
    except OverflowError:
        return -1


def _parse_short(text: str) -> int | None:
    text = text.strip()
    if not text:
        return None
    if text.isdecimal() and len(text) != _DATE_DIGITS:
        return _from_number(int(text))
    try:
        return _in_range(_ms(_from_iso(text)))
    except ValueError:
        return _in_range(_parse_loosely(text))


def _from_number(value: float) -> int | None:
    if not -1 < value < LATEST_MS + 1:  # NaN compares false
        return None
    return _in_range(int(value * 1000) if value < _SECONDS_MAX else int(value))


def _parse_loosely(text: str) -> int | None:
    try:
        return _from_number(float(text))
    except (ValueError, OverflowError):
        pass
    text = _ZONE_NAME.sub("", text)
    try:
        return _ms(_from_iso(text.upper()))
    except ValueError:
        pass
    for form in _FORMATS:
        try:
            return _ms(datetime.strptime(text, form))  # _ms takes no zone as UTC
        except ValueError:
            continue
    try:
        return _ms(parsedate_to_datetime(text))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _in_range(ms: int | None) -> int | None:
    return ms if ms is not None and EARLIEST_MS <= ms <= LATEST_MS else None

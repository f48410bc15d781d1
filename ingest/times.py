"""Times as clients write them, and when an event happened (facts: rudderstack.md §1.3, DESIGN §4)."""

from datetime import UTC, datetime
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
    "%Y-%m-%d %H:%M:%S.%f %z UTC",
    "%Y-%m-%d %H:%M:%S %z UTC",
    "%Y-%m-%d %H:%M:%S UTC",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d",
    "%b %d, %Y %I:%M:%S %p",
)
"""Go's and others' ways of printing a time; UTC where they name no zone."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_MAX: Final = 10**11
"""A smaller number counts seconds since 1970, a larger one milliseconds."""


def parse_ms(value: Any) -> int | None:
    """Milliseconds since 1970, or None where `value` is no time between 1970 and 2200."""
    if isinstance(value, str):
        if not value or len(value) > TEXT_MAX:
            return None
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            return _in_range(_parse_loosely(value.strip()))
        return _in_range(_ms(at))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _from_number(value)
    return None


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
        since = at - _EPOCH
    except OverflowError:
        return -1
    # Whole milliseconds without passing through a float.
    return since.days * 86_400_000 + since.seconds * 1_000 + since.microseconds // 1_000


def _from_number(value: float) -> int | None:
    if not -1 < value < LATEST_MS + 1:  # NaN compares false
        return None
    return _in_range(int(value * 1000) if value < _SECONDS_MAX else int(value))


def _parse_loosely(text: str) -> int | None:
    try:
        return _from_number(float(text))
    except (ValueError, OverflowError):
        pass
    for form in _FORMATS:
        try:
            return _ms(datetime.strptime(text, form))  # noqa: DTZ007 - _ms takes no zone as UTC
        except ValueError:
            continue
    try:
        return _ms(parsedate_to_datetime(text))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _in_range(ms: int | None) -> int | None:
    return ms if ms is not None and EARLIEST_MS <= ms <= LATEST_MS else None

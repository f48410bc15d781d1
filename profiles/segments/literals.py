"""Durations and moments as people write them, read and written."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from profiles.segments.tree import DAY_MS, Ago, At, Moment
from profiles.segments.values import time_of

UNITS: Final = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": DAY_MS,
    "w": 7 * DAY_MS,
}
_WORDS: Final = {
    "millisecond": "ms", "second": "s", "sec": "s", "minute": "m", "min": "m", "hour": "h", "hr": "h",
    "day": "d", "week": "w",
}  # fmt: skip
DURATION_MAX_MS: Final = 150 * 365 * DAY_MS
"""Nobody looks back further than a life."""
MOMENT_MIN_MS: Final = -2_208_988_800_000
"""1900: dates of birth."""
MOMENT_MAX_MS: Final = 7_258_118_400_000
"""2200: a later date is a mistake."""

_DURATION: Final = re.compile(r"(\d{1,15})\s*([a-z]+)", re.IGNORECASE)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def duration_of(value: Any) -> int | None:
    """`30d`, `12h` or `2 weeks` in milliseconds; None if it is no duration, or none that anybody means."""
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    unit = found[2].lower()
    unit = _WORDS.get(unit.removesuffix("s"), unit)
    ms = int(found[1]) * UNITS.get(unit, 0)
    return ms if 0 < ms <= DURATION_MAX_MS else None


def meant_duration(value: Any) -> str:
    """What was probably meant by something that is no duration: `30d` for `30 dayz`; else ""."""
    if isinstance(value, bool):
        return ""
    if isinstance(value, int) and 0 < value <= 10_000:
        return f"{value}d"
    found = (
        re.fullmatch(r"\s*(\d{1,6})\s*([a-z]?)([a-z ]*)", value.lower())
        if isinstance(value, str)
        else None
    )
    if found is None or not int(found[1]):
        return ""
    count, unit, rest = int(found[1]), found[2], found[3]
    if unit == "y":
        return f"{count * 365}d"
    if unit == "m" and rest.startswith("o"):
        return f"{count * 30}d"
    return f"{count}{unit}" if unit in UNITS else f"{count}d"


def written_duration(ms: int) -> str:
    """In the largest unit up to days that it is a whole number of."""
    for unit in ("d", "h", "m", "s"):
        if ms % UNITS[unit] == 0:
            return f"{ms // UNITS[unit]}{unit}"
    return f"{ms}ms"


def moment_of(value: Any, *, whole_day: bool = False) -> Moment | None:
    """A date, a time, `30d ago`, `30d` (the same), `in 7d` or `now`; None if it is none of them.

    A date is its first moment UTC; with `whole_day` the first after it.
    """
    if isinstance(value, date):
        value = value.isoformat()
    if not isinstance(value, str):
        return None
    text = value.strip()
    folded = text.lower()
    if folded == "now":
        return Ago(0)
    if folded.startswith("in "):
        ms = duration_of(folded[3:])
        return None if ms is None else Ago(-ms)
    ms = duration_of(folded.removesuffix(" ago"))
    if ms is not None:
        return Ago(ms)
    at = time_of(text)
    if at is None:
        return None
    if whole_day and _DATE.fullmatch(text):
        at += DAY_MS
    return At(at) if MOMENT_MIN_MS <= at <= MOMENT_MAX_MS else None


def written_moment(moment: Moment) -> str:
    """What `moment_of` reads as `moment`, whether whole days are meant or not."""
    if isinstance(moment, At):
        at = _EPOCH + timedelta(milliseconds=moment.ms)
        digits = "milliseconds" if moment.ms % 1_000 else "seconds"
        return at.isoformat(timespec=digits).replace("+00:00", "Z")
    if moment.ms == 0:
        return "now"
    return (
        f"in {written_duration(-moment.ms)}"
        if moment.ms < 0
        else f"{written_duration(moment.ms)} ago"
    )

"""When the next export is due: a pure function of the schedule and of what was exported."""

from typing import Final

from destinations.settings import Schedule

MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000
_UNITS: Final = {"m": MINUTE_MS, "h": 60 * MINUTE_MS, "d": DAY_MS}
RETRY_MS: Final = 5 * MINUTE_MS
"""A failed export is tried again after so long, or at its next time if that comes first."""


def duration_ms(text: str) -> int:
    """`15m`, `6h`, `30d` in milliseconds."""
    return int(text[:-1]) * _UNITS[text[-1]]


def due_ms(
    schedule: Schedule, delivered_ms: int | None, failed_ms: int | None, now_ms: int
) -> int | None:
    """When the next export begins; None: never. What was due while nobody watched is due at once, and once.

    `delivered_ms` is the beginning of the last one that was delivered (None: a first one is due at once),
    `failed_ms` that of a failed one after it.
    """
    if schedule.every is not None:
        pace = duration_ms(schedule.every)
        due = now_ms if delivered_ms is None else delivered_ms + pace
    elif schedule.at is not None:
        pace, due = DAY_MS, _next_at(schedule.at, delivered_ms, now_ms)
    else:
        return None
    if failed_ms is not None:
        due = max(due, failed_ms + min(RETRY_MS, pace))
    return due


def _next_at(at: str, delivered_ms: int | None, now_ms: int) -> int:
    hours, _, minutes = at.partition(":")
    of_day = (int(hours) * 60 + int(minutes)) * MINUTE_MS
    today = now_ms // DAY_MS * DAY_MS + of_day
    newest = today if today <= now_ms else today - DAY_MS
    return newest if delivered_ms is None or delivered_ms < newest else newest + DAY_MS


def wants_full(full_every: str, full_ms: int | None, now_ms: int) -> bool:
    """Whether everything is to be sent again: the last full export began at `full_ms`, if there was one."""
    return full_ms is None or now_ms - full_ms >= duration_ms(full_every)

"""Names, keys and windows of a definition, read and checked."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from profiles.segments.collect import HIT_DAYS_MAX
from profiles.segments.literals import (
    duration_of,
    meant_duration,
    moment_of,
    written_duration,
)
from profiles.segments.problems import Path, Problems, near, shown
from profiles.segments.tree import DAY_MS, Ago, At, Moment, Window

NAME_MAX: Final = 200
"""Characters of a name: as of an event's."""
DESCRIPTION_MAX: Final = 2_000
ID_MAX: Final = 100
PATH_STEPS_MAX: Final = 10
"""Steps of a dotted path into properties: nobody's events are deeper."""

WINDOW_KEYS: Final = frozenset({"within", "not_within", "since", "until", "between"})
DAY: Final = "granularity: day"

_ID: Final = re.compile(r"[a-z0-9][a-z0-9_-]*")


class Reading(msgspec.Struct):
    """What is known while one definition is read."""

    problems: Problems
    by_day: bool = False
    conditions: int = 0


def text_of(value: Any, path: Path, problems: Problems, what: str, most: int = NAME_MAX) -> str:
    """A text of one line that says something, stripped; "" if it is a problem."""
    text = value.strip() if isinstance(value, str) else ""
    if text and len(text) <= most and text.isprintable():
        return text
    if isinstance(value, int | float) and not isinstance(value, bool):
        problems.add(path, f"{shown(value)} is no text, which {what} must be", f'"{value}"')
    elif isinstance(value, str) and len(text) > most:
        problems.add(path, f"{what} has more than {most:,} characters")
    elif text:
        problems.add(path, f"{what} has characters that cannot be printed")
    else:
        problems.add(path, f"{shown(value)} is no text, which {what} must be")
    return ""


def id_of(value: Any, path: Path, problems: Problems, what: str) -> str:
    """An id: small letters, digits, `-` and `_`; "" if it is a problem."""
    text = text_of(value, path, problems, what, ID_MAX)
    if text and not _ID.fullmatch(text):
        problems.add(
            path, f"{shown(text)} is no id: small letters, digits, - and _ only", _slug(text)
        )
        return ""
    return text


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")


def path_of(value: Any, path: Path, problems: Problems, what: str) -> str:
    """A dotted path into properties; "" if it is a problem."""
    text = text_of(value, path, problems, what)
    steps = text.split(".")
    if text and not all(steps):
        problems.add(path, f"{shown(text)} has an empty step", ".".join(filter(None, steps)))
        return ""
    if len(steps) > PATH_STEPS_MAX:
        problems.add(path, f"a path of more than {PATH_STEPS_MAX} steps")
        return ""
    return text


def refuse_unknown(
    tree: Mapping[str, Any],
    known: Iterable[str],
    path: Path,
    problems: Problems,
    aliases: Mapping[str, str] | None = None,
) -> None:
    """A problem for every key that is not known."""
    known = frozenset(known)
    for key in tree:
        if key not in known:
            problems.add((*path, key), f"there is no {shown(key)} here", near(key, known, aliases))


def duration_at(value: Any, path: Path, reading: Reading, *, kept: bool = False) -> int | None:
    """A duration; with `kept` one for which events are kept."""
    ms = duration_of(value)
    if ms is None:
        reading.problems.add(path, f"{shown(value)} is no duration", meant_duration(value))
    elif kept:
        return ms if _is_kept(Ago(ms), path, reading) else None
    return ms


def _is_kept(moment: Moment, path: Path, reading: Reading) -> bool:
    if isinstance(moment, Ago) and moment.ms > HIT_DAYS_MAX * DAY_MS and not reading.by_day:
        reading.problems.add(
            path,
            f"{written_duration(moment.ms)} is more than the {HIT_DAYS_MAX} days for which events are kept "
            f"one by one; {DAY} counts what is known of older ones by days",
            f"{HIT_DAYS_MAX}d",
        )
        return False
    if reading.by_day and moment.ms % DAY_MS:
        reading.problems.add(
            path, f"with {DAY} a time is a date or a whole number of days", _whole_days(moment)
        )
        return False
    return True


def _whole_days(moment: Moment) -> str:
    return f"{-(-moment.ms // DAY_MS)}d" if isinstance(moment, Ago) else ""


def window_among(tree: Mapping[str, Any], path: Path, reading: Reading, *, events: bool) -> Window:
    """The window that the keys of `tree` say, other keys aside; `not_within` is all that is before.

    `events`: of events that are kept, not of the first or last ever.
    """
    problems = reading.problems
    given = [key for key in tree if key in WINDOW_KEYS]
    for one in ("between", "not_within"):
        if one in given and len(given) > 1:
            other = next(key for key in given if key != one)
            problems.add((*path, other), f"cannot be said together with {one}")
            return Window()
    if "within" in given and "since" in given:
        problems.add((*path, "since"), "cannot be said together with within")
        return Window()
    bounds: dict[str, Moment | None] = {}
    for key in given:
        at = (*path, key)
        if key in ("within", "not_within"):
            ms = duration_at(tree[key], at, reading, kept=events)
            bounds["since" if key == "within" else "until"] = None if ms is None else Ago(ms)
        elif key == "between":
            pair = tree[key]
            if not isinstance(pair, list) or len(pair) != 2:
                problems.add(at, f"{shown(pair)} is no pair of dates, [first, last]")
                continue
            bounds["since"] = _bound(pair[0], (*at, 0), reading, since=True, events=events)
            bounds["until"] = _bound(pair[1], (*at, 1), reading, since=False, events=events)
        else:
            bounds[key] = _bound(tree[key], at, reading, since=key == "since", events=events)
    window = Window(bounds.get("since"), bounds.get("until"))
    _refuse_impossible(window, (*path, given[-1]) if given else path, problems)
    return window


def _bound(value: Any, path: Path, reading: Reading, *, since: bool, events: bool) -> Moment | None:
    moment = moment_of(value, whole_day=not since)
    if moment is None:
        reading.problems.add(
            path,
            f"{shown(value)} is no date like 2026-01-31, and no 30d ago",
            meant_duration(value),
        )
        return None
    if isinstance(moment, Ago) and moment.ms <= 0:
        if moment.ms == 0 and not since:
            return None
        reading.problems.add(path, "nothing is known of the future")
        return None
    if events and not _is_kept(moment, path, reading):
        return None
    return moment


def _refuse_impossible(window: Window, path: Path, problems: Problems) -> None:
    since, until = window.since, window.until
    if isinstance(since, At) and isinstance(until, At) and until.ms <= since.ms:
        problems.add(path, "ends before it begins")
    if isinstance(since, Ago) and isinstance(until, Ago) and until.ms >= since.ms:
        problems.add(path, "ends before it begins: the longer ago comes first")

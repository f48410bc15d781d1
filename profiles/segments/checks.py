"""Checks of values as people write them: `{at_least: 2}`, a bare value, a list."""

import math
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any, Final

from profiles.money import AMOUNT_MAX
from profiles.segments.literals import meant_duration, moment_of
from profiles.segments.problems import Path, Problems, near, shown
from profiles.segments.tree import Ago, Check, Op, Truth
from profiles.segments.values import passes

IN_MAX: Final = 1_000
"""Values of a list: more is a table, to be sent as a trait."""
TEXT_MAX: Final = 1_000
"""Characters of a text that is compared with."""

VALUES: Final = frozenset({Op.EQ, Op.NOT_EQUAL, Op.IN, Op.NOT_IN})
TEXTS: Final = frozenset({Op.CONTAINS, Op.STARTS_WITH, Op.ENDS_WITH})
NUMBERS: Final = frozenset({Op.AT_LEAST, Op.AT_MOST, Op.MORE_THAN, Op.LESS_THAN, Op.BETWEEN})
DATES: Final = frozenset({Op.BEFORE, Op.AFTER})
ALL: Final = frozenset(Op)
AMOUNTS: Final = NUMBERS | VALUES
"""What can be asked of a count or a sum."""

WITHIN: Final = "within"
SINCE: Final = "since"
UNTIL: Final = "until"
_DATE_WORDS: Final = frozenset({WITHIN, SINCE, UNTIL})

MEANT: Final = {
    "is": "eq", "equals": "eq", "equal": "eq", "=": "eq", "==": "eq", "value": "eq",
    "is_not": "not_equal", "!=": "not_equal", "ne": "not_equal", "neq": "not_equal", "not": "not_equal",
    "one_of": "in", "any_of": "in", "is_in": "in", "none_of": "not_in", "nin": "not_in",
    ">=": "at_least", "gte": "at_least", "ge": "at_least", "min": "at_least", "minimum": "at_least",
    "<=": "at_most", "lte": "at_most", "le": "at_most", "max": "at_most", "maximum": "at_most",
    ">": "more_than", "gt": "more_than", "greater_than": "more_than", "above": "more_than", "over": "more_than",
    "<": "less_than", "lt": "less_than", "below": "less_than", "under": "less_than", "fewer_than": "less_than",
    "range": "between", "like": "contains", "includes": "contains", "has": "contains", "prefix": "starts_with",
    "suffix": "ends_with", "begins_with": "starts_with", "present": "exists", "set": "exists",
    "earlier_than": "before", "later_than": "after", "from": "since", "to": "until",
}  # fmt: skip
"""What other tools call these."""

Item = tuple[str, Any, Path]
"""A key, what it holds, and where that is."""


def checks_of(
    value: Any, path: Path, problems: Problems, ops: frozenset[Op] = ALL, *, moving: bool = True
) -> tuple[Check, ...]:
    """The checks of a mapping of them, of a list (`in`) or of one value (`eq`), in their one order.

    `moving`: whether a date may be relative to the time of evaluation.
    """
    if isinstance(value, dict):
        items = [(key, each, (*path, key)) for key, each in value.items()]
        if not items:
            problems.add(path, "says nothing to check")
    elif isinstance(value, list):
        items = [(Op.IN.value, value, path)]
    else:
        items = [(Op.EQ.value, value, path)]
    return checks_among(items, path, problems, ops, moving=moving)


def words_for(ops: Iterable[Op]) -> frozenset[str]:
    """The keys that say one of these checks."""
    ops = frozenset(ops)
    return frozenset(op.value for op in ops) | (_DATE_WORDS if ops >= DATES else frozenset())


def checks_among(
    items: Iterable[Item],
    path: Path,
    problems: Problems,
    ops: frozenset[Op],
    *,
    moving: bool = True,
) -> tuple[Check, ...]:
    """The checks of (key, value, path) items, in their one order; unknown keys are problems."""
    words = words_for(ops)
    found: dict[Op, Check] = {}
    for key, value, at in items:
        if key not in words:
            problems.add(at, _unknown(key, words), near(key, words, MEANT))
            continue
        for check in _read(key, value, at, problems, ops, moving=moving):
            if check.op in found:
                problems.add(at, f"says a second time what must be {_english(check.op)}")
            found[check.op] = check
    checks = tuple(found[op] for op in Op if op in found)
    _refuse_impossible(checks, path, problems)
    return checks


def _unknown(key: str, words: frozenset[str]) -> str:
    return f"{shown(key)} is no check here; there are {', '.join(sorted(words))}"


def _english(op: Op) -> str:
    return op.value.replace("_", " ")


def _read(
    key: str, value: Any, path: Path, problems: Problems, ops: frozenset[Op], *, moving: bool
) -> list[Check]:
    """The checks that one key says; none if its value is a problem."""
    dated = ops >= DATES
    if key in _DATE_WORDS or (dated and key in (Op.BEFORE, Op.AFTER)):
        return _dates(key, value, path, problems, moving=moving)
    op = Op(key)
    if op is Op.BETWEEN and dated and isinstance(value, list) and _mean_dates(value):
        return _between_dates(value, path, problems, moving=moving)
    read = _READERS[op](value, path, problems)
    return [] if read is None else [Check(op, read)]


def _scalar(value: Any, path: Path, problems: Problems) -> Any:
    """A text, number or truth."""
    if isinstance(value, str):
        if len(value) > TEXT_MAX:
            problems.add(path, f"a text of more than {TEXT_MAX:,} characters")
            return None
        return value
    if isinstance(value, bool):
        return Truth(value)
    if isinstance(value, int | float):
        return number_of(value, path, problems)
    if value is None:
        problems.add(path, "nothing is there to compare with", "{exists: false}")
    elif hasattr(value, "isoformat"):
        return str(value.isoformat())
    else:
        problems.add(path, f"{shown(value)} is no text, number, true or false")
    return None


def number_of(value: Any, path: Path, problems: Problems) -> int | float | None:
    """A number up to AMOUNT_MAX either way."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if math.isfinite(value) and abs(value) <= AMOUNT_MAX:
            return value
        problems.add(path, f"{shown(value)} is not between -{AMOUNT_MAX:,} and {AMOUNT_MAX:,}")
        return None
    meant = ""
    if isinstance(value, str):
        try:
            meant = f"{float(value.replace(',', '')):g}"
        except ValueError:
            meant = ""
        meant = "" if meant in ("nan", "inf", "-inf") else meant
    problems.add(path, f"{shown(value)} is no number", meant)
    return None


def _scalars(value: Any, path: Path, problems: Problems) -> tuple[Any, ...] | None:
    if not isinstance(value, list):
        problems.add(
            path, f"{shown(value)} is no list of values", f"[{value}]" if _short(value) else ""
        )
        return None
    if not value:
        problems.add(path, "the list is empty")
        return None
    if len(value) > IN_MAX:
        problems.add(
            path, f"a list of {len(value):,} values; at most {IN_MAX:,}: send it as a trait"
        )
        return None
    read = [_scalar(each, (*path, place), problems) for place, each in enumerate(value)]
    return None if any(each is None for each in read) else tuple(read)


def _short(value: Any) -> bool:
    return isinstance(value, str | int | float) and len(str(value)) <= 40


def _pair(value: Any, path: Path, problems: Problems) -> tuple[Any, ...] | None:
    if not isinstance(value, list) or len(value) != 2:
        problems.add(path, f"{shown(value)} is no pair of numbers, [lowest, highest]")
        return None
    low, high = (number_of(each, (*path, place), problems) for place, each in enumerate(value))
    if low is None or high is None:
        return None
    if low > high:
        problems.add(path, f"nothing is between {low} and {high}", f"[{high}, {low}]")
        return None
    return low, high


def _some_text(value: Any, path: Path, problems: Problems) -> str | None:
    if isinstance(value, str) and 0 < len(value) <= TEXT_MAX:
        return value
    problems.add(path, f"{shown(value)} is no text of 1 to {TEXT_MAX:,} characters")
    return None


def _truth(value: Any, path: Path, problems: Problems) -> bool | None:
    if isinstance(value, bool):
        return value
    folded = value.lower() if isinstance(value, str) else ""
    meant = {"yes": "true", "true": "true", "no": "false", "false": "false"}.get(folded, "")
    problems.add(path, f"{shown(value)} is neither true nor false", meant)
    return None


_READERS: Final[Mapping[Op, Callable[[Any, Path, Problems], Any]]] = {
    Op.EQ: _scalar,
    Op.NOT_EQUAL: _scalar,
    Op.IN: _scalars,
    Op.NOT_IN: _scalars,
    Op.CONTAINS: _scalar,
    Op.STARTS_WITH: _some_text,
    Op.ENDS_WITH: _some_text,
    Op.EXISTS: _truth,
    Op.AT_LEAST: number_of,
    Op.AT_MOST: number_of,
    Op.MORE_THAN: number_of,
    Op.LESS_THAN: number_of,
    Op.BETWEEN: _pair,
}


def _mean_dates(values: Iterable[Any]) -> bool:
    return all(isinstance(each, str) or hasattr(each, "isoformat") for each in values)


def _between_dates(
    value: list[Any], path: Path, problems: Problems, *, moving: bool
) -> list[Check]:
    if len(value) != 2:
        problems.add(path, f"{shown(value)} is no pair of dates, [first, last]")
        return []
    return [
        *_dates(SINCE, value[0], (*path, 0), problems, moving=moving),
        *_dates(UNTIL, value[1], (*path, 1), problems, moving=moving),
    ]


def _dates(key: str, value: Any, path: Path, problems: Problems, *, moving: bool) -> list[Check]:
    """`after` a day begins when it is over, `since` a day when it begins; `until` a day includes it."""
    moment = moment_of(value, whole_day=key in (Op.AFTER, UNTIL))
    if key == WITHIN and (not isinstance(moment, Ago) or moment.ms == 0):
        problems.add(path, f"{shown(value)} is no duration", meant_duration(value))
    elif moment is None:
        problems.add(
            path, f"{shown(value)} is no date like 2026-01-31, and no 30d ago, in 7d or now"
        )
    elif isinstance(moment, Ago) and not moving:
        problems.add(
            path, "an event is looked at once, when it comes: only fixed dates can be compared"
        )
    elif key == WITHIN:
        first, last = (moment, Ago(0)) if moment.ms > 0 else (Ago(0), moment)
        return [Check(Op.BEFORE, last), Check(Op.AFTER, first)]
    else:
        return [Check(Op.BEFORE if key in (Op.BEFORE, UNTIL) else Op.AFTER, moment)]
    return []


def _refuse_impossible(checks: tuple[Check, ...], path: Path, problems: Problems) -> None:
    """Checks that no value passes: nothing saves and matches nobody."""
    if len(checks) < 2:
        return
    numeric = [check for check in checks if check.op in NUMBERS]
    if numeric and not any(all(passes(n, check) for check in numeric) for n in _around(numeric)):
        problems.add(path, "no number passes all of these checks")
    bounds = {check.op: check.value for check in checks if check.op in DATES}
    if len(bounds) == 2 and type(bounds[Op.BEFORE]) is type(bounds[Op.AFTER]):
        before, after = bounds[Op.BEFORE], bounds[Op.AFTER]
        order = after.ms - before.ms if isinstance(after, Ago) else before.ms - after.ms
        if order <= 0:
            problems.add(path, "no date is both before the one and after the other")
    for check in checks:
        if check.op is Op.EXISTS and not check.value:
            problems.add(path, "what does not exist passes no other check")


def _around(checks: Iterable[Check]) -> list[float]:
    """Numbers of which one passes if any does: the thresholds, those between, those beyond."""
    marks = sorted(
        {
            float(mark)
            for check in checks
            for mark in (check.value if isinstance(check.value, tuple) else (check.value,))
        }
    )
    between = [(low + high) / 2 for low, high in pairwise(marks)]
    return [marks[0] - 1, *marks, *between, marks[-1] + 1]

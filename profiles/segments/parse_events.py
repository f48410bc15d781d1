"""Conditions on events as people write them: what happened, how often, when, and what followed."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from profiles.money import currency_of
from profiles.segments.checks import AMOUNTS, Item, checks_among, checks_of
from profiles.segments.collect import HITS_MAX, key_of
from profiles.segments.parse_scalars import (
    DAY,
    WINDOW_KEYS,
    Reading,
    duration_at,
    path_of,
    refuse_unknown,
    text_of,
    window_among,
)
from profiles.segments.problems import Path, shown
from profiles.segments.tree import (
    Check,
    Condition,
    Follow,
    Happened,
    Match,
    Not,
    Of,
    Where,
    Window,
)
from profiles.segments.values import is_number, passes

WHERE_MAX: Final = 50
"""Properties of one event that are looked at."""
FOLLOWS_MAX: Final = 5
"""Steps that follow the first one of a sequence: each multiplies what has to be looked at."""

_OFS: Final = ("count", "sum", "distinct", "first", "last")
_THENS: Final = ("then", "then_not")
EVENT_KEYS: Final = frozenset({"event", "where", *_OFS, *_THENS}) | WINDOW_KEYS
_FOLLOW_KEYS: Final = frozenset({"event", "where", "within", *_THENS})
_NAMES: Final = {"name": "event", "properties": "where", "filter": "where", "if": "where",
    "times": "count", "total": "sum", "unique": "distinct", "in_last": "within", "last_days": "within",
    "after": "since", "from": "since", "before": "until", "to": "until", "followed_by": "then",
    "not_then": "then_not", "window": "within", "period": "within"}  # fmt: skip


def event_of(
    tree: Mapping[str, Any], path: Path, reading: Reading, known: frozenset[str] = EVENT_KEYS
) -> Condition | None:
    """The condition on events that `tree` says; None if a problem hides it."""
    problems = reading.problems
    refuse_unknown(tree, known, path, problems, _NAMES)
    match = match_of(tree, path, reading)
    follow = _follow_of(tree, path, reading, FOLLOWS_MAX)
    ofs = [key for key in _OFS if key in tree]
    if len(ofs) > 1:
        problems.add((*path, ofs[1]), f"cannot be said together with {ofs[0]}: one condition each")
        return None
    of = Of(ofs[0]) if ofs else Of.COUNT
    if of in (Of.FIRST, Of.LAST):
        if follow is not None:
            problems.add((*path, of.value), "cannot be said together with what follows")
        return Happened(match, _nth_window(tree, of.value, path, reading), of)
    window = window_among(tree, path, reading, events=True)
    if "not_within" in tree:
        if ofs or follow:
            problems.add((*path, "not_within"), "is for whether it happened at all", "not: {…}")
        return Not(Happened(match, Window(since=window.until)))
    happened = Happened(match, window, of, follow=follow)
    if not ofs:
        return happened
    at = (*path, of.value)
    if of is Of.COUNT:
        checks = counts_of(checks_of(tree["count"], at, problems, AMOUNTS), at, reading)
        return msgspec.structs.replace(happened, checks=checks)
    return _measured(tree[of.value], at, reading, happened)


def _nth_window(tree: Mapping[str, Any], key: str, path: Path, reading: Reading) -> Window:
    """The window of `first: {within: 30d}`."""
    at = (*path, key)
    for other in sorted(WINDOW_KEYS & tree.keys()):
        reading.problems.add((*path, other), f"belongs into {key}", f"{key}: {{{other}: …}}")
    inner = tree[key]
    if not isinstance(inner, dict) or not inner:
        reading.problems.add(
            at, f"{shown(inner)} says no time: {key} needs one", f"{key}: {{within: 30d}}"
        )
        return Window()
    refuse_unknown(inner, WINDOW_KEYS, at, reading.problems, _NAMES)
    return window_among(inner, at, reading, events=True)


def match_of(tree: Mapping[str, Any], path: Path, reading: Reading) -> Match:
    """Which events `event` and `where` mean."""
    name = ""
    if "event" in tree:
        name = text_of(tree["event"], (*path, "event"), reading.problems, "the event's name")
    else:
        reading.problems.add(path, "does not say which event", "event: …")
    where = where_of(tree["where"], (*path, "where"), reading) if "where" in tree else ()
    return Match(key_of(name), name, where)


def where_of(value: Any, path: Path, reading: Reading) -> Where:
    """(path, checks) pairs, sorted."""
    problems = reading.problems
    if not isinstance(value, dict) or not value:
        problems.add(path, f"{shown(value)} is no mapping of properties, {{products.category: …}}")
        return ()
    if len(value) > WHERE_MAX:
        problems.add(path, f"looks at {len(value):,} properties; at most {WHERE_MAX}")
        return ()
    found = []
    for name, checked in value.items():
        at = (*path, name)
        where = path_of(name, at, problems, "the property's path")
        checks = checks_of(checked, at, problems, moving=False)
        if where and checks:
            found.append((where, checks))
    return tuple(sorted(found, key=lambda pair: pair[0]))


def counts_of(checks: tuple[Check, ...], path: Path, reading: Reading) -> tuple[Check, ...]:
    """Checks of a number of things: whole numbers that can be counted, some of which pass and some not."""
    problems = reading.problems
    known = len(problems.errors)
    for check in checks:
        for number in _values(check):
            at = (*path, check.op.value)
            if not is_number(number) or number != int(number) or number < 0:
                problems.add(at, f"{shown(number)} is no whole number from 0 on")
            elif number > HITS_MAX and not reading.by_day:
                problems.add(
                    at, f"{HITS_MAX} events are kept one by one; more can be counted by days", DAY
                )
    if checks and len(problems.errors) == known:
        marks = {int(number) for check in checks for number in _values(check)}
        around = {0} | {n for mark in marks for n in (mark - 1, mark, mark + 1) if n >= 0}
        passing = [all(passes(n, check) for check in checks) for n in sorted(around)]
        if not any(passing):
            problems.add(path, "no number passes all of these checks")
        elif all(passing):
            problems.add(
                path, "every number passes, also 0: everybody would be in it", "at_least: 1"
            )
    return checks


def _values(check: Check) -> tuple[Any, ...]:
    return check.value if isinstance(check.value, tuple) else (check.value,)


def _measured(value: Any, path: Path, reading: Reading, condition: Happened) -> Condition | None:
    """`sum: {of: revenue, at_least: 5000, currency: INR}`, `distinct: {of: …, at_least: 3}`."""
    problems, of = reading.problems, condition.of
    if not isinstance(value, dict):
        problems.add(
            path,
            f"{shown(value)} does not say of what, and how much",
            f"{{of: {_of_what(of)}, at_least: 1}}",
        )
        return None
    measured = _of_path(value, path, reading, of)
    currency = ""
    if of is Of.SUM and "currency" in value:
        currency = currency_at(value["currency"], (*path, "currency"), reading)
    own = ("of", "currency") if of is Of.SUM else ("of",)
    items: list[Item] = [(key, each, (*path, key)) for key, each in value.items() if key not in own]
    checks = checks_among(items, path, problems, AMOUNTS)
    if not items:
        problems.add(path, "does not say how much", "at_least: 1")
    if of is Of.DISTINCT:
        checks = _at_most_hits(counts_of(checks, path, reading), path, reading)
    else:
        for check in checks:
            if not all(map(is_number, _values(check))):
                problems.add((*path, check.op.value), "is no number, which a sum is")
    return Happened(
        condition.match, condition.window, of, measured, currency, checks, condition.follow
    )


def _of_path(value: Mapping[str, Any], path: Path, reading: Reading, of: Of) -> str:
    if "of" in value:
        return path_of(value["of"], (*path, "of"), reading.problems, "the property's path")
    reading.problems.add(path, f"does not say the {of.value} of what", f"of: {_of_what(of)}")
    return ""


def _of_what(of: Of) -> str:
    return "revenue" if of is Of.SUM else "products.product_id"


def _at_most_hits(checks: tuple[Check, ...], path: Path, reading: Reading) -> tuple[Check, ...]:
    for check in checks:
        if reading.by_day and any(is_number(n) and n > HITS_MAX for n in _values(check)):
            reading.problems.add(
                (*path, check.op.value), f"different values are known of {HITS_MAX} events only"
            )
    return checks


def currency_at(value: Any, path: Path, reading: Reading) -> str:
    """A code of three letters, in capitals; "" if it is a problem."""
    code = currency_of(value)
    if isinstance(value, str) and len(code) == 3 and code.isascii() and code.isalpha():
        return code
    reading.problems.add(path, f"{shown(value)} is no currency of three letters like INR")
    return ""


def _follow_of(tree: Mapping[str, Any], path: Path, reading: Reading, left: int) -> Follow | None:
    given = [key for key in _THENS if key in tree]
    if not given:
        return None
    key, problems = given[0], reading.problems
    at, then = (*path, key), tree[key]
    if len(given) > 1:
        problems.add((*path, given[1]), f"cannot be said together with {key}")
    if not left:
        problems.add(at, f"more than {FOLLOWS_MAX} steps follow the first")
        return None
    if not isinstance(then, dict):
        problems.add(at, f"{shown(then)} is no event that follows", "{event: …, within: 3d}")
        return None
    refuse_unknown(then, _FOLLOW_KEYS, at, problems, _NAMES)
    match = match_of(then, at, reading)
    within_ms: int | None = 0
    if "within" in then:
        # Steps are compared event by event, also where windows are by days.
        exact = Reading(problems)
        within_ms = duration_at(then["within"], (*at, "within"), exact, kept=True)
    else:
        problems.add(at, "does not say within what time", "within: 3d")
    following = _follow_of(then, at, reading, left - 1)
    return Follow(match, within_ms or 0, key == "then_not", following)

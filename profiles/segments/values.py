"""Checks of values, and values at a path of an event's properties. Nothing here raises on any value."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from profiles.money import MICROS, micros
from profiles.segments.tree import Ago, Check, Moment, Op, Truth, Where

VALUES_MAX: Final = 1_000
"""Values read from one event, as many as its products (`profiles.facts.PRODUCTS_MAX`)."""
MONEY: Final = frozenset({"revenue", "total", "value", "price", "quantity"})
"""Properties whose numbers are read even where they are written as text (DESIGN §4)."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_DATE_MIN: Final = len("2026-01-01")
_DATE_MAX: Final = 40


def time_of(value: Any) -> int | None:
    """A date or time as ISO 8601 writes it, in milliseconds since 1970; None for anything else.

    UTC where it names no zone. Numbers are no dates: nobody can tell seconds from years.
    """
    if not isinstance(value, str) or not _DATE_MIN <= len(value) <= _DATE_MAX or "-" not in value:
        return None
    try:
        at = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    try:
        return (at - _EPOCH) // _MILLISECOND
    except OverflowError:
        return None


def is_number(value: Any) -> bool:
    """An integer or a float; a truth is neither."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def same(value: Any, wanted: Any) -> bool:
    """Equal, and of one type: "42" is not 42, and true is not 1. `wanted` is a check's."""
    if isinstance(wanted, Truth):
        return value is wanted.value
    if is_number(wanted):
        return is_number(value) and bool(value == wanted)
    return isinstance(value, str) and bool(value == wanted)


def passes(value: Any, check: Check, now_ms: int = 0) -> bool:
    """Whether a value passes; one of a type that the check is not about does not."""
    if value is None:
        return check.op is Op.EXISTS and not check.value
    return _CHECKS[check.op](value, check.value, now_ms)


def turns_at(value: Any, check: Check) -> int | None:
    """The one moment at which time alone changes what `passes` says, if there is one."""
    if check.op in (Op.BEFORE, Op.AFTER) and isinstance(check.value, Ago):
        at = time_of(value)
        return None if at is None else at + check.value.ms
    return None


def _compared(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any, int], bool]:
    return lambda value, wanted, now_ms: is_number(value) and compare(value, wanted)


def _contains(value: Any, wanted: Any, now_ms: int) -> bool:
    if isinstance(value, str):
        return isinstance(wanted, str) and wanted in value
    return isinstance(value, list) and any(same(each, wanted) for each in value)


def _bound_passed(value: Any, bound: Moment, now_ms: int) -> bool | None:
    """Whether a date is at or after a bound; as in `Window`, an `Ago` itself is before."""
    at = time_of(value)
    if at is None:
        return None
    return at > now_ms - bound.ms if isinstance(bound, Ago) else at >= bound.ms


_CHECKS: Final[Mapping[Op, Callable[[Any, Any, int], bool]]] = {
    Op.EQ: lambda value, wanted, now_ms: same(value, wanted),
    Op.NOT_EQUAL: lambda value, wanted, now_ms: not same(value, wanted),
    Op.IN: lambda value, wanted, now_ms: any(same(value, each) for each in wanted),
    Op.NOT_IN: lambda value, wanted, now_ms: not any(same(value, each) for each in wanted),
    Op.CONTAINS: _contains,
    Op.STARTS_WITH: lambda value, wanted, now_ms: (
        isinstance(value, str) and value.startswith(wanted)
    ),
    Op.ENDS_WITH: lambda value, wanted, now_ms: isinstance(value, str) and value.endswith(wanted),
    Op.EXISTS: lambda value, wanted, now_ms: bool(wanted),
    Op.AT_LEAST: _compared(lambda value, wanted: value >= wanted),
    Op.AT_MOST: _compared(lambda value, wanted: value <= wanted),
    Op.MORE_THAN: _compared(lambda value, wanted: value > wanted),
    Op.LESS_THAN: _compared(lambda value, wanted: value < wanted),
    Op.BETWEEN: _compared(lambda value, wanted: wanted[0] <= value <= wanted[1]),
    Op.BEFORE: lambda value, wanted, now_ms: _bound_passed(value, wanted, now_ms) is False,
    Op.AFTER: lambda value, wanted, now_ms: _bound_passed(value, wanted, now_ms) is True,
}


def holds(properties: Mapping[str, Any], where: Where) -> bool:
    """Whether all checks of `where` hold.

    A path is dotted. Where it leads through a list, one element must pass all checks that lead through it.
    """
    return _holds(properties, [(path.split("."), checks) for path, checks in where])


def _holds(
    properties: Mapping[str, Any], where: Sequence[tuple[Sequence[str], tuple[Check, ...]]]
) -> bool:
    deeper: dict[str, list[tuple[Sequence[str], tuple[Check, ...]]]] = {}
    for path, checks in where:
        head = path[0]
        if len(path) > 1:
            deeper.setdefault(head, []).append((path[1:], checks))
            continue
        value = _read(properties.get(head), head)
        if not all(passes(value, check) for check in checks):
            return False
    return all(_some(properties.get(head), below) for head, below in deeper.items())


def _some(value: Any, where: Sequence[tuple[Sequence[str], tuple[Check, ...]]]) -> bool:
    if isinstance(value, list):
        return any(isinstance(each, dict) and _holds(each, where) for each in value[:VALUES_MAX])
    return _holds(value if isinstance(value, dict) else {}, where)


def texts_at(properties: Mapping[str, Any], path: str) -> set[str]:
    """The texts that `holds` compares at a path of one step, or of two."""
    head, _, name = path.rpartition(".")
    within = properties.get(head) if head else properties
    each_of = within[:VALUES_MAX] if isinstance(within, list) else [within]
    texts = [each.get(name) for each in each_of if isinstance(each, dict)]
    return {text for text in texts if isinstance(text, str)}


def _read(value: Any, name: str) -> Any:
    """A number that is written as text, where that is usual."""
    if name in MONEY and isinstance(value, str) and (read := micros(value)) is not None:
        return read // MICROS if read % MICROS == 0 else read / MICROS
    return value


def values_at(properties: Mapping[str, Any], path: str) -> list[Any]:
    """Texts, numbers and truths at a dotted path, through lists and in them; at most VALUES_MAX."""
    *heads, name = path.split(".")
    found: list[Any] = [properties]
    for head in heads:
        found = list(_flat(each.get(head) for each in found))
        found = [each for each in found if isinstance(each, dict)][:VALUES_MAX]
    values = (_read(each, name) for each in _flat(one.get(name) for one in found))
    return [each for each in values if isinstance(each, str | int | float)][:VALUES_MAX]


def _flat(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, list):
            yield from value
        else:
            yield value


def trait_at(traits: Mapping[str, Any], name: str) -> Any:
    """A trait by its name, else by a dotted path into a trait that is an object."""
    if name in traits or "." not in name:
        return traits.get(name)
    head, *steps = name.split(".")
    value = traits.get(head)
    for step in steps:
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value

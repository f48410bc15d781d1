"""What a filter lets through: the catalogue as columns, and a boolean mask for each filter.

An item that says nothing of a field meets no test of it, neither `=` nor `!=`; NOT turns a test around, so
`NOT colour = 'red'` lets through what has no colour. What was sent as text stays text: "42" is not 42.
"""

import difflib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Final

import numpy as np
import numpy.typing as npt

from models.errors import FilterError
from models.filter_text import AllOf, AnyOf, Check, Filter, Not, Value, conditions
from profiles.money import MICROS
from storage.ports import CatalogItem

Mask = npt.NDArray[np.bool_]

NO_TEXT: Final = -1
_UNSAID: Final = np.int8(-1)
_NAMES_SHOWN: Final = 20
_ATTRIBUTES: Final = "attributes."
_OWN: Final = ("id", "name", "category", "brand", "price", "currency", "in_stock", "sensitive")
_ORDER: Final[dict[str, Callable[[npt.NDArray[np.float64], float], Mask]]] = {
    "=": np.equal, "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal,
}  # fmt: skip


class Column:
    """One field of all items: texts, numbers and truths, each where an item has one."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.texts: dict[str, int] = {}
        """Every text in lower case, and its number."""
        self.text_of = np.empty(0, np.int32)
        self.numbers = np.empty(0, np.float64)
        self.flags = np.empty(0, np.int8)

    def put(self, place: int, value: str | float | bool) -> None:
        """Set an item's value; NaN is none."""
        if isinstance(value, bool):
            if not len(self.flags):
                self.flags = np.full(self.size, _UNSAID, np.int8)
            self.flags[place] = value
        elif isinstance(value, str):
            if not len(self.text_of):
                self.text_of = np.full(self.size, NO_TEXT, np.int32)
            self.text_of[place] = self.texts.setdefault(value.lower(), len(self.texts))
        else:
            if not len(self.numbers):
                self.numbers = np.full(self.size, np.nan, np.float64)
            with suppress(OverflowError):  # an integer beyond every double is a mistake: none
                self.numbers[place] = value

    @property
    def holds(self) -> str:
        """What kind of values there are, for people."""
        kinds = (("texts", self.text_of), ("numbers", self.numbers), ("true or false", self.flags))
        return " and ".join(kind for kind, held in kinds if held.size) or "nothing"

    def said(self) -> Mask:
        """Which items have a value."""
        mask: Mask = np.zeros(self.size, bool)
        if len(self.text_of):
            mask |= self.text_of != NO_TEXT
        if len(self.numbers):
            mask |= ~np.isnan(self.numbers)
        if len(self.flags):
            mask |= self.flags != _UNSAID
        return mask

    def where_text(self, fits: Callable[[str], bool]) -> Mask:
        """Items whose text fits: each distinct text is looked at once."""
        if not len(self.text_of):
            return np.zeros(self.size, bool)
        # The last place is that of NO_TEXT.
        hit = np.fromiter((*map(fits, self.texts), False), bool, len(self.texts) + 1)
        return np.asarray(hit[self.text_of])


class Columns:
    """The catalogue's fields over a list of items. An item that it does not know counts as in stock."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._own = {name: Column(size) for name in _OWN}
        self._attributes: dict[str, Column] = {}
        self._later: dict[str, Callable[[], Iterable[tuple[int, str]]]] = {}
        self._own["in_stock"].flags = np.ones(size, np.int8)
        self._own["sensitive"].flags = np.zeros(size, np.int8)

    def later(self, name: str, texts: Callable[[], Iterable[tuple[int, str]]]) -> None:
        """Texts of a field by place, read when a filter first asks for it: few ask for ids and names."""
        self._later[name] = texts

    def put(self, place: int, item: CatalogItem) -> None:
        """What the catalogue says of an item."""
        own = self._own
        if item.brand:
            own["brand"].put(place, item.brand)
        if item.currency:
            own["currency"].put(place, item.currency)
        if item.category.strip("/"):
            own["category"].put(place, item.category.strip("/"))
        own["in_stock"].flags[place] = item.in_stock
        own["sensitive"].flags[place] = item.sensitive
        if item.price_micros is not None:
            own["price"].put(place, float(item.price_micros))
        for name, value in item.attributes.items():
            column = self._attributes.get(name)
            if column is None:
                column = self._attributes[name] = Column(self.size)
            column.put(place, value)

    def column(self, name: str, at: int = 0) -> Column:
        """A field; FilterError with the names that are near if there is none."""
        if (texts := self._later.get(name)) is not None:
            made = Column(self.size)
            for place, text in texts():
                made.put(place, text)
            # Two threads may make it; both make the same.
            self._own[name] = made
            self._later.pop(name, None)
        found = self._own.get(name) or self._attributes.get(name.removeprefix(_ATTRIBUTES))
        if found is not None:
            return found
        known = [*self._own, *self._attributes]
        by_case = {each.lower(): each for each in reversed(known)}
        near = difflib.get_close_matches(name.lower(), by_case, n=2, cutoff=0.6)
        if near:
            hint = f"; did you mean {' or '.join(by_case[each] for each in near)}?"
        else:
            more = ", …" if len(known) > _NAMES_SHOWN else ""
            hint = f"; there are {', '.join(known[:_NAMES_SHOWN])}{more}"
        raise FilterError.at(at, f"no item has a field {name!r}{hint}")

    def mask(self, wanted: Filter) -> Mask:
        """Which items meet a filter; FilterError if it asks for what cannot be."""
        if isinstance(wanted, AllOf):
            return np.asarray(np.logical_and.reduce([self.mask(part) for part in wanted.parts]))
        if isinstance(wanted, AnyOf):
            return np.asarray(np.logical_or.reduce([self.mask(part) for part in wanted.parts]))
        if isinstance(wanted, Not):
            return ~self.mask(wanted.part)
        return self._check(wanted)

    def _check(self, check: Check) -> Mask:
        column = self.column(check.name, check.at)
        if check.operator == "*":
            mask = column.said()
        elif not check.operator:
            mask = self._true(check, column)
        elif check.operator == ":":
            part = str(check.values[0]).lower()
            self._holds(check, column, check.values[0])
            mask = column.where_text(lambda text: part in text)
        elif check.operator == "!=":
            same = self._below if column is self._own["category"] else self._equal
            mask = column.said() & ~same(check, column)
        elif column is self._own["category"] and check.operator in ("=", "IN"):
            mask = self._below(check, column)
        elif check.operator in ("=", "IN"):
            mask = self._equal(check, column)
        else:
            mask = self._ordered(check, column, check.values[0])
        return mask

    def _below(self, check: Check, column: Column) -> Mask:
        """A category holds those below it."""
        for value in check.values:
            self._holds(check, column, value)
        wanted = {str(value).lower().strip("/") for value in check.values}
        below = tuple(each + "/" for each in wanted)
        return column.where_text(lambda each: each in wanted or each.startswith(below))

    def _equal(self, check: Check, column: Column) -> Mask:
        found = [self._same(check, column, each) for each in check.values]
        return np.asarray(np.logical_or.reduce(found))

    def _true(self, check: Check, column: Column) -> Mask:
        if not len(column.flags) and column.holds != "nothing":
            raise FilterError.at(
                check.at, f"{check.name} holds {column.holds}: compare it with something"
            )
        return np.asarray(column.flags == 1) if len(column.flags) else _none(self.size)

    def _same(self, check: Check, column: Column, value: Value) -> Mask:
        self._holds(check, column, value)
        if isinstance(value, bool):
            return np.asarray(column.flags == value) if len(column.flags) else _none(self.size)
        if not isinstance(value, str):
            return self._numbers(check, column, "=", value)
        number = column.texts.get(value.lower())
        return np.asarray(column.text_of == number) if number is not None else _none(self.size)

    def _ordered(self, check: Check, column: Column, value: Value) -> Mask:
        if isinstance(value, bool):
            raise FilterError.at(check.at, f"{check.name}: true and false have no order")
        if isinstance(value, str):
            if column is self._own["category"]:
                raise FilterError.at(
                    check.at, "category: = takes those below it too; < has no meaning"
                )
            self._holds(check, column, value)
            # Dates as ISO 8601 writes them are in order as texts.
            bound, sign = value.lower(), check.operator
            return column.where_text(lambda text: _in_order(text, sign, bound))
        self._holds(check, column, value)
        return self._numbers(check, column, check.operator, value)

    def _numbers(self, check: Check, column: Column, sign: str, value: Decimal) -> Mask:
        if not len(column.numbers):
            return _none(self.size)
        bound = float(value * MICROS if column is self._own["price"] else value)
        return np.asarray(_ORDER[sign](column.numbers, bound))

    def _holds(self, check: Check, column: Column, value: Value) -> None:
        """FilterError if no item has a value of this kind there, but of another."""
        kind, held = (
            ("true or false", column.flags) if isinstance(value, bool)
            else ("a text", column.text_of) if isinstance(value, str)
            else ("a number", column.numbers)
        )  # fmt: skip
        if not len(held) and column.holds != "nothing":
            raise FilterError.at(check.at, f"{check.name} holds {column.holds}, not {kind}")

    def why_none(self, wanted: Filter) -> str:
        """Which condition of a filter that nothing meets is met by nothing alone, for people."""
        for part in conditions(wanted):
            if not self.mask(part).any():
                return f"no item meets the filter: none has {part}"
        return "no item meets the filter: each condition is met by some, all of them by none"

    def loosened(self, wanted: Filter) -> tuple[list[tuple[Mask, str]], list[str]]:
        """A filter's masks from strict to loose, each with the condition given up last; and what was refused.

        Conditions are given up from the last to the first, so the most important one is written first. One
        that cannot be meant is given up at once, and said.
        """
        masks: list[tuple[Mask, str]] = []
        refused = []
        whole: Mask = np.ones(self.size, bool)
        met: list[tuple[Mask, str]] = []
        for part in conditions(wanted):
            try:
                whole = whole & self.mask(part)
            except FilterError as error:
                refused.append(f"{part} ({error})")
                continue
            met.append((whole, str(part)))
        if not met:
            return [(whole, "")], refused
        masks.append((met[-1][0], ""))
        for n in range(len(met) - 1, -1, -1):
            before = met[n - 1][0] if n else np.ones(self.size, bool)
            masks.append((before, met[n][1]))
        return masks, refused


def columns_of(item_ids: Sequence[str], items: Iterable[CatalogItem]) -> Columns:
    """Columns of a few items, for tests and notebooks."""
    made = Columns(len(item_ids))
    place = {item: n for n, item in enumerate(item_ids)}
    known = [each for each in items if each.id in place]
    for each in known:
        made.put(place[each.id], each)
    made.later("id", lambda: enumerate(item_ids))
    made.later("name", lambda: [(place[each.id], each.name) for each in known if each.name])
    return made


def _none(size: int) -> Mask:
    return np.zeros(size, bool)


def _in_order(text: str, sign: str, bound: str) -> bool:
    if text == bound:
        return sign in ("<=", ">=")
    return (text < bound) == (sign in ("<", "<="))

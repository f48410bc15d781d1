"""Rules applied to a catalogue: what one answer hides, pins and promotes."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from models.errors import FilterError, RulesError
from models.filters import Columns, Mask
from models.rules import Rule

NOT_PROMOTED: Final = -1
COMBINATIONS_MAX: Final = 256
"""Sets of rules in force together that are remembered: surfaces times segments that rules name."""


class Pin(msgspec.Struct, frozen=True):
    """An item at the head of a list."""

    code: int
    rule: str
    reason: str


class Favours(msgspec.Struct, frozen=True):
    """What scores are multiplied with, and by which rule, for each item."""

    boost: npt.NDArray[np.float32]
    rule: npt.NDArray[np.int16]
    """A place in `names`, or NOT_PROMOTED."""
    names: Sequence[str]


class InForce(msgspec.Struct, frozen=True):
    """What rules do to one answer."""

    hidden: Mask | None = None
    pins: Sequence[Pin] = ()
    favours: Favours | None = None


NOTHING: Final = InForce()


class Merchandising:
    """Rules over one state of the catalogue. Immutable but for what it remembers."""

    def __init__(self, rules: Sequence[Rule], columns: Columns, code: Mapping[str, int]) -> None:
        self._rules = rules
        self._for_some = any(rule.segments for rule in rules)
        self._columns = columns
        self._code = code
        self._known: dict[tuple[int, ...], InForce] = {}

    def in_force(
        self, surface: str, segments: Callable[[], Collection[str]], now_ms: int
    ) -> InForce:
        """What the rules do on a surface, for a member of segments, at a time."""
        if not self._rules:
            return NOTHING
        members = segments() if self._for_some else ()
        held = tuple(
            n for n, rule in enumerate(self._rules) if rule.holds(surface, members, now_ms)
        )
        if not held:
            return NOTHING
        found = self._known.get(held)
        if found is None:
            if len(self._known) >= COMBINATIONS_MAX:
                self._known.clear()
            found = self._known[held] = self._together([self._rules[n] for n in held])
        return found

    def check(self) -> None:
        """RulesError for each rule whose `where` asks for a field that the catalogue has not."""
        problems = []
        for rule in self._rules:
            if rule.where is not None:
                try:
                    self._columns.mask(rule.where)
                except FilterError as error:
                    problems.append(f"{rule.name}: where: {error}")
        if problems:
            raise RulesError("\n".join(problems))

    def _together(self, rules: Sequence[Rule]) -> InForce:
        hidden: Mask | None = None
        pins: dict[int, Pin] = {}
        boost = np.ones(self._columns.size, np.float32)
        by = np.full(self._columns.size, NOT_PROMOTED, np.int16)
        names = [rule.name for rule in rules]
        for n, rule in enumerate(rules):
            if rule.action == "pin":
                for item in rule.items:
                    if (code := self._code.get(item)) is not None:
                        pins.setdefault(code, Pin(code, rule.name, rule.reason))
                continue
            mask = self._items(rule)
            if rule.action == "hide":
                hidden = mask if hidden is None else hidden | mask
            else:
                boost[mask] *= np.float32(rule.boost)
                by[mask & (by == NOT_PROMOTED)] = n
        promoted = any(rule.action == "promote" for rule in rules)
        return InForce(
            hidden, tuple(pins.values()), Favours(boost, by, names) if promoted else None
        )

    def _items(self, rule: Rule) -> Mask:
        if rule.where is None:
            mask: Mask = np.zeros(self._columns.size, bool)
            mask[[self._code[item] for item in rule.items if item in self._code]] = True
            return mask
        try:
            return self._columns.mask(rule.where)
        except FilterError:
            # A field that no item has (any more) matches nothing; `check` says so when rules are read.
            return np.zeros(self._columns.size, bool)

"""A segment as a tree of typed conditions. What may be in it, `profiles.segments.parse` decides."""

from enum import Enum, StrEnum
from typing import Any, Final, Literal

import msgspec

DAY_MS: Final = 86_400_000
ANY_EVENT: Final = "*"
"""The name that stands for every event."""


class Op(StrEnum):
    """How a value is checked. The names are the keys that users write."""

    EQ = "eq"
    NOT_EQUAL = "not_equal"
    IN = "in"
    NOT_IN = "not_in"
    CONTAINS = "contains"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"
    EXISTS = "exists"
    AT_LEAST = "at_least"
    AT_MOST = "at_most"
    MORE_THAN = "more_than"
    LESS_THAN = "less_than"
    BETWEEN = "between"
    BEFORE = "before"
    AFTER = "after"


class Truth(Enum):
    """True or false to compare with. Python's own equal 1 and 0: two different checks would be one."""

    TRUE = True
    FALSE = False


class At(msgspec.Struct, frozen=True, tag="at"):
    """A moment, in milliseconds since 1970."""

    ms: int


class Ago(msgspec.Struct, frozen=True, tag="ago"):
    """So many milliseconds before the time of evaluation."""

    ms: int


Moment = At | Ago


class Check(msgspec.Struct, frozen=True):
    """One check of a value.

    `value` is a text, number or Truth for EQ, NOT_EQUAL, CONTAINS; a tuple of them for IN and NOT_IN; a text
    for STARTS_WITH and ENDS_WITH; a bool for EXISTS; a number for the comparisons; a pair of numbers, both
    included, for BETWEEN; a moment for BEFORE and AFTER.
    """

    op: Op
    value: Any


Where = tuple[tuple[str, tuple[Check, ...]], ...]
"""(path, checks) pairs, all of which must hold; sorted by path."""


class Match(msgspec.Struct, frozen=True):
    """Which events are meant."""

    event: str
    """The key of the name, as in `profiles.facts.Facts.event`; ANY_EVENT for all."""
    spelling: str
    """The name as the author wrote it."""
    where: Where = ()


class Window(msgspec.Struct, frozen=True):
    """A time in which events count: from `since` (included) until `until` (not included), never after now.

    An `Ago` as `since` leaves out that very millisecond, and as `until` includes it: a window of the last 30
    days is `(now - 30d, now]`, and what is before it ends at `now - 30d`.
    """

    since: Moment | None = None
    until: Moment | None = None


class Of(StrEnum):
    """What is counted of the events in a window."""

    COUNT = "count"
    SUM = "sum"
    DISTINCT = "distinct"
    FIRST = "first"
    """Whether the first of all is in the window; the checks are not used."""
    LAST = "last"
    """Whether the last of all until now is in the window."""
    VALUES = "values"
    """The values themselves: only computed traits ask for them."""


class Follow(msgspec.Struct, frozen=True):
    """What must, or must not, happen after an event, at most `within_ms` later."""

    match: Match
    within_ms: int
    negated: bool = False
    then: "Follow | None" = None
    """What must follow that one; where this is negated, with which it is one thing that must not happen."""


class AllOf(msgspec.Struct, frozen=True, tag="all"):
    """Every one of them holds."""

    of: tuple["Condition", ...]


class AnyOf(msgspec.Struct, frozen=True, tag="any"):
    """One of them holds, or more."""

    of: tuple["Condition", ...]


class Not(msgspec.Struct, frozen=True, tag="not"):
    """It does not hold."""

    of: "Condition"


class TraitIs(msgspec.Struct, frozen=True, tag="trait"):
    """A trait has a value that passes all checks; one that is missing or null passes only `exists: false`."""

    name: str
    checks: tuple[Check, ...]


class Happened(msgspec.Struct, frozen=True, tag="event"):
    """Events happened, and what they come to passes all checks."""

    match: Match
    window: Window = Window()
    of: Of = Of.COUNT
    path: str = ""
    """What is summed or told apart; "revenue" is what `profiles.facts.amount_of` reads."""
    currency: str = ""
    """Only amounts in it are summed."""
    checks: tuple[Check, ...] = (Check(Op.AT_LEAST, 1),)
    follow: Follow | None = None


class Seen(msgspec.Struct, frozen=True, tag="seen"):
    """The first or last event of all, whatever it is, is in a window."""

    which: Literal["first", "last"]
    window: Window


class Has(msgspec.Struct, frozen=True, tag="has"):
    """An identifier of a type is known."""

    identifier_type: str


class Consents(msgspec.Struct, frozen=True, tag="consent"):
    """The newest statement about a purpose; nothing stated is neither granted nor refused."""

    purpose: str
    granted: bool = True


class InSegment(msgspec.Struct, frozen=True, tag="segment"):
    """Member of another segment."""

    id: str


class Score(msgspec.Struct, frozen=True, tag="score"):
    """A model's score is there, is no older than `max_age_ms`, and passes all checks."""

    name: str
    checks: tuple[Check, ...] = ()
    max_age_ms: int | None = None


Condition = AllOf | AnyOf | Not | TraitIs | Happened | Seen | Has | Consents | Score | InSegment


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """An audience: who is in it."""

    id: str
    name: str
    description: str = ""
    sensitive: bool = False
    """Never sent anywhere unless a destination allows it by name."""
    granularity: Literal["exact", "day"] = "exact"
    """`day`: windows begin at midnight UTC, and any number of events can be counted."""
    who: Condition


class Computes(StrEnum):
    """What a computed trait is."""

    COUNT = "count"
    SUM = "sum"
    MOST_FREQUENT = "most_frequent"
    """The value that most events have; of several the one that was seen last."""
    FIRST = "first"
    """The value of the oldest event in the window that has one."""
    LAST = "last"
    """The value of the newest event in the window that has one."""
    UNIQUE_LIST = "unique_list"
    """Every value once, those seen last first."""


class ComputedTrait(msgspec.Struct, frozen=True, kw_only=True):
    """A trait that is computed of events whenever it is read; it hides a stated one of its name."""

    name: str
    description: str = ""
    computes: Computes
    path: str = ""
    """Where the value is; not for a count."""
    currency: str = ""
    match: Match
    window: Window = Window()


Definition = Segment | ComputedTrait


def conditions(condition: Condition) -> list[Condition]:
    """`condition` and all below it, in the order in which they are written."""
    found: list[Condition] = []
    left = [condition]
    while left:
        each = left.pop()
        found.append(each)
        if isinstance(each, AllOf | AnyOf):
            left.extend(reversed(each.of))
        elif isinstance(each, Not):
            left.append(each.of)
    return found


def matches(happened: Happened) -> list[Match]:
    """The events that a condition is about."""
    found = [happened.match]
    follow = happened.follow
    while follow is not None:
        found.append(follow.match)
        follow = follow.then
    return found

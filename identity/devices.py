"""Whose is a visit: anonymous activity on a device goes to its user, or to nobody (DESIGN §3.3). Pure."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from identity.evidence import Use
from identity.nodes import Node
from identity.rules import Rules

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000

Span = tuple[int, int, Node]
"""(first_ms, last_ms, profile id) of a use."""


class Why(StrEnum):
    """The rule that decided."""

    LOGIN = "login in the visit, or soon after it"
    BETWEEN = "between two uses by one person"
    BEFORE_FIRST = "before the device's first use"
    AFTER_LAST = "after the device's last use"
    UNUSED = "nobody ever used the device by name"
    KIOSK = "more people than a device has owners"
    SEVERAL = "several people at the same time"
    BETWEEN_PEOPLE = "between uses by two people"
    TOO_EARLY = "too long before the first use"
    IDLE = "too long after the last use"
    LOGGED_OUT = "after a logout"


class Owned(msgspec.Struct, frozen=True):
    """Whose a visit is: a profile id, or None for nobody."""

    person: Node | None
    why: Why


_KIOSK: Final = Owned(None, Why.KIOSK)
_UNUSED: Final = Owned(None, Why.UNUSED)


class _History:
    """A device's uses by today's people, in order of time. A use spans at most an hour."""

    __slots__ = ("_by_first", "_by_last", "_firsts", "_lasts", "_logouts", "people")

    def __init__(self, uses: Iterable[Use], person_of: Callable[[Node], Node]) -> None:
        spans: list[Span] = []
        logouts: list[int] = []
        for use in uses:
            if use.person:
                spans.append((use.first_ms, use.last_ms, person_of(use.person)))
            else:
                logouts += (use.first_ms, use.last_ms)
        self.people = {person for _, _, person in spans}
        if len(spans) > 1:
            spans.sort()
        self._by_first = self._by_last = spans
        self._firsts = [first for first, _, _ in spans]
        self._lasts = [last for _, last, _ in spans]
        if len(self.people) > 1:
            self._by_last = sorted(spans, key=_last)
            self._lasts = [last for _, last, _ in self._by_last]
        elif len(spans) > 1:
            # One person's registers may overlap, of several identifiers; who is who does not matter then.
            self._lasts.sort()
        if logouts:
            logouts.sort()
        self._logouts = logouts

    def newest_ms(self) -> int:
        """The last thing that is known of the device."""
        return max(*self._lasts[-1:], *self._logouts[-1:], 0, 0)

    def only(self, start_ms: int, end_ms: int, rules: Rules) -> Owned:
        """Whose a visit is, on a device of one person: the same rules, with one answer or none."""
        (person,) = self.people
        until_ms = end_ms + rules.login_after_visit_min * MINUTE_MS
        ended = bisect_left(self._lasts, start_ms)
        if ended < len(self._lasts) and ended < bisect_right(self._firsts, until_ms):
            # More uses began by then than had ended before the visit, so one lies in it.
            return Owned(person, Why.LOGIN)
        if not ended:
            return _before_first(end_ms, (self._firsts[0], self.people), rules)
        last_ms = self._lasts[ended - 1]
        if self._logouts and self.logged_out(last_ms, start_ms):
            return Owned(None, Why.LOGGED_OUT)
        if ended < len(self._lasts):
            return Owned(person, Why.BETWEEN)
        return _after_last(start_ms, last_ms, self.people, rules)

    def during(self, start_ms: int, end_ms: int) -> set[Node]:
        """The people with a use in a time."""
        low = bisect_left(self._firsts, start_ms - HOUR_MS)
        high = bisect_right(self._firsts, end_ms, low)
        return {person for _, last, person in self._by_first[low:high] if last >= start_ms}

    def before(self, time_ms: int) -> tuple[int, set[Node]] | None:
        """When the device was last used before a time, and by whom: several, if uses overlap there."""
        at = bisect_left(self._lasts, time_ms) - 1
        if at < 0:
            return None
        first, last, person = self._by_last[at]
        low = bisect_left(self._lasts, first, 0, at)
        return last, {person, *(other for _, _, other in self._by_last[low:at])}

    def after(self, time_ms: int) -> tuple[int, set[Node]] | None:
        """When the device was first used after a time, and by whom."""
        at = bisect_right(self._firsts, time_ms)
        if at == len(self._firsts):
            return None
        first, last, person = self._by_first[at]
        high = bisect_right(self._firsts, last, at)
        return first, {person, *(other for _, _, other in self._by_first[at:high])}

    def logged_out(self, since_ms: int, until_ms: int) -> bool:
        """Whether somebody logged out in a time."""
        at = bisect_left(self._logouts, since_ms)
        return at < len(self._logouts) and self._logouts[at] <= until_ms


def _last(span: Span) -> int:
    return span[1]


def owners_of(
    visits: Sequence[tuple[int, int]],
    uses: Iterable[Use],
    person_of: Callable[[Node], Node],
    rules: Rules,
) -> list[Owned]:
    """Whose each visit `(start_ms, end_ms)` is. `person_of` gives a person node's profile id today."""
    history = _History(uses, person_of)
    return [_whose(visit, history, rules) for visit in visits]


def user_of_all(
    visits: Sequence[tuple[int, int]], uses: Sequence[Use], rules: Rules
) -> Node | None:
    """The one identifier that used a device, if all visits are its person's and the first and the last show it.

    None: ask `owners_of`, which finds the same, of any device. `visits` may be the first and the last alone.
    """
    person = uses[0].person if uses else None
    # A logout, too, is a use: by nobody.
    if not person or any(use.person != person for use in uses):
        return None
    most = rules.before_first_use_max_days
    if most is not None and min([use.first_ms for use in uses]) - visits[0][1] > most * DAY_MS:
        return None
    idle_ms = visits[-1][0] - max([use.last_ms for use in uses])
    return None if idle_ms > rules.owner_idle_max_days * DAY_MS else person


class Known(NamedTuple):
    """What is known of a device at some time."""

    visits: Sequence[tuple[int, int]]
    """(start_ms, end_ms), oldest first."""
    uses: Sequence[Use]


def all_stay(before: Known, after: Known, person_of: Callable[[Node], Node], rules: Rules) -> bool:
    """Whether each visit of `before` is whose it was, where visits have only grown and uses only come.

    False also where a visit is no longer told apart, where the device begins to be too many people's, and
    where the first visit is nobody's: before it, the device had no activity of its own.
    """
    if before == after or _are_one_users(before, after, rules):
        return True
    then = _History(before.uses, person_of)
    unused = before.uses == after.uses
    now = then if unused else _History(after.uses, person_of)
    if (len(then.people) > rules.owners_max) is not (len(now.people) > rules.owners_max):
        return False
    # What did not grow, on a device that nobody used again, is whose it was.
    same = _alike(before, after) if unused else 0
    starts = [start for start, _ in after.visits]
    owners = [_whose(visit, now, rules).person for visit in after.visits[same:]]
    nobodys = False
    for visit in before.visits[same:]:
        place = bisect_right(starts, visit[0]) - 1
        if place < same or after.visits[place][1] < visit[1]:
            return False
        owner = _whose(visit, then, rules).person
        nobodys = nobodys or owner is None
        if owner != owners[place - same]:
            return False
    if nobodys or None not in owners:
        return True
    return any(_whose(visit, then, rules).person is None for visit in before.visits[:same])


def _are_one_users(before: Known, after: Known, rules: Rules) -> bool:
    """Whether one identifier used the device, and all visits were and are its person's, as is seen at once.

    Of what came is seen at once that the last visit is longer now, and that others began after it.
    """
    if not after.visits or not before.visits or len(after.visits) < len(before.visits):
        return False
    last = len(before.visits) - 1
    (start, end), (starts, ends) = before.visits[last], after.visits[last]
    if starts > start or ends < end or before.visits[:last] != after.visits[:last]:
        return False
    user = user_of_all((before.visits[0], before.visits[-1]), before.uses, rules)
    return user is not None and user == user_of_all(
        (after.visits[0], after.visits[-1]), after.uses, rules
    )


def _alike(before: Known, after: Known) -> int:
    """How many visits there were are as they were, the oldest first."""
    for place, (visit, now) in enumerate(zip(before.visits, after.visits, strict=False)):
        if visit != now:
            return place
    return min(len(before.visits), len(after.visits))


def present_owner(
    uses: Iterable[Use], person_of: Callable[[Node], Node], now_ms: int, rules: Rules
) -> Node | None:
    """The profile id of whoever a device belongs to now, or None."""
    history = _History(uses, person_of)
    if not history.people or len(history.people) > rules.owners_max:
        return None
    # A client's clock may have put the newest use after now; it is the newest all the same.
    at_ms = max(now_ms, history.newest_ms() + 1)
    return _owner(at_ms, at_ms, history, rules).person


def _whose(visit: tuple[int, int], history: _History, rules: Rules) -> Owned:
    if len(history.people) > rules.owners_max:
        return _KIOSK
    return _owner(*visit, history, rules) if history.people else _UNUSED


def _owner(start_ms: int, end_ms: int, history: _History, rules: Rules) -> Owned:
    if len(history.people) == 1:
        return history.only(start_ms, end_ms, rules)
    within = history.during(start_ms, end_ms + rules.login_after_visit_min * MINUTE_MS)
    if within:
        return Owned(within.pop(), Why.LOGIN) if len(within) == 1 else Owned(None, Why.SEVERAL)
    before = history.before(start_ms)
    after = history.after(end_ms)
    if before is None:
        return _before_first(end_ms, after, rules)
    last_ms, people = before
    if history.logged_out(last_ms, start_ms):
        return Owned(None, Why.LOGGED_OUT)
    if after is None:
        return _after_last(start_ms, last_ms, people, rules)
    people = people | after[1]
    return Owned(people.pop(), Why.BETWEEN) if len(people) == 1 else Owned(None, Why.BETWEEN_PEOPLE)


def _before_first(end_ms: int, after: tuple[int, set[Node]] | None, rules: Rules) -> Owned:
    if after is None:
        return Owned(None, Why.UNUSED)
    first_ms, people = after
    if len(people) > 1:
        return Owned(None, Why.SEVERAL)
    most = rules.before_first_use_max_days
    if most is not None and first_ms - end_ms > most * DAY_MS:
        return Owned(None, Why.TOO_EARLY)
    return Owned(next(iter(people)), Why.BEFORE_FIRST)


def _after_last(start_ms: int, last_ms: int, people: set[Node], rules: Rules) -> Owned:
    if len(people) > 1:
        return Owned(None, Why.SEVERAL)
    if start_ms - last_ms > rules.owner_idle_max_days * DAY_MS:
        return Owned(None, Why.IDLE)
    return Owned(next(iter(people)), Why.AFTER_LAST)

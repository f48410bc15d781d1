"""Conditions on how many events lie in a window, on what they sum up to, and on the first and last."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from math import ceil
from typing import Final, NamedTuple

from profiles.money import micros
from profiles.segments.collect import ORDER_EVENT, Collected, Hit
from profiles.segments.sequences import Following
from profiles.segments.subject import FOREVER, Subject, Verdict
from profiles.segments.timeline import Timeline
from profiles.segments.tree import DAY_MS, Check, Happened, Of, Op
from profiles.segments.values import passes
from profiles.segments.windows import Span

_NO: Final = Verdict(False)
_YES: Final = Verdict(True)


class Beyond(NamedTuple):
    """Events in a window that are not kept one by one."""

    events: int = 0
    amount: int = 0
    exact: bool = True
    until_ms: int = FOREVER
    """When time changes this."""


_NONE: Final = Beyond()


def beyond(timeline: Timeline, span: Span, low: int, high: int) -> Beyond:
    """What of the forgotten events is in a window; `low` and `high` are its bounds now."""
    if not timeline.forgotten or low > timeline.forgotten_until_ms:
        return _NONE
    exact = not timeline.told_twice
    if span.ever and high > timeline.forgotten_until_ms:
        return Beyond(timeline.forgotten, timeline.forgotten_amount, exact)
    days = timeline.day_times
    inside = timeline.day_counts[bisect_left(days, low) : bisect_left(days, high)]
    begins = low == -FOREVER or low % DAY_MS == 0
    ends = high % DAY_MS == 0 or high > timeline.forgotten_until_ms
    return Beyond(
        sum(count for count, _ in inside),
        sum(amount for _, amount in inside),
        exact and begins and ends and low >= timeline.days_since_ms,
        span.next_change(days, low, high),
    )


def grows(condition: Happened) -> bool:
    """Whether it never fails because more happened: it asks for so many events, or values, until now.

    Of an order that is told again the earliest counts, and that one may be too old.
    """
    enough = condition.of in (Of.COUNT, Of.DISTINCT) and _least_of(condition.checks) > 0
    told_once = condition.match.event != ORDER_EVENT
    return enough and told_once and not condition.follow and Span(condition.window).endless


class Counting:
    """A condition on a count, a sum, or a number of different values, ready to be asked."""

    def __init__(
        self, number: int, span: Span, condition: Happened, follow: Following | None
    ) -> None:
        of, checks = condition.of, condition.checks
        orders = condition.match.event == ORDER_EVENT
        self._number = number
        self._span = span
        self._of = of
        self._follow = follow
        self._checks = tuple(map(_in_micros, checks)) if of is Of.SUM else checks
        self._passes = _test_of(self._checks)
        self._nothing = _YES if self._passes(0) else _NO
        # What leaves can be foretold one by one where every event counts for itself.
        self._single = of is not Of.DISTINCT and follow is None
        self._least = 0 if of is Of.SUM else _least_of(checks)
        """The number from which on it holds, where more never matters; else 0."""
        self._endless = span.endless
        quick = of is Of.COUNT and self._single and self._endless
        self._enough = self._least if quick else 0
        # What left its window for good does not matter; but of an order that is told again the earliest counts.
        self._newest = self._endless and follow is None and not orders
        """Whether what is in the window is all that is asked for."""

    def verdict(self, subject: Subject, now_ms: int) -> Verdict:
        """Whether it holds."""
        number = self._number
        parts = len(subject.bodies)
        if self._newest and parts > 1:
            parts = subject.parts_since(self._span.bounds(now_ms)[0])
        timeline = subject.timelines.get((number, parts))
        if timeline is None:
            some = subject.kept(number, parts)
            if not some:
                return self._nothing
            if (told := self._at_once(some, now_ms)) is not None:
                return told
            timeline = subject.timeline(number, parts)
        times = timeline.times
        if not times:
            return self._nothing
        if self._enough and not timeline.forgotten and times[-1] <= now_ms:
            return self._quickly(times, now_ms)
        return self._counted(subject, timeline, now_ms)

    def _counted(self, subject: Subject, timeline: Timeline, now_ms: int) -> Verdict:
        """The same of any timeline that is not empty."""
        times, span = timeline.times, self._span
        low, high = span.bounds(now_ms)
        first, past = bisect_left(times, low), bisect_left(times, high)
        until = span.next_entry(times, low, high)
        if timeline.forgotten:
            return self._with_forgotten(subject, timeline, now_ms)
        if self._follow is not None:
            return self._followed(subject, timeline, (first, past), until, now_ms)
        value = self._known(timeline, first, past)
        member = self._passes(value)
        # Where more is better, what goes out makes no member.
        going_out_matters = member or not self._least
        if going_out_matters and span.since_ago is not None and first < past:
            until = min(until, self._leaving(timeline, first, past, member, value))
        return Verdict(member, until)

    def _at_once(self, some: Sequence[Collected], now_ms: int) -> Verdict | None:
        """What needs no timeline: nothing is new enough, all is too little, or the newest is enough."""
        last: Hit | None = None
        total = 0
        for each in some:
            total += each.total
            if each.hits and (last is None or each.hits[0].time_ms > last.time_ms):
                last = each.hits[0]
        if last is None:
            return None
        low, _ = self._span.bounds(now_ms)
        if self._endless and last.time_ms < low:
            return self._nothing
        if self._least and self._too_little(some, total):
            return _NO
        enough = self._enough
        if len(some) == 1 and 0 < enough <= len(some[0].hits):
            kept = some[0].hits[:enough]
        else:
            kept = [last] if enough == 1 else []
        # The copy of an order that was told before is what counts: only a timeline knows.
        if not kept or last.time_ms > now_ms or any(hit.order for hit in kept):
            return None
        at = kept[-1].time_ms
        return _NO if at < low else Verdict(True, self._span.leaves_at(at))

    def _too_little(self, some: Sequence[Collected], total: int) -> bool:
        """Whether all that there ever was is less than is wanted, whatever of it is the same."""
        if self._of is Of.COUNT or total >= self._least:
            return total < self._least
        return self._least > sum(
            [len(hit.value) for each in some for hit in each.hits if isinstance(hit.value, tuple)]
        )

    def _quickly(self, times: Sequence[int], now_ms: int) -> Verdict:
        """At least so many, and all are past: it holds until the newest that are enough go out."""
        enough, span = self._enough, self._span
        if len(times) < enough or times[-enough] < span.since_ms:
            return _NO
        if span.since_ago is None:
            return _YES
        until = span.leaves_at(times[-enough])
        return Verdict(True, until) if now_ms < until else _NO

    def _known(self, timeline: Timeline, first: int, past: int) -> int:
        """The value of what is kept. A collector keeps one kind of value, so its places say which is meant."""
        if self._of is Of.COUNT:
            return past - first if past > first else 0
        value = timeline.known.get((first, past))
        if value is None:
            value = timeline.known[first, past] = self._value(timeline.hits, first, past)
        return value

    def _value(self, hits: Sequence[Hit], first: int, past: int) -> int:
        if first >= past:
            return 0
        if self._of is Of.COUNT:
            return past - first
        if self._of is Of.SUM:
            return sum([hit.value for hit in hits[first:past] if isinstance(hit.value, int)])
        return len(
            {each for hit in hits[first:past] if isinstance(hit.value, tuple) for each in hit.value}
        )

    def _leaving(self, timeline: Timeline, first: int, past: int, member: bool, value: int) -> int:
        """When so many have gone out that the answer is another, if nothing comes in."""
        if not self._single:
            return self._span.leaves_at(timeline.times[first])
        amounts = timeline.amounts if self._of is Of.SUM else None
        for place in range(first, past):
            value -= 1 if amounts is None else amounts[place]
            if self._passes(value) is not member:
                return self._span.leaves_at(timeline.times[place])
        return FOREVER

    def _followed(
        self, subject: Subject, timeline: Timeline, inside: tuple[int, int], until: int, now_ms: int
    ) -> Verdict:
        """The same of those events after which happened, or did not, what must."""
        assert self._follow is not None  # noqa: S101  # its caller looked
        follow = self._follow.of(subject, now_ms)
        kept, exact = [], True
        for hit in timeline.hits[slice(*inside)]:
            verdict = follow.after(hit.time_ms)
            until, exact = min(until, verdict.valid_until_ms), exact and verdict.exact
            if verdict.member:
                kept.append(hit)
        if inside[0] < inside[1]:
            until = min(until, self._span.leaves_at(timeline.times[inside[0]]))
        return Verdict(self._passes(self._value(kept, 0, len(kept))), until, exact)

    def _with_forgotten(self, subject: Subject, timeline: Timeline, now_ms: int) -> Verdict:
        """The same where more events happened than are kept one by one."""
        low, high = self._span.bounds(now_ms)
        more = beyond(timeline, self._span, low, high)
        inside = bisect_left(timeline.times, low), bisect_left(timeline.times, high)
        until = min(more.until_ms, self._span.next_change(timeline.times, low, high))
        if self._follow is not None:
            member, until, exact = self._followed(subject, timeline, inside, until, now_ms)
            return Verdict(member, until, exact and more is _NONE)
        known = self._known(timeline, *inside)
        added = {Of.COUNT: more.events, Of.SUM: more.amount}.get(self._of, 0)
        member = self._passes(known + added)
        exact = more is _NONE or (more.exact and self._of is not Of.DISTINCT)
        if not exact and not timeline.told_twice and self._of is not Of.SUM:
            most = known + timeline.forgotten if self._of is Of.COUNT else FOREVER
            exact = self._same_throughout(known, most)
        return Verdict(member, until, exact)

    def _same_throughout(self, low: int, high: int) -> bool:
        """Whether every value from the one to the other gives one answer."""
        marks = {low, high}
        for check in self._checks:
            values = check.value if isinstance(check.value, tuple) else (check.value,)
            marks.update(int(value) + step for value in values for step in (-1, 0, 1))
        return len({self._passes(mark) for mark in marks if low <= mark <= high}) == 1


class Nth:
    """Whether the first or the last event of all is in a window, ready to be asked."""

    def __init__(self, number: int, span: Span, of: Of) -> None:
        self._number = number
        self._span = span
        self._first = of is Of.FIRST

    def verdict(self, subject: Subject, now_ms: int) -> Verdict:
        """Whether it holds."""
        timeline = subject.timeline(self._number)
        times = timeline.times
        if not times:
            return _NO
        past = bisect_right(times, now_ms)
        if self._first:
            exact, until = True, FOREVER
            at = timeline.first_ms
            if at > now_ms:
                return Verdict(False, at)
        else:
            # The earlier copy of an order may be forgotten, and what is newest of it is none.
            exact = not (timeline.forgotten and (timeline.told_twice or past == 0))
            until = times[past] if past < len(times) else FOREVER
            if past == 0:
                return Verdict(False, until, exact)
            at = times[past - 1]
        low, high = self._span.bounds(now_ms)
        until = min(until, self._span.next_change((at,), low, high))
        return Verdict(low <= at < high, until, exact)


def _least_of(checks: tuple[Check, ...]) -> int:
    """The number from which on checks hold, if that is all that they ask; else 0."""
    if len(checks) != 1 or checks[0].op is not Op.AT_LEAST:
        return 0
    least: int = ceil(checks[0].value)
    return max(least, 0)


def _test_of(checks: tuple[Check, ...]) -> Callable[[int], bool]:
    """The checks as one quick question about a number."""
    if len(checks) == 1 and checks[0].op is Op.AT_LEAST:
        least = checks[0].value
        return lambda value: bool(value >= least)
    return lambda value: all(passes(value, check) for check in checks)


def _in_micros(check: Check) -> Check:
    value = check.value
    if isinstance(value, tuple):
        return Check(check.op, tuple(map(micros, value)))
    return Check(check.op, micros(value))

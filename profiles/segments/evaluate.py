"""Whether a profile is in a segment now, and until when that holds if nothing happens (DESIGN §4)."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from profiles.money import micros
from profiles.part import Body
from profiles.segments.collect import DAY_MS, Collected, Collector, Hit, collector_of, merged
from profiles.segments.tree import (
    Ago,
    AllOf,
    AnyOf,
    Check,
    Condition,
    Consents,
    Follow,
    Happened,
    Has,
    InSegment,
    Moment,
    Not,
    Of,
    Op,
    Seen,
    Segment,
    TraitIs,
    Window,
)
from profiles.segments.values import passes, trait_at, turns_at

FOREVER: Final = 1 << 62
"""No passing of time changes the verdict."""


class Verdict(NamedTuple):
    """Whether a profile is a member at all times from now until before `valid_until_ms`."""

    member: bool
    valid_until_ms: int = FOREVER
    exact: bool = True
    """False: more events than are kept one by one lay in a window, and were counted by days."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What conditions ask about a profile."""

    traits: Mapping[str, Any] = {}
    first_ms: int | None = None
    last_ms: int | None = None
    collected: Mapping[int, Collected] = {}
    consent: Mapping[str, bool] = {}
    identifier_types: frozenset[str] = frozenset()


def subject_of(bodies: Iterable[Body], identifier_types: Iterable[str]) -> Subject:
    """The subject whose parts are `bodies`; their order does not matter."""
    parts = list(bodies)
    if len(parts) == 1:
        whole = parts[0]
        traits, consent, collected = whole.traits, whole.consent, whole.collected
    else:
        traits, consent = {}, {}
        several: dict[int, list[Collected]] = {}
        for body in parts:
            for name, trait in body.traits.items():
                held = traits.get(name)
                if held is None or (trait.time_ms, trait.message) > (held.time_ms, held.message):
                    traits[name] = trait
            for purpose, stated in body.consent.items():
                known = consent.get(purpose)
                if known is None or stated.beats(known):
                    consent[purpose] = stated
            for number, some in body.collected.items():
                several.setdefault(number, []).append(some)
        collected = {
            number: some[0] if len(some) == 1 else merged(some) for number, some in several.items()
        }
    events = any(body.events for body in parts)
    return Subject(
        traits={name: trait.value for name, trait in traits.items() if trait.value is not None},
        first_ms=min(body.first_ms for body in parts) if events else None,
        last_ms=max(body.last_ms for body in parts) if events else None,
        collected=collected,
        consent={purpose: stated.granted for purpose, stated in consent.items()},
        identifier_types=frozenset(identifier_types),
    )


Judge = Callable[[Subject, int], Verdict]
"""A condition, ready to be asked: (subject, now_ms)."""


class Judges:
    """Segments, ready to be asked. They must name no others and form no cycle."""

    def __init__(self, segments: Mapping[str, Segment], numbers: Mapping[Collector, int]) -> None:
        """`numbers` are those under which what collectors keep is found in subjects."""
        self._segments = segments
        self._numbers = numbers
        self._made: dict[str, Judge] = {}

    def verdict(self, segment_id: str, subject: Subject, now_ms: int) -> Verdict:
        """Whether the subject is in a segment now."""
        return self.of(segment_id)(subject, now_ms)

    def of(self, segment_id: str) -> Judge:
        """The judge of a segment."""
        made = self._made.get(segment_id)
        if made is None:
            segment = self._segments[segment_id]
            made = self._made[segment_id] = self._judge(
                segment.who, by_day=segment.granularity == "day"
            )
        return made

    def _judge(self, condition: Condition, *, by_day: bool) -> Judge:
        match condition:
            case AllOf(of):
                return _all([self._judge(each, by_day=by_day) for each in of])
            case AnyOf(of):
                return _any([self._judge(each, by_day=by_day) for each in of])
            case Not(of):
                return _not(self._judge(of, by_day=by_day))
            case TraitIs():
                return _trait(condition)
            case Happened():
                return self._happened(condition, by_day=by_day)
            case Seen():
                return _seen(condition, by_day=by_day)
            case Has(type_name):
                return lambda subject, now_ms: Verdict(type_name in subject.identifier_types)
            case Consents(purpose, granted):
                return lambda subject, now_ms: Verdict(subject.consent.get(purpose) is granted)
            case InSegment(segment_id):
                return self.of(segment_id)

    def _happened(self, condition: Happened, *, by_day: bool) -> Judge:
        follow = _Chain.of(condition.follow, self._numbers) if condition.follow else None
        number = self._numbers[collector_of(condition.match, condition)]
        counting = _Counting(condition, number, follow, by_day)
        return counting.verdict


def _all(judges: Sequence[Judge]) -> Judge:
    def judge(subject: Subject, now_ms: int) -> Verdict:
        until, exact = FOREVER, True
        no: Verdict | None = None
        for each in judges:
            verdict = each(subject, now_ms)
            if verdict.member:
                until = min(until, verdict.valid_until_ms)
                exact = exact and verdict.exact
            elif verdict.exact and verdict.valid_until_ms == FOREVER:
                return verdict
            elif no is None or _lasts(verdict) > _lasts(no):
                # As long as one of them does not hold, all of them do not.
                no = verdict
        return no or Verdict(True, until, exact)

    return judge


def _any(judges: Sequence[Judge]) -> Judge:
    return _not(_all([_not(each) for each in judges]))


def _not(judge: Judge) -> Judge:
    def opposite(subject: Subject, now_ms: int) -> Verdict:
        member, until, exact = judge(subject, now_ms)
        return Verdict(not member, until, exact)

    return opposite


def _lasts(verdict: Verdict) -> tuple[bool, int]:
    return verdict.exact, verdict.valid_until_ms


def _trait(condition: TraitIs) -> Judge:
    name, checks = condition.name, condition.checks

    def judge(subject: Subject, now_ms: int) -> Verdict:
        value = trait_at(subject.traits, name)
        turns = [at for check in checks if (at := turns_at(value, check)) is not None]
        until = min((at for at in turns if at > now_ms), default=FOREVER)
        return Verdict(all(passes(value, check, now_ms) for check in checks), until)

    return judge


class _Edges:
    """A window as the times in it at a moment, and the moments at which a time enters or leaves it."""

    def __init__(self, window: Window, *, by_day: bool) -> None:
        self._since, self._until = window.since, window.until
        self._by_day = by_day
        self._moving = [
            bound.ms for bound in (window.since, window.until) if isinstance(bound, Ago)
        ]

    @property
    def only_past(self) -> bool:
        """Whether it has an end, or by days: what was in it may not be when more happens."""
        return self._until is not None or self._by_day

    @property
    def since_ago_ms(self) -> int | None:
        """How long ago it begins, if that moves."""
        return self._since.ms if isinstance(self._since, Ago) else None

    @property
    def ever(self) -> bool:
        """Whether everything until now is in it."""
        return self._since is None and self._until is None

    def at(self, now_ms: int) -> tuple[int, int]:
        """(from, to): times from the one to before the other are in it."""
        low = -FOREVER if self._since is None else self._edge(self._since, now_ms)
        high = FOREVER if self._until is None else self._edge(self._until, now_ms)
        return low, min(high, now_ms + 1)

    def _edge(self, bound: Moment, now_ms: int) -> int:
        if not isinstance(bound, Ago):
            return bound.ms
        edge = now_ms - bound.ms + 1
        return edge // DAY_MS * DAY_MS if self._by_day else edge

    def changes(self, time_ms: int, now_ms: int) -> int:
        """The next moment at which `time_ms` comes into the window or goes out of it, or happens."""
        next_ms = time_ms if time_ms > now_ms else FOREVER
        if self._by_day and self._moving:
            return min(next_ms, self.next_day(now_ms))
        for ago in self._moving:
            if now_ms < time_ms + ago < next_ms:
                next_ms = time_ms + ago
        return next_ms

    def next_day(self, now_ms: int) -> int:
        """When a window by days moves on: `now - ago + 1` passes midnight."""
        return min(
            (((now_ms - ago + 1) // DAY_MS + 1) * DAY_MS + ago - 1 for ago in self._moving),
            default=FOREVER,
        )


def _seen(condition: Seen, *, by_day: bool) -> Judge:
    edges = _Edges(condition.window, by_day=by_day)
    first = condition.which == "first"

    def judge(subject: Subject, now_ms: int) -> Verdict:
        at = subject.first_ms if first else subject.last_ms
        if at is None:
            return Verdict(False)
        low, high = edges.at(now_ms)
        # A client's clock may be ahead: such an event happened by now, whatever it says.
        return Verdict(low <= min(at, now_ms) < high, edges.changes(at, now_ms))

    return judge


class _Chain(msgspec.Struct, frozen=True):
    """What must follow, or must not, ready to be asked."""

    number: int
    within_ms: int
    negated: bool
    then: "_Chain | None"

    @staticmethod
    def of(follow: Follow, numbers: Mapping[Collector, int]) -> "_Chain":
        then = _Chain.of(follow.then, numbers) if follow.then else None
        number = numbers[collector_of(follow.match)]
        return _Chain(number, follow.within_ms, follow.negated, then)


class _Following:
    """Answers for one subject at one time whether what must follow an event did."""

    def __init__(self, chain: _Chain, subject: Subject, now_ms: int) -> None:
        collected = subject.collected.get(chain.number)
        hits = counted(collected)
        self._times = [hit.time_ms for hit in hits]
        self._floor = _floor_of(collected)
        self._chain = chain
        self._now_ms = now_ms
        self._then = _Following(chain.then, subject, now_ms) if chain.then else None
        self._known: dict[int, Verdict] = {}

    def after(self, time_ms: int) -> Verdict:
        """Whether an event at `time_ms` counts, until when, and whether nothing needed is forgotten."""
        known = self._known.get(time_ms)
        if known is None:
            known = self._known[time_ms] = self._after(time_ms)
        return known

    def _after(self, time_ms: int) -> Verdict:
        end_ms, now_ms = time_ms + self._chain.within_ms, self._now_ms
        times = self._times
        low, high = bisect_right(times, time_ms), bisect_right(times, end_ms)
        past = bisect_right(times, now_ms, low, high) if high > low else low
        until = times[past] if past < high else FOREVER
        found, exact = False, time_ms >= self._floor
        for follower in times[low:past]:
            if self._then is None:
                found = True
                break
            verdict = self._then.after(follower)
            until, exact = min(until, verdict.valid_until_ms), exact and verdict.exact
            found = found or verdict.member
        if not self._chain.negated:
            if found and self._then is None:
                return Verdict(True)
            return Verdict(found, until, exact or (found and self._then is None))
        if now_ms < end_ms:
            # Too early to say that it never happened.
            return Verdict(False, min(until, end_ms), exact)
        return Verdict(not found, until, exact)


class _Counting:
    """One condition on events, ready to be asked."""

    def __init__(
        self, condition: Happened, number: int, follow: _Chain | None, by_day: bool
    ) -> None:
        self._number = number
        self._of = condition.of
        self._edges = _Edges(condition.window, by_day=by_day)
        self._by_day = by_day
        self._follow = follow
        self._checks = condition.checks
        if condition.of is Of.SUM:
            self._checks = tuple(_in_micros(check) for check in condition.checks)
        self._enough = self._enough_of(condition)

    def _enough_of(self, condition: Happened) -> int | None:
        """The count from which on more changes nothing, where the only check is a lowest count."""
        if condition.of is not Of.COUNT or len(condition.checks) != 1 or self._follow:
            return None
        (check,) = condition.checks
        if self._edges.only_past or check.op not in (Op.AT_LEAST, Op.MORE_THAN):
            return None
        enough = int(-(-check.value // 1)) if check.op is Op.AT_LEAST else int(check.value // 1) + 1
        return enough if enough > 0 else None

    def verdict(self, subject: Subject, now_ms: int) -> Verdict:
        """Whether it holds."""
        collected = subject.collected.get(self._number)
        hits = counted(collected)
        if self._enough is not None and (known := self._quickly(hits, now_ms)) is not None:
            return known
        until, exact = FOREVER, True
        if self._follow is not None:
            following = _Following(self._follow, subject, now_ms)
            kept = []
            for hit in hits:
                verdict = following.after(hit.time_ms)
                until, exact = min(until, verdict.valid_until_ms), exact and verdict.exact
                if verdict.member:
                    kept.append(hit)
            hits = kept
        if self._of in (Of.FIRST, Of.LAST):
            return self._one(hits, collected, until, exact, now_ms)
        low, high = self._edges.at(now_ms)
        inside = [hit for hit in hits if low <= hit.time_ms < high]
        for hit in hits:
            until = min(until, self._edges.changes(hit.time_ms, now_ms))
        more = self._beyond(collected, hits, low, high)
        if more.exact is False:
            until = min(until, (now_ms // DAY_MS + 1) * DAY_MS)
        elif more.count and self._by_day:
            until = min(until, self._edges.next_day(now_ms))
        value = self._value(inside, more)
        member = all(passes(value, check) for check in self._checks)
        exact = exact and (more.exact or (member and self._only_grows(inside)))
        return Verdict(member, until, exact)

    def _quickly(self, hits: Sequence[Hit], now_ms: int) -> Verdict | None:
        """For "at least so often": it holds until the newest that are enough leave the window."""
        enough = self._enough
        assert enough is not None  # noqa: S101  # its caller looked
        past = bisect_right(hits, now_ms, key=_time)
        if past < enough:
            return None
        low, _ = self._edges.at(now_ms)
        last = hits[past - enough].time_ms
        if last < low:
            return None
        ago = self._edges.since_ago_ms
        return Verdict(True, FOREVER if ago is None else last + ago)

    def _one(
        self,
        hits: Sequence[Hit],
        collected: Collected | None,
        until: int,
        exact: bool,
        now_ms: int,
    ) -> Verdict:
        """Whether the first or the last is in the window."""
        past = bisect_right(hits, now_ms, key=_time)
        if past < len(hits):
            until = min(until, hits[past].time_ms)
        floor = _floor_of(collected)
        if self._of is Of.LAST:
            at = hits[past - 1].time_ms if past else None
        else:
            at = hits[0].time_ms if past else None
            if collected is not None and floor > -FOREVER:
                exact = exact and self._follow is None
                at = collected.first_ms
        if at is None:
            return Verdict(False, until, exact)
        low, high = self._edges.at(now_ms)
        return Verdict(low <= at < high, min(until, self._edges.changes(at, now_ms)), exact)

    def _beyond(
        self, collected: Collected | None, hits: Sequence[Hit], low: int, high: int
    ) -> "_Beyond":
        """What is in the window of the events that are not kept one by one."""
        floor = _floor_of(collected)
        if collected is None or low > floor:
            return _Beyond(0, 0, True)
        kept = len(collected.hits)
        amount = sum(hit.value for hit in collected.hits if isinstance(hit.value, int))
        plain = self._of is not Of.DISTINCT and self._follow is None
        # An order told twice may be counted twice beyond the hits.
        told_once = not any(hit.order for hit in collected.hits)
        if self._edges.ever:
            return _Beyond(collected.total - kept, collected.amount - amount, plain and told_once)
        days = [n for day, n in collected.days.items() if low <= day * DAY_MS < high]
        oldest = min(collected.days, default=0)
        whole = low % DAY_MS == 0 and (high % DAY_MS == 0 or high > floor)
        return _Beyond(
            sum(n for n, _ in days),
            sum(amount for _, amount in days),
            plain and told_once and whole and low >= oldest * DAY_MS,
        )

    def _value(self, inside: Sequence[Hit], more: "_Beyond") -> int:
        if self._of is Of.SUM:
            return more.amount + sum(hit.value for hit in inside if isinstance(hit.value, int))
        if self._of is Of.DISTINCT:
            return len(
                {each for hit in inside if isinstance(hit.value, tuple) for each in hit.value}
            )
        return more.count + len(inside)

    def _only_grows(self, inside: Sequence[Hit]) -> bool:
        """Whether what is known is enough, whatever is forgotten."""
        if self._of is Of.SUM or self._follow is not None:
            return False
        known = self._value(inside, _Beyond(0, 0, True))
        return all(
            check.op in (Op.AT_LEAST, Op.MORE_THAN) and passes(known, check)
            for check in self._checks
        )


class _Beyond(NamedTuple):
    """Events in a window that are not kept one by one."""

    count: int
    amount: int
    exact: bool


def counted(collected: Collected | None) -> list[Hit]:
    """Hits, oldest first; of an order that was told more than once its earliest."""
    if collected is None:
        return []
    found = []
    orders: set[int] = set()
    for hit in reversed(collected.hits):
        if hit.order:
            if hit.order in orders:
                continue
            orders.add(hit.order)
        found.append(hit)
    return found


def _floor_of(collected: Collected | None) -> int:
    """Events at or before this time may have been forgotten one by one; -FOREVER: none was."""
    if collected is None or collected.total == len(collected.hits):
        return -FOREVER
    return collected.hits[-1].time_ms


def _in_micros(check: Check) -> Check:
    value = check.value
    if isinstance(value, tuple):
        return Check(check.op, tuple(micros(each) for each in value))
    return Check(check.op, micros(value))


def _time(hit: Hit) -> int:
    return hit.time_ms

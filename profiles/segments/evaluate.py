"""Whether a profile is in a segment now, and until when that holds if nothing happens (DESIGN §4)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from profiles.part import Body
from profiles.segments.collect import Collector, collector_of
from profiles.segments.computed import Computer
from profiles.segments.counting import Counting, Nth, grows
from profiles.segments.needs import Choice, Needs
from profiles.segments.sequences import Following
from profiles.segments.subject import FOREVER, Subject, Verdict, subject_of
from profiles.segments.tree import (
    AllOf,
    AnyOf,
    Check,
    ComputedTrait,
    Condition,
    Consents,
    Happened,
    Has,
    InSegment,
    Not,
    Of,
    Score,
    Seen,
    Segment,
    TraitIs,
)
from profiles.segments.values import passes, trait_at, turns_at
from profiles.segments.windows import Span

__all__ = ["FOREVER", "Judge", "Judges", "Subject", "Verdict", "subject_of"]

Judge = Callable[[Subject, int], Verdict]
"""A condition, ready to be asked: (subject, now_ms)."""

_YES: Final = Verdict(True)
_NO: Final = Verdict(False)


class Judges:
    """Segments, ready to be asked. They must name no unknown ones and form no cycle."""

    def __init__(
        self,
        segments: Mapping[str, Segment],
        numbers: Mapping[Collector, int],
        computed: Mapping[str, ComputedTrait] | None = None,
    ) -> None:
        """`numbers`: under which what a collector keeps is found in subjects. `computed`: traits by name."""
        self._segments = segments
        self._numbers = numbers
        self._computed = computed or {}
        self._made: dict[str, Judge] = {}

    def verdict(self, segment_id: str, subject: Subject, now_ms: int) -> Verdict:
        """Whether the subject is in a segment now. It holds until `valid_until_ms` if nothing happens."""
        return (self._made.get(segment_id) or self.of(segment_id))(subject, now_ms)

    @cached_property
    def every(self) -> list[tuple[str, Judge]]:
        """All of them, in order of id."""
        return [(key, self.of(key)) for key in sorted(self._segments)]

    def may_hold(self, newest: Mapping[int, int], now_ms: int) -> list[tuple[str, Judge]]:
        """Those that a subject may be in, or be in later, of which `newest` is known (`Subject.newest`).

        The others need an event of a kind that it does not have, or none so new: until one comes, it is in
        none of them.
        """
        return self._choice.of(newest, now_ms)

    @cached_property
    def _choice(self) -> Choice[Judge]:
        needs = Needs(self._segments, self._numbers, self._nothing_fails)
        return Choice(self.every, needs.of)

    def _nothing_fails(self, condition: Happened) -> bool:
        """Whether a condition on a number does not hold of none."""
        return not self._happened(condition, by_day=False)(subject_of((Body(),), ()), 0).member

    @cached_property
    def growing(self) -> frozenset[str]:
        """Those that nobody leaves because more happened, but for what was said of traits and consent.

        A verdict that somebody is in one holds as long as it said, whatever happens meanwhile.
        """
        return frozenset(key for key, each in self._segments.items() if self._grows(each.who))

    def _grows(self, condition: Condition) -> bool:
        match condition:
            case AllOf(of) | AnyOf(of):
                return all(map(self._grows, of))
            case InSegment(segment_id):
                return self._grows(self._segments[segment_id].who)
            case Happened():
                return grows(condition)
            case Seen(which, window):
                return which == "last" and Span(window).endless
            case Has() | Consents() | Score():
                return True
            case _:
                return False

    def some(self, segment_ids: Iterable[str]) -> list[tuple[str, Judge]]:
        """Those of them that there are."""
        return [(key, self.of(key)) for key in segment_ids if key in self._segments]

    def of(self, segment_id: str) -> Judge:
        """The judge of a segment. KeyError if there is none, or nothing is collected for a condition."""
        made = self._made.get(segment_id)
        if made is None:
            segment = self._segments[segment_id]
            by_day = segment.granularity == "day"
            made = self._made[segment_id] = self._judge(segment.who, by_day=by_day)
        return made

    def _judge(self, condition: Condition, *, by_day: bool) -> Judge:
        judge: Judge
        match condition:
            case AllOf(of):
                # What is found does not depend on their order, and one of them is often enough.
                judge = _all([self._judge(each, by_day=by_day) for each in sorted(of, key=_cost)])
            case AnyOf(of):
                judge = _any([self._judge(each, by_day=by_day) for each in sorted(of, key=_cost)])
            case Not(of):
                judge = _not(self._judge(of, by_day=by_day))
            case TraitIs(name):
                computed = self._computed.get(name)
                judge = _trait(condition) if computed is None else self._computed_trait(condition)
            case Happened():
                judge = self._happened(condition, by_day=by_day)
            case Seen():
                judge = _seen(condition, by_day=by_day)
            case Has():
                judge = _has(condition)
            case Consents():
                judge = _consents(condition)
            case Score():
                judge = _score(condition)
            case InSegment(segment_id):
                judge = self._in(segment_id)
        return judge

    def _happened(self, condition: Happened, *, by_day: bool) -> Judge:
        number = self._numbers[collector_of(condition.match, condition)]
        span = Span(condition.window, by_day=by_day)
        if condition.of in (Of.FIRST, Of.LAST):
            return Nth(number, span, condition.of).verdict
        follow = Following(condition.follow, self._numbers) if condition.follow else None
        return Counting(number, span, condition, follow).verdict

    def _in(self, segment_id: str) -> Judge:
        judge = self.of(segment_id)

        def remembered(subject: Subject, now_ms: int) -> Verdict:
            # A segment that many name is asked once: else diamonds of them would take forever.
            asked = (self, segment_id, now_ms)
            known = subject.known.get(asked)
            if known is None:
                known = subject.known[asked] = judge(subject, now_ms)
            return known

        return remembered

    def _computed_trait(self, condition: TraitIs) -> Judge:
        computer = Computer(self._computed[condition.name], self._numbers)
        checks = condition.checks

        def judge(subject: Subject, now_ms: int) -> Verdict:
            value, until, exact = computer.of(subject, now_ms)
            member = all(passes(value, check, now_ms) for check in checks)
            return Verdict(member, min(until, _turn(value, checks, now_ms)), exact)

        return judge


def _cost(condition: Condition) -> int:
    """What it costs to ask a condition, roughly: what must be decoded or put in order first is dearer."""
    match condition:
        case AllOf(of) | AnyOf(of):
            return max(map(_cost, of), default=0)
        case Not(of):
            return _cost(of)
        case Happened():
            return 3 if condition.follow else 1
        case TraitIs():
            return 2
        case InSegment():
            return 3
        case _:
            return 0


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

    return judge if len(judges) != 1 else judges[0]


def _any(judges: Sequence[Judge]) -> Judge:
    def judge(subject: Subject, now_ms: int) -> Verdict:
        until, exact = FOREVER, True
        yes: Verdict | None = None
        for each in judges:
            verdict = each(subject, now_ms)
            if not verdict.member:
                until = min(until, verdict.valid_until_ms)
                exact = exact and verdict.exact
            elif verdict.exact and verdict.valid_until_ms == FOREVER:
                return verdict
            elif yes is None or _lasts(verdict) > _lasts(yes):
                yes = verdict
        return yes or Verdict(False, until, exact)

    return judge if len(judges) != 1 else judges[0]


def _not(judge: Judge) -> Judge:
    def opposite(subject: Subject, now_ms: int) -> Verdict:
        member, until, exact = judge(subject, now_ms)
        if exact and until == FOREVER:
            return _NO if member else _YES
        return Verdict(not member, until, exact)

    return opposite


def _lasts(verdict: Verdict) -> tuple[bool, int]:
    return verdict.exact, verdict.valid_until_ms


def _trait(condition: TraitIs) -> Judge:
    name, checks = condition.name, condition.checks

    def judge(subject: Subject, now_ms: int) -> Verdict:
        value = trait_at(subject.traits, name)
        for check in checks:
            if not passes(value, check, now_ms):
                return Verdict(False, _turn(value, checks, now_ms)) if moving else _NO
        return Verdict(True, _turn(value, checks, now_ms)) if moving else _YES

    moving = any(_moves(check) for check in checks)
    return judge


def _moves(check: Check) -> bool:
    return turns_at("2026-01-01", check) is not None


def _turn(value: Any, checks: Sequence[Check], now_ms: int) -> int:
    """When time alone next changes what a check says of a value."""
    turns = [at for check in checks if (at := turns_at(value, check)) is not None]
    return min((at for at in turns if at > now_ms), default=FOREVER)


def _has(condition: Has) -> Judge:
    wanted = condition.identifier_type
    return lambda subject, now_ms: _YES if wanted in subject.identifier_types else _NO


def _consents(condition: Consents) -> Judge:
    purpose, granted = condition.purpose, condition.granted
    return lambda subject, now_ms: _YES if subject.consent.get(purpose) is granted else _NO


def _seen(condition: Seen, *, by_day: bool) -> Judge:
    span = Span(condition.window, by_day=by_day)
    first, endless = condition.which == "first", span.endless

    def judge(subject: Subject, now_ms: int) -> Verdict:
        at = subject.first_ms if first else subject.last_ms
        if at is None:
            return _NO
        low, high = span.bounds(now_ms)
        if at <= now_ms:
            if endless:
                return Verdict(True, span.leaves_at(at)) if at >= low else _NO
            return Verdict(low <= at < high, span.next_change((at,), low, high))
        # A client's clock may be ahead: such an event happened by now, whatever it says.
        fixed = (bound for bound in (span.since_ms, span.until_ms) if bound > now_ms)
        return Verdict(low <= now_ms < high, min(at, *fixed, FOREVER))

    return judge


def _score(condition: Score) -> Judge:
    name, checks, max_age_ms = condition.name, condition.checks, condition.max_age_ms

    def judge(subject: Subject, now_ms: int) -> Verdict:
        scored = subject.scores.get(name)
        if scored is None:
            return _NO
        value, computed_ms = scored
        if not all(passes(value, check) for check in checks):
            return _NO
        if max_age_ms is None:
            return _YES
        until = computed_ms + max_age_ms
        return Verdict(True, until) if now_ms < until else _NO

    return judge

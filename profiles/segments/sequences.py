"""What must follow an event, or must not, within a time."""

from bisect import bisect_right
from collections.abc import Mapping

from profiles.segments.collect import Collector, collector_of
from profiles.segments.subject import FOREVER, Subject, Verdict
from profiles.segments.tree import Follow


class Following:
    """What must follow, ready to be asked."""

    def __init__(self, follow: Follow, numbers: Mapping[Collector, int]) -> None:
        self._number = numbers[collector_of(follow.match)]
        self._within_ms = follow.within_ms
        self._negated = follow.negated
        self._then = Following(follow.then, numbers) if follow.then else None

    def of(self, subject: Subject, now_ms: int) -> "Followed":
        """The answers for one subject at one time."""
        then = self._then.of(subject, now_ms) if self._then else None
        return Followed(
            subject, self._number, self._within_ms, now_ms, negated=self._negated, then=then
        )


class Followed:
    """Answers for one subject at one time whether what must follow an event did."""

    def __init__(
        self,
        subject: Subject,
        number: int,
        within_ms: int,
        now_ms: int,
        *,
        negated: bool,
        then: "Followed | None",
    ) -> None:
        timeline = subject.timeline(number)
        self._times = timeline.times
        self._forgotten_until_ms = timeline.forgotten_until_ms
        # An order told again may be an earlier one's copy, which did not follow.
        self._exact = not timeline.told_twice
        self._within_ms = within_ms
        self._negated = negated
        self._then = then
        self._now_ms = now_ms
        self._answers: dict[int, Verdict] = {}

    def after(self, time_ms: int) -> Verdict:
        """Whether it did after an event at `time_ms`, and strictly later than that."""
        answer = self._answers.get(time_ms)
        if answer is None:
            answer = self._answers[time_ms] = self._after(time_ms)
        return answer

    def _after(self, time_ms: int) -> Verdict:
        end_ms = time_ms + self._within_ms
        found, until, exact = self._among(time_ms, end_ms)
        if not self._negated:
            return Verdict(found, until, exact)
        if self._now_ms < end_ms:
            # Too early to say that it never happened; if it did, that stays.
            return Verdict(False, FOREVER if found and exact and until == FOREVER else end_ms)
        return Verdict(not found, until, exact)

    def _among(self, time_ms: int, end_ms: int) -> Verdict:
        """Whether an event after the one time and not after the other is followed in turn."""
        times, now_ms = self._times, self._now_ms
        low, high = bisect_right(times, time_ms), bisect_right(times, end_ms)
        past = bisect_right(times, now_ms, low, high) if high > low else low
        until = times[past] if past < high else FOREVER
        exact = self._exact and time_ms >= self._forgotten_until_ms
        if self._then is None:
            return Verdict(True) if past > low and exact else Verdict(past > low, until, exact)
        found = False
        for place in range(low, past):
            verdict = self._then.after(times[place])
            if (
                verdict.member
                and verdict.exact
                and verdict.valid_until_ms == FOREVER
                and self._exact
            ):
                return Verdict(True)
            until, exact = min(until, verdict.valid_until_ms), exact and verdict.exact
            found = found or verdict.member
        return Verdict(found, until, exact)

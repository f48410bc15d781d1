"""`onefold train --watch`: when it is time, and what a training that fails does."""

from models.errors import NotEnoughData
from service.commands.training import HOUR_MS, Schedule, watch


class Day:
    """A clock that moves while somebody sleeps, and events that arrive."""

    def __init__(self, events_an_hour: int = 0) -> None:
        self.now, self.events, self.rate = 0, 0, events_an_hour
        self.trained: list[int] = []

    def sleep(self, seconds: float) -> None:
        self.now += int(seconds * 1000)
        self.events = self.now * self.rate // HOUR_MS

    def run(self, schedule: Schedule, rounds: int, fails: int = 0) -> list[float]:
        def once() -> None:
            self.trained.append(self.now)
            if len(self.trained) <= fails:
                raise NotEnoughData("nothing yet")

        watch(once, schedule, lambda: self.now, lambda: self.events, rounds, self.sleep)
        return [time / HOUR_MS for time in self.trained]


def test_it_trains_at_once_and_then_whenever_the_hours_have_passed() -> None:
    assert Day().run(Schedule(6 * HOUR_MS), 3) == [0, 6, 12]


def test_enough_new_events_are_a_reason_too() -> None:
    assert Day(events_an_hour=1_000).run(Schedule(24 * HOUR_MS, 2_000), 3) == [0, 2, 4]


def test_a_training_that_fails_is_tried_again_when_it_is_due() -> None:
    assert Day().run(Schedule(6 * HOUR_MS), 3, fails=2) == [0, 6, 12]

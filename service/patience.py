"""Trying again what a server did not answer: with growing pauses, and a word about each."""

import random
import threading
from collections.abc import Callable
from typing import Final, TypeVar

PAUSE_FIRST_S: Final = 1.0
PAUSE_GROWTH: Final = 2.0
STEADY_S: Final = 60.0
"""What worked for so long failed for a new reason: the pauses begin anew."""

T = TypeVar("T")


class Pauses:
    """How long to wait before the next try: longer each time, up to a limit, never in step with others."""

    def __init__(self, longest_s: float, chance: Callable[[], float] = random.random) -> None:
        self._longest_s = longest_s
        self._chance = chance
        self.tries = 0

    def next_s(self) -> float:
        """Seconds to wait; between half of the growing pause and all of it."""
        grown = PAUSE_FIRST_S * PAUSE_GROWTH ** min(self.tries, 30)
        self.tries += 1
        return min(grown, self._longest_s) * (0.5 + self._chance() / 2)

    def reset(self) -> None:
        """It worked."""
        self.tries = 0


def patiently(
    attempt: Callable[[], T],
    passing: tuple[type[BaseException], ...],
    stop: threading.Event,
    pauses: Pauses,
    say: Callable[[str], None],
) -> T | None:
    """What `attempt` returns, tried until it does not raise one of `passing`; None if `stop` is set first."""
    while not stop.is_set():
        try:
            return attempt()
        except passing as error:
            wait_s = pauses.next_s()
            say(f"{error}; trying again in {wait_s:.0f} s")
            stop.wait(wait_s)
    return None


def passing_errors() -> tuple[type[Exception], ...]:
    """Errors that trying again may end: a server is down, or not up yet."""
    from ingest.log import LogUnavailable
    from storage.errors import StoreUnavailable

    return (StoreUnavailable, LogUnavailable)

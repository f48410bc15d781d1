"""What workers tell of their work. `ingest.metrics` has it for Prometheus; nothing here may raise or wait."""

from typing import Final, Protocol


class Meter(Protocol):
    """Is told by every worker. Names of stages, topics, outcomes and reasons are the code's own, never data."""

    def batch(self, stage: str, messages: int, seconds: float) -> None:
        """A batch is durable and committed."""

    def events(self, stage: str, outcome: str, count: int) -> None:
        """What became of events: `accepted` by record, `counted` or `known` (a copy) by fold, or `refused`."""

    def event_age(self, stage: str, seconds: float) -> None:
        """From the arrival of a batch's oldest event until the stage was done with it."""

    def lag(self, stage: str, topic: str, messages: int) -> None:
        """How many messages of a topic this worker has yet to read."""

    def refused(self, reason: str, count: int) -> None:
        """Messages became dead letters."""

    def lost(self, topic: str, count: int) -> None:
        """Messages were deleted before they were read: retention is too short."""

    def paused(self, paused: bool) -> None:
        """Whether the backfill waits for live events."""


class PeopleMeter(Protocol):
    """Is told by the worker that decides who is who."""

    def changed(self, kind: str, count: int) -> None:
        """People changed: `merged`, `split`, …"""

    def conflict(self, rule: str, count: int) -> None:
        """New links joined nobody."""

    def epoch(self, epoch: int) -> None:
        """The epoch under which this process decides; 0: it does not."""


class SegmentMeter(Protocol):
    """Is told by workers that evaluate segments."""

    def told(self, reason: str, entered: int, left: int) -> None:
        """Profiles entered and left segments."""

    def evaluated(self, profiles: int) -> None:
        """So many were looked at."""

    def filled(self, share: float) -> None:
        """How much of everybody was sent on to be looked at for the newest definitions: 0 to 1."""


class Unmetered:
    """`Meter`, `PeopleMeter` and `SegmentMeter` that nobody reads."""

    def batch(self, stage: str, messages: int, seconds: float) -> None:
        """Nothing."""

    def events(self, stage: str, outcome: str, count: int) -> None:
        """Nothing."""

    def event_age(self, stage: str, seconds: float) -> None:
        """Nothing."""

    def lag(self, stage: str, topic: str, messages: int) -> None:
        """Nothing."""

    def refused(self, reason: str, count: int) -> None:
        """Nothing."""

    def lost(self, topic: str, count: int) -> None:
        """Nothing."""

    def paused(self, paused: bool) -> None:
        """Nothing."""

    def changed(self, kind: str, count: int) -> None:
        """Nothing."""

    def conflict(self, rule: str, count: int) -> None:
        """Nothing."""

    def epoch(self, epoch: int) -> None:
        """Nothing."""

    def told(self, reason: str, entered: int, left: int) -> None:
        """Nothing."""

    def evaluated(self, profiles: int) -> None:
        """Nothing."""

    def filled(self, share: float) -> None:
        """Nothing."""


UNMETERED: Final = Unmetered()

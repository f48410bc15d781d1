"""What the stages tell of their work, in a registry that the composition root made (deploy/METRICS.md)."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

AGE_SECONDS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 3_600, 21_600, 86_400)
"""Buckets of an event's age: the goal is seconds, a backfill's events are days old."""
BATCH_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Buckets of a batch's duration: 1,000 events take some 100 ms."""
BATCH_MESSAGES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
"""Buckets of a batch's size: a lone request has one, what waited for a transaction shares the next."""
_LIMIT: Final = "limit:"


class IngestMetrics:
    """What `ingest.workers.metering` asks for. Labels are the code's own few names, never data."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._events = Counter(
            "onefold_events_total", "Events that a stage is done with, by what became of them.",
            ["stage", "outcome"], registry=registry,
        )  # fmt: skip
        self._lag = Gauge(
            "onefold_consumer_lag_messages", "Messages that this worker has yet to read.",
            ["stage", "topic"], registry=registry,
        )  # fmt: skip
        self._age = Histogram(
            "onefold_event_age_seconds",
            "From the arrival of a batch's oldest event until the stage was done with it.",
            ["stage"], buckets=AGE_SECONDS, registry=registry,
        )  # fmt: skip
        self._batch = Histogram(
            "onefold_batch_duration_seconds", "From a batch's being read until it is durable and committed.",
            ["stage"], buckets=BATCH_SECONDS, registry=registry,
        )  # fmt: skip
        self._messages = Histogram(
            "onefold_batch_messages", "How many messages a batch had.",
            ["stage"], buckets=BATCH_MESSAGES, registry=registry,
        )  # fmt: skip
        self._dead_letters = Counter(
            "onefold_dead_letters_total", "Messages that were refused, by reason.",
            ["reason"], registry=registry,
        )  # fmt: skip
        self._lost = Counter(
            "onefold_lost_messages_total", "Messages that were deleted before they were read.",
            ["topic"], registry=registry,
        )  # fmt: skip
        self._conflicts = Counter(
            "onefold_conflicts_total", "Links that were not joined, by the rule they would break.",
            ["rule"], registry=registry,
        )  # fmt: skip
        self._changes = Counter(
            "onefold_person_changes_total", "Changes of who is who, by kind.",
            ["kind"], registry=registry,
        )  # fmt: skip
        self._epoch = Gauge(
            "onefold_identity_epoch", "The epoch of the lease under which this process decides, else 0.",
            registry=registry,
        )  # fmt: skip
        self._transitions = Counter(
            "onefold_segment_transitions_total", "Profiles that entered or left a segment, by why.",
            ["direction", "reason"], registry=registry,
        )  # fmt: skip
        self._evaluated = Counter(
            "onefold_profiles_evaluated_total", "Profiles whose segments were looked at.",
            registry=registry,
        )  # fmt: skip
        self._filled = Gauge(
            "onefold_segment_backfill_share",
            "How much of everybody was sent on to be looked at for the newest segments: 0 to 1.",
            registry=registry,
        )  # fmt: skip
        self._paused = Gauge(
            "onefold_backfill_paused", "1 while the backfill waits for live events, else 0.",
            registry=registry,
        )  # fmt: skip

    def batch(self, stage: str, messages: int, seconds: float) -> None:
        """A batch is durable and committed."""
        self._batch.labels(stage).observe(seconds)
        self._messages.labels(stage).observe(messages)

    def events(self, stage: str, outcome: str, count: int) -> None:
        """What became of events."""
        self._events.labels(stage, outcome).inc(count)

    def event_age(self, stage: str, seconds: float) -> None:
        """How old a batch's oldest event was when the stage was done with it."""
        self._age.labels(stage).observe(max(0.0, seconds))

    def lag(self, stage: str, topic: str, messages: int) -> None:
        """How many messages are left to read."""
        self._lag.labels(stage, topic).set(messages)

    def refused(self, reason: str, count: int) -> None:
        """Messages became dead letters."""
        self._dead_letters.labels(reason).inc(count)

    def lost(self, topic: str, count: int) -> None:
        """Messages were deleted before they were read."""
        self._lost.labels(topic).inc(count)

    def paused(self, paused: bool) -> None:
        """Whether the backfill waits for live events."""
        self._paused.set(int(paused))

    def changed(self, kind: str, count: int) -> None:
        """People changed."""
        self._changes.labels(kind).inc(count)

    def conflict(self, rule: str, count: int) -> None:
        """Links joined nobody."""
        # A limit names one of the configured types; what other rules name after the colon has no bound.
        known = rule if rule.startswith(_LIMIT) else rule.partition(":")[0]
        self._conflicts.labels(known).inc(count)

    def told(self, reason: str, entered: int, left: int) -> None:
        """Profiles entered and left segments."""
        self._transitions.labels("entered", reason).inc(entered)
        self._transitions.labels("left", reason).inc(left)

    def evaluated(self, profiles: int) -> None:
        """So many were looked at."""
        self._evaluated.inc(profiles)

    def filled(self, share: float) -> None:
        """How far a backfill is."""
        self._filled.set(share)

    def epoch(self, epoch: int) -> None:
        """The epoch under which this process decides."""
        self._epoch.set(epoch)

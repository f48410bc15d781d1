"""The fold stage as a worker: it owns the leaves of the partitions it is given (DESIGN §4)."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from ingest.deadletters import Refused
from ingest.folding import Activity, Folder
from ingest.kafka.settings import KafkaSettings
from ingest.log import Log, LogRefused, Membership, Message, Producer
from ingest.messages import activity_in, position_of, refused_message
from ingest.workers.letters import FAILED, UNREADABLE, LetterBox
from ingest.workers.metering import UNMETERED, Meter
from ingest.workers.running import BATCH_MESSAGES, Worker, place_of
from storage.ports import Store, StoredPosition

STAGE = "fold"
PARTS_CACHED_MAX: Final = 20_000
"""Parts that a worker keeps decoded: some 5 KB each. A leaf that is seen again soon is not read again."""


class Fold:
    """`ingest.workers.running.Stage` over `ingest.folding.Folder`."""

    name = STAGE

    def __init__(
        self,
        store: Store,
        producer: Producer,
        settings: KafkaSettings,
        meter: Meter,
        now_ms: Callable[[], int],
        folder: Folder,
    ) -> None:
        self._folder = folder
        self._producer = producer
        self._letters = LetterBox(store, producer, settings.topic("deadletters"), meter)
        self._log_generation = settings.log_generation
        self._meter = meter
        self._now_ms = now_ms
        self._generation = -1

    def prepare(self, membership: Membership) -> None:
        """After a rebalance, somebody else may have folded what is cached here."""
        if membership.generation != self._generation:
            self._folder.forget()
            self._generation = membership.generation

    def process(self, messages: Sequence[Message]) -> None:
        """Fold a batch; what is no activity becomes a dead letter."""
        batch: list[tuple[int, Activity]] = []
        unreadable: list[tuple[Refused, Message]] = []
        for message in messages:
            try:
                activity = activity_in(message)
            except (msgspec.DecodeError, ValueError, RecursionError):
                # What the decoder says may quote the message.
                letter = refused_message(message, UNREADABLE, "not an activity message")
                unreadable.append((letter, message))
                continue
            batch.append((position_of(message, self._log_generation), activity))
        counted = self._folder.fold(batch).counted if batch else 0
        if unreadable:
            self._letters.put(unreadable)
            self._producer.flush()
        self._meter.events(STAGE, "counted", counted)
        self._meter.events(STAGE, "known", len(batch) - counted)
        self._meter.events(STAGE, "refused", len(unreadable))
        if batch:
            oldest_ms = min(activity.received_ms for _, activity in batch)
            self._meter.event_age(STAGE, (self._now_ms() - oldest_ms) / 1000)

    def give_up(self, message: Message, error: Exception) -> None:
        """Keep the event that it was, so that it can be replayed."""
        activity = activity_in(message)
        letter = Refused(
            reason=FAILED,
            detail=f"fold failed: {place_of(error)}",
            raw=activity.raw,
            received_ms=activity.received_ms,
            source=activity.source,
        )
        self._letters.put([(letter, message)])
        self._producer.flush()

    def close(self) -> None:
        """Let go of the producer."""
        self._producer.close()


def check_log(log: Log, store: Store, settings: KafkaSettings) -> None:
    """LogRefused if the activity topic is not the one that this log generation began with.

    Positions of another topic, or of other partitions, would count as old, and its events as copies.
    """
    topic = settings.topic("activity")
    uri = f"log:{topic}:{settings.log_generation}"
    found = log.fingerprint(topic)
    held = store.positions.get([uri]).get(uri)
    if held is None:
        store.positions.put([StoredPosition(uri=uri, fingerprint=found, line=0, finished=False)])
    elif held.fingerprint != found:
        raise LogRefused(
            f"{topic}: was made anew or has other partitions since kafka.log_generation "
            f"{settings.log_generation} began; its events would count as old. When all workers have "
            f"stopped, set kafka.log_generation to {settings.log_generation + 1}"
        )


def fold_worker(
    log: Log,
    store: Store,
    settings: KafkaSettings,
    now_ms: Callable[[], int],
    *,
    folder: Folder | None = None,
    generation: int = 1,
    meter: Meter = UNMETERED,
    batch_messages: int = BATCH_MESSAGES,
    retry_max_s: float = 30.0,
) -> Worker:
    """Reads the activity topic. LogRefused if it is not the one that was folded so far.

    `generation` is that of the derived tables of `store`: each has a consumer group of its own.
    """
    check_log(log, store, settings)
    consumer = log.consumer(
        settings.group("fold", generation),
        [settings.topic("activity")],
        lambda partition, count: meter.lost(partition[0], count),
    )
    folder = folder or Folder(store, PARTS_CACHED_MAX)
    stage = Fold(store, log.producer(), settings, meter, now_ms, folder)
    return Worker(stage, consumer, meter, batch_messages=batch_messages, retry_max_s=retry_max_s)

"""The fold stage as a worker: it owns the leaves of the partitions it is given (DESIGN §4)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from identity.nodes import Node
from ingest.deadletters import Refused
from ingest.folding import Activity, Folder
from ingest.kafka.settings import KafkaSettings
from ingest.log import Log, LogRefused, Membership, Message, Producer
from ingest.messages import activity_in, encode_look, look_of, position_of, refused_message
from ingest.segments.evaluating import EVERY, Look, both
from ingest.workers.letters import FAILED, UNREADABLE, LetterBox
from ingest.workers.metering import UNMETERED, Meter
from ingest.workers.running import BATCH_MESSAGES, Worker, place_of
from profiles.segments.membership import Cause
from storage.catalogues import WORKERS_AGE_S, Catalogues
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
        catalogues: Catalogues,
        *,
        live: bool = True,
    ) -> None:
        """`live`: what it folds answers, so that segments follow it."""
        self._folder = folder
        self._catalogues = catalogues
        self._evaluate = settings.topic("evaluate") if live else None
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
        """Fold a batch, and have segments looked at; what is no activity becomes a dead letter."""
        batch: list[tuple[int, Activity]] = []
        looks: dict[Node, tuple[int, int]] = {}
        unreadable: list[tuple[Refused, Message]] = []
        for message in messages:
            try:
                look = look_of(message)
                if look is not None:
                    leaf, revision = look
                    position = position_of(message, self._log_generation)
                    _, known = looks.get(leaf, (0, 0))
                    looks[leaf] = (position, max(known, revision))
                    continue
                activity = activity_in(message)
            except (msgspec.DecodeError, ValueError, RecursionError):
                # What the decoder says may quote the message.
                letter = refused_message(message, UNREADABLE, "not an activity message")
                unreadable.append((letter, message))
                continue
            batch.append((position_of(message, self._log_generation), activity))
        counted = self._fold(batch, looks)
        if unreadable:
            self._letters.put(unreadable)
            self._producer.flush()
        self._meter.events(STAGE, "counted", counted)
        self._meter.events(STAGE, "known", len(batch) - counted)
        self._meter.events(STAGE, "refused", len(unreadable))
        if batch:
            oldest_ms = min(activity.received_ms for _, activity in batch)
            self._meter.event_age(STAGE, (self._now_ms() - oldest_ms) / 1000)

    def _fold(
        self, batch: Sequence[tuple[int, Activity]], looks: Mapping[Node, tuple[int, int]]
    ) -> int:
        """Fold, then have the profiles evaluated that it may concern; how many events counted."""
        if not batch and not looks:
            return 0
        revision = max((revision for _, revision in looks.values()), default=0)
        # Not below what is asked for: a part that is told to keep up must.
        self._catalogues.now(revision)
        folded = self._folder.fold(batch, {leaf: at for leaf, (at, _) in looks.items()})
        touched = folded.touched | dict.fromkeys([*folded.named, *folded.grown], EVERY)
        if self._evaluate is not None and (touched or looks):
            found = {leaf: Look(Cause.EVENT, only) for leaf, only in touched.items()}
            for leaf in looks:
                found[leaf] = both(found.get(leaf), Look(Cause.DEFINED))
            for node, look in found.items():
                key, value = encode_look(node, look, spread=True, revision=revision)
                self._producer.send(self._evaluate, value, key)
            self._producer.flush()
        return folded.counted

    def give_up(self, message: Message, error: Exception) -> None:
        """Keep the event that it was, so that it can be replayed."""
        if look_of(message) is not None:
            letter = refused_message(message, FAILED, f"fold failed: {place_of(error)}")
            self._letters.put([(letter, message)])
            self._producer.flush()
            return
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
    catalogues: Catalogues | None = None,
    live: bool = True,
    generation: int = 1,
    meter: Meter = UNMETERED,
    batch_messages: int = BATCH_MESSAGES,
    retry_max_s: float = 30.0,
) -> Worker:
    """Reads the activity topic. LogRefused if it is not the one that was folded so far.

    `generation` is that of the derived tables of `store`: each has a consumer group of its own. `catalogues`
    are those of `folder`, where given; segments follow what is `live`.
    """
    check_log(log, store, settings)
    consumer = log.consumer(
        settings.group("fold", generation),
        [settings.topic("activity")],
        lambda partition, count: meter.lost(partition[0], count),
    )
    catalogues = catalogues or Catalogues(store.definitions, WORKERS_AGE_S)
    folder = folder or Folder(store, PARTS_CACHED_MAX, catalogue=catalogues.now)
    stage = Fold(store, log.producer(), settings, meter, now_ms, folder, catalogues, live=live)
    return Worker(stage, consumer, meter, batch_messages=batch_messages, retry_max_s=retry_max_s)

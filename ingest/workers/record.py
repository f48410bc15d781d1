"""The record stage as a worker: events in, activity and news out (DESIGN §4). Any number may run."""

from collections.abc import Callable, Sequence

from identity.event import Event, Source
from identity.extract import Extractor
from identity.rules import Rules
from ingest.deadletters import Refused
from ingest.folding import activity_of
from ingest.kafka.settings import KafkaSettings
from ingest.log import Log, Membership, Message, Producer
from ingest.messages import (
    encode_activity,
    encode_look,
    encode_statements,
    event_in,
    refused_message,
    source_in,
)
from ingest.record import Recorded, record
from ingest.remembering import Memory
from ingest.segments.evaluating import Look
from ingest.sources import Sources
from ingest.workers.backfill import Prioritized
from ingest.workers.letters import FAILED, LetterBox
from ingest.workers.metering import UNMETERED, Meter
from ingest.workers.running import BATCH_MESSAGES, Worker, place_of
from profiles.segments.membership import Cause
from storage.catalogues import WORKERS_AGE_S, Catalogues
from storage.keys import Keys
from storage.ports import Store

STAGE = "record"


class Record:
    """`ingest.workers.running.Stage`: stateless but for what it remembers to have sent."""

    name = STAGE

    def __init__(
        self,
        store: Store,
        keys: Keys,
        rules: Rules,
        sources: Sources,
        producer: Producer,
        settings: KafkaSettings,
        *,
        meter: Meter,
        now_ms: Callable[[], int],
        catalogues: Catalogues,
    ) -> None:
        self._extractor = Extractor(rules, keys.hasher())
        self._sources = sources
        self._memory = Memory(store, keys.vault())
        self._producer = producer
        self._letters = LetterBox(store, producer, settings.topic("deadletters"), meter)
        self._activity = settings.topic("activity")
        self._links = settings.topic("links")
        self._evaluate = settings.topic("evaluate")
        self._catalogues = catalogues
        self._ours = {settings.topic("events"), settings.topic("backfill")}
        self._meter = meter
        self._now_ms = now_ms

    def prepare(self, membership: Membership) -> None:
        """Nothing: what this process remembers to be stored stays true."""

    def process(self, messages: Sequence[Message]) -> None:
        """Send each event to the log of its leaf, and what is new about people to identify."""
        events: list[Event] = []
        came_as: list[Message] = []
        refused: list[tuple[Refused, Message]] = []
        for message in messages:
            decoded = event_in(message, self._source_of(message))
            if isinstance(decoded, Event):
                events.append(decoded)
                came_as.append(message)
            else:
                refused.append((decoded, message))
        said = record(events, (), self._extractor, self._sources.named)
        refused += _nameless(said, events, came_as)
        news = self._memory.remember(said, self._memory.new_uses(said))
        send = self._producer.send
        for leaf, event, facts in said.events:
            send(self._activity, encode_activity(activity_of(leaf, event, facts)), leaf)
        for key, value in encode_statements(news.said):
            send(self._links, value, key)
        devices = dict.fromkeys([*(use.device for use in news.uses), *news.companions])
        if devices and self._catalogues.now():
            # Whose its visits are may have changed: of its users, and of those who used it before.
            for device in devices:
                key, value = encode_look(device, Look(Cause.EVENT), spread=True)
                send(self._evaluate, value, key)
        self._letters.put(refused)
        self._producer.flush()
        # Only what is durable is remembered as sent.
        self._memory.learn(said)
        self._meter.events(STAGE, "refused", len(refused))
        self._meter.events(STAGE, "accepted", len(said.events))
        if events:
            oldest_ms = min(event.received_ms for event in events)
            self._meter.event_age(STAGE, (self._now_ms() - oldest_ms) / 1000)

    def _source_of(self, message: Message) -> Source:
        # On a topic of others a header is anybody's word.
        ours = message.topic in self._ours
        return self._sources.named(source_in(message) if ours else message.topic)

    def give_up(self, message: Message, error: Exception) -> None:
        """Keep the event as it came."""
        source = self._source_of(message).name
        letter = refused_message(message, FAILED, f"record failed: {place_of(error)}", source)
        self._letters.put([(letter, message)])
        self._producer.flush()

    def close(self) -> None:
        """Let go of the producer."""
        self._producer.close()


def _nameless(
    said: Recorded, events: Sequence[Event], came_as: Sequence[Message]
) -> list[tuple[Refused, Message]]:
    """The events that `record` refused, which it lists in their order, with where they came from."""
    found: list[tuple[Refused, Message]] = []
    at = iter(zip(events, came_as, strict=True))
    for refused in said.refused:
        for event, message in at:
            if event.raw is refused.raw:
                found.append((refused, message))
                break
    return found


def record_worker(
    log: Log,
    store: Store,
    keys: Keys,
    rules: Rules,
    sources: Sources,
    settings: KafkaSettings,
    now_ms: Callable[[], int],
    *,
    generation: Callable[[], int] = lambda: 1,
    catalogues: Catalogues | None = None,
    meter: Meter = UNMETERED,
    batch_messages: int = BATCH_MESSAGES,
    retry_max_s: float = 30.0,
) -> Worker:
    """Reads the events topic and the inputs, and the backfill while nobody waits for live events.

    `generation` says which derived tables are live: their fold workers must keep up.
    """

    def lost(partition: tuple[str, int], count: int) -> None:
        meter.lost(partition[0], count)

    live = [settings.topic("events"), *settings.inputs]
    consumer = Prioritized(
        log.consumer(settings.group("record"), live, lost),
        log.consumer(settings.group("backfill"), [settings.topic("backfill")], lost),
        lambda: log.lag(settings.group("fold", generation()), [settings.topic("activity")]),
        meter,
    )
    catalogues = catalogues or Catalogues(store.definitions, WORKERS_AGE_S)
    stage = Record(
        store, keys, rules, sources, log.producer(), settings, meter=meter, now_ms=now_ms,
        catalogues=catalogues,
    )  # fmt: skip
    return Worker(stage, consumer, meter, batch_messages=batch_messages, retry_max_s=retry_max_s)

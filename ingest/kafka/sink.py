"""Where the collector and file loads put events when stages run elsewhere: into the log (DESIGN §7)."""

from collections.abc import Callable, Sequence

from identity.event import Event
from identity.extract import Extractor
from identity.rules import Rules
from ingest.deadletters import Refused
from ingest.kafka.settings import KafkaSettings
from ingest.log import Log, Producer
from ingest.messages import headers_of, key_of
from ingest.pipeline import Outcome
from ingest.sources import Sources
from ingest.workers.letters import LetterBox
from ingest.workers.metering import UNMETERED, Meter
from storage.keys import Keys
from storage.ports import Store, StoredPosition


class LogSink:
    """Has the methods of `ingest.pipeline.Pipeline`: what it acknowledges is durable on the brokers."""

    def __init__(
        self,
        store: Store,
        producer: Producer,
        topic: str,
        letters: LetterBox,
        accepts: Callable[[Event], bool],
    ) -> None:
        self._store = store
        self._producer = producer
        self._topic = topic
        self._letters = letters
        self._accepts = accepts

    def process(
        self,
        events: Sequence[Event],
        refused: Sequence[Refused] = (),
        positions: Sequence[StoredPosition] = (),
        origin: str = "",
    ) -> Outcome:
        """Send a batch; durable when this returns. If it raises, send all of it again.

        How many events are new shows only when they are folded: `counted` is 0.
        """
        for event in events:
            self._producer.send(self._topic, event.raw, key_of(event), headers_of(event))
        self._letters.put([(each, origin) for each in refused])
        self._producer.flush()
        if positions:
            self._store.positions.put(positions)
        return Outcome(len(events), 0, len(refused))

    def accepts(self, event: Event) -> bool:
        """Whether today's rules find somebody that `event` names."""
        return self._accepts(event)

    def close(self) -> None:
        """Let go of connections."""
        self._producer.close()


def open_sink(
    log: Log,
    store: Store,
    keys: Keys,
    rules: Rules,
    sources: Sources,
    settings: KafkaSettings,
    *,
    backfill: bool,
    meter: Meter = UNMETERED,
) -> LogSink:
    """A sink for live events, or for history that gives way to them."""
    producer = log.producer()
    extractor = Extractor(rules, keys.hasher())
    return LogSink(
        store,
        producer,
        settings.topic("backfill" if backfill else "events"),
        LetterBox(store, producer, settings.topic("deadletters"), meter),
        lambda event: extractor.extract(event, sources.named(event.source)).leaf is not None,
    )

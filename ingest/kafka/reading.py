"""`onefold ingest kafka://…`: a topic as a source of batches, from where it was left (DESIGN §7)."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol
from urllib.parse import parse_qs, urlsplit

import confluent_kafka as ck
import msgspec
from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition

from identity.event import Event, Source
from ingest.deadletters import Refused
from ingest.errors import SourceError
from ingest.files import BATCH_EVENTS
from ingest.kafka.client import Admin, Troubles, client_config, explained, made
from ingest.kafka.consumer import FETCH_PAUSE_MS, PREFETCH_KB_MAX, message_of
from ingest.kafka.settings import KafkaSettings
from ingest.loading import Loaded
from ingest.log import Message, Partition
from ingest.messages import event_in
from ingest.pipeline import Outcome
from ingest.sources import Sources
from storage.ports import Store, StoredPosition

SCHEME: Final = "kafka"
WAIT_S: Final = 0.2
"""How long a batch waits to fill; a followed topic is that late."""
SILENT_S_MAX: Final = 30.0
"""A topic that should have messages and sends none for so long cannot be read."""

_TRUE: Final = ("", "1", "true", "yes")
_logger = logging.getLogger(__name__)


class TopicUrl(msgspec.Struct, frozen=True):
    """What `kafka://host:port,host:port/topic?follow=true&source=name` says."""

    topic: str
    brokers: str = ""
    """Empty: those of the configuration."""
    follow: bool = False
    """Whether to wait for more at the end."""
    source: str = ""
    """The source of the events; empty: the one with the topic's name."""


class TopicBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Events of one topic, and where its partitions stand after them."""

    events: list[Event]
    refused: list[Refused]
    positions: list[StoredPosition]
    """To be stored with the events: their line is the offset of the next message."""
    bytes_read: int
    """Of messages, so far."""
    left: int
    """Messages that are still to come, of those that were there at the start."""


class Sink(Protocol):
    """Where batches go: `ingest.pipeline.Pipeline`, or `ingest.kafka.sink.LogSink`."""

    def process(
        self,
        events: Sequence[Event],
        refused: Sequence[Refused] = (),
        positions: Sequence[StoredPosition] = (),
        origin: str = "",
    ) -> Outcome:
        """Everything a batch says, durable when this returns."""


def parse_topic_url(url: str) -> TopicUrl:
    """SourceError if `url` names no topic, or says what it cannot."""
    parts = urlsplit(url)
    topic = parts.path.strip("/")
    if parts.scheme != SCHEME or not topic or "/" in topic or "@" in parts.netloc:
        raise SourceError(
            f"{url}: a topic is named kafka://host:port/topic, or kafka:///topic for the brokers of "
            "kafka.brokers; users and passwords belong into the configuration"
        )
    query = parse_qs(parts.query, keep_blank_values=True)
    if unknown := query.keys() - {"follow", "source"}:
        raise SourceError(f"{url}: {', '.join(sorted(unknown))} means nothing here")
    return TopicUrl(
        topic=topic,
        brokers=parts.netloc,
        follow=query.get("follow", ["no"])[-1].lower() in _TRUE,
        source=query.get("source", [""])[-1],
    )


def load_topic(
    url: TopicUrl,
    settings: KafkaSettings,
    store: Store,
    sink: Sink,
    sources: Sources,
    *,
    batch_events: int = BATCH_EVENTS,
    stop: threading.Event | None = None,
    progress: Callable[[TopicBatch, Loaded], None] = lambda batch, so_far: None,
) -> Loaded:
    """Load a topic from where it was left up to its present end, or until `stop` if it is followed.

    Positions are stored with what was read: run again, or killed and run again, nothing counts twice.
    """
    so_far = Loaded(files=1)
    for batch in read_topic(url, settings, store, sources, size=batch_events, stop=stop):
        outcome = sink.process(
            batch.events, batch.refused, batch.positions, origin=f"{SCHEME}://{url.topic}"
        )
        so_far.events += outcome.events
        so_far.counted += outcome.counted
        so_far.refused += outcome.refused
        progress(batch, so_far)
    return so_far


def read_topic(
    url: TopicUrl,
    settings: KafkaSettings,
    store: Store,
    sources: Sources,
    *,
    size: int = BATCH_EVENTS,
    stop: threading.Event | None = None,
) -> Iterator[TopicBatch]:
    """The events of a topic past its stored positions. LogUnavailable or LogRefused if it cannot be read."""
    if url.brokers:
        settings = msgspec.structs.replace(settings, brokers=url.brokers)
    reader = _Reader(url, settings, store)
    try:
        yield from reader.batches(sources, size, stop or threading.Event())
    finally:
        reader.close()


class _Reader:
    """Reads all partitions of a topic, outside of any group."""

    def __init__(self, url: TopicUrl, settings: KafkaSettings, store: Store) -> None:
        self._url = url
        self._settings = settings
        admin = Admin(settings)
        admin.check([url.topic])
        self._fingerprint = _fingerprint(admin, url.topic)
        self._troubles = Troubles(settings)
        self._client = made(
            ck.Consumer,
            client_config(settings, self._troubles)
            | {
                "group.id": settings.group("ingest"),  # wanted, but never joined
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "queued.max.messages.kbytes": PREFETCH_KB_MAX,
                "fetch.queue.backoff.ms": FETCH_PAUSE_MS,
            },
            settings,
        )
        self._bytes = 0
        self._next: dict[Partition, int] = {}
        self._ends: dict[Partition, int] = {}
        places = [(url.topic, number) for number in range(admin.topics()[url.topic])]
        held = store.positions.get([self._uri(each) for each in places])
        for each in places:
            self._begin(each, held.get(self._uri(each)))
        self._client.assign([TopicPartition(*each, at) for each, at in self._next.items()])

    def _uri(self, partition: Partition) -> str:
        return f"{SCHEME}://{partition[0]}/{partition[1]}"

    def _begin(self, partition: Partition, held: StoredPosition | None) -> None:
        try:
            first, end = self._client.get_watermark_offsets(
                TopicPartition(*partition), self._settings.timeout_s
            )
        except KafkaException as error:
            raise self._troubles.error or explained(error, self._settings, partition[0]) from error
        at = first
        if held is not None and held.fingerprint == self._fingerprint:
            at = held.line
            if at < first:
                _logger.error(
                    "%s: %d messages were deleted before they were read; it goes on at offset %d",
                    self._uri(partition), first - at, first,
                )  # fmt: skip
        self._next[partition] = max(at, first)
        self._ends[partition] = end

    def batches(self, sources: Sources, size: int, stop: threading.Event) -> Iterator[TopicBatch]:
        """Until the end, or until `stop`."""
        source = sources.named(self._url.source or self._url.topic)
        heard = time.monotonic()
        while not stop.is_set() and (self._url.follow or self._left()):
            messages = self._messages(size)
            if messages:
                heard = time.monotonic()
                yield self._batch(messages, source)
            elif not self._url.follow and time.monotonic() - heard > SILENT_S_MAX:
                raise self._troubles.error or SourceError(
                    f"{self._url.topic}: no message in {SILENT_S_MAX:.0f} s, and {self._left()} to come"
                )

    def _messages(self, size: int) -> list[Message]:
        try:
            consumed = self._client.consume(size, WAIT_S)
        except KafkaException as error:
            raise explained(error, self._settings, self._url.topic, "read") from error
        found = []
        for each in consumed:
            failure = each.error()
            if failure is None:
                found.append(message_of(each))
            elif failure.code() == KafkaError._PARTITION_EOF:
                # Markers of transactions take offsets, too.
                self._next[self._url.topic, each.partition() or 0] = each.offset() or 0
            elif failure.code() == KafkaError._AUTO_OFFSET_RESET:
                raise SourceError(
                    f"{self._url.topic}: {failure.str()}: messages were deleted while they were read; "
                    "run it again"
                )
            elif not failure.retriable():
                raise explained(failure, self._settings, self._url.topic, "read")
        return found

    def _batch(self, messages: Sequence[Message], source: Source) -> TopicBatch:
        events: list[Event] = []
        refused: list[Refused] = []
        for message in messages:
            self._bytes += len(message.value)
            place = (message.topic, message.partition)
            # Its end may be known already, beyond markers of transactions.
            self._next[place] = max(self._next[place], message.offset + 1)
            decoded = event_in(message, source)
            if isinstance(decoded, Event):
                events.append(decoded)
            else:
                detail = f"{message.origin}: {decoded.detail}"
                refused.append(msgspec.structs.replace(decoded, detail=detail))
        touched = {(message.topic, message.partition) for message in messages}
        return TopicBatch(
            events=events,
            refused=refused,
            positions=[
                StoredPosition(
                    uri=self._uri(each),
                    fingerprint=self._fingerprint,
                    line=self._next[each],
                    finished=False,
                )
                for each in sorted(touched)
            ],
            bytes_read=self._bytes,
            left=self._left(),
        )

    def _left(self) -> int:
        return sum(max(0, end - self._next[each]) for each, end in self._ends.items())

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()


def _fingerprint(admin: Admin, topic: str) -> str:
    """The cluster's id and the topic's: a topic that was made anew is read from its start."""
    asked = admin.client.describe_topics(TopicCollection([topic]), request_timeout=admin.timeout_s)
    try:
        about = asked[topic].result(admin.timeout_s)
        return f"{admin.client.cluster_id(admin.timeout_s)}/{about.topic_id}"
    except KafkaException as error:
        raise explained(error, admin.settings, topic, "describe") from error

"""Where workers put what they refuse: the store's dead letters first, then the topic for others."""

from collections.abc import Sequence

from ingest.deadletters import Refused
from ingest.log import Message, MessageTooLarge, Producer
from ingest.messages import encode_letter, letter_headers
from ingest.pipeline import letter_of
from ingest.workers.metering import Meter
from storage.ports import Store

UNREADABLE = "unreadable"
"""A message between stages is not what stages write."""
FAILED = "failed"
"""A stage failed on this message alone: a bug of ours."""


class LetterBox:
    """Keeps refused messages with where they stood. Keeping one twice is the same as once."""

    def __init__(self, store: Store, producer: Producer, topic: str, meter: Meter) -> None:
        self._store = store
        self._producer = producer
        self._topic = topic
        self._meter = meter

    def put(self, letters: Sequence[tuple[Refused, Message | str]]) -> None:
        """Store letters, and send them; they are on the topic when the producer is flushed."""
        if not letters:
            return
        self._store.dead_letters.add(
            [letter_of(refused, origin_of(origin)) for refused, origin in letters]
        )
        for refused, origin in letters:
            value = encode_letter(refused, origin_of(origin))
            try:
                self._producer.send(
                    self._topic, value, refused.reason.encode(), letter_headers(refused, origin)
                )
            except MessageTooLarge:
                # The store has all of it; escaping has made it too long for a topic.
                continue
        counts: dict[str, int] = {}
        for refused, _ in letters:
            counts[refused.reason] = counts.get(refused.reason, 0) + 1
        for reason, count in counts.items():
            self._meter.refused(reason, count)


def origin_of(origin: Message | str) -> str:
    """Where a refused message stood."""
    return origin.origin if isinstance(origin, Message) else origin

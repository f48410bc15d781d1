"""The same events through the embedded pipeline: what the distributed one must equal."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from identity.event import Event, Source
from identity.rules import Rules
from ingest.decode import Refused, decode
from ingest.pipeline import Pipeline
from ingest.segments.here import Segments
from ingest.sources import Sources
from storage.profiles import ProfileReader
from storage.sqlite import open_store
from tests.faults.picture import Picture, picture
from tests.faults.stream import BACK_END, WEB, Message, Stream
from tests.workspace import KEYS, NOON

BATCH = 2_000


def keys_file(folder: Path) -> Path:
    """The keys of every workspace of these tests: fixed, so that ids can be compared."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "onefold.keys"
    hash_key, value_key = KEYS.hash_key.hex(), KEYS.value_key.hex()
    path.write_text(f'{{"hash_key": "{hash_key}", "value_key": "{value_key}"}}')
    return path


class Embedded:
    """A workspace in a folder that has seen `messages`."""

    def __init__(self, folder: Path, messages: Iterable[Message] = ()) -> None:
        self.rules = Rules()
        self.sources = Sources(
            {kind: Source(name=kind, trusted=kind == BACK_END) for kind in (WEB, BACK_END)}
        )
        self.store, self.keys = open_store(folder / "onefold.sqlite", keys_file(folder))
        self.reader = ProfileReader(self.store, self.rules, self.keys.hasher(), self.keys.vault())
        segments = Segments(self.store, self.rules, lambda: NOON)
        self._pipeline = Pipeline(self.store, self.keys, self.rules, self.sources, segments)
        self.take(messages)

    def take(self, messages: Iterable[Message]) -> None:
        """Feed messages, as a topic that a gateway wrote."""
        waiting: list[Event | Refused] = []
        for message in messages:
            source = self.sources.named(message.source)
            waiting.append(decode(message.value, NOON, source, believe_received_at=True))
            if len(waiting) == BATCH:
                self._process(waiting)
                waiting = []
        self._process(waiting)

    def _process(self, some: Sequence[Event | Refused]) -> None:
        self._pipeline.process(
            [each for each in some if isinstance(each, Event)],
            [each for each in some if isinstance(each, Refused)],
        )

    def close(self) -> None:
        self.store.close()


class Expected(NamedTuple):
    """A stream, and what one process makes of it."""

    stream: Stream
    picture: Picture
    folder: Path
    """Where that process kept it."""


def expect(stream: Stream, folder: Path) -> Expected:
    """What one process makes of `stream`, in one pass and without a fault."""
    world = Embedded(folder, stream.messages)
    found = picture(world.store, world.reader, {kind: kind for kind in (WEB, BACK_END)})
    world.close()
    return Expected(stream, found, folder)

"""The stages in one process: record → fold → identify → evaluate, one transaction a batch (DESIGN §1.5)."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from identity.event import Event
from identity.extract import Extractor
from identity.rules import Rules
from ingest.deadletters import Refused
from ingest.folding import Folder, activity_of
from ingest.identify import identify_here
from ingest.record import record
from ingest.remembering import Memory
from ingest.segments.evaluating import EVERY
from ingest.segments.here import Segments
from ingest.sources import Sources
from storage.keys import Keys
from storage.ports import DeadLetter, EmbeddedStore, StoredPosition


class Outcome(msgspec.Struct, frozen=True):
    """What became of a batch."""

    events: int
    """Accepted events, counting those that were there before."""
    counted: int
    """Events that were new."""
    refused: int


class EventSink(Protocol):
    """Where events go: through all stages in this process, or into the log that workers read."""

    def process(
        self,
        events: Sequence[Event],
        refused: Sequence[Refused] = (),
        positions: Sequence[StoredPosition] = (),
        origin: str = "",
    ) -> Outcome:
        """Everything a batch says, durable when this returns."""

    def accepts(self, event: Event) -> bool:
        """Whether today's rules find somebody that `event` names."""


class Pipeline:
    """Takes batches of events into a store. Batches may repeat and overlap; nothing counts twice."""

    def __init__(
        self, store: EmbeddedStore, keys: Keys, rules: Rules, sources: Sources, segments: Segments
    ) -> None:
        self._store = store
        self._segments = segments
        self._rules = rules
        self._extractor = Extractor(rules, keys.hasher())
        self._sources = sources
        self._memory = Memory(store, keys.vault())
        self._folder = Folder(store, catalogue=segments.catalogue)

    def process(
        self,
        events: Sequence[Event],
        refused: Sequence[Refused] = (),
        positions: Sequence[StoredPosition] = (),
        origin: str = "",
    ) -> Outcome:
        """Everything a batch says, durable when this returns; nothing of it if this raises."""
        said = record(events, refused, self._extractor, self._sources.named)
        counted = 0
        with self._segments.transaction():
            if said.events:
                first = self._store.next_offset(len(said.events))
                folded = self._folder.fold(
                    [
                        (first + n, activity_of(leaf, event, facts))
                        for n, (leaf, event, facts) in enumerate(said.events)
                    ]
                )
                counted = folded.counted
                uses = self._memory.new_uses(said)
                moved = self._segments.moved(folded.grown, uses)
                news = self._memory.remember(said, uses, looks=bool(self._segments.catalogue()))
                if news.said:
                    identify_here(self._store, news.said, self._rules)
                looks = folded.touched | dict.fromkeys([*news.companions, *moved], EVERY)
                self._segments.touch(looks, folded.large)
            if said.refused:
                self._store.dead_letters.add([letter_of(each, origin) for each in said.refused])
            if positions:
                self._store.positions.put(positions)
        # Only what is durable is remembered as known.
        self._memory.learn(said)
        return Outcome(len(said.events), counted, len(said.refused))

    def accepts(self, event: Event) -> bool:
        """Whether today's rules find somebody that `event` names."""
        return self._extractor.extract(event, self._sources.named(event.source)).leaf is not None


def letter_of(refused: Refused, origin: str) -> DeadLetter:
    """A refused message as it is kept."""
    return DeadLetter(
        received_ms=refused.received_ms, source=refused.source, reason=refused.reason,
        detail=refused.detail, raw=refused.raw, origin=origin,
    )  # fmt: skip

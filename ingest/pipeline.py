"""The stages in one process: record → fold → identify, one transaction a batch (DESIGN §1.5)."""

from collections.abc import Sequence

import msgspec

from identity.event import Event
from identity.extract import Extractor
from identity.nodes import Node
from identity.rules import Rules
from ingest.decode import Refused
from ingest.identify import identify
from ingest.known import Known
from ingest.record import Recorded, record
from ingest.sources import Sources
from profiles.facts import Facts
from profiles.fold import fold
from profiles.part import Part, decode, encode
from storage.keys import Keys
from storage.ports import DeadLetter, Store, StoredPosition, TimelineRow


class Outcome(msgspec.Struct, frozen=True):
    """What became of a batch."""

    events: int
    """Accepted events, counting those that were there before."""
    counted: int
    """Events that were new."""
    refused: int


class Pipeline:
    """Takes batches of events into a store. Batches may repeat and overlap; nothing counts twice."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        rules: Rules,
        sources: Sources,
    ) -> None:
        self._store = store
        self._rules = rules
        self._vault = keys.vault()
        self._extractor = Extractor(rules, keys.hasher())
        self._sources = sources
        self._known = Known()

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
        with self._store.transaction():
            if said.events:
                counted = self._fold(said)
                self._remember(said)
                links = self._store.evidence.merge_links(self._known.new_links(said))
                must_links = self._store.evidence.merge_must_links(said.must_links)
                if links or must_links:
                    identify(self._store, links, must_links, self._rules)
            if said.refused:
                self._store.dead_letters.add([_letter(letter, origin) for letter in said.refused])
            if positions:
                self._store.positions.put(positions)
        # Only what is durable is remembered as known.
        self._known.learn(said)
        return Outcome(len(said.events), counted, len(said.refused))

    def accepts(self, event: Event) -> bool:
        """Whether today's rules find somebody that `event` names."""
        return self._extractor.extract(event, self._sources.named(event.source)).leaf is not None

    def _fold(self, said: Recorded) -> int:
        first = self._store.timeline.next_offset(len(said.events))
        counted_at = self._store.timeline.add(
            [_row(leaf, first + n, event) for n, (leaf, event, _) in enumerate(said.events)]
        )
        by_leaf: dict[Node, list[tuple[int, int, Facts]]] = {}
        counted = 0
        for n, (leaf, _, facts) in enumerate(said.events):
            offset = first + n
            if counted_at[n] == offset:
                counted += 1
                by_leaf.setdefault(leaf, []).append((offset, offset, facts))
        blobs = self._store.parts.read(by_leaf)
        folded: dict[Node, bytes] = {}
        for leaf, entries in by_leaf.items():
            part = decode(blobs[leaf]) if leaf in blobs else Part()
            if fold(part, leaf, entries):
                folded[leaf] = encode(part)
        self._store.parts.write(folded)
        return counted

    def _remember(self, said: Recorded) -> None:
        new = self._known.new_identifiers(said)
        unknown = new.keys() - self._store.identifiers.known(new)
        self._store.identifiers.put(
            {node: (new[node].type, self._vault.seal(node, new[node].value)) for node in unknown}
        )
        self._store.devices.merge_uses(self._known.new_uses(said))
        self._store.devices.merge_companions(self._known.new_companions(said))


def _row(leaf: Node, offset: int, event: Event) -> TimelineRow:
    return TimelineRow(
        leaf=leaf, key_ms=event.key_ms, message_id=event.message_id, offset=offset,
        time_ms=event.time_ms, received_ms=event.received_ms, type=event.type, name=event.name,
        source=event.source, raw=event.raw,
    )  # fmt: skip


def _letter(refused: Refused, origin: str) -> DeadLetter:
    return DeadLetter(
        received_ms=refused.received_ms, source=refused.source, reason=refused.reason,
        detail=refused.detail, raw=refused.raw, origin=origin,
    )  # fmt: skip

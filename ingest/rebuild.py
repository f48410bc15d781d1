"""Build derived tables from facts: parts from timelines, people from links (DESIGN §§6, 9)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Final

import msgspec

from identity.event import Event, Source
from identity.extract import Extractor
from identity.nodes import Node
from identity.rules import Rules
from ingest.decode import decode
from ingest.segments.collecting import hits_of
from profiles.facts import facts_of
from profiles.fold import Entry, fold
from profiles.part import Part, encode
from profiles.part import decode as decode_part
from profiles.segments.catalogue import Catalogue
from storage.keys import Keys
from storage.ports import Store, TimelineQuery, TimelineRow

LEAVES_AT_ONCE: Final = 200
"""Leaves that are read, folded and written together."""
NO_SEGMENTS: Final = Catalogue()
ROWS_MAX: Final = 10_000_000
"""Rows of one leaf that are folded again."""


class Rebuilt(msgspec.Struct):
    """What was built."""

    parts: int = 0
    events: int = 0


class Refolder:
    """Folds stored rows as they were folded when they came."""

    def __init__(
        self,
        keys: Keys,
        rules: Rules,
        source_named: Callable[[str], Source],
        catalogue: Catalogue = NO_SEGMENTS,
    ) -> None:
        """`catalogue` is what parts collect for."""
        self._extractor = Extractor(rules, keys.hasher())
        self._source_named = source_named
        self.catalogue = catalogue

    def part(
        self,
        leaf: Node,
        rows: Iterable[TimelineRow],
        complain: Callable[[str], None] = lambda detail: None,
    ) -> Part:
        """The part that a leaf's rows fold to; `complain` hears of rows that no longer fit the rules."""
        catalogue = self.catalogue
        entries: list[Entry] = []
        for row in rows:
            source = self._source_named(row.source)
            event = decode(row.raw, row.received_ms, source, row.type)
            if not isinstance(event, Event):
                complain(f"a stored event no longer decodes: {event.reason}")
                continue
            # The first counted copy's time stands, and the key is what a retry repeats.
            event = msgspec.structs.replace(
                event, time_ms=row.time_ms, key_ms=row.key_ms, message_id=row.message_id
            )
            found = self._extractor.extract(event, source)
            if found.leaf != leaf:
                complain("today's rules store one of its events elsewhere")
            facts = facts_of(event, found.device)
            hits = hits_of(catalogue.collecting, facts.event, facts.message, row.time_ms, row.raw)
            entries.append(Entry(row.offset, row.offset, facts, hits))
        part = Part(collected_at=catalogue.revision)
        fold(part, leaf, sorted(entries, key=lambda entry: entry.offset))
        return part


def rebuild_parts(
    live: Store,
    target: Store,
    refolder: Refolder,
    progress: Callable[[Rebuilt], None] = lambda so_far: None,
) -> Rebuilt:
    """Fold every leaf of `live` again into `target`, each up to where its live part stands.

    Beyond that rows may be half written: a worker on `target` folds those when it gets to them.
    """
    so_far = Rebuilt()
    after = None
    while leaves := live.parts.leaves(after, LEAVES_AT_ONCE):
        # Where parts stand is read before the rows: all up to there are durable then.
        stand = {leaf: decode_part(blob).offset for leaf, blob in live.parts.read(leaves).items()}
        blobs = {}
        for leaf, rows in groupby(live.timeline.scan(after), lambda row: row.leaf):
            durable = [row for row in rows if row.offset <= stand.get(leaf, -1)]
            if durable:
                part = refolder.part(leaf, durable)
                blobs[leaf] = (part.offset, encode(part))
                so_far.events += len(durable)
            if leaf == leaves[-1]:
                break
        target.parts.write(blobs)
        so_far.parts += len(blobs)
        progress(so_far)
        after = leaves[-1]
    return so_far


class Base:
    """What a worker on a generation that is being built starts a leaf from: all that is live of it."""

    def __init__(self, live: Store, refolder: Refolder) -> None:
        self._live = live
        self._refolder = refolder

    def __call__(self, leaves: Sequence[Node]) -> dict[Node, Part]:
        """The parts of those leaves that have a live one, folded again up to where it stands."""
        found = {}
        for leaf, blob in self._live.parts.read(leaves).items():
            stand = decode_part(blob).offset
            rows = self._live.timeline.read([leaf], TimelineQuery(limit=ROWS_MAX))
            found[leaf] = self._refolder.part(leaf, (r for r in rows if r.offset <= stand))
        return found


def rebuild_people(
    store: Store, rules: Rules, progress: Callable[[str, int, int], None] = lambda *step: None
) -> int:
    """Resolve all evidence of `store` and write all its people anew; how many nodes there are.

    Needs the lease of identity. Nobody is told of changes: `ingest.comparing` does that. `progress` hears
    (step, done, of how many or 0).
    """
    # numpy and scipy, which a worker never needs.
    from ingest.comparing import compare

    written = 0
    for batch in compare(store, rules, progress=progress).changes(everybody=True):
        change = batch.change
        store.people.write(change.resolved, change.clusters, change.refusals)
        written += len(change.resolved)
        progress("identifiers written", written, 0)
    return written


def by_leaf(rows: Iterable[TimelineRow]) -> Iterator[dict[Node, list[TimelineRow]]]:
    """A scan of the timeline, some hundred leaves at a time."""
    leaves = ((leaf, list(some)) for leaf, some in groupby(rows, lambda row: row.leaf))
    while found := dict(islice(leaves, LEAVES_AT_ONCE)):
        yield found

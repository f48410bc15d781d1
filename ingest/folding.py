"""The fold stage: each event counts once, in the part of its leaf (DESIGN §4)."""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from identity.event import Event
from identity.nodes import Node
from ingest.segments.collecting import bring_up_to_date, hits_of
from ingest.segments.evaluating import EVERY, NOTHING, Only
from profiles.facts import Facts
from profiles.fold import Entry, fold
from profiles.part import Body, Part, decode, encode
from profiles.segments.catalogue import Catalogue
from storage.ports import Store, TimelineRow


class Activity(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One event on its way from record to fold."""

    leaf: Node
    key_ms: int
    message_id: str
    time_ms: int
    received_ms: int
    type: str
    name: str
    source: str
    raw: bytes
    facts: Facts


def activity_of(leaf: Node, event: Event, facts: Facts) -> Activity:
    """What fold needs of an event."""
    return Activity(
        leaf, event.key_ms, event.message_id, event.time_ms, event.received_ms, event.type,
        event.name, event.source, event.raw, facts,
    )  # fmt: skip


class Folded(msgspec.Struct, frozen=True):
    """What became of a batch."""

    counted: int
    touched: dict[Node, Only]
    """Leaves to which something happened, and which segments that can change."""


class Folder:
    """Folds batches of one log, in the order of its positions, into timelines and parts.

    One folder owns a leaf at a time. If another still writes, both write the same: a part at a position
    is the same bytes whoever computes it.
    """

    def __init__(
        self,
        store: Store,
        cache: int = 0,
        base: Callable[[Sequence[Node]], dict[Node, Part]] = lambda leaves: {},
        catalogue: Callable[[], Catalogue] = Catalogue,
    ) -> None:
        """`base` gives what leaves without a part start from: a new generation that is being built.

        `catalogue` gives the segments in force, for which parts collect.
        """
        self._store = store
        self._base = base
        self._catalogue = catalogue
        self._cache_max = cache
        self._cache: dict[Node, Part] = {}

    def fold(self, batch: Sequence[tuple[int, Activity]]) -> Folded:
        """Fold `(position, activity)` pairs. Durable when it returns.

        If it raises, fold the batch again.
        """
        parts, changed = self._read({activity.leaf for _, activity in batch})
        # What a part stands beyond is in its timeline too, for rows are written before parts.
        new = [pair for pair in batch if pair[0] > parts[pair[1].leaf].offset]
        catalogue = self._catalogue()
        changed.update(bring_up_to_date(self._store, catalogue, parts))
        counted_at = self._store.timeline.add(
            [_row(position, activity) for position, activity in new],
            {leaf: part.newest_key_ms for leaf, part in parts.items()},
        )
        entries: dict[Node, list[Entry]] = {}
        for (position, activity), lowest in zip(new, counted_at, strict=True):
            if lowest == position:
                hits = hits_of(
                    catalogue.collecting, activity.facts.event, activity.facts.message,
                    activity.facts.time_ms, activity.raw,
                )  # fmt: skip
                entry = Entry(position, lowest, activity.facts, hits)
                entries.setdefault(activity.leaf, []).append(entry)
        touched = {
            leaf: _changes(catalogue, leaf, parts[leaf], some) for leaf, some in entries.items()
        }
        for leaf, some in entries.items():
            fold(parts[leaf], leaf, some)
        changed.update(entries)
        self._store.parts.write(
            {leaf: (parts[leaf].offset, encode(parts[leaf])) for leaf in changed}
        )
        self._remember(parts)
        return Folded(
            sum(map(len, entries.values())),
            {leaf: only for leaf, only in touched.items() if only != NOTHING} if catalogue else {},
        )

    def forget(self) -> None:
        """Drop cached parts: somebody else may have folded their leaves since."""
        self._cache.clear()

    def _read(self, leaves: Iterable[Node]) -> tuple[dict[Node, Part], set[Node]]:
        """The parts of leaves, and which of them are not stored yet but come from `base`."""
        # Taken out of the cache while they change, so that a failed batch leaves none half folded.
        parts = {leaf: self._cache.pop(leaf) for leaf in leaves if leaf in self._cache}
        missing = [leaf for leaf in leaves if leaf not in parts]
        blobs = self._store.parts.read(missing)
        parts |= {leaf: decode(blob) for leaf, blob in blobs.items()}
        without = [leaf for leaf in missing if leaf not in blobs]
        based = self._base(without)
        parts |= {leaf: Part() for leaf in without} | based
        return parts, set(based)

    def _remember(self, parts: dict[Node, Part]) -> None:
        if not self._cache_max:
            return
        self._cache |= parts
        for leaf in list(self._cache)[: len(self._cache) - self._cache_max]:
            del self._cache[leaf]


def _changes(catalogue: Catalogue, leaf: Node, part: Part, entries: Iterable[Entry]) -> Only:
    """The segments in which events may change where their leaf's profile stands.

    EVERY where they say how it is reached, or what it consents to, for destinations keep these beside segments.
    """
    found: set[str] = set()
    body = part.visits[-1].body if part.visits else part.body or Body()
    for entry in entries:
        facts = entry.facts
        device = facts.device not in (None, leaf) and facts.device not in body.devices
        if part.offset < 0 or device or _says_otherwise(body, facts):
            return EVERY
        found |= catalogue.changed_by(facts)
    return frozenset(found)


def _says_otherwise(body: Body, facts: Facts) -> bool:
    """Whether an event states a consent that is not the one that stands."""
    return any(
        purpose not in body.consent or body.consent[purpose].granted != granted
        for purpose, granted in facts.consent
    )


def _row(position: int, activity: Activity) -> TimelineRow:
    return TimelineRow(
        leaf=activity.leaf, key_ms=activity.key_ms, message_id=activity.message_id, offset=position,
        time_ms=activity.time_ms, received_ms=activity.received_ms, type=activity.type,
        name=activity.name, source=activity.source, raw=activity.raw,
    )  # fmt: skip

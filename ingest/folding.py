"""The fold stage: each event counts once, in the part of its leaf (DESIGN §4)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from identity.event import Event
from identity.nodes import Node, names_device
from ingest.segments.collecting import bring_up_to_date, hits_of
from ingest.segments.evaluating import EVERY, NOTHING, Only
from profiles.facts import Facts
from profiles.fold import Entry, fold
from profiles.part import LARGE_BYTES, Body, Part, decode, encode, visit_spans
from profiles.segments.catalogue import Catalogue
from storage.ports import Store, TimelineRow

NOBODY: Final[Mapping[Node, int]] = {}


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


class Grown(NamedTuple):
    """The visits of a device, (start_ms, end_ms) each, oldest first."""

    before: list[tuple[int, int]]
    after: list[tuple[int, int]]


class Folded(msgspec.Struct, frozen=True):
    """What became of a batch."""

    counted: int
    touched: dict[Node, Only]
    """Leaves to which something happened, perhaps at an earlier try, and which segments that can change."""
    named: frozenset[Node] = frozenset()
    """Devices that are new to a leaf, whoever's their visits are: that shows when its part names them.

    Who knows whose they were, and are now, need not look at them for that.
    """
    grown: dict[Node, Grown] = {}
    """Devices with a visit that began, or is longer now, whatever happened in it.

    With it, visits there were may have become somebody else's: then all of their segments can change.
    """
    large: frozenset[Node] = frozenset()
    """Those among them of which so much is kept that looking at it takes long."""


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

    def fold(
        self, batch: Sequence[tuple[int, Activity]], looked_at: Mapping[Node, int] = NOBODY
    ) -> Folded:
        """Fold `(position, activity)` pairs. Durable when it returns.

        Leaves that are `looked_at`, at a position of the same log, keep what segments in force need.
        If it raises, fold the batch again.
        """
        parts, changed = self._read({activity.leaf for _, activity in batch} | looked_at.keys())
        # What a part stands beyond is in its timeline too, for rows are written before parts.
        new = [pair for pair in batch if pair[0] > parts[pair[1].leaf].offset]
        catalogue = self._catalogue()
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
        # Whoever folded the others may have ended before it said so.
        known = [a for position, a in batch if position <= parts[a.leaf].offset]
        touched = _touched(catalogue, parts, entries, known)
        named = _newly_named(parts, entries) if catalogue else frozenset[Node]()
        again = {n: at for n, at in looked_at.items() if 0 <= parts[n].offset < at or n in entries}
        # Only what stands at a new position: a part at a position is written once.
        moved = {leaf: parts[leaf] for leaf in (*entries, *again)}
        bring_up_to_date(self._store, catalogue, moved)
        devices = [leaf for leaf in entries if names_device(leaf)] if catalogue else []
        before = {leaf: visit_spans(parts[leaf]) for leaf in devices}
        for leaf, some in entries.items():
            fold(parts[leaf], leaf, some)
        for leaf, position in again.items():
            parts[leaf].offset = max(parts[leaf].offset, position)
        changed.update(moved)
        written = {leaf: (parts[leaf].offset, encode(parts[leaf])) for leaf in changed}
        self._store.parts.write(written)
        self._remember(parts)
        if self._catalogue().revision != catalogue.revision:
            # Whoever fills a segment that was defined meanwhile may have passed these leaves.
            touched = _named(activity for _, activity in batch)
        grown = {leaf: Grown(then, visit_spans(parts[leaf])) for leaf, then in before.items()}
        return Folded(
            sum(map(len, entries.values())),
            touched,
            named,
            {leaf: each for leaf, each in grown.items() if each.before != each.after},
            frozenset(leaf for leaf, (_, blob) in written.items() if len(blob) > LARGE_BYTES),
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


def _touched(
    catalogue: Catalogue,
    parts: Mapping[Node, Part],
    entries: Mapping[Node, Sequence[Entry]],
    known: Iterable[Activity],
) -> dict[Node, Only]:
    """Whom it may concern that entries are about to be folded, and others were before."""
    if not catalogue:
        return {}
    found = _named(known)
    for leaf, some in entries.items():
        only = _changes(catalogue, leaf, parts[leaf], some)
        if only != NOTHING or _say_otherwise(parts[leaf], some):
            found.setdefault(leaf, only)
    return found


def _newly_named(
    parts: Mapping[Node, Part], entries: Mapping[Node, Sequence[Entry]]
) -> frozenset[Node]:
    """Devices that parts will name as entries are folded, and did not before."""
    found: set[Node] = set()
    for leaf, some in entries.items():
        body = parts[leaf].body
        seen = {leaf, *(body.devices if body else ())}
        found |= {each.facts.device for each in some if each.facts.device} - seen
    return frozenset(found)


def _named(activities: Iterable[Activity]) -> dict[Node, Only]:
    """The leaves and devices of activities."""
    found: dict[Node, Only] = {}
    for activity in activities:
        found[activity.leaf] = EVERY
        if activity.facts.device is not None:
            found[activity.facts.device] = EVERY
    return found


def _changes(catalogue: Catalogue, leaf: Node, part: Part, entries: Iterable[Entry]) -> Only:
    """The segments in which events may change where their leaf's profile stands.

    EVERY where they say how it is reached, for destinations keep that beside segments.
    """
    found: set[str] = set()
    body = _newest(part)
    for entry in entries:
        facts = entry.facts
        device = facts.device not in (None, leaf) and facts.device not in body.devices
        if part.offset < 0 or device:
            return EVERY
        found |= catalogue.changed_by(facts, entry.hits)
    return frozenset(found)


def _newest(part: Part) -> Body:
    return part.visits[-1].body if part.visits else part.body or Body()


def _say_otherwise(part: Part, entries: Iterable[Entry]) -> bool:
    """Whether events state a consent that is not the one that stands: destinations keep it beside segments."""
    stands = _newest(part).consent
    return any(
        purpose not in stands or stands[purpose].granted != granted
        for entry in entries
        for purpose, granted in entry.facts.consent
    )


def _row(position: int, activity: Activity) -> TimelineRow:
    return TimelineRow(
        leaf=activity.leaf, key_ms=activity.key_ms, message_id=activity.message_id, offset=position,
        time_ms=activity.time_ms, received_ms=activity.received_ms, type=activity.type,
        name=activity.name, source=activity.source, raw=activity.raw,
    )  # fmt: skip

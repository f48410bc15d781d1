"""What callers ask of segments: sizes, members, what came and went. Right at the moment of the answer."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from identity.changes import PersonChange
from identity.nodes import Node
from identity.rules import Rules
from ingest.segments.evaluating import Evaluator
from ingest.segments.here import share_of
from ingest.segments.sampling import types_of
from profiles.segments.catalogue import Catalogue
from profiles.segments.membership import Reason, Standing
from storage.catalogues import Catalogues
from storage.gathering import Answer
from storage.ports import Store
from storage.profiles import Found
from storage.segment_ports import Flow

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
MEMBERS_AT_ONCE: Final = 2_000
REACH_MAX: Final = 50_000
"""Members whose identifiers are counted for one answer: a tenth of a second."""

_BY_IDENTITY: Final = frozenset({Reason.MERGED, Reason.SPLIT})


class Flows(msgspec.Struct):
    """Who entered and left in a span of time, by what made them."""

    from_ms: int
    entered: int = 0
    left: int = 0
    """By what people did, or as time went by."""
    entered_by_identity: int = 0
    left_by_identity: int = 0
    """Because profiles were merged or split."""
    entered_by_definition: int = 0
    left_by_definition: int = 0
    """Because the segment was defined, changed or removed."""

    def add(self, flow: Flow) -> None:
        """One more."""
        reason = Reason(flow.reason)
        if reason in _BY_IDENTITY:
            self.entered_by_identity += flow.entered
            self.left_by_identity += flow.left
        elif reason is Reason.CONSENT:
            pass  # nobody came or went
        elif reason is Reason.DEFINED:
            self.entered_by_definition += flow.entered
            self.left_by_definition += flow.left
        else:
            self.entered += flow.entered
            self.left += flow.left

    @property
    def change(self) -> int:
        """How much larger the segment became."""
        entered = self.entered + self.entered_by_identity + self.entered_by_definition
        return entered - self.left - self.left_by_identity - self.left_by_definition


class Status(msgspec.Struct, frozen=True):
    """A segment as it stands."""

    id: str
    people: int
    devices: int
    day: Flows
    """The last 24 hours."""


class Moves(msgspec.Struct, frozen=True):
    """How many profiles each segment would gain and lose."""

    gained: Counter[str]
    lost: Counter[str]


class Reach(msgspec.Struct, frozen=True):
    """How the members of a segment can be reached."""

    looked_at: int
    """Members that were looked at: the first REACH_MAX."""
    identifiers: Mapping[str, int]
    """How many of them have an identifier of each type."""
    consent: Mapping[str, int]
    """How many have granted each purpose."""


class Asking:
    """Answers about segments. Any thread."""

    def __init__(
        self,
        store: Store,
        rules: Rules,
        catalogues: Catalogues,
        now_ms: Callable[[], int],
        settle: Callable[[], bool] = lambda: True,
    ) -> None:
        """`settle` catches up with what waits, where that is this process's to do; False if more is left."""
        self._store = store
        self._evaluator = Evaluator(store, rules)
        self._catalogues = catalogues
        self._now_ms = now_ms
        self.settle = settle

    def catalogue(self) -> Catalogue:
        """What is in force."""
        return self._catalogues.now()

    def standing(self, profile_id: Node) -> Standing:
        """The segments of a profile at this moment."""
        found = self._evaluator.current([profile_id], self.catalogue(), self._now_ms())
        return found.get(profile_id, Standing(profile_id=profile_id))

    def moves(self, changes: Iterable[PersonChange]) -> Moves:
        """What changes of people would do to segments, if they came to pass now."""
        catalogue, now_ms = self.catalogue(), self._now_ms()
        moves = Moves(Counter(), Counter())
        if not catalogue:
            return moves
        for change in changes:
            # Both sides have the same members: they are read once.
            members = {n for side in (*change.before, *change.after) for n in side.members}
            named = self._store.lookups.named(members)
            supposed = self._evaluator.supposed
            before = _together(supposed(change.before, catalogue, now_ms, named))
            after = _together(supposed(change.after, catalogue, now_ms, named))
            moves.gained.update(after - before)
            moves.lost.update(before - after)
        return moves

    def statuses(self, ids: Sequence[str]) -> list[Status]:
        """How segments stand."""
        counts = self._store.memberships.count(ids)
        return [Status(key, *counts[key], self._last_day(key)) for key in ids]

    def _last_day(self, segment: str) -> Flows:
        now_ms = self._now_ms()
        whole = Flows(now_ms - DAY_MS)
        for flow in self._store.memberships.history(segment, now_ms - DAY_MS, now_ms + 1, DAY_MS):
            whole.add(flow)
        return whole

    def history(self, segment: str, days: int, *, hourly: bool = False) -> list[Flows]:
        """Who entered and left, by day (UTC) or hour, oldest first; spans without any are left out."""
        every_ms = HOUR_MS if hourly else DAY_MS
        now_ms = self._now_ms()
        since_ms = (now_ms - days * DAY_MS) // every_ms * every_ms
        return self._flows(segment, since_ms, now_ms + 1, every_ms)

    def _flows(self, segment: str, since_ms: int, until_ms: int, every_ms: int) -> list[Flows]:
        spans: dict[int, Flows] = {}
        for flow in self._store.memberships.history(segment, since_ms, until_ms, every_ms):
            spans.setdefault(flow.from_ms, Flows(flow.from_ms)).add(flow)
        return [spans[start] for start in sorted(spans)]

    def members(
        self, segment: str, after: Node | None = None, most: int = MEMBERS_AT_ONCE
    ) -> Iterator[Sequence[tuple[Node, int]]]:
        """`(profile id, since_ms)` of everybody in a segment, in batches, in the store's order."""
        while page := self._store.memberships.members(segment, after, most):
            yield page
            after = page[-1][0]

    def reach(self, segment: str, type_names: Mapping[int, str]) -> Reach:
        """How members can be reached, by identifier type and by purpose that they consent to."""
        looked_at, types, consent = 0, Counter[str](), Counter[str]()
        for page in self.members(segment):
            for standing in self._store.memberships.get(node for node, _ in page).values():
                types.update(types_of(standing.reach, type_names))
                consent.update(p for p, granted in standing.consent.items() if granted)
            looked_at += len(page)
            if looked_at >= REACH_MAX:
                break
        return Reach(looked_at, types, consent)

    def overlap(self, one: str, other: str, each_page: Callable[[], None] = lambda: None) -> int:
        """How many are in both; `each_page` is called now and then, and may raise."""
        counts = self._store.memberships.count([one, other])
        smaller, larger = sorted((one, other), key=lambda key: sum(counts[key]))
        both = 0
        for page in self.members(smaller):
            each_page()
            standings = self._store.memberships.get(node for node, _ in page)
            both += sum(larger in each.segments for each in standings.values())
        return both

    def filled(self) -> Mapping[str, float]:
        """The share of everybody that was looked at since each segment took its present form."""
        held = self._store.backfills.get()
        shares = {}
        for key, defined in self.catalogue().defined.items():
            begun = held is not None and held.revision >= defined.revision
            shares[key] = share_of(held) if held is not None and begun else 0.0
        return shares


def segments_of(store: Store, catalogue: Catalogue, found: Found) -> Collection[str]:
    """The segments of a profile that was looked up, as stored: a moment behind the clock at most.

    Of a device's owner those that are sensitive are left out: somebody else may be sitting there.
    """
    standing = store.memberships.get([found.profile.id]).get(found.profile.id)
    held = standing.segments.keys() if standing else frozenset()
    return held - catalogue.sensitive if found.answered_by is Answer.DEVICE_OWNER else held


def _together(people: Mapping[Node, frozenset[str]]) -> Counter[str]:
    """How many of some people are in each segment."""
    return Counter(key for segments in people.values() for key in segments)

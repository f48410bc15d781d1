"""How large a segment is, before it is saved or after: everybody, or a random sample with its interval."""

import math
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from identity.nodes import NODE_BYTES, Node, type_code
from identity.rules import Rules
from ingest.segments.collecting import bring_up_to_date
from ingest.segments.evaluating import Evaluator, profile_of
from profiles.part import decode_lean
from profiles.segments.catalogue import Catalogue
from profiles.segments.tree import Segment
from storage.gathering import Gathered, Gatherer, people_of
from storage.ports import Store

EVERYBODY_MAX: Final = 20_000
"""Leaves up to which everybody is looked at: some three seconds."""
SAMPLE: Final = 8_000
"""Leaves of a sample: a segment of 10 % is known to within 7 % of its size."""
CHUNK: Final = 500
EXAMPLES_MAX: Final = 20
Z: Final = 1.96
"""Standard deviations of a 95 % interval."""


class Size(msgspec.Struct, frozen=True):
    """How many profiles are in a segment."""

    people: int
    devices: int
    """Devices whose activity is nobody's."""
    low: int
    high: int
    """People and devices together, with 95 % confidence; both are the number itself if it is exact."""
    exact: bool


class Preview(msgspec.Struct, frozen=True):
    """What a segment would be now. Nothing is written."""

    size: Size
    looked_at: int
    """Identifiers with activity that were looked at."""
    of: int
    """How many there are; about, where counting them would take long."""
    examples: Sequence[Node]
    """Profile ids of some members."""
    identifiers: Mapping[str, int]
    """How many members have an identifier of each type, about, if the size is not exact."""
    consent: Mapping[str, int]
    """How many members have granted each purpose."""
    overlap: Mapping[str, int]
    """How many members are in each other segment."""
    estimated: int
    """Members of whom more happened than is kept one by one: they were counted by days."""


class _Seen(msgspec.Struct):
    """What was seen so far."""

    people: int = 0
    devices: int = 0
    estimated: int = 0
    examples: list[Node] = []
    identifiers: Counter[str] = msgspec.field(default_factory=Counter)
    consent: Counter[str] = msgspec.field(default_factory=Counter)
    overlap: Counter[str] = msgspec.field(default_factory=Counter)


class Sampler:
    """Looks at everybody, or at some, without writing anything."""

    def __init__(
        self,
        store: Store,
        rules: Rules,
        type_names: Mapping[int, str],
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """`type_names` are the names of identifier types by the code in their nodes."""
        self._store = store
        self._random = random
        self._gatherer = Gatherer(store, rules, decode_lean)
        self._evaluator = Evaluator(store, rules)
        self._type_names = type_names

    def preview(
        self,
        catalogue: Catalogue,
        segment: Segment,
        now_ms: int,
        *,
        sample: int | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Preview:
        """What `segment` would be, saved or not; `sample` leaves are looked at, 0 for all."""
        drafted = catalogue.after(catalogue.revision + 1, [segment])
        total, off = self._store.parts.about(EVERYBODY_MAX + 1)
        few = total <= (EVERYBODY_MAX if sample is None else sample)
        everybody = sample == 0 or few
        most = total if everybody else sample or SAMPLE
        seen, looked_at = _Seen(), 0
        for leaves in self._everybody() if everybody else self._some(most):
            looked_at += len(leaves)
            self._look(leaves, drafted, segment.id, now_ms, seen)
            progress(looked_at, max(looked_at, most))
        if everybody:
            total, off = looked_at, 0.0
        return _preview(seen, looked_at, total, off)

    def _everybody(self) -> Iterator[list[Node]]:
        after = None
        while leaves := self._store.parts.leaves(after, CHUNK):
            yield leaves
            after = leaves[-1]

    def _some(self, most: int) -> Iterator[list[Node]]:
        """Leaves are hashes, so those that follow a random one are random too; the first follow the last."""
        after: Node | None = Node(self._random(NODE_BYTES))
        left = most
        while left > 0:
            leaves = self._store.parts.leaves(after, min(CHUNK, left))
            if not leaves and after is None:
                return
            if leaves:
                yield leaves
            after = leaves[-1] if leaves else None
            left -= len(leaves)

    def _look(
        self, leaves: Sequence[Node], catalogue: Catalogue, key: str, now_ms: int, seen: _Seen
    ) -> None:
        own = people_of(self._store, leaves)
        named = self._store.lookups.named(set(own.values()))
        wanted = [profile_of(each, named[each]) for each in named]
        gathered = {each.resolved.profile_id: each for each in self._gatherer.gather(wanted, named)}
        # A profile of several leaves counts at one of them, so that each counts once.
        mine = [
            gathered[own[leaf]] for leaf in leaves if _counted_at(gathered.get(own[leaf])) == leaf
        ]
        parts = {leaf: part for each in mine for leaf, part in each.active_parts().items()}
        bring_up_to_date(self._store, catalogue, parts)
        members: list[Gathered] = []
        asked = self._evaluator.subjects(mine, catalogue)
        for each, (subject, _) in zip(mine, asked, strict=True):
            verdict = subject and catalogue.judges.verdict(key, subject, now_ms)
            if subject and verdict and verdict.member:
                members.append(each)
                seen.estimated += not verdict.exact
                seen.consent.update(p for p, granted in subject.consent.items() if granted)
        self._count(members, key, seen)

    def _count(self, members: Sequence[Gathered], key: str, seen: _Seen) -> None:
        reach = self._evaluator.reach(members)
        standings = self._store.memberships.get(each.resolved.profile_id for each in members)
        for each in members:
            profile_id = each.resolved.profile_id
            seen.people += not each.device_profile
            seen.devices += each.device_profile
            if len(seen.examples) < EXAMPLES_MAX:
                seen.examples.append(profile_id)
            seen.identifiers.update(types_of(reach[profile_id], self._type_names))
            if profile_id in standings:
                seen.overlap.update(name for name in standings[profile_id].segments if name != key)


def types_of(reach: Sequence[Node], type_names: Mapping[int, str]) -> set[str]:
    """The types of identifiers that stand in `reach`."""
    return {type_names.get(type_code(node), "other") for node in reach}


def _counted_at(gathered: Gathered | None) -> Node | None:
    """The leaf of a profile that stands for it, of those at which something happened.

    The first by its last bytes: by the order of leaves, a sample of some would have too many or too few.
    """
    if gathered is None:
        return None
    if gathered.device_profile:
        return gathered.resolved.profile_id
    leaves = (leaf for leaf, part in gathered.parts.items() if part.offset >= 0)
    return min(leaves, key=lambda leaf: leaf[::-1], default=None)


def _preview(seen: _Seen, looked_at: int, total: int, off: float) -> Preview:
    exact = looked_at >= total
    factor = 1.0 if exact or not looked_at else total / looked_at
    low, high = interval(seen.people + seen.devices, looked_at, total, off)
    return Preview(
        Size(round(seen.people * factor), round(seen.devices * factor), low, high, exact),
        looked_at,
        total,
        seen.examples,
        {name: round(n * factor) for name, n in sorted(seen.identifiers.items())},
        {name: round(n * factor) for name, n in sorted(seen.consent.items())},
        {name: round(n * factor) for name, n in seen.overlap.most_common()},
        round(seen.estimated * factor),
    )


def interval(found: int, looked_at: int, total: int, off: float = 0.0) -> tuple[int, int]:
    """Between how many of `total` there are, with 95 % confidence, if `found` of `looked_at` are.

    `total` may be off by a share of it, of which the whole is added: a little too wide is no lie.

    Wilson's score interval (Wilson, E. B., 1927, JASA 22: 209-212).
    """
    if looked_at >= total or not looked_at:
        return found, found
    share = found / looked_at
    middle = share + Z * Z / (2 * looked_at)
    spread = Z * math.sqrt(share * (1 - share) / looked_at + Z * Z / (4 * looked_at**2))
    scale = total / (1 + Z * Z / looked_at)
    low, high = (middle - spread) * scale * (1 - off), (middle + spread) * scale * (1 + off)
    return max(found, math.floor(low)), math.ceil(high)

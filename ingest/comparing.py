"""Who is who by all evidence, beside who is who as it is stored: what differs (DESIGN §9)."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from identity.changes import Kind, PersonChange, changes_of
from identity.incremental import Change
from identity.nodes import Node
from identity.resolve import HUB, Refusal, fanout_max_of
from identity.rules import Rules
from ingest.identify import people_after
from ingest.numbering import (
    NOBODY,
    Bools,
    Ints,
    Nodes,
    Numbers,
    Progress,
    Some,
    clusters_among,
    clusters_of,
    joined,
    number_all,
    read_evidence,
    silent,
)
from ingest.owning import Otherwise, look, told_otherwise
from ingest.resolving import Resolved, resolve_all
from storage.chunks import chunks
from storage.columns import ClusterColumns, columns_of
from storage.ports import Store

NODES_EACH: Final = 2_000
"""Identifiers, with everybody whom they concern, that are compared and written together."""
LARGEST: Final = 5
EXAMPLES: Final = 5
_REFUSALS_MAX: Final = 1 << 40


class Difference(NamedTuple):
    """Something stored that does not follow from the evidence, or something missing that does."""

    what: str
    """`person`, `refusal`, `hub` or `device`."""
    node: Node
    """The profile id, one end, the hub, or the device."""
    detail: str


class Side(NamedTuple):
    """People of one side of a comparison, in numbers."""

    people: int
    """Of two identifiers or more."""
    largest: Sequence[tuple[Node, int]]
    """Profile ids and sizes of the largest of them, the largest first."""
    refusals: dict[str, int]
    """Refused links, hubs and blocked values by rule."""


class Followers(Protocol):
    """Who hear of changes of people."""

    def announce(self, changes: Sequence[PersonChange]) -> None:
        """These changes are about to be written."""

    def publish(self, changes: Sequence[PersonChange]) -> None:
        """They are written."""


class History:
    """`Followers` who read the store's history: where one transaction holds everything that is written."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def announce(self, changes: Sequence[PersonChange]) -> None:
        """They hear once it is written."""

    def publish(self, changes: Sequence[PersonChange]) -> None:
        """They hear."""
        self._store.changes.published(changes)


class Loaded(msgspec.Struct):
    """What was written, or would be."""

    identifiers: int = 0
    changes: Counter[Kind] = msgspec.field(default_factory=Counter)
    """How many there are of each kind."""
    examples: dict[Kind, list[PersonChange]] = {}
    """The first of each kind."""

    def add(self, identifiers: int, changes: Sequence[PersonChange]) -> None:
        """Some more."""
        self.identifiers += identifiers
        for each in changes:
            self.changes[each.kind] += 1
            shown = self.examples.setdefault(each.kind, [])
            if len(shown) < EXAMPLES:
                shown.append(each)


class Live(NamedTuple):
    """People as they are stored: `member` belongs to `profile`, at the same place."""

    member: Numbers
    profile: Numbers
    refusals: Sequence[Refusal]


class Comparison:
    """All evidence resolved, beside what is stored."""

    def __init__(
        self,
        resolved: Resolved,
        live: Live,
        links: int,
        rules: Rules,
        devices: Sequence[Otherwise] = (),
    ) -> None:
        self._devices = devices
        self._resolved = resolved
        self._live = live
        self._rules = rules
        self.links = links
        """Links and must-links of events that were read."""
        self._nodes = resolved.nodes
        held = {each.a: each for each in live.refusals if each.rule == HUB}
        hubs = self._nodes.at(resolved.hubs)
        self._hubs = [
            held.get(hub) or _new_hub(hub, since_ms, rules)
            for hub, since_ms in zip(hubs, resolved.hub_since_ms.tolist(), strict=True)
        ]
        self._live_profile = np.full(len(self._nodes), NOBODY, np.int32)
        self._live_profile[live.member] = live.profile
        count = np.bincount(live.member, minlength=len(self._nodes))
        self._differs: Bools = (self._live_profile != resolved.profile) | (count > 1)
        self._missing = {*resolved.refusals, *self._hubs}.difference(live.refusals)
        self._extra = set(live.refusals).difference(resolved.refusals, self._hubs)

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self._missing or self._extra or self._differs.any() or self._devices)

    def before(self) -> Side:
        """What is stored."""
        member, profile = self._live.member, self._live.profile
        return _side(self._nodes, member, profile, self._live.refusals)

    def after(self) -> Side:
        """What follows from the evidence."""
        member = np.flatnonzero(self._resolved.profile != NOBODY)
        refusals = [*self._resolved.refusals, *self._hubs]
        return _side(self._nodes, member, self._resolved.profile[member], refusals)

    def differences(self) -> Iterator[Difference]:
        """Everything that differs: people first, then refusals and hubs, then whose devices are."""
        sides = (self._live_profile, self._resolved.profile)
        changed = np.unique(np.concatenate([side[self._differs] for side in sides]))
        for profiles, where in (
            (self._live.profile, "live only"),
            (self._resolved.profile, "missing"),
        ):
            some = np.intersect1d(changed[changed != NOBODY], profiles)
            yield from (Difference("person", node, where) for node in self._nodes.at(some))
        for refusals, where in ((self._extra, "live only"), (self._missing, "missing")):
            for each in sorted(refusals, key=lambda refusal: (refusal.a, refusal.b)):
                if each.rule == HUB:
                    yield Difference("hub", each.a, where)
                else:
                    yield Difference("refusal", each.a, f"{where}: {each.rule}")
        for device, told, _ in self._devices:
            yield Difference("device", device, "told otherwise" if told else "missing")

    def preview(self, time_ms: int) -> Loaded:
        """What making the stored people equal to the evidence would do."""
        loaded = Loaded()
        for batch in self.changes():
            loaded.add(len(batch.change.resolved), batch.changes(time_ms))
        for device in self._devices:
            if change := device.change(time_ms):
                loaded.add(0, [change])
        return loaded

    def load(
        self, store: Store, time_ms: int, followers: Followers, progress: Progress = silent
    ) -> Loaded:
        """Make the people of `store` equal to the evidence, and tell followers what changed.

        Readers find each person whole, as before or as after. If it ends half way, compare and load again.
        """
        loaded = Loaded()
        for batch in self.changes():
            change = batch.change
            people = batch.changes(time_ms)
            owned = look(store, self._rules, (), people, people_after(change))
            changes = [*people, *owned.changes]
            followers.announce(changes)
            store.people.write(change.resolved, change.clusters, change.refusals)
            store.owners.put(owned.owners)
            followers.publish(changes)
            loaded.add(len(change.resolved), changes)
            progress("identifiers written", loaded.identifiers, 0)
        # Those of whom nobody changed; the others are told of by now.
        for some in chunks((each.device for each in self._devices), NODES_EACH):
            owned = look(store, self._rules, (), (), {}, devices=some)
            followers.announce(owned.changes)
            store.owners.put(owned.owners)
            followers.publish(owned.changes)
            loaded.add(0, owned.changes)
        return loaded

    def changes(self, *, everybody: bool = False) -> Iterator["Batch"]:
        """What makes the stored people equal to the evidence, some thousand identifiers at a time.

        `everybody`: those too of whom nothing differs.
        """
        unit = self._units()
        wanted = np.zeros(int(unit.max(initial=-1)) + 1, bool)
        if everybody:
            wanted[unit[~self._nodes.devices]] = True
        wanted[unit[self._differs]] = True
        ends = [refusal.a for refusal in (*self._missing, *self._extra)]
        wanted[unit[self._nodes.find(ends)]] = True
        numbers = np.flatnonzero(wanted[unit])
        numbers = numbers[np.argsort(unit[numbers], kind="stable")]
        _, start, size = np.unique(unit[numbers], return_index=True, return_counts=True)
        batch = np.repeat(start // NODES_EACH, size)
        cuts = np.flatnonzero(batch[1:] != batch[:-1]) + 1
        batch_of = np.full(len(self._nodes), NOBODY, np.int64)
        some = np.split(numbers, cuts) if len(numbers) else []
        for place, each in enumerate(some):
            batch_of[each] = place
        live = self._live_by(batch_of, len(some))
        before = self._by(batch_of, self._live.refusals)
        after = self._by(batch_of, [*self._hubs, *self._resolved.refusals])
        for place, each in enumerate(some):
            yield self._batch(each, live[place], before[place], after[place])

    def _units(self) -> Numbers:
        """Which nodes must be written together: stored or right, they share a person or a refusal."""
        refusals = [*self._live.refusals, *self._resolved.refusals]
        mine = np.flatnonzero(self._resolved.profile != NOBODY)
        left: list[Some] = [
            self._live.member,
            mine,
            self._nodes.find([each.a for each in refusals]),
        ]
        right: list[Some] = [
            self._live.profile,
            self._resolved.profile[mine],
            self._nodes.find([each.b for each in refusals]),
        ]
        ends = (np.concatenate(left), np.concatenate(right))
        size = len(self._nodes)
        graph = coo_array((np.ones(len(ends[0]), bool), ends), (size, size))
        _, unit = connected_components(graph.tocsr(), directed=False)
        found: Numbers = unit
        return found

    def _live_by(self, batch_of: Ints, count: int) -> list[Ints]:
        """Places of what is stored of each batch."""
        batch = batch_of[self._live.member]
        places = np.flatnonzero(batch != NOBODY)
        places = places[np.argsort(batch[places], kind="stable")]
        return np.split(places, np.searchsorted(batch[places], np.arange(1, count)))

    def _by(self, batch_of: Ints, refusals: Sequence[Refusal]) -> dict[int, list[Refusal]]:
        """Refusals of each batch."""
        found: defaultdict[int, list[Refusal]] = defaultdict(list)
        batches = batch_of[self._nodes.find([each.a for each in refusals])]
        for batch, refusal in zip(batches.tolist(), refusals, strict=True):
            found[batch].append(refusal)
        return found

    def _batch(
        self, numbers: Ints, live: Ints, before: Sequence[Refusal], after: Sequence[Refusal]
    ) -> "Batch":
        clusters = list(clusters_among(self._nodes, self._resolved.profile, numbers))
        alone = numbers[self._resolved.profile[numbers] == NOBODY]
        change = Change(
            resolved=frozenset(self._nodes.at(numbers)),
            clusters=clusters,
            alone=self._nodes.at(alone),
            refusals=after,
            before=list(
                clusters_of(self._nodes, self._live.member[live], self._live.profile[live])
            ),
        )
        return Batch(change, before)


class Batch(NamedTuple):
    """What to write of some people, whole."""

    change: Change
    refused_before: Sequence[Refusal]

    def changes(self, time_ms: int) -> list[PersonChange]:
        """What followers hear of it."""
        return changes_of(self.change, time_ms, (), self.refused_before)


def compare(
    store: Store,
    rules: Rules,
    *,
    processes: int | None = None,
    progress: Progress = silent,
    devices: bool = False,
) -> Comparison:
    """Resolve everything that is stored, and read who is who beside it: of one moment, where the store can.

    So many `processes` resolve: by default one a core. With `devices`, whose they are is compared as well.
    """
    columns = columns_of(store)
    with columns.snapshot():
        read = read_evidence(store, columns, progress)
        clusters = list(_counted(columns.clusters(), progress))
        refusals = store.people.refusals(_REFUSALS_MAX)
    statements = read.statements
    nodes, (left, right, profiles, members, _) = number_all(
        [
            *read.ends(),
            b"".join(some.profiles for some in clusters),
            b"".join(some.members for some in clusters),
            b"".join(end for each in refusals for end in (each.a, each.b)),
        ]
    )
    live = Live(members, np.repeat(profiles, joined(some.sizes for some in clusters)), refusals)
    told = read.told(left, right)
    del read, clusters
    resolved = resolve_all(nodes, told, rules, processes=processes, progress=progress)

    def profiles_of(some: Sequence[Node]) -> dict[Node, Node]:
        numbers = nodes.find(some)
        profile = np.where(numbers == NOBODY, NOBODY, resolved.profile[numbers])
        known = np.flatnonzero(profile != NOBODY)
        return dict(zip((some[at] for at in known.tolist()), nodes.at(profile[known]), strict=True))

    otherwise = list(told_otherwise(store, rules, profiles_of, progress)) if devices else []
    return Comparison(resolved, live, statements, rules, otherwise)


def _counted(pieces: Iterable[ClusterColumns], progress: Progress) -> Iterator[ClusterColumns]:
    done = 0
    for some in pieces:
        done += len(some.sizes)
        progress("people read", done, 0)
        yield some


def _side(nodes: Nodes, member: Some, profile: Some, refusals: Iterable[Refusal]) -> Side:
    sizes = np.bincount(profile, minlength=len(nodes))
    largest = np.argsort(-sizes, kind="stable")[:LARGEST]
    largest = largest[sizes[largest] > 0]
    rules = Counter(each.rule for each in refusals)
    return Side(
        people=int(np.count_nonzero(sizes)),
        largest=list(zip(nodes.at(largest), sizes[largest].tolist(), strict=True)),
        refusals=dict(rules.most_common()),
    )


def _new_hub(hub: Node, since_ms: int, rules: Rules) -> Refusal:
    most = fanout_max_of(hub, rules)
    return Refusal(hub, hub, HUB, f"linked to more than {most} others", since_ms)

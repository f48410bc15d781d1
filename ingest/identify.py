"""The identify stage: new evidence becomes people (DESIGN §3.4). One writer at a time."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from identity.changes import Cause, Kind, PersonChange, changes_of
from identity.decisions import Decision
from identity.evidence import KeepApart, Link, Match, MustLink
from identity.incremental import Around, Change, decide
from identity.nodes import Node
from identity.owning import Heard, Ownership
from identity.resolve import Cluster, Refusal
from identity.rules import Rules
from ingest.owning import look
from storage.ports import Store

NOBODY: Final = Change(frozenset(), (), (), ())
"""Nobody changed."""


class StoredEvidence:
    """`identity.incremental.Known` over a store, for one decision: decisions and refusals are read once."""

    def __init__(self, store: Store, proposed: Sequence[Decision] = ()) -> None:
        """`proposed` decisions are taken for made, though they are not stored."""
        self._store = store
        self._proposed = {decision.id: decision for decision in proposed}
        self._decisions: dict[Node, list[Decision]] = {}
        self._refusals: dict[Node, list[Refusal]] = {}
        self._people: dict[Node, Cluster] = {}
        """Who was met, where nothing is written."""

    def around(self, limits: Mapping[Node, int]) -> Around:
        """What the store has, with the must-links of operators; refusals are kept for later."""
        met = {self._people[node].members for node in limits if node in self._people}
        around, decisions = self._store.lookups.around(limits, met)
        if self._proposed:
            for cluster in {*around.clusters.values()}:
                self._people |= dict.fromkeys(cluster.members, cluster)
        self._keep(limits, decisions)
        self._refusals |= {node: [] for node in limits}
        for refusal in around.refusals:
            for node in {refusal.a, refusal.b}.intersection(limits):
                self._refusals[node].append(refusal)
        told = [must for decision in self._about(limits) for must in decision.must_links()]
        mine = [must for must in told if must.a in limits or must.b in limits]
        return msgspec.structs.replace(around, must_links=[*around.must_links, *mine])

    def links_of(self, nodes: Sequence[Node], limit_each: int | None = None) -> list[Link]:
        """Links, as the store has them."""
        return self._store.evidence.links_of(nodes, limit_each)

    def keep_apart_of(self, nodes: Collection[Node]) -> list[KeepApart]:
        """Splits that stand."""
        return [apart for decision in self._about(nodes) for apart in decision.keep_apart()]

    def blocked(self) -> Collection[Node]:
        """What stands blocked."""
        stored = self._store.decisions.blocked()
        proposed = self._proposed.values()
        changed = {node for decision in proposed for node in decision.nodes}
        # Who has blocked what a proposed decision names need only be read if anybody has.
        said = proposed if stored.isdisjoint(changed) else self._about(changed)
        return stored.difference(changed).union(*(decision.blocked() for decision in said))

    def clusters_of(self, nodes: Iterable[Node]) -> dict[Node, Cluster]:
        """People, as they are stored."""
        return self._store.people.clusters_of(nodes)

    def refusals_of(self, nodes: Iterable[Node]) -> list[Refusal]:
        """Refusals, as they were stored when they were first read."""
        wanted = set(nodes)
        unread = sorted(wanted.difference(self._refusals))
        found = {each for node in wanted.difference(unread) for each in self._refusals[node]}
        return [*found.union(self._store.people.refusals_of(unread) if unread else ())]

    def _about(self, nodes: Collection[Node]) -> list[Decision]:
        unread = sorted(node for node in nodes if node not in self._decisions)
        if unread:
            self._keep(unread, self._store.decisions.of(unread))
        found = {each.id: each for node in nodes for each in self._decisions[node]}
        return [decision for _, decision in sorted(found.items())]

    def _keep(self, nodes: Iterable[Node], stored: Iterable[Decision]) -> None:
        """Remember the decisions about nodes."""
        unread = {node for node in nodes if node not in self._decisions}
        self._decisions |= {node: [] for node in unread}
        for decision in ({each.id: each for each in stored} | self._proposed).values():
            for node in decision.nodes.intersection(unread):
                self._decisions[node].append(decision)


class Statements(msgspec.Struct, array_like=True, frozen=True):
    """What is said about who is who, on its way to identify."""

    links: Sequence[Link] = ()
    must_links: Sequence[MustLink] = ()
    matches: Sequence[Match] = ()
    decisions: Sequence[Decision] = ()
    uses: Sequence[Heard] = ()
    """Uses of devices, which are stored already, that may change whose these are."""

    def __bool__(self) -> bool:
        """Whether anything is said."""
        told = self.links or self.must_links or self.matches or self.decisions
        return bool(told or self.uses)

    def causes(self) -> list[Cause]:
        """Each statement that may change people."""
        told: list[Link | MustLink | Match] = [*self.links, *self.must_links, *self.matches]
        return [
            *(Cause(each.first_event, each.first_ms, (each.a, each.b)) for each in told),
            *(Cause(each.id, decided_ms(each), each.nodes) for each in self.decisions),
        ]


class Identified(msgspec.Struct, frozen=True):
    """What statements changed."""

    change: Change
    changes: Sequence[PersonChange]


def decided_ms(decision: Decision) -> int:
    """When a decision was made, or taken back."""
    return decision.retraction.time_ms if decision.retraction else decision.time_ms


def identify(
    store: Store,
    said: Statements,
    rules: Rules,
    *,
    again: bool = False,
    believed: Mapping[Node, Cluster] = MappingProxyType({}),
    believed_owners: Mapping[Node, Ownership] = MappingProxyType({}),
    announce: Callable[[Sequence[PersonChange]], None] = lambda changes: None,
    shared: bool = True,
) -> Identified | None:
    """Store evidence and bring people up to date with it; None if it said nothing new.

    `announce` hears of the changes before they are written, as seen from what is `believed` of people and of
    owners of devices where that is not what is stored. `again` decides all of it as if it were new and writes
    every row of its components: for evidence that another writer may have half decided. `shared`: others may
    record uses of devices meanwhile.
    """
    causes = said.causes()
    links = store.evidence.merge_links(said.links)
    must_links = store.evidence.merge_must_links(said.must_links)
    matches = store.evidence.merge_matches(said.matches)
    decisions = store.decisions.put(said.decisions)
    touched = {node for match in matches for node in (match.a, match.b)}
    touched.update(*(decision.nodes for decision in decisions))
    if again:
        touched.update(*(cause.nodes for cause in causes))
    change, changes = NOBODY, list[PersonChange]()
    if links or must_links or touched:
        known = StoredEvidence(store)
        change = decide(links, must_links, known, rules, touched=touched)
        changes = changes_of(
            _as_believed(change, believed),
            max(cause.time_ms for cause in causes),
            causes,
            known.refusals_of(change.resolved) if change.refusals else (),
        )
    elif not (said.uses or believed_owners):
        return None
    found = look(
        store, rules, said.uses, changes, people_after(change), believed=believed_owners,
        again=change.resolved if again else (), shared=shared,
    )  # fmt: skip
    announce([*changes, *found.changes])
    if change.resolved:
        store.people.write(change.resolved, change.clusters, change.refusals)
    store.owners.put(found.owners)
    return Identified(change, [*changes, *found.changes])


def people_after(change: Change) -> dict[Node, Cluster]:
    """Everybody whom a change is about, as they are once it is written."""
    alone = {node: Cluster(node, frozenset({node})) for node in change.resolved}
    return alone | {node: cluster for cluster in change.clusters for node in cluster.members}


def identify_here(store: Store, said: Statements, rules: Rules) -> Sequence[PersonChange]:
    """`identify` where nothing can come between what it writes: changes are published at once."""
    found = identify(store, said, rules, shared=False)
    changes = found.changes if found else ()
    store.changes.published(changes)
    if said.decisions:
        store.decisions.put(applied(said.decisions, changes))
    return changes


def applied(decisions: Iterable[Decision], changes: Sequence[PersonChange]) -> list[Decision]:
    """Decisions that people are up to date with, and the changes of people that each made."""
    marked = []
    for decision in decisions:
        made = tuple(
            change.id
            for change in changes
            if decision.id in change.because and change.kind is not Kind.OWNERSHIP
        )
        if decision.retraction is None:
            marked.append(msgspec.structs.replace(decision, applied=made))
        else:
            retraction = msgspec.structs.replace(decision.retraction, applied=made)
            marked.append(msgspec.structs.replace(decision, retraction=retraction))
    return marked


def _as_believed(change: Change, believed: Mapping[Node, Cluster]) -> Change:
    """A change from what followers believe, where that is not what is stored."""
    if not believed:
        return change
    before = [each for each in change.before if believed.keys().isdisjoint(each.members)]
    before += {each for each in believed.values() if len(each.members) > 1}
    return msgspec.structs.replace(change, before=before)


def decide_again(store: Store, nodes: Iterable[Node], rules: Rules) -> Change:
    """Write the people of `nodes` and all their components anew, from the evidence that is stored."""
    change = decide([], [], StoredEvidence(store), rules, touched=nodes)
    store.people.write(change.resolved, change.clusters, change.refusals)
    return change

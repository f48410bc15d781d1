"""What new evidence changes: people just unite, or their component is resolved again (DESIGN §3.2)."""

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from itertools import chain
from typing import Protocol

import msgspec

from identity.evidence import KeepApart, Link, Match, MustLink
from identity.nodes import Node, names_device
from identity.resolve import (
    HUB,
    Cluster,
    Evidence,
    Refusal,
    best_of,
    blocked_refusal,
    fanout_max_of,
    first_links,
    is_hub,
    may_be_one,
    profile_id_of,
    resolve_among,
)
from identity.rules import Rules


class Around(msgspec.Struct, frozen=True):
    """All that names any of some nodes."""

    links: Sequence[Link]
    """Refused ones too."""
    must_links: Sequence[MustLink]
    matches: Sequence[Match]
    clusters: Mapping[Node, Cluster]
    """The cluster of each node that is in one."""
    refusals: Sequence[Refusal]
    """Refused links, hubs and blocked values."""


class Known(Protocol):
    """What is stored: evidence, which holds the new links already, and people as they were before.

    What an operator retracted is not in it. A batch asks for many nodes at once.
    """

    def around(self, limits: Mapping[Node, int]) -> Around:
        """All that names any of the nodes, operators' must-links too; so many links of each at least."""

    def links_of(self, nodes: Sequence[Node], limit_each: int | None = None) -> list[Link]:
        """Links that name any of `nodes`, refused ones too; `limit_each` of each node at least."""

    def keep_apart_of(self, nodes: Collection[Node]) -> list[KeepApart]:
        """The decisions that keep any of `nodes` apart from others."""

    def blocked(self) -> Collection[Node]:
        """Nodes of blocked values: what names them joins nobody."""

    def clusters_of(self, nodes: Iterable[Node]) -> dict[Node, Cluster]:
        """The cluster of each node that is in one."""

    def refusals_of(self, nodes: Iterable[Node]) -> list[Refusal]:
        """Refused links, hubs and blocked values that name any of `nodes`."""


class Change(msgspec.Struct, frozen=True):
    """What to write: `resolved` is everybody whose clusters and refusals are replaced."""

    resolved: frozenset[Node]
    clusters: Sequence[Cluster]
    alone: Sequence[Node]
    """Members of `resolved` that are in no cluster now."""
    refusals: Sequence[Refusal]
    """Of links among `resolved`, and one for each hub and blocked value among them."""
    before: Sequence[Cluster] = ()
    """The clusters that `clusters` and `alone` replace; one that is in both did not change."""


def decide(
    links: Sequence[Link],
    must_links: Sequence[MustLink],
    known: Known,
    rules: Rules,
    *,
    touched: Iterable[Node] = (),
) -> Change:
    """What new or changed evidence changes. Equals `resolve` over everything, for those it touches.

    `touched` names what other news is about: both ends of new matches, of links that were erased and of
    must-links that were retracted, the members of decisions made or retracted, values blocked or no longer.
    """
    reader = _Reader(known, rules)
    sure, start = _unite(links, must_links, reader)
    # A link to a device joins nobody, but it counts: for a hub, and as what names a blocked value.
    ends = chain(((link.a, link.b) for link in links), ((must.a, must.b) for must in must_links))
    told = {node for pair in ends if any(map(names_device, pair)) for node in pair}
    about = {node for node in touched if not names_device(node)}
    start |= about.union(node for node in told if not names_device(node))
    if not start:
        return sure
    component = _Component(reader, about)
    component.grow(start)
    if not component.nodes.isdisjoint(sure.resolved):
        component.grow(set(sure.resolved))
        sure = _join_nobody()
    return _both(sure, component.resolve())


def _join_nobody() -> Change:
    return Change(frozenset(), (), (), ())


def _both(one: Change, other: Change) -> Change:
    return Change(
        one.resolved | other.resolved,
        sorted((*one.clusters, *other.clusters), key=lambda cluster: cluster.profile_id),
        sorted((*one.alone, *other.alone)),
        [*one.refusals, *other.refusals],
        sorted((*one.before, *other.before), key=lambda cluster: cluster.profile_id),
    )


class _Reader:
    """What is known, as both ways of deciding read it."""

    def __init__(self, known: Known, rules: Rules) -> None:
        self.known = known
        self.rules = rules
        self.blocked = frozenset(known.blocked())

    def around(self, nodes: Collection[Node]) -> Around:
        """All that names any of `nodes`; of a hub's links enough to tell that it is one."""
        return self.known.around({n: fanout_max_of(n, self.rules) + 1 for n in sorted(nodes)})

    def links_of(self, nodes: Collection[Node]) -> list[Link]:
        """All links of nodes, or of a hub enough to tell that it is one."""
        by_limit: dict[int, list[Node]] = {}
        for node in sorted(nodes):
            by_limit.setdefault(fanout_max_of(node, self.rules), []).append(node)
        links: list[Link] = []
        for fanout_max, some in by_limit.items():
            links += self.known.links_of(some, fanout_max + 1)
        return links

    def hubs_among(self, nodes: Collection[Node], links: Iterable[Link]) -> set[Node]:
        """Those of `nodes` that `links`, which hold all of theirs, show to be hubs."""
        others: dict[Node, set[Node]] = {node: set() for node in nodes if node not in self.blocked}
        for link in links:
            if link.a in others:
                others[link.a].add(link.b)
            if link.b in others:
                others[link.b].add(link.a)
        return {node for node, linked in others.items() if is_hub(node, len(linked), self.rules)}


class _Side(msgspec.Struct):
    """Clusters that new links would make one."""

    nodes: set[Node]
    ends: set[Node]
    """The ends of the new links."""
    clusters: set[Cluster]


def _unite(
    links: Sequence[Link], must_links: Sequence[MustLink], reader: _Reader
) -> tuple[Change, set[Node]]:
    """The plain case, in a few grouped reads: clusters without a refusal whose union is legal just unite.

    Then every link between them was taken or could be, in whatever order. Also returns the nodes
    of all others, which must be resolved again.
    """
    new: list[Link | MustLink] = [*links, *must_links]
    pairs = [(link.a, link.b) for link in new if not (names_device(link.a) or names_device(link.b))]
    ends = {node for pair in pairs for node in pair}
    if not ends:
        return _join_nobody(), set()
    known, rules = reader.known, reader.rules
    sides = _sides(pairs, known.clusters_of(sorted(ends)))
    refused = {
        node
        for refusal in known.refusals_of(sorted({node for side in sides for node in side.nodes}))
        for node in (refusal.a, refusal.b)
    }
    refused.update(reader.blocked)
    keep_apart = known.keep_apart_of({node for side in sides for node in side.nodes})
    plain = [
        side
        for side in sides
        if refused.isdisjoint(side.nodes) and may_be_one(side.nodes, rules, keep_apart)
    ]
    unsure = {node for side in plain for node in side.ends}
    hubs = reader.hubs_among(unsure, reader.links_of(unsure)) if unsure else set()
    plain = [side for side in plain if hubs.isdisjoint(side.ends)]
    united = _named(plain, reader)
    again = set().union(*(side.nodes for side in sides)) - {
        node for side in plain for node in side.nodes
    }
    return (
        Change(
            frozenset(node for cluster in united for node in cluster.members),
            united,
            (),
            (),
            [cluster for side in plain for cluster in side.clusters],
        ),
        again,
    )


def _sides(pairs: Iterable[tuple[Node, Node]], clusters: dict[Node, Cluster]) -> list[_Side]:
    side_of: dict[Node, _Side] = {}
    for pair in pairs:
        found = []
        for node in pair:
            side = side_of.get(node)
            if side is None:
                cluster = clusters.get(node)
                members = cluster.members if cluster else {node}
                side = _Side(set(members), set(), {cluster} if cluster else set())
                side_of.update(dict.fromkeys(members, side))
            found.append(side)
        one, other = found
        if len(one.nodes) < len(other.nodes):
            one, other = other, one
        one.ends.update(pair)
        if one is not other:
            one.nodes |= other.nodes
            one.ends |= other.ends
            one.clusters |= other.clusters
            side_of.update(dict.fromkeys(other.nodes, one))
    return list({id(side): side for side in side_of.values()}.values())


def _named(plain: Sequence[_Side], reader: _Reader) -> list[Cluster]:
    """Clusters with their profile ids; links are read only where several members could give it."""
    tied = {
        node
        for side in plain
        if len(best := best_of(side.nodes, reader.rules)) > 1
        for node in best
    }
    first: dict[Node, int] = {}
    if tied:
        told = reader.around(tied)
        first = first_links([*told.links, *told.matches], told.must_links, ())
    return [
        Cluster(profile_id_of(side.nodes, first, reader.rules), frozenset(side.nodes))
        for side in plain
    ]


class _Component:
    """The nodes that touched nodes reach over links, refused ones too, without passing through hubs."""

    def __init__(self, reader: _Reader, touched: Set[Node]) -> None:
        self._reader = reader
        self._known = reader.known
        self._touched = touched
        self.nodes: set[Node] = set()
        self.hubs: set[Node] = set()
        self._held_hubs: dict[Node, Refusal] = {}
        """Hubs that were hubs before: they bring nobody in."""
        self._named_blocked: set[Node] = set()
        self._links: dict[tuple[Node, Node], Link] = {}
        self._matches: dict[tuple[Node, Node], Match] = {}
        self._must_links: dict[tuple[Node, Node, str], MustLink] = {}
        self._before: dict[Node, Cluster] = {}

    def grow(self, start: set[Node]) -> None:
        """Read outward from `start` until nothing new is reached: a few grouped reads."""
        frontier = start - self.nodes
        while frontier:
            self.nodes |= frontier
            found = self._neighbours(frontier)
            frontier = found - self.nodes - self._closed_hubs() - self._reader.blocked
        # A hub keeps its must-links, so one that has any is resolved too, but brings nobody else in.
        self.nodes -= self._closed_hubs()

    def resolve(self) -> Change:
        """Who is who among the component's nodes."""
        resolution = resolve_among(
            Evidence(
                links=list(self._links.values()),
                must_links=list(self._must_links.values()),
                keep_apart=self._known.keep_apart_of(self.nodes),
                matches=list(self._matches.values()),
                blocked=self._reader.blocked,
            ),
            self._reader.rules,
            self.hubs,
        )
        clustered = {node for cluster in resolution.clusters for node in cluster.members}
        hubs = [
            self._held_hubs.get(hub) or self._new_hub(hub) for hub in sorted(self.hubs & self.nodes)
        ]
        blocked = [blocked_refusal(node) for node in sorted(self._named_blocked)]
        among = [refusal for refusal in resolution.refusals if refusal.a != refusal.b]
        return Change(
            resolved=frozenset(self.nodes),
            clusters=sorted(resolution.clusters, key=lambda cluster: cluster.profile_id),
            alone=sorted(self.nodes - clustered),
            refusals=[*hubs, *blocked, *among],
            before=sorted(set(self._before.values()), key=lambda cluster: cluster.profile_id),
        )

    def _new_hub(self, hub: Node) -> Refusal:
        since_ms = max(link.first_ms for link in self._links.values() if hub in (link.a, link.b))
        most = fanout_max_of(hub, self._reader.rules)
        return Refusal(hub, hub, HUB, f"linked to more than {most} others", since_ms)

    def _closed_hubs(self) -> set[Node]:
        """Hubs that nothing here is about: no must-link names them, nor did one before.

        One that was retracted may have been refused: then only the news says that it named the hub.
        """
        must_linked = {node for must in self._must_links.values() for node in (must.a, must.b)}
        return self._held_hubs.keys() - must_linked - self._before.keys() - self._touched

    def _neighbours(self, frontier: set[Node]) -> set[Node]:
        around = self._reader.around(frontier)
        blocked = frontier.intersection(self._reader.blocked)
        found = self._around_blocked(blocked, around) if blocked else set()
        people = frontier - blocked

        def names_people(each: Link | MustLink | Match) -> bool:
            return each.a in people or each.b in people

        for must in filter(names_people, around.must_links):
            self._must_links[must.a, must.b, must.first_event] = must
            found |= {must.a, must.b}
        links = list(filter(names_people, around.links))
        matches = list(filter(names_people, around.matches))
        self._links |= {(link.a, link.b): link for link in links}
        self._matches |= {(match.a, match.b): match for match in matches}
        found |= self._find_hubs(people, links, around.refusals)
        pairs: list[Link | Match] = [*links, *matches]
        for link in pairs:
            if link.a not in self.hubs and link.b not in self.hubs:
                found |= {link.a, link.b}
        # Everybody whose cluster may end, whether a link still leads there or not.
        for cluster in set(around.clusters.values()):
            self._before |= dict.fromkeys(cluster.members, cluster)
            found |= cluster.members
        return {node for node in found if not names_device(node)}

    def _around_blocked(self, blocked: set[Node], around: Around) -> set[Node]:
        """What blocked values had held together or refused; and note those that anything names."""
        named: list[Link | MustLink | Match] = [*around.links, *around.matches]
        for link in [*named, *around.must_links]:
            self._named_blocked |= blocked.intersection((link.a, link.b))
        return {end for each in _naming(blocked, around.refusals) for end in (each.a, each.b)}

    def _find_hubs(
        self, frontier: set[Node], links: Sequence[Link], refusals: Iterable[Refusal]
    ) -> set[Node]:
        """Note the hubs of `frontier`; the nodes that a new hub had held together or refused."""
        hubs = self._reader.hubs_among(frontier, links)
        if not hubs:
            return set()
        self.hubs |= hubs
        naming = _naming(hubs, refusals)
        held = {refusal.a: refusal for refusal in naming if refusal.rule == HUB}
        self._held_hubs |= {hub: held[hub] for hub in hubs & held.keys()}
        new = hubs - held.keys()
        return {end for each in _naming(new, naming) for end in (each.a, each.b)}


def _naming(nodes: Collection[Node], refusals: Iterable[Refusal]) -> list[Refusal]:
    return [each for each in refusals if each.a in nodes or each.b in nodes]

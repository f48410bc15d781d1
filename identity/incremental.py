"""What new evidence changes: the touched components are resolved again, nothing else (DESIGN §3.2)."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from identity.evidence import KeepApart, Link, MustLink
from identity.nodes import Node, type_code
from identity.resolve import (
    HUB,
    USER_ID_CODE,
    Cluster,
    Evidence,
    Refusal,
    is_hub,
    resolve_among,
)
from identity.rules import Rules


class Known(Protocol):
    """What is stored: evidence, which holds the new links already, and people as they were before."""

    def links_of(self, nodes: Sequence[Node], limit_each: int | None = None) -> list[Link]:
        """Links that name any of `nodes`, refused ones too; `limit_each` of each node at least."""

    def must_links_of(self, nodes: Sequence[Node]) -> list[MustLink]:
        """Must-links that name any of `nodes`."""

    def keep_apart(self) -> list[KeepApart]:
        """Every decision that is not retracted."""

    def clusters_of(self, nodes: Iterable[Node]) -> dict[Node, Cluster]:
        """The cluster of each node that is in one."""

    def refusals_of(self, nodes: Iterable[Node]) -> list[Refusal]:
        """Refused links, and hubs, that name any of `nodes`."""


class Change(msgspec.Struct, frozen=True):
    """What to write: `resolved` is everybody whose clusters and refusals are replaced."""

    resolved: frozenset[Node]
    clusters: Sequence[Cluster]
    alone: Sequence[Node]
    """Members of `resolved` that are in no cluster now."""
    refusals: Sequence[Refusal]
    """Of links among `resolved`, and one for each hub among them."""


def decide(
    links: Sequence[Link], must_links: Sequence[MustLink], known: Known, rules: Rules
) -> Change:
    """What new or changed evidence changes. Equals `resolve` over everything, for those it touches."""
    component = _Component(known, rules)
    component.grow({node for link in (*links, *must_links) for node in (link.a, link.b)})
    evidence = Evidence(
        links=component.links(),
        must_links=list(component.must_links.values()),
        keep_apart=known.keep_apart(),
    )
    resolution = resolve_among(evidence, rules, component.hubs)
    clustered = {node for cluster in resolution.clusters for node in cluster.members}
    newest_ms = max((link.first_ms for link in links), default=0)
    hubs = [
        component.held_hubs.get(hub)
        or Refusal(hub, hub, HUB, f"linked to more than {rules.fanout_max} others", newest_ms)
        for hub in sorted(component.hubs & component.nodes)
    ]
    return Change(
        resolved=frozenset(component.nodes),
        clusters=sorted(resolution.clusters, key=lambda cluster: cluster.profile_id),
        alone=sorted(component.nodes - clustered),
        refusals=[*hubs, *resolution.refusals],
    )


class _Component:
    """The nodes that touched nodes reach over links, refused ones too, without passing through hubs."""

    def __init__(self, known: Known, rules: Rules) -> None:
        self._known = known
        self._rules = rules
        self.nodes: set[Node] = set()
        self.hubs: set[Node] = set()
        self.held_hubs: dict[Node, Refusal] = {}
        """Hubs that were hubs before: they bring nobody in."""
        self._links: dict[tuple[Node, Node], Link] = {}
        self.must_links: dict[tuple[Node, Node], MustLink] = {}

    def links(self) -> list[Link]:
        """Links among the component's nodes."""
        return list(self._links.values())

    def grow(self, start: set[Node]) -> None:
        """Read outward from `start` until nothing new is reached: a few grouped reads."""
        frontier = start
        while frontier:
            self.nodes |= frontier
            frontier = self._neighbours(sorted(frontier)) - self.nodes - self._closed_hubs()
        # A hub keeps its must-links, so it is resolved too, but it brings nobody in.
        self.nodes -= self._closed_hubs()

    def _closed_hubs(self) -> set[Node]:
        must_linked = {node for pair in self.must_links for node in pair}
        return self.held_hubs.keys() - must_linked

    def _neighbours(self, frontier: list[Node]) -> set[Node]:
        found: set[Node] = set()
        musts = self._known.must_links_of(frontier)
        self.must_links |= {(link.a, link.b): link for link in musts}
        found.update(node for link in musts for node in (link.a, link.b))
        links = self._links_of(frontier)
        found |= self._find_hubs(frontier, links)
        for link in links:
            ends = {link.a, link.b}
            if ends & self.hubs:
                found |= ends & set(frontier)
            else:
                self._links[link.a, link.b] = link
                found |= ends
        # Everybody whose cluster may end, whether a link still leads there or not.
        for cluster in self._known.clusters_of(frontier).values():
            found |= cluster.members
        return found

    def _links_of(self, frontier: list[Node]) -> list[Link]:
        users = [node for node in frontier if type_code(node) == USER_ID_CODE]
        others = [node for node in frontier if type_code(node) != USER_ID_CODE]
        links = self._known.links_of(users) if users else []
        if others:
            links = links + self._known.links_of(others, self._rules.fanout_max + 1)
        return links

    def _find_hubs(self, frontier: list[Node], links: list[Link]) -> set[Node]:
        """Note the hubs of `frontier`; the nodes that a new hub had held together or refused."""
        others: dict[Node, set[Node]] = {node: set() for node in frontier}
        for link in links:
            for node, other in ((link.a, link.b), (link.b, link.a)):
                if node in others:
                    others[node].add(other)
        hubs = {node for node in frontier if is_hub(node, len(others[node]), self._rules)}
        if not hubs:
            return set()
        self.hubs |= hubs
        refusals = self._known.refusals_of(sorted(hubs))
        held = {refusal.a: refusal for refusal in refusals if refusal.rule == HUB}
        self.held_hubs |= {hub: held[hub] for hub in hubs & held.keys()}
        for key in [key for key in self._links if key[0] in hubs or key[1] in hubs]:
            del self._links[key]
        new = hubs - held.keys()
        return {
            node
            for refusal in refusals
            for node in (refusal.a, refusal.b)
            if {refusal.a, refusal.b} & new
        }

"""An in-memory twin of the port that `identity.incremental` reads, and a world that applies changes."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from identity.evidence import KeepApart, Link, Match, MustLink
from identity.incremental import Around, Change, decide
from identity.nodes import Node
from identity.resolve import HUB, Cluster, Evidence, Refusal
from identity.rules import Rules

Decide = Callable[..., Change]


class Memory:
    """Evidence and people in dictionaries."""

    def __init__(
        self, keep_apart: Sequence[KeepApart] = (), *, deciding_by: Decide = decide
    ) -> None:
        self.links: dict[tuple[Node, Node], Link] = {}
        self.must_links: dict[tuple[Node, Node], MustLink] = {}
        self.matches: dict[tuple[Node, Node], Match] = {}
        self.clusters: dict[Node, Cluster] = {}
        self.refusals: set[Refusal] = set()
        self.decisions = list(keep_apart)
        self.unnamed: set[Node] = set()
        self.rows_read = 0
        self.calls = 0
        self._decide = deciding_by

    def links_of(self, nodes: Sequence[Node], limit_each: int | None = None) -> list[Link]:
        self.calls += 1
        found: dict[tuple[Node, Node], Link] = {}
        for node in nodes:
            mine = [(key, link) for key, link in self.links.items() if node in key][:limit_each]
            found |= dict(mine)
        self.rows_read += len(found)
        return list(found.values())

    def around(self, limits: Mapping[Node, int]) -> Around:
        return Around(
            [
                link
                for most in sorted(set(limits.values()))
                for link in self.links_of([node for node in limits if limits[node] == most], most)
            ],
            [link for key, link in self.must_links.items() if limits.keys() & set(key)],
            [match for key, match in self.matches.items() if limits.keys() & set(key)],
            self.clusters_of(limits),
            self.refusals_of(limits),
        )

    def keep_apart_of(self, nodes: Collection[Node]) -> list[KeepApart]:
        self.calls += 1
        wanted = set(nodes)
        return [
            each
            for each in self.decisions
            if any(not wanted.isdisjoint(group) for group in each.groups)
        ]

    def blocked(self) -> Collection[Node]:
        return self.unnamed

    def clusters_of(self, nodes: Iterable[Node]) -> dict[Node, Cluster]:
        self.calls += 1
        return {node: self.clusters[node] for node in nodes if node in self.clusters}

    def refusals_of(self, nodes: Iterable[Node]) -> list[Refusal]:
        self.calls += 1
        wanted = set(nodes)
        return [refusal for refusal in self.refusals if {refusal.a, refusal.b} & wanted]

    def take(
        self,
        links: Sequence[Link],
        must_links: Sequence[MustLink],
        rules: Rules,
        touched: Collection[Node] = (),
    ) -> Change | None:
        """Store a batch and bring people up to date, as the identify stage does."""
        changed: dict[tuple[Node, Node], Link] = {}
        must_changed = []
        for link in links:
            held = self.links.get((link.a, link.b))
            now = link if held is None else held.merge(link)
            self.links[link.a, link.b] = now
            if held is None or (held.first_ms, held.trusted_ms) != (now.first_ms, now.trusted_ms):
                changed[link.a, link.b] = now
        for must in must_links:
            known = self.must_links.get((must.a, must.b))
            key = (must.first_ms, must.first_event)
            if known is None or key < (known.first_ms, known.first_event):
                self.must_links[must.a, must.b] = must
                must_changed.append(must)
        if not changed and not must_changed and not touched:
            return None
        change = self._decide(
            list(changed.values()),
            must_changed,
            self,
            rules,
            touched=touched,
        )
        self._apply(change)
        return change

    def _apply(self, change: Change) -> None:
        for node in change.alone:
            self.clusters.pop(node, None)
        for cluster in change.clusters:
            self.clusters |= dict.fromkeys(cluster.members, cluster)
        self.refusals = {r for r in self.refusals if not {r.a, r.b} & change.resolved}
        self.refusals |= set(change.refusals)

    def people(self) -> frozenset[Cluster]:
        return frozenset(self.clusters.values())

    def refused(self) -> frozenset[Refusal]:
        return frozenset(refusal for refusal in self.refusals if refusal.rule != HUB)

    def hubs(self) -> frozenset[Node]:
        return frozenset(refusal.a for refusal in self.refusals if refusal.rule == HUB)

    def evidence(self) -> Evidence:
        return Evidence(
            links=list(self.links.values()),
            must_links=list(self.must_links.values()),
            keep_apart=self.decisions,
            matches=list(self.matches.values()),
            blocked=frozenset(self.unnamed),
        )

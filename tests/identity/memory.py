"""An in-memory twin of the port that `identity.incremental` reads, and a world that applies changes."""

from collections.abc import Iterable, Sequence

from identity.evidence import KeepApart, Link, MustLink
from identity.incremental import decide
from identity.nodes import Node
from identity.resolve import HUB, Cluster, Evidence, Refusal
from identity.rules import Rules


class Memory:
    """Evidence and people in dictionaries."""

    def __init__(self, keep_apart: Sequence[KeepApart] = ()) -> None:
        self.links: dict[tuple[Node, Node], Link] = {}
        self.must_links: dict[tuple[Node, Node], MustLink] = {}
        self.clusters: dict[Node, Cluster] = {}
        self.refusals: set[Refusal] = set()
        self.decisions = list(keep_apart)
        self.rows_read = 0

    def links_of(self, nodes: Sequence[Node], limit_each: int | None = None) -> list[Link]:
        found: dict[tuple[Node, Node], Link] = {}
        for node in nodes:
            mine = [(key, link) for key, link in self.links.items() if node in key][:limit_each]
            found |= dict(mine)
        self.rows_read += len(found)
        return list(found.values())

    def must_links_of(self, nodes: Sequence[Node]) -> list[MustLink]:
        return [link for key, link in self.must_links.items() if set(key) & set(nodes)]

    def keep_apart(self) -> list[KeepApart]:
        return self.decisions

    def clusters_of(self, nodes: Iterable[Node]) -> dict[Node, Cluster]:
        return {node: self.clusters[node] for node in nodes if node in self.clusters}

    def refusals_of(self, nodes: Iterable[Node]) -> list[Refusal]:
        wanted = set(nodes)
        return [refusal for refusal in self.refusals if {refusal.a, refusal.b} & wanted]

    def take(self, links: Sequence[Link], must_links: Sequence[MustLink], rules: Rules) -> None:
        """Store a batch and bring people up to date, as the identify stage does."""
        changed, must_changed = [], []
        for link in links:
            held = self.links.get((link.a, link.b))
            now = link if held is None else held.merge(link)
            self.links[link.a, link.b] = now
            if held is None or (held.first_ms, held.trusted_ms) != (now.first_ms, now.trusted_ms):
                changed.append(now)
        for must in must_links:
            known = self.must_links.get((must.a, must.b))
            key = (must.first_ms, must.first_event)
            if known is None or key < (known.first_ms, known.first_event):
                self.must_links[must.a, must.b] = must
                must_changed.append(must)
        if not changed and not must_changed:
            return
        change = decide(changed, must_changed, self, rules)
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
        )

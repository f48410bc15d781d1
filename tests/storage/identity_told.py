"""What the laws of who is who compare stores with: all that was said, and one who only follows changes."""

from collections.abc import Collection

from identity.changes import PersonChange
from identity.decisions import OPERATOR, Decision, DecisionKind
from identity.evidence import KeepApart, Link, Match, MustLink
from identity.nodes import Node
from identity.resolve import Cluster, Evidence, Refusal
from ingest.identify import Statements
from tests.storage.identity_deciders import Deciders


class Told:
    """All that was ever said, as the registers that it comes to; independent of what stores do."""

    def __init__(self) -> None:
        self.said: list[Statements] = []
        self.links: dict[tuple[Node, Node], Link] = {}
        self.must_links: dict[tuple[Node, Node], MustLink] = {}
        self.matches: dict[tuple[Node, Node], Match] = {}
        self.decisions: dict[str, Decision] = {}
        self.retracted: set[str] = set()

    def hear(self, said: Statements) -> None:
        self.said.append(said)
        for link in said.links:
            held = self.links.get((link.a, link.b), link)
            self.links[link.a, link.b] = link.merge(held)
        for must in said.must_links:
            earliest = self.must_links.get((must.a, must.b), must)
            self.must_links[must.a, must.b] = min(earliest, must, key=lambda m: m.first_ms)
        for match in said.matches:
            best = self.matches.get((match.a, match.b), match)
            self.matches[match.a, match.b] = min(
                best, match, key=lambda m: (-m.probability, m.first_ms)
            )
        for decision in said.decisions:
            self.decisions.setdefault(decision.id, decision)
            if decision.retraction is not None:
                self.retracted.add(decision.id)

    def of_kind(self, kind: DecisionKind) -> list[Decision]:
        return [each for each in self.decisions.values() if each.kind is kind]

    def standing(self, kind: DecisionKind) -> list[Decision]:
        return [each for each in self.of_kind(kind) if each.id not in self.retracted]

    def all_must_links(self) -> list[MustLink]:
        """Of events and of operators, those taken back too."""
        return [
            *self.must_links.values(),
            *(
                MustLink(
                    a=min(group), b=other, first_ms=each.time_ms, first_event=each.id, source=OPERATOR
                )
                for each in self.of_kind(DecisionKind.MERGE)
                for group in each.groups
                for other in group - {min(group)}
            ),
        ]  # fmt: skip

    def evidence(self) -> Evidence:
        return Evidence(
            links=list(self.links.values()),
            must_links=self.all_must_links(),
            keep_apart=[
                KeepApart(id=each.id, groups=each.groups, since_ms=each.time_ms)
                for each in self.of_kind(DecisionKind.SPLIT)
            ],
            matches=list(self.matches.values()),
            blocked=frozenset[Node]().union(
                *(each.nodes for each in self.standing(DecisionKind.BLOCK))
            ),
            retracted=frozenset(self.retracted),
        )


class Follower:
    """Somebody who knows people only by the history of changes."""

    def __init__(self) -> None:
        self.position = 0
        self.heard: list[PersonChange] = []
        self.conflicts: set[tuple[Node, Node, str]] = set()
        self._known: dict[Node, Cluster] = {}

    def read(self, deciders: Deciders) -> list[PersonChange]:
        """What is new in the history."""
        page = deciders.store.changes.history(self.position, 10_000)
        for published in page:
            assert published.position > self.position
            self.position = published.position
            self._hear(published.change, exact=deciders.exact)
        new = [published.change for published in page]
        self.heard += new
        return new

    def _hear(self, change: PersonChange, *, exact: bool) -> None:
        if exact:
            for cluster in change.before:
                for node in cluster.members:
                    believed = self._known.get(node, Cluster(node, frozenset({node})))
                    assert believed == cluster, "a change begins where the last one ended"
        if change.refusal is not None:
            self.conflicts.add((change.refusal.a, change.refusal.b, change.refusal.rule))
        for cluster in change.after:
            self._known |= dict.fromkeys(cluster.members, cluster)

    def begin_anew(self, people: Collection[Cluster], refusals: Collection[Refusal]) -> None:
        """Read people, not changes, as at the start."""
        self._known = {node: each for each in people for node in each.members}
        self.conflicts |= {(each.a, each.b, each.rule) for each in refusals}

    @property
    def people(self) -> set[Cluster]:
        return {each for each in self._known.values() if len(each.members) > 1}

"""Why two identifiers are one person, or are not: the evidence between them (DESIGN §3.4). Pure."""

from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from typing import Final

import msgspec

from identity.evidence import NEVER, Link, Match, MustLink
from identity.nodes import Node
from identity.resolve import Refusal

_STEP: Final = 1_000
"""What one step costs; the strength of its evidence only decides between chains of one length."""

Told = Link | MustLink | Match


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of evidence that named two identifiers together."""

    a: Node
    b: Node
    kind: str
    """`must_link`, `trusted_link`, `link` or `match`."""
    event_id: str
    source: str
    first_ms: int
    """When it was first said; for a trusted link, `trusted_ms` tells when it was first believed."""
    last_ms: int = 0
    """When it was last said, to the day; 0 where that is not kept."""
    trusted_ms: int = NEVER
    probability: float | None = None
    """Of a match."""
    refused: str = ""
    """The rule that keeps it from joining; "" if it joins."""


def reasons(
    members: Collection[Node], evidence: Iterable[Told], refusals: Iterable[Refusal] = ()
) -> list[Reason]:
    """The evidence among `members`, the strongest and earliest first: what made this person.

    No link between two members of one person is a refused one, for what would break a rule once
    breaks it for good.
    """
    among = (each for each in evidence if each.a in members and each.b in members)
    return sorted(_reasons(among, refusals), key=_strength)


def chain(
    a: Node, b: Node, evidence: Iterable[Told], refusals: Iterable[Refusal] = ()
) -> list[Reason] | None:
    """The shortest chain of evidence from `a` to `b`; None if nothing connects them.

    Of several, the one with the strongest evidence, then the earliest. A chain that holds a
    refused link is why two identifiers are *not* one person; one without is preferred.
    """
    import networkx

    graph = networkx.Graph()
    for reason in sorted(_reasons(evidence, refusals), key=_strength):
        if not graph.has_edge(reason.a, reason.b):
            graph.add_edge(reason.a, reason.b, reason=reason, cost=_cost(reason))
    if a not in graph or b not in graph:
        return None
    try:
        path: Sequence[Node] = networkx.dijkstra_path(graph, a, b, weight="cost")
    except networkx.NetworkXNoPath:
        return None
    return [graph.edges[one, other]["reason"] for one, other in pairwise(path)]


_STRENGTH: Final = {"must_link": 0, "trusted_link": 1, "link": 2, "match": 3}


def _strength(reason: Reason) -> tuple[bool, int, int, Node, Node]:
    strength = _STRENGTH[reason.kind]
    return bool(reason.refused), strength, reason.first_ms, reason.a, reason.b


def _cost(reason: Reason) -> int:
    # A person has at most a hundred members, so no chain without a refusal is as long as one with.
    refused = _STEP * _STEP if reason.refused else 0
    return refused + _STEP + _STRENGTH[reason.kind]


def _reasons(evidence: Iterable[Told], refusals: Iterable[Refusal]) -> Iterable[Reason]:
    whole: dict[Node, str] = {}
    pairs: dict[tuple[Node, Node], str] = {}
    for refusal in refusals:
        if refusal.a == refusal.b:
            whole[refusal.a] = refusal.rule
        else:
            pairs[refusal.a, refusal.b] = refusal.rule
    for each in evidence:
        # A hub keeps its must-links.
        ends = "" if isinstance(each, MustLink) else whole.get(each.a) or whole.get(each.b, "")
        yield _reason(each, pairs.get((each.a, each.b), ends))


def _reason(each: Told, refused: str) -> Reason:
    if isinstance(each, Match):
        return Reason(
            a=each.a, b=each.b, kind="match", event_id=each.first_event, source="",
            first_ms=each.first_ms, probability=each.probability, refused=refused,
        )  # fmt: skip
    if isinstance(each, MustLink):
        return Reason(
            a=each.a, b=each.b, kind="must_link", event_id=each.first_event, source=each.source,
            first_ms=each.first_ms, trusted_ms=each.first_ms, refused=refused,
        )  # fmt: skip
    return Reason(
        a=each.a, b=each.b, kind="trusted_link" if each.trusted_ms < NEVER else "link",
        event_id=each.first_event, source=each.source, first_ms=each.first_ms,
        last_ms=each.last_ms, trusted_ms=each.trusted_ms, refused=refused,
    )  # fmt: skip

"""Why two identifiers are one person, or are not: the evidence between them (DESIGN §3.4). Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Final

import msgspec

from identity.conflicts import conflict_id, of_two
from identity.decisions import Decision
from identity.evidence import NEVER, Link, Match, MustLink
from identity.nodes import USER_ID, Node
from identity.resolve import BLOCKED, HUB, KEPT_APART, LIMIT, MEMBERS_MAX, Refusal
from identity.rules import Rules

DEVICE: Final = "device"
"""Not a refusal, but why nothing was even refused: a device joins nobody."""
UNCONNECTED: Final = "unconnected"
"""Nothing names both, nor anything that both were named with."""
UNDECIDED: Final = "undecided"
"""What would join them was received, but is not decided yet."""

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


class Verdict(StrEnum):
    """Whether two identifiers are one person."""

    ONE_PERSON = "one_person"
    NOT_ONE_PERSON = "not_one_person"
    UNKNOWN = "unknown"
    """One of them is a device that is nobody's now."""


class Obstacle(msgspec.Struct, frozen=True, kw_only=True):
    """Why two identifiers are not one person: a link that was refused, or that there is none."""

    rule: str
    """Of a refusal; or DEVICE, UNCONNECTED, UNDECIDED."""
    detail: str
    """In words that go on from "both named x, but …"."""
    a: Node
    b: Node | None = None
    """The other end of what was refused; None where `a` alone is in the way: hub, blocked value, device."""
    since_ms: int = 0
    conflict: str = ""
    """The id by which operators decide it; "" if it is no conflict."""


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


def steps(start: Node, chain: Iterable[Reason]) -> Iterator[tuple[Node, Reason, Node]]:
    """The reasons of a chain in its direction: from, why, to."""
    at = start
    for reason in chain:
        to = reason.b if reason.a == at else reason.a
        yield at, reason, to
        at = to


def refused_in(chain: Iterable[Reason], refusals: Iterable[Refusal]) -> list[Refusal]:
    """What refused the links of a chain, in its order, each once."""
    whole, pairs = _placed(refusals)
    found: dict[Refusal, None] = {}
    for each in filter(_is_refused, chain):
        either = (pairs.get((each.a, each.b)), whole.get(each.a), whole.get(each.b))
        found |= {refusal: None for refusal in either if refusal and refusal.rule == each.refused}
    return list(found)


def _is_refused(reason: Reason) -> bool:
    return bool(reason.refused)


def obstacle(
    refusal: Refusal, decisions: Mapping[str, Decision], people: Mapping[Node, str], rules: Rules
) -> Obstacle:
    """A refusal in words.

    `decisions` are those that it may name or follow from, by id; `people` says how many each hub names, such as
    "61 people".
    """
    return Obstacle(
        rule=refusal.rule,
        detail=_why(refusal, decisions, people, rules),
        a=refusal.a,
        b=refusal.b if of_two(refusal) else None,
        since_ms=_since_ms(refusal, decisions),
        conflict=conflict_id(refusal),
    )


def most_of(type_name: str, rules: Rules) -> int:
    """The most identifiers of a type that links give one person."""
    default = rules.limit_user_id if type_name == USER_ID else rules.limit_default
    return rules.limits.get(type_name, default)


def kept_apart_by(decision: Decision) -> str:
    """An operator's reason for a split, as an obstacle says it."""
    return f"{decision.operator} keeps them apart: {decision.reason or 'no reason given'}"


def _why(
    refusal: Refusal, decisions: Mapping[str, Decision], people: Mapping[Node, str], rules: Rules
) -> str:
    kind, _, about = refusal.rule.partition(":")
    if kind == LIMIT:
        most = most_of(about, rules)
        return f"a person has one {about}" if most == 1 else f"a person has at most {most} {about}s"
    if kind == MEMBERS_MAX:
        return f"a person has at most {rules.members_max} identifiers"
    if kind == KEPT_APART:
        return kept_apart_by(decisions[about]) if about in decisions else refusal.detail
    if kind == HUB:
        return f"it names {people.get(refusal.a, 'many people')}, and so nobody"
    if kind == BLOCKED:
        by = _blocker(refusal.a, decisions)
        return (
            f"{by.operator} blocked it: {by.reason or 'no reason given'}" if by else refusal.detail
        )
    return refusal.detail


def _since_ms(refusal: Refusal, decisions: Mapping[str, Decision]) -> int:
    by = _blocker(refusal.a, decisions) if refusal.rule == BLOCKED else None
    return by.time_ms if by else refusal.since_ms


def _blocker(node: Node, decisions: Mapping[str, Decision]) -> Decision | None:
    blocks = [each for each in decisions.values() if node in each.blocked()]
    return min(blocks, key=lambda each: (each.time_ms, each.id), default=None)


_STRENGTH: Final = {"must_link": 0, "trusted_link": 1, "link": 2, "match": 3}


def _strength(reason: Reason) -> tuple[bool, int, int, Node, Node]:
    strength = _STRENGTH[reason.kind]
    return bool(reason.refused), strength, reason.first_ms, reason.a, reason.b


def _cost(reason: Reason) -> int:
    # A person has at most a hundred members, so no chain without a refusal is as long as one with.
    refused = _STEP * _STEP if reason.refused else 0
    return refused + _STEP + _STRENGTH[reason.kind]


def _reasons(evidence: Iterable[Told], refusals: Iterable[Refusal]) -> Iterable[Reason]:
    whole, pairs = _placed(refusals)
    for each in evidence:
        refusal = pairs.get((each.a, each.b))
        for end in (each.a, each.b):
            alone = whole.get(end)
            # A hub keeps its must-links.
            if refusal is None and not (alone and alone.rule == HUB and isinstance(each, MustLink)):
                refusal = alone
        yield _reason(each, refusal.rule if refusal else "")


def _placed(
    refusals: Iterable[Refusal],
) -> tuple[dict[Node, Refusal], dict[tuple[Node, Node], Refusal]]:
    """Hubs and blocked values, and refused pairs."""
    whole: dict[Node, Refusal] = {}
    pairs: dict[tuple[Node, Node], Refusal] = {}
    for refusal in refusals:
        if of_two(refusal):
            pairs[refusal.a, refusal.b] = refusal
        else:
            whole[refusal.a] = refusal
    return whole, pairs


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

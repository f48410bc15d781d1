"""From evidence to people: a pure function of the set of evidence (DESIGN §3.2)."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from identity.evidence import NEVER, KeepApart, Link, Match, MustLink
from identity.nodes import USER_ID, Node, code_of, names_device, type_code
from identity.rules import Rules

USER_ID_CODE: Final = code_of(USER_ID)

MEMBERS_MAX: Final = "members_max"
KEPT_APART: Final = "kept_apart"
LIMIT: Final = "limit"
HUB: Final = "hub"
BLOCKED: Final = "blocked"

Pairs = Sequence[Link | Match]


class Cluster(msgspec.Struct, frozen=True):
    """One person: two identifiers or more that evidence joins."""

    profile_id: Node
    members: frozenset[Node]


class Refusal(msgspec.Struct, frozen=True):
    """A link that joins nobody, and the rule that it would break.

    For a hub or a blocked value, both ends are it: one row stands for all its links.
    """

    a: Node
    b: Node
    rule: str
    """`limit:<type>`, `members_max`, `kept_apart:<decision>`, `hub` or `blocked`."""
    detail: str
    since_ms: int


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known about who is who."""

    links: Sequence[Link] = ()
    must_links: Sequence[MustLink] = ()
    keep_apart: Sequence[KeepApart] = ()
    matches: Sequence[Match] = ()
    blocked: Collection[Node] = frozenset()
    """Nodes of blocked values: what names them joins nobody."""
    retracted: Collection[str] = frozenset()
    """Decisions that operators took back: ids of keep-aparts, `first_event` of must-links."""

    def as_of(self, time_ms: int) -> "Evidence":
        """What was known at a time: later evidence would tell an evaluation the future.

        Rules are today's: blocked values, and decisions that were taken back since, stay ignored.
        """
        return msgspec.structs.replace(
            self,
            links=[
                msgspec.structs.replace(
                    link,
                    trusted_ms=link.trusted_ms if link.trusted_ms <= time_ms else NEVER,
                    last_ms=min(link.last_ms, time_ms),
                )
                for link in self.links
                if link.first_ms <= time_ms
            ],
            must_links=[link for link in self.must_links if link.first_ms <= time_ms],
            keep_apart=[decision for decision in self.keep_apart if decision.since_ms <= time_ms],
            matches=[match for match in self.matches if match.first_ms <= time_ms],
        )

    def standing_must_links(self) -> list[MustLink]:
        """Must-links that nobody took back."""
        return [must for must in self.must_links if must.first_event not in self.retracted]

    def about_people(self) -> "Evidence":
        """What may join: without what names a blocked value or a device, or was retracted."""

        def may_join(link: Link | MustLink | Match) -> bool:
            if names_device(link.a) or names_device(link.b):
                return False
            return link.a not in self.blocked and link.b not in self.blocked

        return Evidence(
            links=list(filter(may_join, self.links)),
            must_links=list(filter(may_join, self.standing_must_links())),
            keep_apart=[apart for apart in self.keep_apart if apart.id not in self.retracted],
            matches=list(filter(may_join, self.matches)),
        )


class Resolution(msgspec.Struct, frozen=True):
    """Who is who, and what was not joined."""

    clusters: frozenset[Cluster]
    refusals: frozenset[Refusal]
    hubs: frozenset[Node]


class _Group:
    """A cluster in the making."""

    __slots__ = ("apart", "counted", "members")

    def __init__(self, node: Node) -> None:
        self.members: set[Node] = {node}
        self.counted: dict[int, set[Node]] = {type_code(node): {node}}
        """Per type, the identifiers that count: those joined by must-links count as one."""
        self.apart: dict[str, int] = {}
        """Per decision, the group of it that this cluster belongs to."""


def resolve(evidence: Evidence, rules: Rules) -> Resolution:
    """Who is who. A function of the set of evidence: neither its order nor repetition matters."""
    return resolve_among(evidence, rules, find_hubs(evidence, rules))


def find_hubs(evidence: Evidence, rules: Rules) -> frozenset[Node]:
    """Person identifiers that are linked to so many others that they join nobody.

    Links to blocked values and to other hubs count too, so that a bounded number of rows tells. What a
    model guesses makes nobody a hub.
    """
    others: defaultdict[Node, set[Node]] = defaultdict(set)
    for link in evidence.links:
        others[link.a].add(link.b)
        others[link.b].add(link.a)
    hubs = {node for node, linked in others.items() if is_hub(node, len(linked), rules)}
    return frozenset(hubs.difference(evidence.blocked))


def fanout_max_of(node: Node, rules: Rules) -> int:
    """How many others a node may be linked to."""
    return rules.fanout_max_user if type_code(node) == USER_ID_CODE else rules.fanout_max


def is_hub(node: Node, fanout: int, rules: Rules) -> bool:
    """Whether a node that is linked to `fanout` others joins nobody."""
    return fanout > fanout_max_of(node, rules) and not names_device(node)


def resolve_among(evidence: Evidence, rules: Rules, hubs: Collection[Node]) -> Resolution:
    """`resolve`, for evidence whose hubs are known: a whole component, or everything."""
    standing = evidence.about_people()
    pairs: Pairs = [*standing.links, *standing.matches]
    must_links = standing.must_links
    united = _Union(rules, standing.keep_apart)
    for must in sorted(must_links, key=lambda m: (m.first_ms, m.a, m.b)):
        united.join(must.a, must.b, must.first_ms, limits=False)
    united.count_must_linked_as_one()
    for _, since_ms, a, b in sorted(
        _place(link) for link in pairs if link.a not in hubs and link.b not in hubs
    ):
        united.join(a, b, since_ms, limits=True)
    first = first_links([*evidence.links, *evidence.matches], evidence.standing_must_links(), hubs)
    clusters = frozenset(
        Cluster(profile_id_of(group.members, first, rules), frozenset(group.members))
        for group in united.groups()
        if len(group.members) > 1
    )
    refusals = [*united.refusals.values(), *_blocked(evidence)]
    return Resolution(clusters, frozenset(refusals), frozenset(hubs))


def may_be_one(members: Collection[Node], rules: Rules, keep_apart: Iterable[KeepApart]) -> bool:
    """Whether nodes may all be one person, were there no must-link among them.

    Then every part of them may be too: rules only grow stricter with the members.
    """
    if len(members) > rules.members_max:
        return False
    counts = Counter(map(type_code, members))
    limits = limits_of(rules)
    if any(most > limits.get(code, rules.limit_default) for code, most in counts.items()):
        return False
    return all(
        sum(not group.isdisjoint(members) for group in decision.groups) <= 1
        for decision in keep_apart
    )


def best_of(members: Iterable[Node], rules: Rules) -> list[Node]:
    """The members of the highest-priority type: one of them gives the profile its id."""
    rank = ranks_of(rules)
    places = {node: rank.get(type_code(node), len(rank)) for node in members}
    best = min(places.values())
    return [node for node, place in places.items() if place == best]


def ranks_of(rules: Rules) -> dict[int, int]:
    """The priority of identifiers of a type, by its code: 0 is the highest; what is not there comes last."""
    names = (*rules.person_priority, *rules.external_ids)
    return {code_of(name): place for place, name in reversed(list(enumerate(names)))}


def profile_id_of(members: Iterable[Node], first: Mapping[Node, int], rules: Rules) -> Node:
    """The member of the highest-priority type; ties by earliest first link, then by node."""
    best = best_of(members, rules)
    return best[0] if len(best) == 1 else min(best, key=lambda n: (first.get(n, NEVER), n))


def first_links(
    pairs: Iterable[Link | Match], must_links: Iterable[MustLink], hubs: Collection[Node]
) -> dict[Node, int]:
    """When each node was first named together with another; of a hub, only must-links count.

    What became of the other one does not matter, so that ids stay when somebody else is blocked.
    """
    first: dict[Node, int] = {}
    for link in pairs:
        for node in (link.a, link.b):
            if node not in hubs and link.first_ms < first.get(node, NEVER):
                first[node] = link.first_ms
    for must in must_links:
        for node in (must.a, must.b):
            first[node] = min(must.first_ms, first.get(node, NEVER))
    return first


def _blocked(evidence: Evidence) -> Iterable[Refusal]:
    if not evidence.blocked:
        return
    every: list[Link | MustLink | Match] = [
        *evidence.links,
        *evidence.standing_must_links(),
        *evidence.matches,
    ]
    for node in {node for link in every for node in (link.a, link.b)}.intersection(
        evidence.blocked
    ):
        yield blocked_refusal(node)


def blocked_refusal(node: Node) -> Refusal:
    """What says that a blocked value was named together with others."""
    return Refusal(node, node, BLOCKED, "a blocked value names nobody", 0)


def _place(link: Link | Match) -> tuple[tuple[int, int, float], int, Node, Node]:
    """Where a link stands in order: trusted, untrusted, matches; in each the earliest first."""
    if isinstance(link, Match):
        return (2, link.first_ms, -link.probability), link.first_ms, link.a, link.b
    trusted = link.trusted_ms < NEVER
    since_ms = link.trusted_ms if trusted else link.first_ms
    return (0 if trusted else 1, since_ms, 0.0), since_ms, link.a, link.b


def limits_of(rules: Rules) -> dict[int, int]:
    """How many identifiers of a type one person may have, by its code; `limit_default` of others."""
    limits = {code_of(name): most for name, most in rules.limits.items()}
    limits.setdefault(USER_ID_CODE, rules.limit_user_id)
    return limits


class _Union:
    """Unites nodes unless a rule forbids it; small groups into large ones."""

    def __init__(self, rules: Rules, keep_apart: Sequence[KeepApart]) -> None:
        self._rules = rules
        self._group: dict[Node, _Group] = {}
        self._apart: defaultdict[Node, dict[str, int]] = defaultdict(dict)
        for decision in keep_apart:
            for index, group in enumerate(decision.groups):
                for node in group:
                    self._apart[node][decision.id] = index
        self._limit = limits_of(rules)
        self._names = {
            code_of(name): name for name in (*rules.person_priority, *rules.external_ids)
        }
        self.refusals: dict[tuple[Node, Node], Refusal] = {}
        """One for each pair: that of its strongest evidence."""

    def groups(self) -> list[_Group]:
        return list({id(group): group for group in self._group.values()}.values())

    def join(self, a: Node, b: Node, since_ms: int, *, limits: bool) -> None:
        """Make one group of the groups of `a` and `b`, or note the rule that forbids it."""
        left, right = self._of(a), self._of(b)
        if left is right:
            return
        if broken := self._broken(left, right, limits):
            self.refusals.setdefault((a, b), Refusal(a, b, *broken, since_ms))
            return
        if len(left.members) < len(right.members):
            left, right = right, left
        left.members |= right.members
        left.apart |= right.apart
        for code, counted in right.counted.items():
            left.counted.setdefault(code, set()).update(counted)
        for node in right.members:
            self._group[node] = left

    def count_must_linked_as_one(self) -> None:
        """From here on, identifiers of a type that must-links joined count once."""
        for group in self.groups():
            for code, counted in group.counted.items():
                group.counted[code] = {min(counted)}

    def _of(self, node: Node) -> _Group:
        group = self._group.get(node)
        if group is None:
            group = self._group[node] = _Group(node)
            group.apart.update(self._apart.get(node, ()))
        return group

    def _broken(self, left: _Group, right: _Group, limits: bool) -> tuple[str, str] | None:
        for decision, index in sorted(right.apart.items()):
            if left.apart.get(decision, index) != index:
                return f"{KEPT_APART}:{decision}", "an operator keeps them apart"
        size = len(left.members) + len(right.members)
        if size > self._rules.members_max:
            return (
                MEMBERS_MAX,
                f"{size} identifiers; a person has at most {self._rules.members_max}",
            )
        if not limits:
            return None
        for code, counted in sorted(right.counted.items()):
            together = len(counted | left.counted.get(code, set()))
            most = self._limit.get(code, self._rules.limit_default)
            if together > most and together > len(left.counted.get(code, ())):
                name = self._names.get(code, f"type {code:#x}")
                return f"{LIMIT}:{name}", f"{together} of {name}; a person has at most {most}"
        return None

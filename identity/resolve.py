"""From evidence to people: a pure function of the set of evidence (DESIGN §3.2)."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from identity.evidence import NEVER, KeepApart, Link, Match, MustLink
from identity.nodes import USER_ID, Node, code_of, type_code
from identity.rules import Rules

USER_ID_CODE: Final = code_of(USER_ID)

MEMBERS_MAX: Final = "members_max"
KEPT_APART: Final = "kept_apart"
LIMIT: Final = "limit"
HUB: Final = "hub"


class Cluster(msgspec.Struct, frozen=True):
    """One person: two identifiers or more that evidence joins."""

    profile_id: Node
    members: frozenset[Node]


class Refusal(msgspec.Struct, frozen=True):
    """A link that joins nobody, and the rule that it would break. For a hub, both ends are the hub."""

    a: Node
    b: Node
    rule: str
    """`limit:user_id`, `members_max`, `kept_apart:<decision>` or `hub`."""
    detail: str
    since_ms: int


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known about who is who."""

    links: Sequence[Link] = ()
    must_links: Sequence[MustLink] = ()
    keep_apart: Sequence[KeepApart] = ()
    matches: Sequence[Match] = ()

    def as_of(self, time_ms: int) -> "Evidence":
        """What was known at a time: later evidence would tell an evaluation the future."""
        return Evidence(
            links=[
                msgspec.structs.replace(
                    link, trusted_ms=link.trusted_ms if link.trusted_ms <= time_ms else NEVER
                )
                for link in self.links
                if link.first_ms <= time_ms
            ],
            must_links=[link for link in self.must_links if link.first_ms <= time_ms],
            keep_apart=[decision for decision in self.keep_apart if decision.since_ms <= time_ms],
            matches=[match for match in self.matches if match.first_ms <= time_ms],
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
    """Everybody. The result depends on the set of evidence only, not on its order or repetition."""
    return resolve_among(evidence, rules, hubs_of(evidence, rules))


def hubs_of(evidence: Evidence, rules: Rules) -> frozenset[Node]:
    """Person identifiers, other than user ids, linked to more than `fanout_max` others."""
    others: defaultdict[Node, set[Node]] = defaultdict(set)
    for link in (*evidence.links, *evidence.matches):
        others[link.a].add(link.b)
        others[link.b].add(link.a)
    return frozenset(node for node, linked in others.items() if is_hub(node, len(linked), rules))


def is_hub(node: Node, fanout: int, rules: Rules) -> bool:
    """Whether a node that is linked to `fanout` others joins nobody."""
    return fanout > rules.fanout_max and type_code(node) != USER_ID_CODE


def resolve_among(evidence: Evidence, rules: Rules, hubs: Collection[Node]) -> Resolution:
    """`resolve`, for evidence whose hubs are known: a whole component, or everything."""
    links = [link for link in evidence.links if link.a not in hubs and link.b not in hubs]
    matches = [match for match in evidence.matches if match.a not in hubs and match.b not in hubs]
    united = _Union(rules, evidence.keep_apart)
    for must in sorted(evidence.must_links, key=lambda m: (m.first_ms, m.a, m.b)):
        united.join(must.a, must.b, must.first_ms, limits=False)
    united.count_must_linked_as_one()
    for _, since_ms, a, b in sorted(_ordered(links, matches)):
        united.join(a, b, since_ms, limits=True)
    first = _first_links(links, matches, evidence.must_links)
    clusters = frozenset(
        Cluster(profile_id_of(group.members, first, rules), frozenset(group.members))
        for group in united.groups()
        if len(group.members) > 1
    )
    return Resolution(clusters, frozenset(united.refusals), frozenset(hubs))


def profile_id_of(members: Iterable[Node], first: Mapping[Node, int], rules: Rules) -> Node:
    """The member of the highest-priority type; ties by earliest first link, then by node."""
    names = (*rules.person_priority, *rules.external_ids)
    rank = {code_of(name): place for place, name in enumerate(names)}
    return min(
        members,
        key=lambda node: (rank.get(type_code(node), len(rank)), first.get(node, NEVER), node),
    )


def _ordered(
    links: Iterable[Link], matches: Iterable[Match]
) -> Iterable[tuple[tuple[int, int, float], int, Node, Node]]:
    """Links in the order in which they are taken: trusted, untrusted, matches; the earliest first."""
    for link in links:
        trusted = link.trusted_ms < NEVER
        since_ms = link.trusted_ms if trusted else link.first_ms
        yield (0 if trusted else 1, since_ms, 0.0), since_ms, link.a, link.b
    for match in matches:
        yield (2, match.first_ms, -match.probability), match.first_ms, match.a, match.b


def _first_links(
    links: Iterable[Link], matches: Iterable[Match], must_links: Iterable[MustLink]
) -> dict[Node, int]:
    first: dict[Node, int] = {}
    for link in (*links, *matches, *must_links):
        for node in (link.a, link.b):
            first[node] = min(link.first_ms, first.get(node, NEVER))
    return first


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
        self._limit = {code_of(name): most for name, most in rules.limits.items()}
        self._limit.setdefault(USER_ID_CODE, rules.limit_user_id)
        self._names = {
            code_of(name): name for name in (*rules.person_priority, *rules.external_ids)
        }
        self.refusals: list[Refusal] = []

    def groups(self) -> list[_Group]:
        return list({id(group): group for group in self._group.values()}.values())

    def join(self, a: Node, b: Node, since_ms: int, *, limits: bool) -> None:
        """Make one group of the groups of `a` and `b`, or note the rule that forbids it."""
        left, right = self._of(a), self._of(b)
        if left is right:
            return
        if broken := self._broken(left, right, limits):
            self.refusals.append(Refusal(a, b, *broken, since_ms))
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

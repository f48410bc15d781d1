"""Read why identifiers are one person, or are not (DESIGN §3.4): bounded, however large a hub is near."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from identity.conflicts import of_two
from identity.decisions import Decision
from identity.evidence import Link, MustLink
from identity.explain import (
    UNCONNECTED,
    UNDECIDED,
    Obstacle,
    Reason,
    Told,
    Verdict,
    chain,
    kept_apart_by,
    obstacle,
    reasons,
    refused_in,
)
from identity.incremental import Around
from identity.nodes import Node
from identity.resolve import HUB, KEPT_APART, Cluster, Refusal, fanout_max_of
from identity.rules import Rules
from storage.gathering import Answer, Resolved
from storage.ports import Store
from storage.sharing import people_named, shared_devices, used_by

LINKS_EACH_MAX: Final = 1_000
"""Links read for each identifier. Only a hub has more, and a hub's other ends are not read on."""
REFUSALS_MAX: Final = 1_000
"""Refusals of one person that are told, the newest."""
STEPS_MAX: Final = 3
"""How often is read on from both ends: chains of up to six refused links, more than anybody follows."""
READ_MAX: Final = 500
"""Identifiers read on from in one step."""


class Person(msgspec.Struct, frozen=True):
    """What made a person, and what was not joined to them."""

    members: tuple[Node, ...]
    reasons: list[Reason]
    """The strongest evidence first."""
    refusals: list[Refusal]
    """The newest first, at most REFUSALS_MAX."""

    @property
    def nodes(self) -> set[Node]:
        """Everybody who is named."""
        told = {end for reason in self.reasons for end in (reason.a, reason.b)}
        refused = {end for refusal in self.refusals for end in (refusal.a, refusal.b)}
        return told.union(refused, self.members)


class Pair(msgspec.Struct, frozen=True):
    """Why two identifiers are one person, or are not."""

    one: Node
    other: Node
    verdict: Verdict
    chain: list[Reason]
    """The shortest chain of evidence from `one` to `other`, with as few refused links as there can be."""
    obstacles: list[Obstacle]
    """Empty if they are one person."""

    @property
    def nodes(self) -> set[Node]:
        """Everybody who is named."""
        told = {end for reason in self.chain for end in (reason.a, reason.b)}
        in_the_way = {end for each in self.obstacles for end in (each.a, each.b) if end}
        return told | in_the_way | {self.one, self.other}


def explain_person(store: Store, members: Sequence[Node]) -> Person:
    """The evidence among the members of a person, and the refusals that name any of them."""
    told: list[Told] = []
    if len(members) > 1:
        told, refusals = _read_person(store, members)
    else:  # Nothing is said among one identifier, which may be a hub of many links.
        refusals = store.people.refusals_of(members)
    newest = sorted(refusals, key=lambda each: (-each.since_ms, each.a, each.b))[:REFUSALS_MAX]
    return Person(tuple(members), reasons(frozenset(members), told, refusals), newest)


def explain_pair(store: Store, rules: Rules, one: Resolved, other: Resolved) -> Pair:
    """Why what two lookups found is one person, or is not."""
    a, b = _end(one), _end(other)
    nobodys = [each for each in (one, other) if each.answered_by is Answer.DEVICE]
    if nobodys:
        same = one.profile_id == other.profile_id
        if same:
            return Pair(a, b, Verdict.ONE_PERSON, [], [])
        devices = list(dict.fromkeys(map(_end, nobodys)))
        used = used_by(store, devices, store.devices.uses_of(devices))
        return Pair(a, b, Verdict.UNKNOWN, [], used)
    if one.profile_id == other.profile_id:
        return Pair(a, b, Verdict.ONE_PERSON, _within(store, a, b, one.members), [])
    search = _Search(store, rules, one.members, other.members)
    broken = search.run(a, b)
    found_obstacles = _in_the_way(store, rules, search, (a, b), broken or [])
    rules_told = {each.rule for each in found_obstacles}
    apart = _kept_apart(search.decisions, one.members, other.members)
    found_obstacles += [each for each in apart if each.rule not in rules_told]
    if broken is None:
        found_obstacles += shared_devices(store, one.members, other.members)
    if not found_obstacles:
        found_obstacles.append(
            Obstacle(rule=UNCONNECTED, detail=search.said(), a=a, b=b)
            if broken is None
            else Obstacle(rule=UNDECIDED, detail="nobody has decided that yet", a=a, b=b)
        )
    return Pair(a, b, Verdict.NOT_ONE_PERSON, broken or [], found_obstacles)


def _end(resolved: Resolved) -> Node:
    """The identifier that a chain ends at: of a device's owner, that which gives the profile its id."""
    by_device = resolved.answered_by is Answer.DEVICE_OWNER
    return resolved.profile_id if by_device else resolved.matched


def _read_person(store: Store, members: Sequence[Node]) -> tuple[list[Told], Sequence[Refusal]]:
    """All evidence and all refusals that name any member of a person."""
    around, decisions = store.lookups.around(dict.fromkeys(members, LINKS_EACH_MAX), [members])
    return _told(around, decisions), around.refusals


def _within(store: Store, a: Node, b: Node, members: Sequence[Node]) -> list[Reason]:
    """The chain between two members of a person.

    Read outward from both ends: after n steps every chain of up to 2 n links is known. Most are of two, through
    the identifier that events name with all others, so that of a hundred members three are read.
    """
    told: list[Told] = []
    refusals: set[Refusal] = set()
    near, read, wanted = {a, b}, set[Node](), {a, b}
    steps = 1
    while True:
        limits = dict.fromkeys(sorted(wanted), LINKS_EACH_MAX)
        around, decisions = store.lookups.around(limits, [members])
        told += _told(around, decisions)
        refusals.update(around.refusals)
        read |= wanted
        found = chain(a, b, told, refusals)
        if found is not None and len(found) <= 2 * steps and not any(e.refused for e in found):
            # Only what is refused of those it leads through could make it another one.
            wanted = {end for each in found for end in (each.a, each.b)} - read
            if not wanted:
                return found
            continue
        wanted = set()
        while not wanted:
            beside = {
                each.b if each.a in near else each.a for each in told if {each.a, each.b} & near
            }
            wider = near.union(beside.intersection(members))
            if wider == near:
                return found or []
            near, wanted, steps = wider, wider - read, steps + 1


def _told(around: Around, decisions: Iterable[Decision]) -> list[Told]:
    return [*around.links, *around.must_links, *_must_links(decisions), *around.matches]


def _must_links(decisions: Iterable[Decision]) -> list[MustLink]:
    return [must for decision in decisions for must in decision.must_links()]


def read_told(store: Store, nodes: Sequence[Node], decisions: Iterable[Decision]) -> list[Told]:
    """All evidence that names any of `nodes`; `decisions` are those that do."""
    evidence = store.evidence
    return [
        *evidence.links_of(nodes, LINKS_EACH_MAX),
        *evidence.must_links_of(nodes),
        *_must_links(decisions),
        *evidence.matches_of(nodes),
    ]


class _Search:
    """Reads outward from two people over links, refused ones too, but not through hubs.

    Each step reaches the people who are one refused link further away, with all their identifiers: after n of
    them every chain of up to 2 n refused links is known, or of n where one end is a hub, so that a chain of no
    more has as few as there can be.
    """

    def __init__(
        self, store: Store, rules: Rules, one: Sequence[Node], other: Sequence[Node]
    ) -> None:
        self._store = store
        self._rules = rules
        self._sides = (set(one), set(other))
        self._met: list[Told] = []
        """Evidence that names anybody who was reached, read on from or not: one round trip brings it along."""
        self._told: dict[tuple[Node, Node, str], Told] = {}
        self._refusals: set[Refusal] = set()
        self._closed: set[Node] = set()
        self._steps = 0
        self._cut = False
        self.decisions: dict[str, Decision] = {}
        """Those that name anybody who was reached."""
        self._frontier, _ = self._meet({*one, *other}, [one, other])
        self._open = sum(not self._closed.issuperset(side) for side in self._sides)
        """From how many of the two ends is read on."""

    @property
    def refusals(self) -> set[Refusal]:
        """Those that name anybody who was reached."""
        return self._refusals

    def run(self, a: Node, b: Node) -> list[Reason] | None:
        """The chain between two identifiers; None if there is none near."""
        if not self._open:
            # Neither is read on from, but what names both is, and who was named with both.
            self._note(read_told(self._store, [a, b], self.decisions.values()))
            return chain(a, b, self._told.values(), self._refusals)
        while True:
            found = None
            if not self._sides[0].isdisjoint(self._sides[1]):
                found = chain(a, b, self._told.values(), self._refusals)
            # One with more refused links may go around people who were reached, but not read on from.
            near = self._open * self._steps
            if found is not None and sum(bool(each.refused) for each in found) <= near:
                return found
            if not self._read_on():
                return found

    def _note(self, told: Iterable[Told]) -> None:
        for each in told:
            self._told[each.a, each.b, f"{type(each).__name__} {each.first_event}"] = each

    def _read_on(self) -> bool:
        """Read one step further from both ends; whether there was anything to read."""
        if not self._frontier or self._steps == STEPS_MAX:
            return False
        self._steps += 1
        some = sorted(self._frontier)
        self._cut |= len(some) > READ_MAX
        some = some[:READ_MAX]
        self._note(self._told_of(some))
        reached = [self._beside(side, some) for side in self._sides]
        known = self._sides[0] | self._sides[1]
        new = reached[0].union(reached[1]).difference(known)
        open_now, clusters = self._meet(new)
        along: set[Node] = set()
        for side, found in zip(self._sides, reached, strict=True):
            members = {m for node in found & clusters.keys() for m in clusters[node].members}
            along |= members
            side.update(found, members)
        people = {cluster.members for cluster in clusters.values()}
        self._frontier = open_now | self._meet(along - new - known, people)[0]
        return True

    def _told_of(self, some: Sequence[Node]) -> list[Told]:
        """All evidence that names any of `some`, who were met."""
        mine = set(some)
        told = [each for each in self._met if each.a in mine or each.b in mine]
        links = Counter(end for each in told if isinstance(each, Link) for end in (each.a, each.b))
        # By these rules it is a hub, but people were decided by others.
        cut = [node for node in some if links[node] >= self._limit(node)]
        rest = read_told(self._store, cut, ()) if cut else []
        return [*told, *rest, *_must_links(self.decisions.values())]

    def _limit(self, node: Node) -> int:
        """Links of a node that are read when it is met: all but those of a hub, of which nobody reads on."""
        return min(fanout_max_of(node, self._rules) + 1, LINKS_EACH_MAX)

    def said(self) -> str:
        """What came of it, when nothing did."""
        if not self._cut and not self._frontier:
            return "nothing names both, nor anything that connects them"
        count = len(self._sides[0] | self._sides[1])
        return f"nothing near connects them: {count:,} identifiers around them were looked at"

    def _beside(self, side: set[Node], some: Sequence[Node]) -> set[Node]:
        """Who is named together with those of `some` that are on a side."""
        mine = side.intersection(some)
        found = set()
        for each in self._told.values():
            if each.a in mine:
                found.add(each.b)
            if each.b in mine:
                found.add(each.a)
        return found

    def _meet(
        self, nodes: Collection[Node], people: Iterable[Collection[Node]] = ()
    ) -> tuple[set[Node], Mapping[Node, Cluster]]:
        """Note what is known of nodes, who are `people`; those of them to read on from, and their clusters."""
        if not nodes:
            return set(), {}
        limits = {n: self._limit(n) for n in sorted(nodes)}
        around, decisions = self._store.lookups.around(limits, people)
        self._met += [*around.links, *around.must_links, *around.matches]
        self._refusals.update(around.refusals)
        self._closed |= {each.a for each in around.refusals if not of_two(each)}
        self.decisions |= {each.id: each for each in decisions}
        found = set(nodes) - self._closed
        return found, {node: around.clusters[node] for node in found & around.clusters.keys()}


def _in_the_way(
    store: Store,
    rules: Rules,
    search: _Search,
    ends: tuple[Node, Node],
    broken: Sequence[Reason],
) -> list[Obstacle]:
    """What refused the links of a chain; and that an end is a hub or blocked, chain or not."""
    alone = [each for each in search.refusals if not of_two(each) and each.a in ends]
    refused = list(dict.fromkeys(refused_in(broken, search.refusals) + sorted(alone, key=_first)))
    people = {each.a: people_named(store, each.a) for each in refused if each.rule == HUB}
    return [obstacle(each, search.decisions, people, rules) for each in refused]


def _first(refusal: Refusal) -> Node:
    return refusal.a


def _kept_apart(
    decisions: dict[str, Decision], one: Sequence[Node], other: Sequence[Node]
) -> list[Obstacle]:
    """Splits that stand between two people, whether a link was refused for them or not."""
    found = []
    for decision in sorted(decisions.values(), key=lambda each: (each.time_ms, each.id)):
        for apart in decision.keep_apart():
            mine = [group.intersection(one) for group in apart.groups]
            theirs = [group.intersection(other) for group in apart.groups]
            sides = [
                (min(left), min(right))
                for at, left in enumerate(mine)
                for to, right in enumerate(theirs)
                if at != to and left and right
            ]
            if sides:
                found.append(
                    Obstacle(
                        rule=f"{KEPT_APART}:{decision.id}",
                        detail=kept_apart_by(decision),
                        a=min(sides)[0],
                        b=min(sides)[1],
                        since_ms=decision.time_ms,
                    )
                )
    return found

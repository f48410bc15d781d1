"""The health of who is who: sizes, hubs, shared devices, growth, and what looks wrong (DESIGN §3.4). Pure.

What is read streams through the classes here; each keeps counts and the few worst, however much there is.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Final, Generic, TypeVar

import msgspec

from identity.conflicts import of_two
from identity.evidence import NEVER, Link, MustLink, Use
from identity.explain import Told
from identity.nodes import EMAIL, USER_ID, Node, code_of, type_code
from identity.resolve import Cluster, Refusal

KEPT: Final = 20
"""The worst of each kind that are kept."""
USERS_MAX: Final = 1_000
"""People told apart on one device: a call centre's has more, and no answer changes."""
OWN: Final = frozenset({code_of(USER_ID), code_of(EMAIL)})
"""Types of which few people share one: each side of a suspected bridge has one."""
USER: Final = code_of(USER_ID)
_SIDE_MIN: Final = 2
"""Identifiers on each side of a suspected bridge: one alone is most often just another address."""

_Item = TypeVar("_Item")


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """A person who may be two: what is all that holds them together."""

    profile_id: Node
    groups: tuple[tuple[Node, ...], ...]
    """The identifiers that would fall apart, the most first."""
    through: tuple[Node, ...]
    """The two ends of one link; or the one identifier that the groups share."""
    event_id: str = ""
    source: str = ""
    first_ms: int = 0
    """Of the link."""

    @property
    def weight(self) -> int:
        """How many identifiers would leave."""
        return sum(map(len, self.groups[1:]))


class Contested(msgspec.Struct, frozen=True):
    """People who may be one: an identifier that several of them named, or two people with much evidence."""

    nodes: tuple[Node, ...]
    """One identifier; or the profile ids of two people."""
    people: int
    links: int
    """Refused links that say so."""
    rules: tuple[str, ...]


class SharedDevice(msgspec.Struct, frozen=True):
    """A device that several people used."""

    device: Node
    people: int
    capped: bool
    """Whether there may be more."""


class Month(msgspec.Struct, frozen=True):
    """What was first seen in a month (UTC)."""

    month: str
    """`2026-03`."""
    people: int
    identifiers: int
    links: int


class Worst(Generic[_Item]):
    """The items of the highest weight; of equal ones, the first that came."""

    def __init__(self, most: int = KEPT) -> None:
        self._heap: list[tuple[int, int, _Item]] = []
        self._most = most
        self.seen = 0
        """How many there were."""

    def add(self, weight: int, item: _Item) -> None:
        """Keep it if it is among the worst."""
        self.seen += 1
        entry = (weight, -self.seen, item)
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, entry)
        elif entry[:2] > self._heap[0][:2]:
            heapq.heapreplace(self._heap, entry)

    def items(self) -> list[_Item]:
        """The worst first."""
        return [item for _, _, item in sorted(self._heap, key=lambda e: e[:2], reverse=True)]


class People:
    """Sizes of people, when they came about, and who may be two."""

    def __init__(self) -> None:
        self.sizes: Counter[int] = Counter()
        """How many people have so many identifiers."""
        self.types: Counter[int] = Counter()
        """Identifiers of people, by the code of their type."""
        self.largest: Worst[Cluster] = Worst()
        self.suspects: Worst[Suspect] = Worst()
        self.months: Counter[str] = Counter()
        self.identifier_months: Counter[str] = Counter()

    def add(self, cluster: Cluster, told: Sequence[Told]) -> None:
        """One person, with all evidence that names any of their identifiers."""
        self.sizes[len(cluster.members)] += 1
        self.types.update(map(type_code, cluster.members))
        self.largest.add(len(cluster.members), cluster)
        first = _first_ms(cluster.members, told)
        if first:
            self.months[_month(min(first.values()))] += 1
            self.identifier_months.update(map(_month, first.values()))
        if suspect := suspect_of(cluster, told):
            self.suspects.add(suspect.weight, suspect)


class Links:
    """How many links there are, when they were first said, and how many identifiers each hub names."""

    def __init__(self, hubs: Collection[Node]) -> None:
        self.count = 0
        self.months: Counter[str] = Counter()
        self.fanout: Counter[Node] = Counter(dict.fromkeys(hubs, 0))

    def add(self, link: Link) -> None:
        """One link."""
        self.count += 1
        self.months[_month(link.first_ms)] += 1
        for end in (link.a, link.b):
            if end in self.fanout:
                self.fanout[end] += 1


class Devices:
    """How many devices were used by how many people."""

    def __init__(self) -> None:
        self.by_people: Counter[int] = Counter()
        self.shared: Worst[SharedDevice] = Worst()

    def add(self, device: Node, people: Collection[Node], *, capped: bool = False) -> None:
        """One device and today's profile ids of its users."""
        self.by_people[len(people)] += 1
        if len(people) > 1:
            self.shared.add(len(people), SharedDevice(device, len(people), capped))


def users_of(uses: Iterable[Use]) -> Iterator[tuple[Node, set[Node], bool]]:
    """For each device: its person nodes, at most USERS_MAX, and whether there may be more.

    `uses` are grouped by device, as a store scans them.
    """
    for device, some in groupby(uses, key=lambda use: use.device):
        people: set[Node] = set()
        for use in some:
            if use.person and len(people) < USERS_MAX:
                people.add(use.person)
        if people:
            yield device, people, len(people) == USERS_MAX


def growth(people: People, links: Links) -> list[Month]:
    """What was first seen, by month, oldest first; months without anything are left out."""
    months = sorted({*people.months, *people.identifier_months, *links.months})
    return [
        Month(month, people.months[month], people.identifier_months[month], links.months[month])
        for month in months
    ]


def suspect_of(cluster: Cluster, told: Iterable[Told]) -> Suspect | None:
    """What holds a person together who may be two; None if nothing looks like it.

    Either one link that no trusted source said, between two groups of identifiers that each have a user id
    or an e-mail of their own: without that link they would be two people. Or one identifier, such as a
    phone number, that is all that groups with a user id or an e-mail of their own share: a family's phone.
    """
    among = [each for each in told if each.a in cluster.members and each.b in cluster.members]
    centre = set(cluster.members).intersection(*({each.a, each.b} for each in among))
    if len(cluster.members) <= _SIDE_MIN or (centre and _own(centre)):
        return None  # a star around a user id or an e-mail, as nearly everybody is
    graph = _graph(cluster.members, among)
    found = [*_bridges(cluster, graph), *_shared(cluster, graph)]
    # Of links that part as many, the newest: the others held when it joined two people.
    return max(found, key=lambda each: (each.weight, each.first_ms, each.through), default=None)


def _graph(members: Collection[Node], told: Iterable[Told]) -> Any:
    """A person's evidence: an edge is `sure` if a trusted source, an alias or an operator says so."""
    import networkx

    graph = networkx.Graph()
    graph.add_nodes_from(sorted(members))
    for each in told:
        sure = isinstance(each, MustLink) or (isinstance(each, Link) and each.trusted_ms < NEVER)
        held = graph.get_edge_data(each.a, each.b)
        if held is None:
            graph.add_edge(each.a, each.b, sure=sure, told=each)
        else:
            held["sure"] |= sure
    return graph


def _bridges(cluster: Cluster, graph: Any) -> Iterator[Suspect]:
    import networkx

    for a, b in list(networkx.bridges(graph)):
        edge = graph.edges[a, b]
        if edge["sure"]:
            continue
        cut = graph.copy()
        cut.remove_edge(a, b)
        sides = [networkx.node_connected_component(cut, end) for end in (a, b)]
        if all(len(side) >= _SIDE_MIN and _own(side) for side in sides):
            told = edge["told"]
            yield Suspect(
                profile_id=cluster.profile_id,
                groups=_ordered(sides),
                through=(min(a, b), max(a, b)),
                event_id=told.first_event,
                source="" if not isinstance(told, Link) else told.source,
                first_ms=told.first_ms,
            )


def _shared(cluster: Cluster, graph: Any) -> Iterator[Suspect]:
    import networkx

    for node in sorted(networkx.articulation_points(graph)):
        if type_code(node) in OWN:
            continue
        edges = graph.edges(node, data="sure")
        rest = graph.copy()
        rest.remove_node(node)
        sides = [side for side in networkx.connected_components(rest) if _own(side)]
        weak = [side for side in sides if not any(sure for _, to, sure in edges if to in side)]
        if len(sides) > 1 and weak:
            yield Suspect(profile_id=cluster.profile_id, groups=_ordered(sides), through=(node,))


def _own(side: Iterable[Node]) -> bool:
    return any(type_code(node) in OWN for node in side)


def _ordered(sides: Iterable[Collection[Node]]) -> tuple[tuple[Node, ...], ...]:
    ordered = sorted((tuple(sorted(side)) for side in sides), key=lambda side: (-len(side), side))
    return tuple(ordered)


def contested(
    refusals: Iterable[Refusal], person_of: Mapping[Node, Node]
) -> tuple[list[Contested], list[Contested]]:
    """People who may be one: identifiers that several people named, and pairs with more than one refused link.

    `person_of` gives today's profile id of each end; what is missing is a person of its own.
    """
    named: defaultdict[Node, list[tuple[Node, str]]] = defaultdict(list)
    between: defaultdict[tuple[Node, Node], list[str]] = defaultdict(list)
    for refusal in filter(of_two, refusals):
        a, b = (person_of.get(end, end) for end in (refusal.a, refusal.b))
        between[min(a, b), max(a, b)].append(refusal.rule)
        for end, other in ((refusal.a, b), (refusal.b, a)):
            if type_code(end) != USER:
                named[end].append((other, refusal.rule))
    several: Worst[Contested] = Worst()
    for node, others in named.items():
        people = len({other for other, _ in others} | {person_of.get(node, node)})
        if people > 2:
            several.add(
                people, Contested((node,), people, len(others), _rules(r for _, r in others))
            )
    pairs: Worst[Contested] = Worst()
    for pair, rules in between.items():
        if len(rules) > 1:
            pairs.add(len(rules), Contested(pair, 2, len(rules), _rules(rules)))
    return several.items(), pairs.items()


def _rules(rules: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(rules)))


def _first_ms(members: Collection[Node], told: Iterable[Told]) -> dict[Node, int]:
    """When each member was first named together with another."""
    first: dict[Node, int] = {}
    for each in told:
        for end in (each.a, each.b):
            if end in members:
                first[end] = min(each.first_ms, first.get(end, NEVER))
    return first


def _month(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m")

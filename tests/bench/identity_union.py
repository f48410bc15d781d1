"""Who is who in a population with something wrong in it: by the field's union, and by Onefold's rules."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from identity.event import Source
from identity.evidence import NEVER, Link, pair
from identity.extract import DAY_MS, Extractor
from identity.nodes import Node, NodeHasher
from identity.resolve import Evidence, Resolution, resolve
from identity.rules import Rules
from ingest.sources import Sources
from models.scores import Ints, closure
from tests.bench.identity_data import (
    DEVICE_ALIASES,
    Injection,
    Kind,
    World,
    messages,
    name_of,
)
from tests.bench.identity_shop import Said, said_by
from tests.workspace import KEYS

LINKS_AT_ONCE: Final = 100_000
"""Links that one call resolves, or one component if it has more."""
SOURCES: Final = Sources(
    {DEVICE_ALIASES: Source(name=DEVICE_ALIASES, alias_previous_is_device=True)}
)


class Found(NamedTuple):
    """What Onefold makes of a world and of what was injected."""

    person: Ints
    """The cluster of each identifier of the world; a device's is its own."""
    refused: int
    """Links that joined nobody because a rule forbids it."""
    hubs: int


def unguarded(made: World, injected: Injection | None, *, devices: bool) -> Ints:
    """Clusters of the world if whatever is named together is one person; devices join too, or do not."""
    left, right, kind = made.true.left, made.true.right, made.kind
    if injected is not None:
        left = np.concatenate([left, injected.pairs.left])
        right = np.concatenate([right, injected.pairs.right])
        kind = np.concatenate([kind, injected.kinds])
    if not devices:
        people = (kind[left] <= Kind.PHONE) & (kind[right] <= Kind.PHONE)
        left, right = left[people], right[people]
    return closure(len(kind), left, right)[: len(made.owner)]


def injected_by(made: World, injected: Injection) -> Said:
    """What injected messages say, by decoding and extraction."""
    extractor = Extractor(Rules(), NodeHasher(KEYS.hash_key))
    return said_by(messages(made, injected), extractor, SOURCES)


class Named:
    """The nodes of a world's person identifiers, and the links of what is true."""

    def __init__(self, made: World) -> None:
        self.made = made
        hasher = NodeHasher(KEYS.hash_key)
        people = np.flatnonzero(made.named)
        kinds = made.kind[people].tolist()
        self.node = {
            number: hasher.node(*name_of(number, kind))
            for number, kind in zip(people.tolist(), kinds, strict=True)
        }
        self.number = {node: number for number, node in self.node.items()}
        links = made.named[made.true.right]
        self._left, self._right, self._first, self._last = (column[links] for column in made.true)
        self._owner = made.owner[self._right]

    def true_links(self, persons: Ints, trusted: float = 0.0) -> dict[tuple[Node, Node], Link]:
        """What is true of `persons`; a share of it is what a trusted source says, the same each time."""
        some = np.isin(self._owner, persons)
        believed = np.random.default_rng(0).random(len(some))[some] < trusted
        columns = (self._left[some], self._right[some], self._first[some], self._last[some])
        links = {}
        for left, right, first, last, sure in zip(
            *(column.tolist() for column in columns), believed.tolist(), strict=True
        ):
            a, b = pair(self.node[left], self.node[right])
            links[a, b] = Link(
                a=a, b=b, first_ms=first, first_event=f"true-{right}", source="web",
                trusted_ms=first if sure else NEVER, last_ms=last // DAY_MS * DAY_MS,
            )  # fmt: skip
        return links


class Guarded:
    """Onefold's people: of the world as it is, and of what injections make of it."""

    def __init__(
        self,
        named: Named,
        rules: Rules,
        *,
        trusted: float = 0.0,
        heeded: Callable[[Sequence[Link]], Sequence[Link]] = lambda links: links,
    ) -> None:
        """`trusted` is the share of true links that the back end states; `heeded` tries out rules."""
        self._named = named
        self._rules = rules
        self._trusted = trusted
        self._heeded = heeded
        made = named.made
        self._person = np.arange(len(made.owner))
        self._refused = np.zeros(len(made.owner), np.int64)
        """Of each identifier, the refused links that begin there."""
        persons = np.unique(made.owner[made.named])
        for some in np.array_split(persons, len(persons) * 2 // LINKS_AT_ONCE + 1):
            links = heeded(list(self._links(some).values()))
            found = resolve(Evidence(links=links), rules)
            self._note(found, self._person, self._refused)

    def _links(self, persons: Ints) -> dict[tuple[Node, Node], Link]:
        return self._named.true_links(persons, self._trusted)

    def _note(self, found: Resolution, person: Ints, refused: Ints) -> None:
        """Write clusters into `person`, each as the least number of its members, and count refusals."""
        number = self._named.number
        for cluster in found.clusters:
            members = [number[node] for node in cluster.members if node in number]
            person[members] = min(members)
        for refusal in found.refusals:
            refused[min(number[end] for end in (refusal.a, refusal.b) if end in number)] += 1

    def clean(self) -> Found:
        """Nothing is wrong."""
        return Found(self._person, int(self._refused.sum()), 0)

    def after(self, said: Said) -> Found:
        """Everybody whom injected messages link with somebody is resolved again, from all links.

        `resolve` decides each component by itself (tests/identity/test_truth.py), so that the rest stays.
        """
        named, owner = self._named, self._named.made.owner
        told = {(link.a, link.b): link for link in said.evidence.links}
        ends = {named.number[node] for key in told for node in key if node in named.number}
        persons = np.unique(owner[sorted(ends)])
        links = self._links(persons)
        for key, link in told.items():
            held = links.get(key)
            links[key] = link if held is None else held.merge(link)
        person, refused, hubs = self._person.copy(), self._refused.copy(), 0
        touched = np.flatnonzero(np.isin(owner, persons))
        person[touched], refused[touched] = touched, 0
        for part in resolve_by_parts(self._heeded(list(links.values())), self._rules):
            self._note(part, person, refused)
            hubs += len(part.hubs)
        return Found(person, int(refused.sum()), hubs)


def resolve_by_parts(links: Sequence[Link], rules: Rules) -> Iterator[Resolution]:
    """`resolve`, some components at a time, so that memory is bounded by the largest one."""
    number: dict[Node, int] = {}
    left = np.array([number.setdefault(link.a, len(number)) for link in links], np.int64)
    right = np.array([number.setdefault(link.b, len(number)) for link in links], np.int64)
    component = closure(len(number), left, right)[left]
    order = np.argsort(component, kind="stable")
    starts = np.flatnonzero(np.diff(component[order], prepend=-1))
    begin = 0
    for end in [*starts[1:].tolist(), len(order)]:
        if end - begin >= LINKS_AT_ONCE or end == len(order):
            some = [links[place] for place in order[begin:end].tolist()]
            yield resolve(Evidence(links=some), rules)
            begin = end


def people_joined(person: Ints, owner: Ints) -> int:
    """Pairs of people who are in one cluster."""
    people = int(owner.max()) + 1
    clusters = np.unique(person * people + owner) // people
    counts = np.unique(clusters, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def no_bridges(links: Sequence[Link]) -> list[Link]:
    """What a rule would leave that Onefold does not have: one day's untrusted word joins no two settled ones.

    An identifier is settled if it has a link that is trusted, or that events of several days state.
    """
    # `last_ms` is the beginning of a day.
    sure = [link for link in links if link.trusted_ms < NEVER or link.last_ms > link.first_ms]
    settled = {node for link in sure for node in (link.a, link.b)}
    once = [link for link in links if link.trusted_ms == NEVER and link.last_ms <= link.first_ms]
    return [*sure, *(link for link in once if link.a not in settled or link.b not in settled)]

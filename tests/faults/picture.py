"""Everything that a workspace knows, in a form that can be compared whatever store keeps it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Any, TypeVar

import msgspec

from identity.evidence import Companion, Link, MustLink, Use
from identity.nodes import Node, names_device
from identity.resolve import Cluster, Refusal
from profiles.part import Body, Part, decode, encode
from storage.ports import Store
from storage.profiles import Found, Lookup, ProfileReader
from tests.workspace import NOON

AT_ONCE = 200

T = TypeVar("T")
L = TypeVar("L", Link, MustLink)


class Picture(msgspec.Struct, frozen=True):
    """All of it, without what a store may number as it likes."""

    rows: dict[tuple[Node, int, str], bytes]
    """The timeline: what each row says, hashed, without the position that counted it."""
    parts: dict[Node, bytes]
    """What each leaf folds to, byte for byte, without the position it stands at."""
    links: frozenset[Link]
    must_links: frozenset[MustLink]
    uses: frozenset[Use]
    companions: frozenset[Companion]
    people: frozenset[Cluster]
    refusals: frozenset[Refusal]
    identifiers: dict[str, int]
    dead_letters: dict[str, int]
    profiles: dict[Node, Found | None]


def picture(
    store: Store, reader: ProfileReader, kind_of: Mapping[str, str], now_ms: int = NOON
) -> Picture:
    """What `store` knows, with each source called by its kind: topics of two tests differ in their names."""
    rows = {}
    for row in store.timeline.scan():
        told = msgspec.structs.replace(row, offset=0, source=kind_of[row.source])
        rows[row.leaf, row.key_ms, row.message_id] = blake2b(
            msgspec.msgpack.encode(told), digest_size=16
        ).digest()
    leaves = {leaf for leaf, _, _ in rows}
    parts = parts_of(store)
    people = frozenset(store.people.scan())
    uses = frozenset(store.devices.scan_uses())
    nodes = leaves | parts.keys() | {node for one in people for node in one.members}
    nodes |= {use.device for use in uses}
    devices = [node for node in sorted(nodes) if names_device(node)]
    companions: set[Companion] = set()
    for some in _chunks(devices):
        found = store.devices.companions_of(some)
        companions.update(each for listed in found.values() for each in listed)
    return Picture(
        rows=rows,
        parts={leaf: encode(unplaced(part)) for leaf, part in parts.items()},
        links=frozenset(_renamed(each, kind_of) for each in store.evidence.scan_links()),
        must_links=frozenset(_renamed(each, kind_of) for each in store.evidence.scan_must_links()),
        uses=uses,
        companions=frozenset(companions),
        people=people,
        refusals=frozenset(store.people.refusals(10**6)),
        identifiers=store.identifiers.count(),
        dead_letters=store.dead_letters.counts(),
        profiles=profiles_of(reader, sorted(nodes), now_ms),
    )


def profiles_of(
    reader: ProfileReader, nodes: Sequence[Node], now_ms: int = NOON
) -> dict[Node, Found | None]:
    """The profile that each node leads to."""
    found: dict[Node, Found | None] = {}
    for some in _chunks(nodes):
        lookups = [Lookup(profile_id=node) for node in some]
        found.update(zip(some, reader.get_many(lookups, now_ms), strict=True))
    return found


def parts_of(store: Store) -> dict[Node, Part]:
    """Every leaf's part."""
    parts: dict[Node, Part] = {}
    after: Node | None = None
    while leaves := store.parts.leaves(after, 1_000):
        for some in _chunks(leaves):
            parts.update((leaf, decode(blob)) for leaf, blob in store.parts.read(some).items())
        after = leaves[-1]
    return parts


def unplaced(part: Part) -> Part:
    """A part as it is wherever its log put its events."""
    return msgspec.structs.replace(part, offset=0)


def events_in(part: Part) -> int:
    """How many events a part counts."""
    bodies: list[Body] = [visit.body for visit in part.visits]
    return sum(body.events for body in [*bodies, *([part.body] if part.body else [])])


def differences(expected: Picture, got: Picture, most: int = 5) -> list[str]:
    """What differs, in words; none if the two are equal."""
    told = []
    for field in Picture.__struct_fields__:
        mine, other = getattr(expected, field), getattr(got, field)
        if mine == other:
            continue
        told.append(
            f"{field}: {len(mine):,} expected, {len(other):,} found; {_first(mine, other, most)}"
        )
    return told


def _first(mine: Any, other: Any, most: int) -> str:
    if isinstance(mine, Mapping):
        unequal = [key for key in mine.keys() | other.keys() if mine.get(key) != other.get(key)]
        shown = [(key, mine.get(key), other.get(key)) for key in islice(unequal, most)]
        return f"{len(unequal):,} differ, such as (key, expected, found) {shown}"
    missing, more = mine - other, other - mine
    return (
        f"{len(missing):,} missing, such as {list(islice(missing, most))}, "
        f"{len(more):,} too many, such as {list(islice(more, most))}"
    )


def wrongly_joined(
    store: Store, reader: ProfileReader, people_of: Mapping[tuple[str, str], tuple[str, ...]]
) -> list[tuple[str, ...]]:
    """Clusters that hold two people who have no identifier in common, by the simulator's truth."""
    wrong = []
    clusters = list(store.people.scan())
    for some in _chunks(clusters):
        members = reader.members([node for cluster in some for node in cluster.members])
        named = {member.node: member.identifier for member in members}
        for cluster in some:
            owners: set[str] = set()
            shared: set[str] = set()
            for node in cluster.members:
                identifier = named[node]
                assert identifier is not None, f"no value of {node.hex()}"
                whose = people_of.get((identifier.type, identifier.value), ())
                owners.update(whose)
                shared.update(whose if len(whose) > 1 else ())
            if len(owners - shared) > 1:
                wrong.append(tuple(sorted(owners)))
    return wrong


def repeated(values: Iterable[str]) -> list[str]:
    """Values that occur more than once."""
    return [value for value, count in Counter(values).items() if count > 1]


def _renamed(link: L, kind_of: Mapping[str, str]) -> L:
    return msgspec.structs.replace(link, source=kind_of[link.source])


def _chunks(values: Iterable[T]) -> Iterable[list[T]]:
    left = iter(values)
    while some := list(islice(left, AT_ONCE)):
        yield some

"""Read a store once for the health of who is who (`identity.audit`), in batches: memory stays bounded."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

import msgspec

from identity import audit
from identity.audit import Contested, Month, SharedDevice, Suspect
from identity.conflicts import count_by_rule
from identity.explain import Told
from identity.nodes import DEVICE_TYPES, Node, code_of
from identity.resolve import HUB, Cluster
from storage.chunks import chunks
from storage.conflicts import SEARCHED_MAX
from storage.explaining import read_told
from storage.gathering import people_of
from storage.ports import Store
from storage.sharing import people_named

BATCH: Final = 200
"""People or devices read at a time."""
COUNTED_MAX: Final = 1_000
"""Identifiers beside a hub whose people are counted, for an audit takes its time."""

Progress = Callable[[str, int], None]
"""Hears how many of what were read so far."""
_Item = TypeVar("_Item")


class Hub(msgspec.Struct, frozen=True):
    """A person identifier that names so many that it names nobody."""

    node: Node
    identifiers: int
    """It was named together with so many."""
    people: str
    """How many people they are, in words."""
    since_ms: int


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """The health of who is who."""

    people: int
    """Of two identifiers or more."""
    alone: int
    """Person identifiers that nothing joins to another."""
    identifiers: dict[str, int]
    """How many are known, by type; devices too."""
    links: int
    sizes: dict[int, int]
    """How many people have so many identifiers; those alone included."""
    largest: list[Cluster]
    hubs: list[Hub]
    hub_count: int
    devices: dict[int, int]
    """How many devices were used by so many people."""
    shared_devices: list[SharedDevice]
    growth: list[Month]
    conflicts: dict[str, int]
    """By rule."""
    conflicts_cut: bool
    """Whether only the newest conflicts were looked at."""
    over_merges: list[Suspect]
    over_merge_count: int
    contested: list[Contested]
    """Identifiers that several people named."""
    splits: list[Contested]
    """Two people with more than one refused link between them."""


def read_audit(store: Store, progress: Progress) -> Audit:
    """Read everything once: people with their links, links, uses of devices, the newest conflicts."""
    refusals = store.people.refusals(SEARCHED_MAX)
    progress("conflicts", len(refusals))
    held = {each.a: each for each in refusals if each.rule == HUB}
    people = _people(store, progress)
    links = audit.Links(held)
    for link in _counted(store.evidence.scan_links(), "links", progress):
        links.add(link)
    devices = _devices(store, progress)
    ends = {end for each in refusals for end in (each.a, each.b)}
    several, pairs = audit.contested(refusals, people_of(store, ends))
    known = store.identifiers.count()
    alone = sum(
        count - people.types[code_of(name)]
        for name, count in known.items()
        if name not in DEVICE_TYPES
    )
    return Audit(
        people=sum(people.sizes.values()),
        alone=alone,
        identifiers=known,
        links=links.count,
        sizes={1: alone} | dict(sorted(people.sizes.items())),
        largest=people.largest.items(),
        hubs=[
            Hub(node, fanout, people_named(store, node, COUNTED_MAX), held[node].since_ms)
            for node, fanout in links.fanout.most_common(audit.KEPT)
        ],
        hub_count=len(held),
        devices=dict(sorted(devices.by_people.items())),
        shared_devices=devices.shared.items(),
        growth=audit.growth(people, links),
        conflicts=count_by_rule(refusals),
        conflicts_cut=len(refusals) == SEARCHED_MAX,
        over_merges=people.suspects.items(),
        over_merge_count=people.suspects.seen,
        contested=several,
        splits=pairs,
    )


def _people(store: Store, progress: Progress) -> audit.People:
    people = audit.People()
    clusters = _counted(store.people.scan(), "people", progress)
    for batch in chunks(clusters, BATCH):
        nodes = sorted({node for cluster in batch for node in cluster.members})
        told_of: dict[Node, list[Told]] = {}
        for each in read_told(store, nodes, store.decisions.of(nodes)):
            for end in {each.a, each.b}:
                told_of.setdefault(end, []).append(each)
        for cluster in batch:
            told = {id(t): t for node in cluster.members for t in told_of.get(node, ())}
            people.add(cluster, list(told.values()))
    return people


def _devices(store: Store, progress: Progress) -> audit.Devices:
    devices = audit.Devices()
    used = _counted(audit.users_of(store.devices.scan_uses()), "devices", progress)
    for batch in chunks(used, BATCH):
        today = people_of(store, {user for _, users, _ in batch for user in users})
        for device, users, capped in batch:
            devices.add(device, {today[user] for user in users}, capped=capped)
    return devices


def _counted(items: Iterable[_Item], what: str, progress: Progress) -> Iterator[_Item]:
    count = 0
    for count, item in enumerate(items, 1):  # told once more at the end
        yield item
        if count % BATCH == 0:
            progress(what, count)
    progress(what, count)

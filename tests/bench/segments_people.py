"""A store with a million profiles, made in bulk: copies of simulated people under other identifiers.

A simulated stream goes through the pipeline. What the store then holds of its people (parts, identifiers, uses,
companions, clusters) is written again through the same ports, with every node replaced by another one of its
type. Copies have no timelines: their parts hold what the segments need that were in force for the stream.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from identity.evidence import Companion, Use
from identity.nodes import Node, names_device
from identity.resolve import Cluster
from simulator.shop import Shop
from tests.bench.segments_data import Trees, define
from tests.workspace import NOON, Workspace

DAYS: Final = 30
PEOPLE: Final = 1_500
VISITS_PER_DAY: Final = 0.04
"""A good visit a person and month, of some eleven events: more is what few people do."""
AT_ONCE: Final = 5_000
_MADE: Final = "made"
"""The file that says how many profiles a kept store has, and when its newest event was."""


class Original(msgspec.Struct):
    """Everything of one person, or of one device that nobody uses by name."""

    nodes: list[Node]
    parts: dict[Node, tuple[int, bytes]]
    types: dict[Node, str]
    uses: list[Use]
    companions: list[Companion]
    cluster: Cluster | None = None


def simulate(world: Workspace, trees: Trees, visits_per_day: float = VISITS_PER_DAY) -> int:
    """Load a simulated stream while `trees` are in force; how many events."""
    if trees:
        define(world.store.definitions, trees, 1, NOON)
    shop = Shop(seed=5, people=PEOPLE, days=DAYS, visits_per_day=visits_per_day)
    events = [event for event, _ in shop]
    world.take(events, batch=1_000)
    return len(events)


def originals(world: Workspace) -> list[Original]:
    """The people of a workspace and the devices that nobody uses, each with all that is theirs."""
    store = world.store
    leaves = store.parts.leaves(None, 1 << 30)
    parts = store.parts.read(leaves)
    uses = store.devices.uses_of([leaf for leaf in leaves if names_device(leaf)])
    # A device of several people would join their copies: it stays with whoever is first.
    owner = {
        device: next((u.person for u in some if u.person), device) for device, some in uses.items()
    }
    clusters = store.people.clusters_of(leaves)
    groups: dict[Node, set[Node]] = {}
    for leaf in leaves:
        person = owner.get(leaf, leaf)
        cluster = clusters.get(person)
        groups.setdefault(cluster.profile_id if cluster else person, set()).add(leaf)
    found = []
    for profile, group in groups.items():
        cluster = clusters.get(profile)
        companions = store.devices.companions_of([node for node in group if names_device(node)])
        pairs = [each for some in companions.values() for each in some]
        nodes = group | {profile} | {each.with_node for each in pairs}
        nodes |= cluster.members if cluster else set()
        mine = [u for d in group for u in uses.get(d, ()) if not u.person or u.person in nodes]
        held = {node: (1, parts[node]) for node in group}
        types = {node: type_ for node, (type_, _) in store.identifiers.get(nodes).items()}
        found.append(Original(sorted(nodes), held, types, mine, pairs, cluster))
    return found


def copies(some: Sequence[Original], count: int) -> Iterator[tuple[Original, dict[Node, Node]]]:
    """So many originals, again and again, each time with other nodes."""
    for number in range(count):
        original = some[number % len(some)]
        salt = number.to_bytes(8, "big")
        yield original, {node: _other(node, salt) for node in original.nodes}


def _other(node: Node, salt: bytes) -> Node:
    made = hashlib.blake2b(node, digest_size=16, salt=salt).digest()
    return Node(made[:6] + node[6:8] + bytes((0x80 | made[8] & 0x3F,)) + made[9:])


def fill_store(world: Workspace, some: Sequence[Original], count: int) -> None:
    """Write copies into a store."""
    store, vault = world.store, world.keys.vault()
    every = copies(some, count)
    while batch := list(islice(every, AT_ONCE)):
        parts, values = {}, {}
        uses: list[Use] = []
        companions: list[Companion] = []
        clusters: list[Cluster] = []
        for original, new in batch:
            for node, (offset, blob) in original.parts.items():
                parts[new[node]] = (offset, _renamed(blob, new))
            for node, type_ in original.types.items():
                value = f"{new[node].hex()}"
                values[new[node]] = (type_, vault.seal(new[node], value))
            uses += [
                msgspec.structs.replace(u, device=new[u.device], person=new.get(u.person, u.person))
                for u in original.uses
            ]
            companions += [
                msgspec.structs.replace(c, node=new[c.node], with_node=new[c.with_node])
                for c in original.companions
            ]
            if cluster := original.cluster:
                members = frozenset(new[node] for node in cluster.members)
                clusters.append(Cluster(new[cluster.profile_id], members))
        with store.transaction():
            store.parts.write(parts)
            store.identifiers.put(values)
            store.devices.merge_uses(uses)
            store.devices.merge_companions(companions)
            store.people.write([n for c in clusters for n in c.members], clusters, [])


def _renamed(blob: bytes, new: Mapping[Node, Node]) -> bytes:
    for old, other in new.items():
        blob = blob.replace(old, other)
    return blob


def many(folder: Path, profiles: int, trees: Trees) -> tuple[Workspace, int]:
    """A workspace of so many profiles in which `trees` were in force, and the time of its newest event."""
    with tempfile.TemporaryDirectory() as small:
        world = Workspace(Path(small))
        simulate(world, trees)
        some = originals(world)
        newest = max(row.received_ms for row in world.store.timeline.scan())
        world.close()
    made = Workspace(folder)
    define(made.store.definitions, trees, 1, NOON)
    made.now = newest
    fill_store(made, some, profiles)
    made.store.next_offset(10)
    return made, newest


def many_again(
    kept: Path | None, folder: Path, profiles: int, trees: Trees
) -> tuple[Workspace, int]:
    """`many` in a folder: a copy of what is kept elsewhere, which is made if it is not there yet."""
    if kept is None:
        return many(folder, profiles, trees)
    told = kept / _MADE
    if not told.exists():
        world, newest = many(kept, profiles, trees)
        world.close()
        told.write_text(f"{profiles} {newest}")
    held, newest = map(int, told.read_text().split())
    if held != profiles:
        raise SystemExit(f"{kept} has {held:,} profiles: ask for as many, or name another folder")
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    world = Workspace(folder)
    world.now = newest
    return world, newest

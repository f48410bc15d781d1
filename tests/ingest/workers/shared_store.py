"""A store that many processes share, as Cassandra is one: registers by stamps, written one by one.

`Durable` holds what is written. Each process has a `View` of its own, whose `point` is called before each
single write: a simulation stops the process there, or lets others go on meanwhile.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, cast

import msgspec

from identity.changes import PersonChange
from identity.decisions import Decision
from identity.evidence import Companion, Link, Match, MustLink, Use
from identity.nodes import Node
from identity.owning import Ownership
from identity.resolve import Cluster, Refusal
from profiles.part import decode
from profiles.segments.catalogue import Edit
from profiles.segments.membership import Transition
from storage.ports import DeadLetter, SharedStore, Store, StoredPosition, TimelineQuery, TimelineRow
from storage.segment_ports import Backfill, Kept
from tests.ingest.workers.shared_segments import Backfills, Definitions, Evaluations, Lookups

Point = Callable[[str], None]
Stamp = tuple[int, int]


class Durable:
    """What is written, however far each process got."""

    def __init__(self) -> None:
        self.rows: dict[tuple[Node, int, str], TimelineRow] = {}
        self.parts: dict[Node, tuple[int, bytes]] = {}
        self.links: dict[tuple[Node, Node], Link] = {}
        self.must_links: dict[tuple[Node, Node], MustLink] = {}
        self.matches: dict[tuple[Node, Node], Match] = {}
        self.decisions: dict[str, Decision] = {}
        self.uses: dict[tuple[Node, Node, int], Use] = {}
        self.companions: dict[tuple[Node, Node], Companion] = {}
        self.owners: dict[Node, tuple[Stamp, Ownership]] = {}
        self.users: set[tuple[Node, Node]] = set()
        self.identifiers: dict[Node, tuple[str, bytes]] = {}
        self.people: dict[Node, tuple[Stamp, Cluster | None, tuple[Refusal, ...]]] = {}
        self.announced: tuple[Stamp, tuple[PersonChange, ...]] = ((0, 0), ())
        self.history: dict[str, PersonChange] = {}
        self.letters: dict[tuple[str, str, bytes], DeadLetter] = {}
        self.positions: dict[str, StoredPosition] = {}
        self.epochs: dict[str, int] = {}
        self.edits: list[Edit] = []
        self.kept: dict[Node, tuple[Stamp, Kept]] = {}
        self.told: list[Transition] = []
        self.backfill: Backfill | None = None

    @property
    def epoch(self) -> int:
        """Of those who decide people."""
        return self.epochs.get("identity", 0)

    def refusals(self) -> set[Refusal]:
        return {refusal for _, _, refusals in self.people.values() for refusal in refusals}

    def clusters(self) -> set[Cluster]:
        return {cluster for _, cluster, _ in self.people.values() if cluster is not None}


class View:
    """`storage.ports.Store` as one process has it."""

    waits = True

    def __init__(self, durable: Durable, point: Point) -> None:
        self.durable = durable
        self.point = point
        self.stamp: Stamp = (0, 0)
        self.timeline = _Timeline(self)
        self.parts = _Parts(self)
        self.evidence = _Evidence(self)
        self.decisions = _Decisions(self)
        self.devices = _Devices(self)
        self.owners = _Owners(self)
        self.people = _People(self)
        self.identifiers = _Identifiers(self)
        self.dead_letters = _DeadLetters(self)
        self.positions = _Positions(self)
        self.changes = _Changes(self)
        self.leases = _Leases(self)
        self.lookups = Lookups(self)
        self.definitions = Definitions(self)
        self.memberships = self.evaluations = Evaluations(self)
        self.backfills = Backfills(self)

    def next_stamp(self) -> Stamp:
        self.stamp = (self.stamp[0], self.stamp[1] + 1)
        return self.stamp

    @property
    def store(self) -> SharedStore:
        return cast(SharedStore, cast(Any, self))


class _Part:
    def __init__(self, view: View) -> None:
        self.view = view
        self.held = view.durable

    def point(self, name: str) -> None:
        self.view.point(name)


class _Timeline(_Part):
    def read(self, leaves: Sequence[Node], query: TimelineQuery) -> list[TimelineRow]:
        """Only as segments are filled: everything of some names."""
        self.point("read rows")
        wanted, names = set(leaves), {name.lower() for name in query.names}
        return [
            row
            for row in self.held.rows.values()
            if row.leaf in wanted and (not names or {row.name.lower(), row.type} & names)
        ]

    def add(
        self, rows: Sequence[TimelineRow], beyond: Mapping[Node, int] | None = None
    ) -> list[int]:
        lowest: dict[tuple[Node, int, str], int] = {}
        for row in rows:
            key = (row.leaf, row.key_ms, row.message_id)
            is_new = row.key_ms > (beyond or {}).get(row.leaf, 1 << 62)
            stored = None if is_new else self.held.rows.get(key)
            lowest[key] = min(
                row.offset, lowest.get(key, row.offset), stored.offset if stored else row.offset
            )
        for row in rows:
            key = (row.leaf, row.key_ms, row.message_id)
            if lowest[key] == row.offset:
                self.point("row")
                known = self.held.rows.get(key)
                if known is None or row.offset < known.offset:
                    self.held.rows[key] = row
        return [lowest[row.leaf, row.key_ms, row.message_id] for row in rows]


class _Parts(_Part):
    def read(self, leaves: Iterable[Node]) -> dict[Node, bytes]:
        self.point("read parts")
        return {leaf: self.held.parts[leaf][1] for leaf in leaves if leaf in self.held.parts}

    def write(self, blobs: Mapping[Node, tuple[int, bytes]]) -> None:
        for leaf, (offset, blob) in blobs.items():
            self.point("part")
            known = self.held.parts.get(leaf)
            if known is None or offset > known[0]:
                self.held.parts[leaf] = (offset, blob)
            elif offset == known[0]:
                ours, theirs = decode(blob), decode(known[1])
                if ours.collected_at == theirs.collected_at:
                    assert blob == known[1], "a part at a position is the same bytes"
                # Else each knows of segments that the other does not: one of them stays, as Cassandra has it.
                self.held.parts[leaf] = (offset, max(blob, known[1]))

    def leaves(self, after: Node | None, limit: int) -> list[Node]:
        self.point("read leaves")
        return sorted(leaf for leaf in self.held.parts if after is None or leaf > after)[:limit]

    def share(self, leaf: Node) -> float:
        return int.from_bytes(leaf[:8]) / (1 << 64)


class _Evidence(_Part):
    def merge_links(self, links: Sequence[Link]) -> list[Link]:
        changed = []
        for link in links:
            key = (link.a, link.b)
            held = self.held.links.get(key)
            self.point("link")
            before = self.held.links.get(key)
            self.held.links[key] = link if before is None else before.merge(link)
            # Whether it is news was read before, as from a database.
            merged = link if held is None else held.merge(link)
            news = held is None or (held.first_ms, held.first_event, held.trusted_ms) != (
                merged.first_ms, merged.first_event, merged.trusted_ms,
            )  # fmt: skip
            if news:
                changed.append(merged)
        return changed

    def merge_must_links(self, links: Sequence[MustLink]) -> list[MustLink]:
        changed = []
        for link in links:
            key = (link.a, link.b)
            held = self.held.must_links.get(key)
            self.point("must link")
            early = min(
                (each for each in (held, link) if each is not None),
                key=lambda each: (each.first_ms, each.first_event, each.source),
            )
            self.held.must_links[key] = early
            if early is not held:
                changed.append(early)
        return changed

    def links_of(self, nodes: Sequence[Node], limit_each: int | None = None) -> list[Link]:
        wanted = set(nodes)
        return [link for key, link in self.held.links.items() if not wanted.isdisjoint(key)]

    def must_links_of(self, nodes: Sequence[Node]) -> list[MustLink]:
        wanted = set(nodes)
        return [link for key, link in self.held.must_links.items() if not wanted.isdisjoint(key)]

    def merge_matches(self, matches: Sequence[Match]) -> list[Match]:
        changed = []
        for match in matches:
            self.point("match")
            held = self.held.matches.get((match.a, match.b))
            now = match if held is None else held.merge(match)
            self.held.matches[match.a, match.b] = now
            if now != held:
                changed.append(now)
        return changed

    def matches_of(self, nodes: Sequence[Node]) -> list[Match]:
        wanted = set(nodes)
        return [match for key, match in self.held.matches.items() if not wanted.isdisjoint(key)]


class _Decisions(_Part):
    """Each decision is one cell: what is written of it to several rows is the store's own matter."""

    def put(self, decisions: Sequence[Decision]) -> list[Decision]:
        merged = []
        for decision in decisions:
            self.point("decision")
            held = self.held.decisions.get(decision.id)
            now = decision if held is None else held.merge(decision)
            self.held.decisions[decision.id] = now
            merged.append(now)
        return merged

    def get(self, ids: Sequence[str]) -> dict[str, Decision]:
        return {each: self.held.decisions[each] for each in ids if each in self.held.decisions}

    def of(self, nodes: Sequence[Node]) -> list[Decision]:
        wanted = set(nodes)
        return [
            decision
            for _, decision in sorted(self.held.decisions.items())
            if not wanted.isdisjoint(decision.nodes)
        ]

    def blocked(self) -> frozenset[Node]:
        every = (decision.blocked() for decision in self.held.decisions.values())
        return frozenset[Node]().union(*every)


class _Devices(_Part):
    def merge_uses(self, uses: Sequence[Use]) -> None:
        for use in uses:
            self.point("use")
            key = (use.device, use.person, use.hour)
            held = self.held.uses.get(key)
            self.held.uses[key] = use if held is None else held.merge(use)

    def uses_of(self, devices: Iterable[Node]) -> dict[Node, list[Use]]:
        self.point("read uses")
        found: dict[Node, list[Use]] = {device: [] for device in devices}
        for use in self.held.uses.values():
            if use.device in found:
                found[use.device].append(use)
        return {
            device: sorted(some, key=lambda use: use.first_ms) for device, some in found.items()
        }

    def companions_of(self, nodes: Iterable[Node]) -> dict[Node, list[Companion]]:
        wanted = set(nodes)
        return {
            node: [each for each in self.held.companions.values() if each.node == node]
            for node in wanted
        }

    def merge_companions(self, companions: Sequence[Companion]) -> None:
        for each in companions:
            self.point("companion")
            held = self.held.companions.get((each.node, each.with_node))
            if held is None or held.last_ms < each.last_ms:
                self.held.companions[each.node, each.with_node] = each


class _Owners(_Part):
    def of(self, devices: Iterable[Node]) -> dict[Node, Ownership]:
        self.point("read owners")
        return {each: self.held.owners[each][1] for each in devices if each in self.held.owners}

    def put(self, owners: Mapping[Node, Ownership]) -> None:
        stamp = self.view.next_stamp()
        for device, ownership in owners.items():
            for user in ownership.users:
                self.point("device user")
                self.held.users.add((user, device))
        for device, ownership in owners.items():
            self.point("owner")
            held = self.held.owners.get(device)
            if held is None or stamp > held[0]:
                self.held.owners[device] = (stamp, ownership)

    def used_by(self, people: Iterable[Node]) -> set[Node]:
        self.point("read device users")
        wanted = set(people)
        return {device for person, device in self.held.users if person in wanted}


class _People(_Part):
    def clusters_of(self, nodes: Iterable[Node]) -> dict[Node, Cluster]:
        self.point("read people")
        found = {}
        for node in nodes:
            _, cluster, _ = self.held.people.get(node, ((0, 0), None, ()))
            if cluster is not None:
                found[node] = cluster
        return found

    def write(
        self, resolved: Collection[Node], clusters: Sequence[Cluster], refusals: Sequence[Refusal]
    ) -> None:
        cluster_of = {node: cluster for cluster in clusters for node in cluster.members}
        stamp = self.view.next_stamp()
        for node in sorted(resolved):
            self.point("person")
            mine = tuple(each for each in refusals if node in (each.a, each.b))
            held = self.held.people.get(node)
            if held is None or stamp > held[0]:
                self.held.people[node] = (stamp, cluster_of.get(node), mine)

    def refusals_of(self, nodes: Iterable[Node]) -> list[Refusal]:
        found = {
            refusal
            for node in nodes
            for refusal in self.held.people.get(node, ((0, 0), None, ()))[2]
        }
        return sorted(found, key=lambda each: (each.a, each.b))


class _Identifiers(_Part):
    def put(self, values: Mapping[Node, tuple[str, bytes]]) -> None:
        for node, value in values.items():
            self.point("identifier")
            self.held.identifiers.setdefault(node, value)

    def known(self, nodes: Iterable[Node]) -> set[Node]:
        return {node for node in nodes if node in self.held.identifiers}


class _DeadLetters(_Part):
    def add(self, letters: Sequence[DeadLetter]) -> None:
        for letter in letters:
            self.point("letter")
            self.held.letters.setdefault((letter.origin, letter.reason, letter.raw), letter)


class _Positions(_Part):
    def get(self, uris: Sequence[str]) -> dict[str, StoredPosition]:
        return {uri: self.held.positions[uri] for uri in uris if uri in self.held.positions}

    def put(self, positions: Sequence[StoredPosition]) -> None:
        for position in positions:
            self.point("position")
            self.held.positions[position.uri] = position


class _Changes(_Part):
    """One cell that is replaced, by the stamp of whoever writes it."""

    def announce(self, changes: Sequence[PersonChange]) -> None:
        # Nothing is announced, too: the cell then has the stamp of whoever did.
        self._replace({each.id: each for each in (*self.held.announced[1], *changes)})

    def announced(self, limit: int) -> list[PersonChange]:
        self.point("read changes")
        return list(self.held.announced[1][:limit])

    def published(self, changes: Sequence[PersonChange]) -> None:
        for change in changes:
            self.point("history")
            self.held.history[change.id] = change
        left = {each.id: each for each in self.held.announced[1]}
        for change in changes:
            left.pop(change.id, None)
        self._replace(left)

    def _replace(self, changes: dict[str, PersonChange]) -> None:
        stamp = self.view.next_stamp()
        self.point("announce")
        if stamp > self.held.announced[0]:
            self.held.announced = (stamp, tuple(changes.values()))


class _Leases(_Part):
    def take(self, name: str, holder: str) -> int:
        self.point("lease")
        epoch = self.held.epochs[name] = self.held.epochs.get(name, 0) + 1
        self.view.stamp = (epoch, 0)
        return epoch

    def epoch(self, name: str) -> int:
        self.point("epoch")
        return self.held.epochs.get(name, 0)

    def epochs(self, names: Iterable[str]) -> dict[str, int]:
        return {name: self.epoch(name) for name in names}


def write_to(durable: Durable, store: Store) -> None:
    """Put everything into a store of one file, to be read as profiles."""
    # Offsets of several partitions may be equal; a store of one file has one log.
    rows = sorted(durable.rows.values(), key=lambda row: (row.leaf, row.offset))
    store.timeline.add(_numbered(rows))
    store.parts.write(durable.parts)
    store.evidence.merge_links(list(durable.links.values()))
    store.evidence.merge_must_links(list(durable.must_links.values()))
    store.evidence.merge_matches(list(durable.matches.values()))
    store.decisions.put(list(durable.decisions.values()))
    store.devices.merge_uses(list(durable.uses.values()))
    store.devices.merge_companions(list(durable.companions.values()))
    store.identifiers.put(durable.identifiers)
    store.people.write(set(durable.people), list(durable.clusters()), list(durable.refusals()))


def _numbered(rows: Iterable[TimelineRow]) -> list[TimelineRow]:
    return [msgspec.structs.replace(row, offset=number) for number, row in enumerate(rows, 1)]

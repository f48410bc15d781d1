"""Read a profile: node → members → their parts → their devices' parts (DESIGN §4). Nothing is stored."""

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from typing import Any

import msgspec

from identity.devices import owners_of, present_owner
from identity.evidence import Use
from identity.nodes import Identifier, Node, NodeHasher, names_device, type_code
from identity.normalize import Normalizer
from identity.resolve import Cluster
from identity.rules import Rules
from profiles.part import Part, Visit, decode
from profiles.profile import Member, Profile, assemble
from storage.keys import Vault
from storage.ports import Held, Named, Store, TimelineQuery, TimelineRow


class Lookup(msgspec.Struct, frozen=True):
    """Whom a caller asks for: a profile id, or identifiers as `(type, raw value)`."""

    profile_id: Node | None = None
    identifiers: tuple[Identifier, ...] = ()


class Answer(StrEnum):
    """What a lookup found."""

    PERSON = "person"
    DEVICE_OWNER = "device_owner"
    """The present owner of the device that was named. Somebody else may be sitting there."""
    DEVICE = "device"
    """A device's activity that belongs to nobody."""


class Resolved(msgspec.Struct, frozen=True):
    """Which profile a lookup means."""

    profile_id: Node
    answered_by: Answer
    matched: Node
    """The identifier that answered."""
    disagreeing: tuple[Node, ...]
    """Identifiers of the lookup that belong to another profile."""
    members: tuple[Node, ...]


class Found(msgspec.Struct, frozen=True):
    """A profile, and how it was found."""

    profile: Profile
    answered_by: Answer
    matched: Node
    disagreeing: tuple[Node, ...] = ()


class ProfileReader:
    """Answers lookups from one store. Any thread may use it."""

    def __init__(self, store: Store, rules: Rules, hasher: NodeHasher, vault: Vault) -> None:
        self._store = store
        self._rules = rules
        self._hasher = hasher
        self._vault = vault
        self._normalizer = Normalizer(rules)
        # Each SQL statement lets go of the interpreter's lock. Reads that take turns cost half the CPU of
        # reads that fight over it, and Python runs one of them at a time in any case.
        self._turn: AbstractContextManager[Any] = nullcontext() if store.waits else threading.Lock()
        self._rank = {
            name: rank for rank, name in enumerate((*rules.person_priority, *rules.external_ids))
        }

    def get(self, lookup: Lookup, now_ms: int) -> Found | None:
        """The profile, or None if nothing is known of any of its identifiers."""
        return self.get_many([lookup], now_ms)[0]

    def get_many(self, lookups: Sequence[Lookup], now_ms: int) -> list[Found | None]:
        """`get` for each lookup."""
        with self._turn:
            found, named = self._find(lookups, now_ms)
            return [
                None if resolved is None else self._assemble(resolved, named) for resolved in found
            ]

    def resolve(self, lookups: Sequence[Lookup], now_ms: int) -> list[Resolved | None]:
        """Which profile each lookup means, without reading what it did."""
        return self._find(lookups, now_ms)[0]

    def _find(
        self, lookups: Sequence[Lookup], now_ms: int
    ) -> tuple[list[Resolved | None], dict[Node, Named]]:
        """Which profile each lookup means, and what came along with the identifiers that were named."""
        wanted = [self._nodes(lookup) for lookup in lookups]
        named = self._store.lookups.named({node for nodes in wanted for node in nodes})
        known = [[node for node in nodes if node in named] for nodes in wanted]
        found = [self._resolve(nodes, named, now_ms) if nodes else None for nodes in known]
        return found, named

    def timeline(
        self, lookup: Lookup, query: TimelineQuery, now_ms: int
    ) -> list[TimelineRow] | None:
        """Events of the person and of the visits that are theirs, newest first; None if unknown."""
        (resolved,), named = self._find([lookup], now_ms)
        if resolved is None:
            return None
        read = self._read(resolved, named)
        leaves = [*read.parts, *(device for device, _, _ in read.devices)]
        owned = {
            entry[0]: self._visits_of(resolved, entry, read.person_of) for entry in read.devices
        }
        rows: list[TimelineRow] = []
        before = query.before
        while len(rows) < query.limit:
            page = self._store.timeline.read(leaves, msgspec.structs.replace(query, before=before))
            rows += [row for row in page if _belongs(row, owned)]
            if len(page) < query.limit:
                break
            before = (page[-1].key_ms, page[-1].message_id, page[-1].leaf)
        return rows[: query.limit]

    def members(self, nodes: Iterable[Node]) -> list[Member]:
        """Nodes with their values, in the order given."""
        wanted = list(nodes)
        sealed = self._store.identifiers.get(wanted)
        return [self._member(node, sealed.get(node)) for node in wanted]

    def _member(self, node: Node, held: tuple[str, bytes] | None) -> Member:
        if held is None:
            return Member(node, None)
        return Member(node, Identifier(held[0], self._vault.open(node, held[1])))

    def _nodes(self, lookup: Lookup) -> list[Node]:
        """The nodes of a lookup, best first: people before devices, then by priority."""
        if lookup.profile_id is not None:
            return [lookup.profile_id]
        nodes = []
        for identifier in lookup.identifiers:
            value = self._normalizer.value(identifier.type, identifier.value)
            if value:
                rank = self._rank.get(identifier.type, len(self._rank))
                nodes.append((rank, self._hasher.node(identifier.type, value)))
        nodes.sort(key=lambda ranked: (names_device(ranked[1]), ranked[0], type_code(ranked[1])))
        return [node for _, node in nodes]

    def _resolve(self, nodes: Sequence[Node], named: dict[Node, Named], now_ms: int) -> Resolved:
        matched = nodes[0]
        if names_device(matched):
            return self._resolve_device(matched, named, now_ms)
        cluster = named[matched].cluster
        disagreeing = tuple(
            node for node in nodes[1:] if not names_device(node) and node not in cluster.members
        )
        return Resolved(
            cluster.profile_id, Answer.PERSON, matched, disagreeing, tuple(sorted(cluster.members))
        )

    def _resolve_device(self, device: Node, named: dict[Node, Named], now_ms: int) -> Resolved:
        uses = named[device].uses
        if not uses:
            # An advertising id has no uses of its own: its newest companion answers.
            for companion in self._store.devices.companions_of([device]).get(device, []):
                if companion_uses := self._store.devices.uses_of([companion.with_node]):
                    uses = companion_uses[companion.with_node]
                    break
        users = {use.person for use in uses if use.person}
        found = self._store.lookups.named(users) if users else {}
        person_of = {
            user: found[user].cluster.profile_id if user in found else user for user in users
        }
        owner = present_owner(uses, person_of.__getitem__, now_ms, self._rules)
        if owner is None:
            return Resolved(device, Answer.DEVICE, device, (), (device,))
        # Its owner's part was read with the others', and is not read again.
        named |= found
        cluster = next(
            (found[user].cluster for user in users if person_of[user] == owner and user in found),
            Cluster(owner, frozenset({owner})),
        )
        return Resolved(
            cluster.profile_id, Answer.DEVICE_OWNER, device, (), tuple(sorted(cluster.members))
        )

    def _person_of(self, people: Iterable[Node]) -> dict[Node, Node]:
        """Today's profile ids of person nodes."""
        wanted = set(people)
        clusters = self._store.people.clusters_of(wanted) if wanted else {}
        return {node: clusters[node].profile_id if node in clusters else node for node in wanted}

    def _read(self, resolved: Resolved, named: Mapping[Node, Named]) -> "_Read":
        """Parts of the members, and parts and uses of the devices that they used."""
        parts: dict[Node, Part] = {}
        found, devices = dict(named), [resolved.profile_id]
        if resolved.answered_by is not Answer.DEVICE:
            parts, found, devices = self._follow(resolved.members, named)
        uses_of = {device: found[device].uses for device in devices if device in found}
        person_of = self._people_of((use for mine in uses_of.values() for use in mine), resolved)
        read = []
        for device in devices:
            mine = uses_of.get(device, ())
            # A kiosk's part is large and nobody's: the rule for a device of many people needs no visits.
            owners = {person_of[use.person] for use in mine if use.person}
            kiosk = len(owners) > self._rules.owners_max and device != resolved.profile_id
            blob = found[device].held.part if device in found and not kiosk else None
            read.append((device, decode(blob) if blob else Part(), mine))
        return _Read(parts, read, {node: each.held for node, each in found.items()}, person_of)

    def _follow(
        self, members: Collection[Node], named: Mapping[Node, Named]
    ) -> tuple[dict[Node, Part], dict[Node, Named], list[Node]]:
        """The members' parts, all that is known of them and their devices, and those, newest first.

        One read after the one of the identifiers that were named, since devices that are known by then are
        read along with the other members; another one if these used further devices.
        """
        found = {node: named[node] for node in members if node in named}
        parts: dict[Node, Part] = {}
        newest: dict[Node, int] = {}
        asked: set[Node] = set()
        new = found
        while True:
            for node, each in new.items():
                if node in members and each.held.part:
                    part = parts[node] = decode(each.held.part)
                    for device, last_ms in (part.body.devices if part.body else {}).items():
                        newest[Node(device)] = max(last_ms, newest.get(Node(device), last_ms))
            asked |= new.keys()
            wanted = (set(members) | newest.keys()) - asked
            if not wanted:
                break
            asked |= wanted
            new = self._store.lookups.named(wanted)
            found |= new
        return parts, found, sorted(newest, key=lambda device: (-newest[device], device))

    def _people_of(self, uses: Iterable[Use], resolved: Resolved) -> dict[Node, Node]:
        """Today's profile id of every person node that used a device."""
        members = frozenset(resolved.members)
        people = {use.person for use in uses if use.person}
        others = people - members
        return self._person_of(others) | dict.fromkeys(people & members, resolved.profile_id)

    def _visits_of(
        self,
        resolved: Resolved,
        entry: tuple[Node, Part, Sequence[Use]],
        person_of: Mapping[Node, Node],
    ) -> list[Visit]:
        """The visits of a device that belong to a profile."""
        device, part, uses = entry
        if not part.visits:
            return []
        spans = [(visit.start_ms, visit.end_ms) for visit in part.visits]
        owned = owners_of(spans, uses, person_of.__getitem__, self._rules)
        mine = None if resolved.profile_id == device else resolved.profile_id
        return [
            visit for visit, owner in zip(part.visits, owned, strict=True) if owner.person == mine
        ]

    def _assemble(self, resolved: Resolved, named: Mapping[Node, Named]) -> Found:
        read = self._read(resolved, named)
        bodies = [part.body for part in read.parts.values() if part.body]
        visits = 0
        for entry in read.devices:
            owned = self._visits_of(resolved, entry, read.person_of)
            visits += len(owned)
            bodies += [visit.body for visit in owned]
            if entry[0] == resolved.profile_id and entry[1].body:
                bodies.append(entry[1].body)
        members = () if resolved.answered_by is Answer.DEVICE else resolved.members
        profile = assemble(
            resolved.profile_id,
            bodies,
            members=[self._named(node, read) for node in members],
            devices=[self._named(device, read) for device, _, _ in read.devices],
            anonymous_visits=visits,
        )
        return Found(profile, resolved.answered_by, resolved.matched, resolved.disagreeing)

    def _named(self, node: Node, read: "_Read") -> Member:
        held = read.held.get(node)
        return self._member(node, (held.type, held.sealed) if held else None)


class _Read(msgspec.Struct, frozen=True):
    """What a profile is put together from."""

    parts: dict[Node, Part]
    devices: list[tuple[Node, Part, Sequence[Use]]]
    held: dict[Node, Held]
    person_of: dict[Node, Node]
    """Today's profile ids of the person nodes that used the devices."""


def _belongs(row: TimelineRow, owned: Mapping[Node, Sequence[Visit]]) -> bool:
    visits = owned.get(row.leaf)
    if visits is None:
        return True
    return any(visit.start_ms <= row.time_ms <= visit.end_ms for visit in visits)

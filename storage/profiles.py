"""Read a profile: node → members → their parts → their devices' parts (DESIGN §4). Nothing is stored."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec

from identity.devices import owners_of, present_owner
from identity.evidence import Use
from identity.nodes import Identifier, Node, NodeHasher, names_device, type_code
from identity.normalize import Normalizer
from identity.resolve import Cluster
from identity.rules import Rules
from profiles.part import Body, Part, decode
from profiles.profile import Member, Profile, assemble
from storage.keys import Vault
from storage.ports import Store, TimelineQuery, TimelineRow


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
        self._rank = {
            name: rank for rank, name in enumerate((*rules.person_priority, *rules.external_ids))
        }

    def get(self, lookup: Lookup, now_ms: int) -> Found | None:
        """The profile, or None if nothing is known of any of its identifiers."""
        return self.get_many([lookup], now_ms)[0]

    def get_many(self, lookups: Sequence[Lookup], now_ms: int) -> list[Found | None]:
        """`get` for each lookup."""
        return [
            None if resolved is None else self._assemble(resolved)
            for resolved in self.resolve(lookups, now_ms)
        ]

    def resolve(self, lookups: Sequence[Lookup], now_ms: int) -> list[Resolved | None]:
        """Which profile each lookup means, without reading what it did."""
        wanted = [self._nodes(lookup) for lookup in lookups]
        known = self._store.identifiers.known({node for nodes in wanted for node in nodes})
        found = [[node for node in nodes if node in known] for nodes in wanted]
        clusters = self._store.people.clusters_of(
            {node for nodes in found for node in nodes if not names_device(node)}
        )
        return [self._resolve(nodes, clusters, now_ms) if nodes else None for nodes in found]

    def timeline(
        self, lookup: Lookup, query: TimelineQuery, now_ms: int
    ) -> list[TimelineRow] | None:
        """Events of the person and of the visits that are theirs, newest first; None if unknown."""
        (resolved,) = self.resolve([lookup], now_ms)
        if resolved is None:
            return None
        parts, device_parts = self._parts(resolved)
        leaves = [*parts, *device_parts]
        owned = {
            device: self._visits_of(resolved.profile_id, device, part, uses)
            for (device, part), uses in self._with_uses(device_parts)
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
        members = []
        for node in wanted:
            held = sealed.get(node)
            value = Identifier(held[0], self._vault.open(node, held[1])) if held else None
            members.append(Member(node, value))
        return members

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

    def _resolve(
        self, nodes: Sequence[Node], clusters: Mapping[Node, Cluster], now_ms: int
    ) -> Resolved:
        matched = nodes[0]
        if names_device(matched):
            return self._resolve_device(matched, now_ms)
        cluster = clusters.get(matched) or Cluster(matched, frozenset({matched}))
        disagreeing = tuple(
            node for node in nodes[1:] if not names_device(node) and node not in cluster.members
        )
        return Resolved(
            cluster.profile_id, Answer.PERSON, matched, disagreeing, tuple(sorted(cluster.members))
        )

    def _resolve_device(self, device: Node, now_ms: int) -> Resolved:
        uses = self._store.devices.uses_of([device]).get(device, [])
        if not uses:
            # An advertising id has no uses of its own: its newest companion answers.
            for companion in self._store.devices.companions_of([device]).get(device, []):
                if companion_uses := self._store.devices.uses_of([companion.with_node]):
                    uses = companion_uses[companion.with_node]
                    break
        person_of = self._person_of(uses)
        owner = present_owner(uses, lambda node: person_of.get(node, node), now_ms, self._rules)
        if owner is None:
            return Resolved(device, Answer.DEVICE, device, (), (device,))
        cluster = self._store.people.clusters_of([owner]).get(owner) or Cluster(
            owner, frozenset({owner})
        )
        return Resolved(
            cluster.profile_id, Answer.DEVICE_OWNER, device, (), tuple(sorted(cluster.members))
        )

    def _person_of(self, uses: Iterable[Use]) -> dict[Node, Node]:
        people = {use.person for use in uses if use.person}
        clusters = self._store.people.clusters_of(people)
        return {node: cluster.profile_id for node, cluster in clusters.items()}

    def _parts(self, resolved: Resolved) -> tuple[dict[Node, Part], dict[Node, Part]]:
        """The parts of the members, and those of the devices that they used."""
        parts = {
            leaf: decode(blob) for leaf, blob in self._store.parts.read(resolved.members).items()
        }
        if resolved.answered_by is Answer.DEVICE:
            return {}, parts
        devices: dict[Node, int] = {}
        for part in parts.values():
            for device, last_ms in (part.body.devices if part.body else {}).items():
                devices[Node(device)] = max(last_ms, devices.get(Node(device), last_ms))
        ranked = sorted(devices, key=lambda device: (-devices[device], device))
        blobs = self._store.parts.read(ranked) if ranked else {}
        return parts, {
            device: decode(blobs[device]) if device in blobs else Part() for device in ranked
        }

    def _with_uses(
        self, device_parts: Mapping[Node, Part]
    ) -> list[tuple[tuple[Node, Part], list[Use]]]:
        uses = self._store.devices.uses_of(device_parts) if device_parts else {}
        return [((device, part), uses.get(device, [])) for device, part in device_parts.items()]

    def _visits_of(
        self, profile_id: Node, device: Node, part: Part, uses: Sequence[Use]
    ) -> list[tuple[int, int, Body]]:
        """The visits of a device that belong to a profile."""
        if not part.visits:
            return []
        person_of = self._person_of(uses)
        owned = owners_of(
            [(visit.start_ms, visit.end_ms) for visit in part.visits],
            uses,
            lambda node: person_of.get(node, node),
            self._rules,
        )
        mine = None if profile_id == device else profile_id
        return [
            (visit.start_ms, visit.end_ms, visit.body)
            for visit, owner in zip(part.visits, owned, strict=True)
            if owner.person == mine
        ]

    def _assemble(self, resolved: Resolved) -> Found:
        parts, device_parts = self._parts(resolved)
        bodies = [part.body for part in parts.values() if part.body]
        visits = 0
        for (device, part), uses in self._with_uses(device_parts):
            owned = self._visits_of(resolved.profile_id, device, part, uses)
            visits += len(owned)
            bodies += [body for _, _, body in owned]
            if device == resolved.profile_id and part.body:
                bodies.append(part.body)
        members = () if resolved.answered_by is Answer.DEVICE else resolved.members
        named = self.members([*members, *device_parts])
        profile = assemble(
            resolved.profile_id,
            bodies,
            members=named[: len(members)],
            devices=named[len(members) :],
            anonymous_visits=visits,
        )
        return Found(profile, resolved.answered_by, resolved.matched, resolved.disagreeing)


def _belongs(row: TimelineRow, owned: Mapping[Node, Sequence[tuple[int, int, Body]]]) -> bool:
    visits = owned.get(row.leaf)
    if visits is None:
        return True
    return any(start <= row.time_ms <= end for start, end, _ in visits)

"""Read a profile: node → members → their parts → their devices' parts (DESIGN §4). Nothing is stored."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import msgspec

from identity.devices import present_owner
from identity.nodes import Identifier, Node, NodeHasher, names_device, type_code
from identity.normalize import Normalizer
from identity.resolve import Cluster
from identity.rules import Rules
from profiles.part import Body, Visit, decode_active
from profiles.profile import Member, Profile, active, assemble
from profiles.segments.subject import subject_of
from storage.catalogues import Catalogues
from storage.gathering import Answer, Gathered, Gatherer, Resolved
from storage.identity_ports import Named
from storage.keys import Vault
from storage.ports import Store, TimelineQuery, TimelineRow


class Lookup(msgspec.Struct, frozen=True):
    """Whom a caller asks for: a profile id, or identifiers as `(type, raw value)`."""

    profile_id: Node | None = None
    identifiers: tuple[Identifier, ...] = ()


DEFINITIONS_AGE_S: Final = 1.0
"""A computed trait shows on profiles this long after it was defined, at most."""


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
        self._gatherer = Gatherer(store, rules)
        self._active_gatherer = Gatherer(store, rules, decode_active)
        self._catalogues = Catalogues(store.definitions, DEFINITIONS_AGE_S)
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
            read = iter(self._gatherer.gather([each for each in found if each], named))
            return [self._assemble(next(read), now_ms) if each else None for each in found]

    def active(self, lookup: Lookup, now_ms: int) -> Found | None:
        """`get`, of what recommendations ask: what was done with items, consent and times.

        Nothing else of the profile is decoded, opened or computed.
        """
        with self._turn:
            found, named = self._find([lookup], now_ms)
            if found[0] is None:
                return None
            (read,) = self._active_gatherer.gather([found[0]], named)
        bodies, _ = read.bodies(self._rules)
        return _found(read.resolved, active(read.resolved.profile_id, bodies))

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
        (read,) = self._gatherer.gather([resolved], named)
        leaves = [*read.parts, *(device for device, _, _ in read.devices)]
        owned = {entry[0]: read.visits_of(entry, self._rules) for entry in read.devices}
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

    def _assemble(self, read: Gathered, now_ms: int) -> Found:
        bodies, visits = read.bodies(self._rules)
        resolved = read.resolved
        profile = assemble(
            resolved.profile_id,
            bodies,
            members=[
                self._named(n, read) for n in (() if read.device_profile else resolved.members)
            ],
            devices=[self._named(device, read) for device, _, _ in read.devices],
            anonymous_visits=visits,
            computed=self._computed(read, bodies, now_ms),
        )
        return _found(resolved, profile)

    def _computed(self, read: Gathered, bodies: Sequence[Body], now_ms: int) -> dict[str, Any]:
        catalogue = self._catalogues.now()
        if not catalogue.computed or not bodies:
            return {}
        computers = catalogue.computes_at(read.collected_at)
        subject = subject_of(bodies, ())
        values = {name: computer.of(subject, now_ms).value for name, computer in computers.items()}
        return {name: value for name, value in values.items() if value is not None}

    def _named(self, node: Node, read: Gathered) -> Member:
        held = read.held.get(node)
        return self._member(node, (held.type, held.sealed) if held else None)


def _found(resolved: Resolved, profile: Profile) -> Found:
    return Found(profile, resolved.answered_by, resolved.matched, resolved.disagreeing)


def _belongs(row: TimelineRow, owned: Mapping[Node, Sequence[Visit]]) -> bool:
    visits = owned.get(row.leaf)
    if visits is None:
        return True
    return any(visit.start_ms <= row.time_ms <= visit.end_ms for visit in visits)

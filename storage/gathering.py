"""What profiles are put together from: the parts of members, and of the devices that they used (DESIGN §4)."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from identity.devices import owners_of, user_of_all
from identity.evidence import Use
from identity.nodes import Node, names_device
from identity.resolve import Cluster
from identity.rules import Rules
from profiles.part import Body, Part, Visit, decode, visit_ends, visit_spans
from storage.identity_ports import Held, Named
from storage.ports import Store

NEWEST: Final = 1 << 62
"""Nothing happened: whatever may be needed of it is there."""


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

    @property
    def histories(self) -> tuple[Node, ...]:
        """Whose changes a lookup asks for: those of a person, or of the device that was named."""
        return (self.matched,) if names_device(self.matched) else self.members


class Gathered(msgspec.Struct, frozen=True):
    """What one profile is put together from."""

    resolved: Resolved
    parts: dict[Node, Part]
    """Of its members."""
    devices: list[tuple[Node, Part, Sequence[Use]]]
    """Those it used, newest first; for a device's own profile, the device."""
    held: dict[Node, Held]
    """What is stored of members and devices."""
    person_of: Mapping[Node, Node]
    """Today's profile ids of the person nodes that used the devices."""
    owners: dict[Node, Sequence[Node | None]]
    """Whose the visits of devices are, of those that were asked for by any that were gathered together."""

    @property
    def device_profile(self) -> bool:
        """Whether this is a device's activity that belongs to nobody."""
        return self.resolved.answered_by is Answer.DEVICE

    def active_parts(self) -> dict[Node, Part]:
        """Those of its parts in which something happened."""
        parts = self.parts | {device: part for device, part, _ in self.devices}
        return {leaf: part for leaf, part in parts.items() if part.offset >= 0}

    @property
    def collected_at(self) -> int:
        """The revision of segments that all its parts have collected for."""
        return min((part.collected_at for part in self.active_parts().values()), default=NEWEST)

    def visits_of(self, entry: tuple[Node, Part, Sequence[Use]], rules: Rules) -> list[Visit]:
        """The visits of one of its devices that belong to it."""
        device, part, uses = entry
        if not part.visits:
            return []
        mine = None if self.resolved.profile_id == device else self.resolved.profile_id
        if user := user_of_all(visit_ends(part), uses, rules):
            return part.visits if self.person_of[user] == mine else []
        owners = self.owners.get(device)
        if owners is None:
            owned = owners_of(visit_spans(part), uses, self.person_of.__getitem__, rules)
            owners = self.owners[device] = [each.person for each in owned]
        return [visit for visit, owner in zip(part.visits, owners, strict=True) if owner == mine]

    def bodies(self, rules: Rules) -> tuple[list[Body], int]:
        """Everything that belongs to the profile, and how many visits are among it."""
        bodies = [part.body for part in self.parts.values() if part.body]
        visits = 0
        for entry in self.devices:
            owned = self.visits_of(entry, rules)
            visits += len(owned)
            bodies += [visit.body for visit in owned]
            if entry[0] == self.resolved.profile_id and entry[1].body:
                bodies.append(entry[1].body)
        return bodies, visits


class _Shared(msgspec.Struct, frozen=True):
    """What profiles that are gathered together have in common: a device may stand in several."""

    found: Mapping[Node, Named]
    person_of: Mapping[Node, Node]
    parts: dict[Node, Part] = {}
    """Of devices."""
    owners: dict[Node, Sequence[Node | None]] = {}


class Gatherer:
    """Reads what profiles are put together from, many of them in as many round trips as one. Any thread."""

    def __init__(
        self, store: Store, rules: Rules, decode: Callable[[bytes], Part] = decode
    ) -> None:
        """`decode` may leave out of parts what nobody will ask (`profiles.part.decode_lean`)."""
        self._store = store
        self._rules = rules
        self._decode = decode

    def gather(
        self,
        profiles: Sequence[Resolved],
        named: Mapping[Node, Named],
        nobodys: Callable[[Collection[Node]], Collection[Node]] = lambda devices: (),
    ) -> list[Gathered]:
        """What each of `profiles` is put together from; `named` holds what is known of them already.

        `nobodys` tells of which devices no person has any visit, so that these, which are large, are not read.
        """
        people = [each for each in profiles if each.answered_by is not Answer.DEVICE]
        parts, found, newest = self._follow(people, named, nobodys)
        used = [
            found[device]
            for device in (*(d for mine in newest for d in mine), *(p.profile_id for p in profiles))
            if device in found
        ]
        person_of = self._person_of(used, profiles)
        devices = iter(newest)
        shared = _Shared(found, person_of)
        return [
            self._gathered(
                each,
                parts,
                next(devices) if each.answered_by is not Answer.DEVICE else [each.profile_id],
                shared,
            )
            for each in profiles
        ]

    def _gathered(
        self,
        resolved: Resolved,
        parts: Mapping[Node, Part],
        devices: Sequence[Node],
        shared: _Shared,
    ) -> Gathered:
        person = resolved.answered_by is not Answer.DEVICE
        found, person_of = shared.found, shared.person_of
        entries = []
        for device in devices:
            uses = found[device].uses if device in found else ()
            # A kiosk's part is large and nobody's: the rule for a device of many people needs no visits.
            kiosk = device != resolved.profile_id and self._of_many(uses, person_of)
            part = Part()
            if device in found and not kiosk and (blob := found[device].held.part):
                part = shared.parts.get(device) or self._decode(blob)
                shared.parts[device] = part
            entries.append((device, part, uses))
        known = (*resolved.members, *devices) if person else devices
        return Gathered(
            resolved,
            {node: parts[node] for node in resolved.members if node in parts} if person else {},
            entries,
            {node: found[node].held for node in known if node in found},
            person_of,
            shared.owners,
        )

    def _of_many(self, uses: Sequence[Use], person_of: Mapping[Node, Node]) -> bool:
        most = self._rules.owners_max
        return len(uses) > most and len({person_of[u.person] for u in uses if u.person}) > most

    def _follow(
        self,
        people: Sequence[Resolved],
        named: Mapping[Node, Named],
        nobodys: Callable[[Collection[Node]], Collection[Node]],
    ) -> tuple[dict[Node, Part], dict[Node, Named], list[list[Node]]]:
        """The members' parts, all that is known of them and their devices, and each one's devices.

        Newest device first. One read after that of the identifiers that were named, since devices that are
        known by then are read along with the other members; another one if these used further devices.
        """
        members = {node for each in people for node in each.members}
        found = dict(named)
        parts: dict[Node, Part] = {}
        new: Mapping[Node, Named] = {node: named[node] for node in members if node in named}
        asked = set(new) | {node for node in named if node not in members}
        devices: set[Node] = set()
        while True:
            for node, each in new.items():
                if node in members and each.held.part:
                    part = parts[node] = self._decode(each.held.part)
                    devices.update(map(Node, part.body.devices if part.body else ()))
            wanted = (members | devices) - asked
            if not wanted:
                break
            asked |= wanted
            unread = nobodys(wanted - members)
            found |= self._names_only(unread)
            new = self._store.lookups.named(wanted.difference(unread))
            found |= new
        return parts, found, [devices_of(each.members, parts) for each in people]

    def _names_only(self, devices: Collection[Node]) -> dict[Node, Named]:
        """What devices are called, and nothing else of them."""
        held = self._store.identifiers.get(devices) if devices else {}
        return {
            node: Named(Cluster(node, frozenset((node,))), Held(type_, sealed, None), ())
            for node, (type_, sealed) in held.items()
        }

    def _person_of(
        self, devices: Sequence[Named], profiles: Sequence[Resolved]
    ) -> dict[Node, Node]:
        """Today's profile id of every person node that used a device, and of every member."""
        known: dict[Node, Node] = {}
        for device in devices:
            known.update(device.users)
        for each in profiles:
            known.update(dict.fromkeys(each.members, each.profile_id))
        others = {
            use.person
            for device in devices
            for use in device.uses
            if use.person and use.person not in known
        }
        return known | people_of(self._store, others) if others else known


def people_of(store: Store, nodes: Collection[Node]) -> dict[Node, Node]:
    """Today's profile ids of person nodes."""
    clusters = store.people.clusters_of(nodes) if nodes else {}
    return {node: clusters[node].profile_id if node in clusters else node for node in nodes}


def devices_of(members: Iterable[Node], parts: Mapping[Node, Part]) -> list[Node]:
    """The devices that members used, newest first."""
    newest: dict[Node, int] = {}
    for node in members:
        part = parts.get(node)
        for device, last_ms in (part.body.devices if part and part.body else {}).items():
            newest[Node(device)] = max(last_ms, newest.get(Node(device), last_ms))
    return sorted(newest, key=lambda device: (-newest[device], device))

"""Evaluate all profiles of some leaves at once, whose parts hold what segments ask (DESIGN §4).

What `Evaluator` finds for any profile and any cause, for the one cause of a backfill and nearly every profile
of it: nothing is built that nobody asks for. What it leaves to `Evaluator` it says.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from identity.devices import owners_of, user_of_all
from identity.evidence import Use
from identity.nodes import TYPES, Node, code_of, names_device, type_code
from identity.rules import Rules
from ingest.segments.evaluating import REACH_MAX, ended
from ingest.segments.judging import judged_afresh
from profiles.part import Body, Part, bodies_of, decode_few, visit_ends, visit_spans
from profiles.segments.catalogue import Catalogue
from profiles.segments.membership import (
    NEVER_MS,
    Reason,
    Standing,
    Transition,
    changed,
    consent_told,
)
from profiles.segments.subject import Subject, subject_of
from storage.gathering import devices_of, people_of
from storage.ports import Store


class Seen(NamedTuple):
    """What was found for the profiles of some leaves."""

    profiles: int
    standings: list[Standing]
    """Those that changed."""
    told: list[Transition]
    devices: list[Node]
    """Those that were looked at, too, for people who used them."""


class _Device(NamedTuple):
    """A device that somebody of the leaves used, or that is one of them."""

    part: Part
    kiosk: bool
    """Whether more people used it than a device has owners."""
    owners: Sequence[Node | None] = ()
    """Whose each visit is; empty: all of them are nobody's."""
    owner: Node | None = None
    """Whose all visits are."""

    def visits_of(self, person: Node | None) -> list[Body]:
        """What happened in the visits of somebody, or of nobody."""
        if self.owner is not None:
            return bodies_of(self.part.visits) if self.owner == person else []
        if not self.owners:
            return [] if person else bodies_of(self.part.visits)
        pairs = zip(self.part.visits, self.owners, strict=True)
        return bodies_of([visit for visit, owner in pairs if owner == person])


class _Read(msgspec.Struct):
    """What is stored of the profiles of some leaves."""

    members: dict[Node, frozenset[Node]]
    """Of each person, by profile id."""
    devices_of: dict[Node, list[Node]]
    """The devices that each person used, newest first."""
    own: list[Node]
    """The devices among the leaves."""
    too: list[Node]
    """Further devices that people used and of which something may be nobody's, but for kiosks."""
    types: Mapping[Node, str]
    """Of those whose type some segment asks for."""
    parts: dict[Node, Part]
    """Of members."""
    devices: dict[Node, _Device]
    ready: bool
    """Whether the parts hold all that segments need."""


class _Found(NamedTuple):
    before: Standing
    after: Standing
    """But for its reach."""
    told: list[Transition]


class Whole:
    """Evaluates from what is stored, like `Evaluator`. Whoever calls it writes."""

    def __init__(self, store: Store, rules: Rules) -> None:
        self._store = store
        self._rules = rules

    def look(self, leaves: Sequence[Node], catalogue: Catalogue, now_ms: int) -> Seen | None:
        """All profiles of leaves, for whatever is defined. None: some need more, and `Evaluator` must look.

        Also what is nobody's of the devices that people used, since their parts are at hand.
        """
        if catalogue.asks_scores:
            return None
        read = self._read(leaves, catalogue)
        if not read.ready:
            return None
        wanted = {*read.members, *read.own, *read.too}
        held = self._store.memberships.get(wanted | set(leaves))
        people = self._people(read, held, catalogue, now_ms)
        devices = self._devices(read, held, catalogue, now_ms)
        found = [each for each in (*people, *devices) if each]
        seen = Seen(len(wanted), [], [], read.too)
        reach = self._reach([each.after.profile_id for each in found if each.after.segments], read)
        for before, stood, told in found:
            seen.told.extend(told)
            after = stood
            if stood.segments:
                after = msgspec.structs.replace(stood, reach=reach[stood.profile_id])
            if after != before:
                seen.standings.append(after)
        for profile_id, before in held.items():
            if profile_id not in wanted:
                after, told = ended(before, now_ms)
                seen.told.extend(told)
                seen.standings.append(after)
        return seen

    def _people(
        self, read: _Read, held: dict[Node, Standing], catalogue: Catalogue, now_ms: int
    ) -> Iterable[_Found | None]:
        for profile_id, members in read.members.items():
            bodies: list[Body] = []
            for node in members:
                part = read.parts.get(node)
                if part is not None and part.body:
                    bodies.append(part.body)
            devices = read.devices_of[profile_id]
            for device in devices:
                bodies += read.devices[device].visits_of(profile_id)
            types = [read.types[n] for n in (*members, *devices) if n in read.types]
            subject = subject_of(bodies, types) if bodies else None
            yield _stand(profile_id, held.get(profile_id), subject, catalogue, now_ms)

    def _devices(
        self, read: _Read, held: dict[Node, Standing], catalogue: Catalogue, now_ms: int
    ) -> Iterable[_Found | None]:
        for node in (*read.own, *read.too):
            device = read.devices[node]
            bodies = [] if device.owner is not None else device.visits_of(None)
            if device.part.body:
                bodies.append(device.part.body)
            before = held.get(node)
            if before is None and not bodies and not device.kiosk:
                # Whoever used it has all of its visits, as of most devices.
                continue
            types = (read.types[node],) if node in read.types else ()
            subject = subject_of(bodies, types) if bodies else None
            yield _stand(node, before, subject, catalogue, now_ms, kiosk=device.kiosk)

    def _read(self, leaves: Sequence[Node], catalogue: Catalogue) -> _Read:
        store = self._store
        own = [leaf for leaf in leaves if names_device(leaf)]
        people = [leaf for leaf in leaves if not names_device(leaf)]
        clusters = store.people.clusters_of(people)
        members: dict[Node, frozenset[Node]] = {}
        person_of: dict[Node, Node] = {}
        for leaf in people:
            cluster = clusters.get(leaf)
            if cluster is None:
                members[leaf] = frozenset((leaf,))
                person_of[leaf] = leaf
            elif cluster.profile_id not in members:
                members[cluster.profile_id] = cluster.members
                person_of.update(dict.fromkeys(cluster.members, cluster.profile_id))
        blobs = store.parts.read([*person_of, *own])
        parts = {node: decode_few(blobs[node]) for node in person_of if node in blobs}
        theirs = {profile: devices_of(some, parts) for profile, some in members.items()}
        used = {device for some in theirs.values() for device in some}
        mine = set(own)
        blobs |= store.parts.read(used - mine)
        every = used | mine
        asked = [*person_of, *every]
        devices = self._devices_of(every, mine, blobs, person_of)
        since = catalogue.collects_since
        return _Read(
            members,
            theirs,
            own,
            [node for node in used - mine if node in blobs and not devices[node].kiosk],
            self._types(asked, catalogue),
            parts,
            devices,
            all(
                part.collected_at >= since or part.offset < 0
                for part in (*parts.values(), *(device.part for device in devices.values()))
            ),
        )

    def _types(self, nodes: Iterable[Node], catalogue: Catalogue) -> Mapping[Node, str]:
        """Which nodes are of a type that some segment asks for."""
        asked = {code_of(each): each for each in catalogue.asks_types}
        if not asked:
            return {}
        found = {node: asked[code] for node in nodes if (code := type_code(node)) in asked}
        # Two types that a shop made up may share a code.
        unsure = [node for node, type_ in found.items() if type_ not in TYPES]
        if unsure:
            found |= {
                node: type_ for node, (type_, _) in self._store.identifiers.get(unsure).items()
            }
        return found

    def _devices_of(
        self,
        nodes: Collection[Node],
        own: Collection[Node],
        blobs: Mapping[Node, bytes],
        person_of: dict[Node, Node],
    ) -> dict[Node, _Device]:
        uses = self._store.devices.uses_of(nodes)
        # Who is not among the people of the leaves is somebody else, whoever that is: what it takes more of
        # them to know is whether they are one.
        further: set[Node] = set()
        for some in uses.values():
            if len(some) > 1:
                others = {use.person for use in some if use.person and use.person not in person_of}
                if len(others) > 1:
                    further |= others
        known = person_of | people_of(self._store, further) if further else person_of
        return {
            node: self._device(blobs.get(node), uses.get(node, ()), known, own=node in own)
            for node in nodes
        }

    def _device(
        self, blob: bytes | None, uses: Sequence[Use], person_of: Mapping[Node, Node], *, own: bool
    ) -> _Device:
        people = {person_of.get(use.person, use.person) for use in uses if use.person}
        kiosk = len(people) > self._rules.owners_max
        # A kiosk's part is large and nobody's: the rule for a device of many people needs no visits.
        part = decode_few(blob) if blob and (own or not kiosk) else Part()
        if kiosk or not people or not part.visits:
            return _Device(part, kiosk)
        if user := user_of_all(visit_ends(part), uses, self._rules):
            return _Device(part, kiosk, owner=person_of.get(user, user))
        owned = owners_of(
            visit_spans(part), uses, lambda node: person_of.get(node, node), self._rules
        )
        return _Device(part, kiosk, [each.person for each in owned])

    def _reach(self, profile_ids: Sequence[Node], read: _Read) -> dict[Node, tuple[Node, ...]]:
        """As `Evaluator.reach`, of members of segments alone."""
        theirs = {each: read.devices_of.get(each, [each]) for each in profile_ids}
        devices = {device for some in theirs.values() for device in some}
        companions = self._store.devices.companions_of(devices) if devices else {}
        found = {}
        for profile_id, some in theirs.items():
            mine = dict.fromkeys(sorted(read.members.get(profile_id, ())))
            for device in some:
                mine[device] = None
                for other in companions.get(device, ()):
                    mine[other.with_node] = None
            found[profile_id] = tuple(mine)[:REACH_MAX]
        return found


def _stand(
    profile_id: Node,
    held: Standing | None,
    subject: Subject | None,
    catalogue: Catalogue,
    now_ms: int,
    *,
    kiosk: bool = False,
) -> _Found | None:
    """What is to be kept and told of a profile of which `held` is kept; None: nothing was, and nothing is."""
    segments_before = held.segments if held else {}
    if subject is None:
        now_in, dues = dict.fromkeys(segments_before, False), dict[str, int]()
    else:
        now_in, dues = judged_afresh(subject, segments_before, catalogue, now_ms)
    if held is None:
        if not now_in and not dues and not kiosk:
            return None
        before = Standing(profile_id=profile_id)
    else:
        before = held
    segments, told = changed(before, now_in, now_ms, Reason.DEFINED)
    consent = dict(subject.consent) if subject and segments else {}
    if before.segments:
        told += consent_told(before, segments, consent, now_ms, before.sequence + len(told))
    after = Standing(
        profile_id=profile_id,
        segments=segments,
        due_ms=min(dues.values()) if dues else NEVER_MS,
        dues=dues,
        sequence=before.sequence + len(told),
        consent=consent,
        kiosk=kiosk,
    )
    return _Found(before, after, told)

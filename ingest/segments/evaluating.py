"""Evaluate profiles: which segments they are in now, and until when (DESIGN §4)."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from identity.changes import Kind, PersonChange
from identity.nodes import Node, names_device
from identity.resolve import Cluster
from identity.rules import Rules
from profiles.part import Part
from profiles.segments.catalogue import Catalogue
from profiles.segments.evaluate import Subject, subject_of
from profiles.segments.membership import (
    NEVER_MS,
    Cause,
    Standing,
    Transition,
    changed,
    reason_of,
)
from storage.gathering import Answer, Gathered, Gatherer, Resolved, people_of
from storage.ports import Named, Store

REACH_MAX: Final = 50
"""Identifiers of one profile that destinations may use, its own first, then those of its newest devices."""
_OF_PEOPLE: Final = Cause.MERGED | Cause.SPLIT


class Evaluated(msgspec.Struct, frozen=True):
    """What an evaluation found, to be written."""

    standings: Sequence[Standing]
    told: Sequence[Transition]
    behind: Collection[Node] = ()
    """Leaves whose parts do not hold yet what some segment needs; those segments stay as they were."""
    further: Mapping[Node, Cause] = {}
    """Devices to be evaluated too: who owns their visits may have changed with the people."""
    profiles: int = 0


class Evaluator:
    """Evaluates profiles from what is stored. Pure but for reading: whoever calls it writes."""

    def __init__(self, store: Store, rules: Rules) -> None:
        self._store = store
        self._rules = rules
        self._gatherer = Gatherer(store, rules)

    def evaluate(
        self, causes: Mapping[Node, Cause], catalogue: Catalogue, now_ms: int
    ) -> Evaluated:
        """The profiles that leaves, devices and profile ids belong to now, whatever they were called before."""
        wanted = self._profiles(causes)
        held = self._store.memberships.get(wanted)
        named = self._store.lookups.named(wanted)
        live = [_resolved(node, named[node]) for node in wanted if _is_itself(node, named)]
        gathered = self._gatherer.gather(live, named)
        companions = self._companions(gathered)
        standings: list[Standing] = []
        told: list[Transition] = []
        behind: set[Node] = set()
        further: dict[Node, Cause] = {}
        for each in gathered:
            profile_id = each.resolved.profile_id
            before = held.get(profile_id) or Standing(profile_id=profile_id)
            after, news, late = self._stand(
                each, before, catalogue, now_ms, wanted[profile_id], companions
            )
            behind |= late
            told += news
            if after != before:
                standings.append(after)
            if wanted[profile_id] & _OF_PEOPLE and not each.device_profile:
                further |= {device: Cause.EVENT for device, _, _ in each.devices}
        for profile_id, before in held.items():
            if not _is_itself(profile_id, named):
                after, news = _ended(before, now_ms)
                told += news
                standings.append(after)
        return Evaluated(
            standings,
            told,
            behind,
            {n: c for n, c in further.items() if n not in wanted},
            len(live),
        )

    def subject(self, gathered: Gathered) -> tuple[Subject | None, int]:
        """What conditions ask of a profile, and the revision of segments that all its parts are at.

        None for a device whose every visit belongs to somebody: it is in no segment, whatever it asks.
        """
        bodies, _ = gathered.bodies(self._rules)
        parts = _parts_of(gathered).values()
        revision = min((part.collected_at for part in parts), default=NEVER_MS)
        if not bodies:
            return None, revision
        return subject_of(bodies, {each.type for each in gathered.held.values()}), revision

    def _stand(
        self,
        gathered: Gathered,
        before: Standing,
        catalogue: Catalogue,
        now_ms: int,
        cause: Cause,
        companions: Mapping[Node, Sequence[Node]],
    ) -> tuple[Standing, list[Transition], set[Node]]:
        subject, revision = self.subject(gathered)
        now_in: dict[str, bool] = dict.fromkeys(before.segments.keys() - catalogue.defined, False)
        due_ms = NEVER_MS
        complete = revision >= catalogue.revision
        if subject is None:
            now_in, complete = dict.fromkeys(before.segments, False), True
        else:
            for segment_id in catalogue.segments if complete else catalogue.ready_at(revision):
                verdict = catalogue.judges.verdict(segment_id, subject, now_ms)
                now_in[segment_id] = verdict.member
                due_ms = min(due_ms, verdict.valid_until_ms)
        segments, told = changed(before, now_in, now_ms, reason_of(cause))
        after = Standing(
            profile_id=before.profile_id,
            segments=segments,
            due_ms=due_ms,
            sequence=before.sequence + len(told),
            consent=dict(subject.consent) if subject and segments else {},
            reach=_reach(gathered, companions) if segments else (),
            kiosk=gathered.device_profile and self._is_kiosk(gathered),
        )
        late = set()
        if not complete:
            parts = _parts_of(gathered)
            late = {leaf for leaf, each in parts.items() if each.collected_at < catalogue.revision}
        return after, told, late

    def _is_kiosk(self, gathered: Gathered) -> bool:
        ((_, _, uses),) = gathered.devices
        owners = {gathered.person_of[use.person] for use in uses if use.person}
        return len(owners) > self._rules.owners_max

    def _profiles(self, causes: Mapping[Node, Cause]) -> dict[Node, Cause]:
        """Whose segments may have changed: profiles of leaves, and whoever's visits a device has."""
        wanted = dict(causes)
        devices = [node for node in causes if names_device(node)]
        if devices:
            uses = self._store.devices.uses_of(devices)
            kiosks = {
                node
                for node, standing in self._store.memberships.get(devices).items()
                if standing.kiosk
            }
            for device, some in uses.items():
                users = {use.person for use in some if use.person}
                # Who uses a kiosk has none of its visits; only on becoming one, or none, all are looked at.
                if device in kiosks and len(users) > self._rules.owners_max:
                    owners = set(people_of(self._store, users).values())
                    if len(owners) > self._rules.owners_max:
                        continue
                for user in users:
                    wanted[user] = wanted.get(user, Cause(0)) | Cause.EVENT
        people = people_of(self._store, {node for node in wanted if not names_device(node)})
        for node, profile_id in people.items():
            if profile_id != node:
                wanted[profile_id] = wanted.get(profile_id, Cause(0)) | wanted[node]
        return wanted

    def _companions(self, gathered: Iterable[Gathered]) -> dict[Node, list[Node]]:
        """The device identifiers that go with each device, newest first."""
        devices = {device for each in gathered for device, _, _ in each.devices}
        found = self._store.devices.companions_of(devices) if devices else {}
        return {node: [each.with_node for each in some] for node, some in found.items()}


def causes_of(changes: Iterable[PersonChange]) -> dict[Node, Cause]:
    """Whom changes of people concern: every profile that was or is a side of one."""
    causes: dict[Node, Cause] = {}
    for change in changes:
        if change.kind is Kind.CONFLICT:
            continue
        cause = Cause.SPLIT if change.kind is Kind.SPLIT else Cause.MERGED
        for side in (*change.before, *change.after):
            causes[side.profile_id] = causes.get(side.profile_id, Cause(0)) | cause
    return causes


def _is_itself(node: Node, named: Mapping[Node, Named]) -> bool:
    return node in named and named[node].cluster.profile_id == node


def _resolved(node: Node, named: Named) -> Resolved:
    if names_device(node):
        return Resolved(node, Answer.DEVICE, node, (), (node,))
    cluster: Cluster = named.cluster
    return Resolved(node, Answer.PERSON, node, (), tuple(sorted(cluster.members)))


def _parts_of(gathered: Gathered) -> dict[Node, Part]:
    """Those parts of a profile in which something happened."""
    parts = gathered.parts | {device: part for device, part, _ in gathered.devices}
    return {leaf: part for leaf, part in parts.items() if part.offset >= 0}


def _reach(gathered: Gathered, companions: Mapping[Node, Sequence[Node]]) -> tuple[Node, ...]:
    mine = dict.fromkeys(gathered.resolved.members)
    for device, _, _ in gathered.devices:
        mine |= dict.fromkeys((device, *companions.get(device, ())))
    return tuple(mine)[:REACH_MAX]


def _ended(before: Standing, now_ms: int) -> tuple[Standing, list[Transition]]:
    """An id that is no profile any more belongs to nothing."""
    _, told = changed(
        before, dict.fromkeys(before.segments, False), now_ms, reason_of(Cause.MERGED)
    )
    return Standing(profile_id=before.profile_id, sequence=before.sequence + len(told)), told

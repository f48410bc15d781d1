"""Evaluate profiles: which segments they are in now, and until when (DESIGN §4)."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from identity.changes import Kind, PersonChange
from identity.nodes import Node, names_device
from identity.resolve import Cluster
from identity.rules import Rules
from ingest.segments.judging import verdicts
from profiles.part import decode_few
from profiles.segments.catalogue import Catalogue
from profiles.segments.membership import (
    NEVER_MS,
    Cause,
    Standing,
    Transition,
    changed,
    consent_told,
    reason_of,
)
from profiles.segments.subject import Subject, subject_of
from storage.gathering import Answer, Gathered, Gatherer, Resolved, people_of
from storage.identity_ports import Named
from storage.ports import Store

REACH_MAX: Final = 50
"""Identifiers of one profile that destinations may use, its own first, then those of its newest devices."""
SURE_MAX: Final = 100_000
"""Devices of many people that are remembered, some 10 MB."""
NamedScores = Mapping[str, tuple[float, int]]
"""(value, when it was computed) by name."""
Only = frozenset[str] | None
"""The segments that are looked at; None: every one."""
EVERY: Final[Only] = None
NOTHING: Final[Only] = frozenset()
_OF_PEOPLE: Final = Cause.MERGED | Cause.SPLIT


class Look(NamedTuple):
    """Why a profile is looked at, and at which segments."""

    cause: Cause
    only: Only = EVERY


class Evaluated(msgspec.Struct):
    """What an evaluation found, to be written."""

    standings: list[Standing]
    """Those that changed."""
    told: list[Transition]
    behind: set[Node]
    """Leaves whose parts do not hold yet what some segment needs; those segments stay as they were."""
    further: dict[Node, Cause]
    """Devices to be evaluated too: who owns their visits may have changed with the people."""
    profiles: int = 0
    whole: dict[Node, Cause] = {}
    """Profiles that were evaluated for every segment, and for which causes that need not be looked at again."""


class Evaluator:
    """Evaluates profiles from what is stored. Pure but for reading: whoever calls it writes."""

    def __init__(self, store: Store, rules: Rules, *, alone: bool = False) -> None:
        """`alone`: nobody else evaluates, so that a device's standing is never behind its users'."""
        self._store = store
        self._rules = rules
        self._alone = alone
        self._gatherer = Gatherer(store, rules, decode_few)
        self._sure: set[Node] = set()
        """Devices that were seen to be of many people, by these rules."""

    def evaluate(
        self,
        causes: Mapping[Node, Cause],
        catalogue: Catalogue,
        now_ms: int,
        only: Mapping[Node, Only] = MappingProxyType({}),
        looked: Mapping[Node, Cause] = MappingProxyType({}),
    ) -> Evaluated:
        """The profiles that leaves, devices and profile ids belong to now, whatever they were called before.

        `only` names, for some of them, the segments that can have changed. Profiles that are `looked` at were
        evaluated in full for some causes, and nothing was written since: that is in their standings.
        """
        wanted = self.profiles(
            {node: Look(cause, only.get(node)) for node, cause in causes.items()}
        )
        if looked:
            wanted = {
                node: look
                for node, look in wanted.items()
                if look.cause & ~looked.get(node, Cause(0))
            }
        return self.stand(wanted, self._store.memberships.get(wanted), catalogue, now_ms)

    def stand(
        self,
        wanted: Mapping[Node, Look],
        held: Mapping[Node, Standing],
        catalogue: Catalogue,
        now_ms: int,
    ) -> Evaluated:
        """Those of `wanted` that are profiles, and no longer those that are none; `held` is kept of them."""
        named = self._store.lookups.named(wanted)
        found = Evaluated([], [], set(), {})
        for each, after, told, late in self._stand_all(wanted, held, named, catalogue, now_ms):
            profile_id = after.profile_id
            found.behind.update(late)
            found.told += told
            found.profiles += 1
            if wanted[profile_id].only is EVERY:
                found.whole[profile_id] = (wanted[profile_id].cause & _OF_PEOPLE) | Cause.EVENT
            if after != held.get(profile_id, Standing(profile_id=profile_id)):
                found.standings.append(after)
            if wanted[profile_id].cause & _OF_PEOPLE and not each.device_profile:
                further = (d for d, _, _ in each.devices if not _whole(wanted.get(d)))
                found.further.update(dict.fromkeys(further, Cause.EVENT))
        for profile_id, before in held.items():
            if not is_itself(profile_id, named):
                after, told = ended(before, now_ms)
                found.told += told
                found.standings.append(after)
        return found

    def current(
        self, profile_ids: Collection[Node], catalogue: Catalogue, now_ms: int
    ) -> dict[Node, Standing]:
        """The standings of profiles as they are at this moment, whatever is stored of them."""
        held = self._store.memberships.get(profile_ids)
        named = self._store.lookups.named(profile_ids)
        wanted = dict.fromkeys(profile_ids, Look(Cause.EVENT))
        stood = self._stand_all(wanted, held, named, catalogue, now_ms)
        return {after.profile_id: after for _, after, _, _ in stood}

    def supposed(
        self,
        people: Collection[Cluster],
        catalogue: Catalogue,
        now_ms: int,
        named: Mapping[Node, Named],
    ) -> dict[Node, frozenset[str]]:
        """The segments that people would be in if they were these; `named` is what is known of members."""
        wanted = [
            Resolved(
                each.profile_id, Answer.PERSON, each.profile_id, (), tuple(sorted(each.members))
            )
            for each in people
        ]
        found = {}
        gathered = self._gatherer.gather(wanted, named)
        asked = self.subjects(gathered, catalogue)
        for each, (subject, revision) in zip(gathered, asked, strict=True):
            ready = catalogue.ready_at(revision) if subject else ()
            found[each.resolved.profile_id] = frozenset(
                key
                for key in ready
                if subject and catalogue.judges.verdict(key, subject, now_ms).member
            )
        return found

    def _stand_all(
        self,
        wanted: Mapping[Node, Look],
        held: Mapping[Node, Standing],
        named: Mapping[Node, Named],
        catalogue: Catalogue,
        now_ms: int,
    ) -> Iterator[tuple[Gathered, Standing, list[Transition], set[Node]]]:
        """For each profile its standing now, what is told of it, and the leaves that are behind."""
        live = [profile_of(node, named[node]) for node in wanted if is_itself(node, named)]
        # Where people change, a device of many may be one of few now.
        still = self._alone and not any(look.cause & _OF_PEOPLE for look in wanted.values())
        gathered = self._gatherer.gather(live, named, self._kiosks if still else _none)
        return self.stood(gathered, held, wanted.__getitem__, catalogue, now_ms)

    def stood(
        self,
        gathered: Sequence[Gathered],
        held: Mapping[Node, Standing],
        look: Callable[[Node], Look],
        catalogue: Catalogue,
        now_ms: int,
    ) -> Iterator[tuple[Gathered, Standing, list[Transition], set[Node]]]:
        """The same of profiles that are put together."""
        reach = self.reach(gathered)
        for each, asked in zip(gathered, self.subjects(gathered, catalogue), strict=True):
            key = each.resolved.profile_id
            before = held.get(key) or Standing(profile_id=key)
            stood = self._stand(each, asked, before, catalogue, now_ms, look(key), reach[key])
            yield each, *stood

    def subjects(
        self, gathered: Sequence[Gathered], catalogue: Catalogue
    ) -> list[tuple[Subject | None, int]]:
        """What conditions ask of each profile, and the revision of segments that all its parts are at.

        None for a device whose every visit belongs to somebody: it is in no segment, whatever that asks.
        """
        scores = self._scores(gathered) if catalogue.asks_scores else {}
        return [
            (self._subject(each, scores.get(each.resolved.profile_id)), each.collected_at)
            for each in gathered
        ]

    def _subject(self, gathered: Gathered, scores: NamedScores | None) -> Subject | None:
        bodies, _ = gathered.bodies(self._rules)
        types = {each.type for each in gathered.held.values()}
        return subject_of(bodies, types, scores) if bodies else None

    def _scores(self, gathered: Sequence[Gathered]) -> dict[Node, dict[str, tuple[float, int]]]:
        """The newest score of each name that any of a profile's own identifiers has, by profile id."""
        owner = {node: g.resolved.profile_id for g in gathered for node in g.resolved.members}
        found: dict[Node, dict[str, tuple[float, int]]] = {}
        for row in sorted(self._store.scores.of(owner), key=lambda row: (row.at_ms, row.node)):
            found.setdefault(owner[row.node], {})[row.name] = (row.value, row.at_ms)
        return found

    def _stand(
        self,
        gathered: Gathered,
        asked_of: tuple[Subject | None, int],
        before: Standing,
        catalogue: Catalogue,
        now_ms: int,
        look: Look,
        reach: tuple[Node, ...],
    ) -> tuple[Standing, list[Transition], set[Node]]:
        subject, revision = asked_of
        complete = subject is None or revision >= catalogue.collects_since
        if subject is None:
            now_in, dues = dict.fromkeys(before.segments, False), dict[str, int]()
        else:
            ready = None if complete else catalogue.ready_at(revision)
            now_in, dues = verdicts(subject, before, catalogue, now_ms, look.only, ready)
        segments, told = changed(before, now_in, now_ms, reason_of(look.cause))
        consent = dict(subject.consent) if subject and segments else {}
        told += consent_told(before, segments, consent, now_ms, before.sequence + len(told))
        after = Standing(
            profile_id=before.profile_id,
            segments=segments,
            due_ms=min(dues.values(), default=NEVER_MS),
            dues=dues,
            sequence=before.sequence + len(told),
            consent=consent,
            reach=reach if segments else (),
            kiosk=gathered.device_profile and self._is_kiosk(_users(gathered)),
        )
        late = set()
        if not complete:
            parts = gathered.active_parts()
            since = catalogue.collects_since
            late = {leaf for leaf, each in parts.items() if each.collected_at < since}
        return after, told, late

    def profiles(self, looks: Mapping[Node, Look]) -> dict[Node, Look]:
        """Whose segments may have changed: profiles of leaves, and whoever's visits a device has."""
        wanted = dict(looks)
        # Time passes for whoever it says: others of a device have timers of their own.
        devices = [n for n, look in looks.items() if names_device(n) and look.cause != Cause.TIME]
        uses = self._store.devices.uses_of(devices) if devices else {}
        users = {
            device: {use.person for use in some if use.person} for device, some in uses.items()
        }
        many = [device for device, some in users.items() if len(some) > self._rules.owners_max]
        standings = self._store.memberships.get(many) if many else {}
        for device, some in users.items():
            looks_at = wanted[device]
            # Who uses a kiosk has none of its visits: they are looked at when it becomes one, or none.
            known = device in standings and standings[device].kiosk
            if not (known and self._is_kiosk(some)):
                for user in some:
                    wanted[user] = both(wanted.get(user), looks_at)
        for node, profile_id in people_of(
            self._store, {node for node in wanted if not names_device(node)}
        ).items():
            if profile_id != node:
                wanted[profile_id] = both(wanted.get(profile_id), wanted[node])
        return wanted

    def _kiosks(self, devices: Collection[Node]) -> Collection[Node]:
        """Those of devices that were of more people than a device has owners when they were last looked at."""
        held = self._store.memberships.get(devices) if devices else {}
        flagged = [device for device, standing in held.items() if standing.kiosk]
        if unsure := [device for device in flagged if device not in self._sure]:
            # Once, for the rules may have been others then.
            if len(self._sure) > SURE_MAX:
                self._sure.clear()
            for device, uses in self._store.devices.uses_of(unsure).items():
                if self._is_kiosk({use.person for use in uses if use.person}):
                    self._sure.add(device)
        return [device for device in flagged if device in self._sure]

    def _is_kiosk(self, users: Collection[Node]) -> bool:
        if len(users) <= self._rules.owners_max:
            return False
        return len(set(people_of(self._store, users).values())) > self._rules.owners_max

    def reach(self, gathered: Iterable[Gathered]) -> dict[Node, tuple[Node, ...]]:
        """Identifiers by which others may know each profile: its own, its devices' and their companions'."""
        some = list(gathered)
        devices = {device for each in some for device, _, _ in each.devices}
        companions = self._store.devices.companions_of(devices) if devices else {}
        found = {}
        for each in some:
            mine = dict.fromkeys(each.resolved.members)
            for device, _, _ in each.devices:
                mine[device] = None
                mine |= dict.fromkeys(other.with_node for other in companions.get(device, ()))
            found[each.resolved.profile_id] = tuple(mine)[:REACH_MAX]
        return found


def _none(devices: Collection[Node]) -> Collection[Node]:
    return ()


def both(one: Look | None, other: Look) -> Look:
    """One look for the reasons of two."""
    if one is None:
        return other
    only = None if one.only is None or other.only is None else one.only | other.only
    return Look(one.cause | other.cause, only)


def _whole(look: Look | None) -> bool:
    """Whether all of a device, and of those who use it, is looked at anyway: not as its time comes alone."""
    return look is not None and look.only is EVERY and look.cause != Cause.TIME


def _users(gathered: Gathered) -> set[Node]:
    return {use.person for _, _, uses in gathered.devices for use in uses if use.person}


def causes_of(changes: Iterable[PersonChange]) -> dict[Node, Cause]:
    """Whom changes of people concern: every profile that was or is a side of one."""
    causes: dict[Node, Cause] = {}
    for change in changes:
        if not change.kind.of_people:
            continue
        cause = Cause.SPLIT if change.kind is Kind.SPLIT else Cause.MERGED
        for side in (*change.before, *change.after):
            causes[side.profile_id] = causes.get(side.profile_id, Cause(0)) | cause
    return causes


def is_itself(node: Node, named: Mapping[Node, Named]) -> bool:
    """Whether a node is a profile's id today."""
    return node in named and named[node].cluster.profile_id == node


def profile_of(node: Node, named: Named) -> Resolved:
    """The profile whose id a node is."""
    if names_device(node):
        return Resolved(node, Answer.DEVICE, node, (), (node,))
    return Resolved(node, Answer.PERSON, node, (), tuple(sorted(named.cluster.members)))


def ended(before: Standing, now_ms: int) -> tuple[Standing, list[Transition]]:
    """An id that is no profile any more belongs to nothing."""
    _, told = changed(
        before, dict.fromkeys(before.segments, False), now_ms, reason_of(Cause.MERGED)
    )
    return Standing(profile_id=before.profile_id, sequence=before.sequence + len(told)), told

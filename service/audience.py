"""Who is in which segments, for exports: the store's members and transitions, with the identifiers needed."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from destinations.audience import Audience, Recipient, SegmentInfo, Transition
from identity.nodes import Identifier, Node, code_of, names_device, type_code
from identity.rules import Rules
from ingest.segments.evaluating import Evaluator, is_itself, profile_of
from profiles.segments.catalogue import Catalogue
from profiles.segments.membership import Standing
from profiles.segments.references import sensitive
from storage.catalogues import Catalogues
from storage.gathering import Gatherer, people_of
from storage.keys import Vault
from storage.ports import Store
from storage.profiles import Lookup, ProfileReader

if TYPE_CHECKING:
    from service.workspace import Workspace

NO_SEGMENTS: Final = Catalogue()
"""Of a recipient nothing is asked but who they are and what they consent to."""
BATCH: Final = 1_000
"""Members read at a time: some megabytes, and few round trips."""


class StoreAudience:
    """`destinations.audience.Audience` over a store; `types` and `traits` are what a destination may use."""

    def __init__(
        self,
        store: Store,
        rules: Rules,
        reader: ProfileReader,
        vault: Vault,
        catalogues: Catalogues,
        now_ms: Callable[[], int],
        types: Collection[str],
        traits: Collection[str] = (),
    ) -> None:
        self._store = store
        self._rules = rules
        self._reader = reader
        self._vault = vault
        self._now_ms = now_ms
        self._types = frozenset(types)
        self._codes = frozenset(map(code_of, types))
        self._traits = frozenset(traits)
        self._evaluator = Evaluator(store, rules)
        self._gatherer = Gatherer(store, rules)
        catalogue = catalogues.now()
        marked = sensitive(catalogue.segments)
        self._infos = {
            key: SegmentInfo(key, segment.name, key in marked)
            for key, segment in catalogue.segments.items()
        }

    def segments(self) -> Sequence[str]:
        """See `Audience`."""
        return sorted(self._infos)

    def segment(self, segment: str) -> SegmentInfo | None:
        """See `Audience`."""
        return self._infos.get(segment)

    def members(self, segments: Collection[str]) -> Iterator[Sequence[Recipient]]:
        """See `Audience`: segment by segment, without those who were in one before."""
        before: set[str] = set()
        for segment in sorted(segments):
            after: Node | None = None
            while page := self._store.memberships.members(segment, after, BATCH):
                after = page[-1][0]
                found = self._store.memberships.get(profile for profile, _ in page)
                yield self._recipients(
                    [
                        found[profile]
                        for profile, _ in page
                        if profile in found
                        and segment in found[profile].segments
                        and before.isdisjoint(found[profile].segments)
                    ]
                )
            before.add(segment)

    def recipients(self, profile_ids: Collection[Node]) -> Mapping[Node, Recipient]:
        """See `Audience`: as they are at this moment, also those who are in no segment any more."""
        asked = sorted(profile_ids)
        lookups = [Lookup(profile_id=each) for each in asked]
        resolved = self._reader.resolve(lookups, self._now_ms())
        now_of = {
            each: found.profile_id if not names_device(each) else each
            for each, found in zip(asked, resolved, strict=True)
            if found is not None
        }
        today = sorted(set(now_of.values()))
        held = self._store.memberships.get(today)
        named = self._store.lookups.named(today)
        live = [profile_of(each, named[each]) for each in today if is_itself(each, named)]
        gathered = self._gatherer.gather(live, named)
        reach = self._evaluator.reach(gathered)
        standings = []
        asked_of = self._evaluator.subjects(gathered, NO_SEGMENTS)
        for each, (subject, _) in zip(gathered, asked_of, strict=True):
            key = each.resolved.profile_id
            before = held.get(key) or Standing(profile_id=key)
            standings.append(
                Standing(
                    profile_id=key, segments=before.segments, reach=reach[key],
                    consent=dict(subject.consent) if subject else {},
                )
            )  # fmt: skip
        found = {each.profile_id: each for each in self._recipients(standings)}
        return {each: found[now] for each, now in now_of.items() if now in found}

    def newest(self) -> str:
        """See `Audience`."""
        return self._store.memberships.newest()

    def changes(
        self, segments: Collection[str], after: str, limit: int
    ) -> tuple[Sequence[Transition], str]:
        """See `Audience`."""
        told = self._store.memberships.told(after, limit, sorted(segments))
        found = [
            Transition(
                segment=each.segment, profile_id=each.profile_id, entered=each.entered, at_ms=each.at_ms,
                message_id=each.message_id, sequence=each.sequence, reason=each.reason.value,
                purpose=each.purpose,
            )
            for each in (entry.transition for entry in told)
        ]  # fmt: skip
        return found, told[-1].token if told else after

    def _recipients(self, standings: Sequence[Standing]) -> list[Recipient]:
        reach = self._own(standings)
        sealed = self._store.identifiers.get({node for nodes in reach for node in nodes})
        traits = self._traits_of(standings)
        open_value, types = self._vault.open, self._types
        found = []
        for standing, nodes in zip(standings, reach, strict=True):
            identifiers = [
                Identifier(held[0], open_value(node, held[1]))
                for node in nodes
                if (held := sealed.get(node)) is not None and held[0] in types
            ]
            identifiers.sort()
            found.append(
                Recipient(
                    profile_id=standing.profile_id, identifiers=tuple(identifiers),
                    consent=standing.consent, segments=standing.segments,
                    traits=traits.get(standing.profile_id, {}),
                )
            )  # fmt: skip
        return found

    def _traits_of(self, standings: Sequence[Standing]) -> dict[Node, dict[str, Any]]:
        if not self._traits:
            return {}
        lookups = [Lookup(profile_id=each.profile_id) for each in standings]
        return {
            each.profile.id: {n: v for n, v in each.profile.traits.items() if n in self._traits}
            for each in self._reader.get_many(lookups, self._now_ms())
            if each is not None
        }

    def _own(self, standings: Sequence[Standing]) -> list[list[Node]]:
        """The identifiers of wanted types that are each profile's own.

        A device is that of the person who used it last, and so is what goes with it: a browser that two people
        shared would tell of one what the other did. One of too many people is nobody's.
        """
        wanted = [
            [node for node in each.reach if type_code(node) in self._codes] for each in standings
        ]
        devices = {node for nodes in wanted for node in nodes if names_device(node)}
        owners = self._owners(devices)
        return [
            [
                node
                for node in nodes
                if node not in devices
                or owners.get(node, standing.profile_id) == standing.profile_id
                or (owners[node] == _NOBODY and node == standing.profile_id)
            ]
            for standing, nodes in zip(standings, wanted, strict=True)
        ]

    def _owners(self, devices: Collection[Node]) -> dict[Node, Node]:
        """The profile of each device that people used; _NOBODY for one of too many."""
        if not devices:
            return {}
        uses = self._store.devices.uses_of(devices)
        # An advertising id has no uses of its own: those of the device that it was last seen with count.
        alone = [device for device in devices if device not in uses]
        companions = self._store.devices.companions_of(alone) if alone else {}
        newest = {device: some[0].with_node for device, some in companions.items() if some}
        uses |= self._store.devices.uses_of(set(newest.values()) - uses.keys()) if newest else {}
        users: dict[Node, list[Node]] = {}
        for device in devices:
            some = uses.get(device) or uses.get(newest.get(device, device)) or []
            people = [use for use in some if use.person]
            if people:
                last = max(people, key=lambda use: (use.last_ms, use.person))
                users[device] = [last.person, *(use.person for use in people)]
        profiles = people_of(self._store, {person for some in users.values() for person in some})
        return {
            device: profiles[some[0]]
            if len({profiles[person] for person in some}) <= self._rules.owners_max
            else _NOBODY
            for device, some in users.items()
        }


_NOBODY: Final = Node(b"")


def open_audience(
    workspace: "Workspace", types: Collection[str], traits: Collection[str]
) -> Audience:
    """The audience of a workspace, with identifiers of `types` and these traits alone."""
    workspace.asking.settle()
    return StoreAudience(
        workspace.store, workspace.config.identity, workspace.reader, workspace.keys.vault(),
        workspace.catalogues, workspace.now_ms, types, traits,
    )  # fmt: skip

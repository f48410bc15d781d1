"""From what is kept of members of segments to those whom destinations may name, many at a time."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from destinations.audience import Recipient
from identity.nodes import ADVERTISING_ID, MARK, Identifier, Node, mark_of, names_device
from identity.rules import Rules
from profiles.segments.membership import Standing
from storage.columns import columns_of
from storage.gathering import people_of
from storage.keys import Keys, Vault
from storage.ports import Store
from storage.profiles import Lookup, ProfileReader
from storage.reaching import LAST, reaching_of

NOBODY: Final = Node(b"")
"""Whose a device of too many people is."""
_NEVER_USED: Final = mark_of(ADVERTISING_ID)
"""Who uses a device is kept with its other identifiers: several visitors may share this one, or reset it."""
_SPAN_BYTES: Final = 4
"""Of ids, where spans end."""


class Recipients:
    """Reads recipients of a store; `types` of identifiers and `traits` are what a destination may use."""

    def __init__(
        self,
        store: Store,
        rules: Rules,
        reader: ProfileReader,
        vault: Vault,
        types: Collection[str],
        traits: Collection[str] = (),
    ) -> None:
        self._store = store
        self._rules = rules
        self._reader = reader
        self._vault = vault
        self._types = frozenset(types)
        self._marks = frozenset(map(mark_of, types))
        self._traits = frozenset(traits)
        self._reaching = reaching_of(store)
        self._columns = columns_of(store)

    def members(
        self,
        segments: Collection[str],
        purposes: Collection[str],
        span: tuple[Node, Node],
        now_ms: int,
    ) -> Iterator[list[Recipient]]:
        """Members of any of `segments` within a span of profile ids, as `Audience.members` gives them."""
        batches = self._reaching.standings(segments, *span)
        while True:
            with self._columns.snapshot():
                some = next(batches, None)
                if some is None:
                    return
                found = self._consenting(some, purposes, now_ms)
            yield found

    def _consenting(
        self, standings: Sequence[Standing], purposes: Collection[str], now_ms: int
    ) -> list[Recipient]:
        may = standings
        for purpose in purposes:
            may = [each for each in may if each.consent.get(purpose) is True]
        known = self.of(may, now_ms)
        if len(known) == len(standings):
            return known
        found, others = [], iter(known)
        following = next(others, None)
        for each in standings:
            if following is not None and following.profile_id == each.profile_id:
                found.append(following)
                following = next(others, None)
            else:
                found.append(
                    Recipient(
                        profile_id=each.profile_id, consent=each.consent, segments=each.segments
                    )
                )
        return found

    def of(self, standings: Sequence[Standing], now_ms: int) -> list[Recipient]:
        """Those of whom standings are, with identifiers and traits."""
        own = self._own(standings)
        known = self._identifiers({node for nodes in own for node in nodes})
        traits = self._traits_of(standings, now_ms)
        found = []
        for standing, nodes in zip(standings, own, strict=True):
            identifiers = [known[node] for node in nodes if node in known]
            if len(identifiers) > 1:
                identifiers.sort()
            found.append(
                Recipient(
                    profile_id=standing.profile_id, identifiers=tuple(identifiers),
                    consent=standing.consent, segments=standing.segments,
                    traits=traits.get(standing.profile_id, {}),
                )
            )  # fmt: skip
        return found

    def _identifiers(self, nodes: Collection[Node]) -> dict[Node, Identifier]:
        """Those of nodes that are of wanted types. Two types that a shop made up may share a code."""
        held = {
            node: each
            for node, each in self._store.identifiers.get(sorted(nodes)).items()
            if each[0] in self._types
        }
        values = self._vault.open_all([(node, sealed) for node, (_, sealed) in held.items()])
        return {
            node: Identifier(type_, value)
            for (node, (type_, _)), value in zip(held.items(), values, strict=True)
        }

    def _traits_of(self, standings: Sequence[Standing], now_ms: int) -> dict[Node, dict[str, Any]]:
        if not self._traits:
            return {}
        lookups = [Lookup(profile_id=each.profile_id) for each in standings]
        return {
            each.profile.id: {n: v for n, v in each.profile.traits.items() if n in self._traits}
            for each in self._reader.get_many(lookups, now_ms)
            if each is not None
        }

    def _own(self, standings: Sequence[Standing]) -> list[list[Node]]:
        """The identifiers of wanted types that are each profile's own.

        A device is that of the person who used it last, and so is what goes with it: a browser that two people
        shared would tell of one what the other did. One of too many people is nobody's.
        """
        marks = self._marks
        wanted = [[node for node in each.reach if node[MARK] in marks] for each in standings]
        owners = self._owners({node for nodes in wanted for node in nodes if names_device(node)})
        found = []
        for standing, nodes in zip(standings, wanted, strict=True):
            mine = standing.profile_id
            own = []
            for node in nodes:
                owner = owners.get(node, mine)
                if owner == mine or (owner == NOBODY and node == mine):
                    own.append(node)
            found.append(own)
        return found

    def _owners(self, devices: Collection[Node]) -> Mapping[Node, Node]:
        """The profile of each device that people used; NOBODY for one of too many."""
        if not devices:
            return {}
        used = {device for device in devices if device[MARK] != _NEVER_USED}
        profiles = self._reaching.sole_users(sorted(used))
        # An advertising id has no uses of its own: those of the device that it was last seen with count.
        alone = [device for device in devices if device not in profiles]
        newest = self._reaching.newest_companions(sorted(alone)) if alone else {}
        further = set(newest.values()) - used
        if further:
            profiles |= self._reaching.sole_users(sorted(further))
        if self._rules.owners_max < 1:
            profiles = dict.fromkeys(profiles)
        several = [device for device, profile in profiles.items() if profile is None]
        owners = profiles | self._owners_of_several(several)
        found = {}
        for device in devices:
            owner = owners.get(device if device in owners else newest.get(device, device))
            if owner is not None:
                found[device] = owner
        return found

    def _owners_of_several(self, devices: Collection[Node]) -> dict[Node, Node | None]:
        """The profile that the last user of each device is; None where there was none but logouts."""
        if not devices:
            return {}
        users: dict[Node, list[Node]] = {}
        for device, uses in self._store.devices.uses_of(devices).items():
            people = [use for use in uses if use.person]
            if people:
                last = max(people, key=lambda use: (use.last_ms, use.person))
                users[device] = [last.person, *(use.person for use in people)]
        profiles = people_of(self._store, {person for some in users.values() for person in some})
        return {
            device: profiles[some[0]]
            if len({profiles[person] for person in some}) <= self._rules.owners_max
            else NOBODY
            for device, some in users.items()
        }


class Opening(msgspec.Struct, frozen=True):
    """What it takes to read recipients in another process: it can be sent there, keys and all."""

    opener: Callable[[], Store]
    rules: Rules
    keys: Keys
    types: tuple[str, ...]
    traits: tuple[str, ...]

    def recipients(self) -> Recipients:
        """Reads them there."""
        store, vault = self.opener(), self.keys.vault()
        reader = ProfileReader(store, self.rules, self.keys.hasher(), vault)
        return Recipients(store, self.rules, reader, vault, self.types, self.traits)


class _Mine:
    """What a process that reads keeps."""

    batches: Callable[[tuple[Node, Node]], Iterator[list[Recipient]]]
    work: Callable[[Sequence[Recipient]], Any]


def begin(
    opening: Opening,
    segments: Sequence[str],
    purposes: Sequence[str],
    work: Callable[[Sequence[Recipient]], Any],
    now_ms: int,
) -> None:
    """Get ready, in another process, for `look`."""
    known = opening.recipients()
    _Mine.batches = lambda span: known.members(segments, purposes, span, now_ms)
    _Mine.work = work


def look(after: Node, until: Node) -> list[Any]:
    """What the work finds for batches of members within a span of ids."""
    return [_Mine.work(batch) for batch in _Mine.batches((after, until))]


def spans(after: Node, count: int) -> Iterator[tuple[Node, Node]]:
    """About so many spans of ids that are as likely, all of them past `after`."""
    every = 1 << 8 * _SPAN_BYTES
    begin = int.from_bytes(after.ljust(_SPAN_BYTES, b"\0"))
    step = max(1, every // count)
    while begin + step < every:
        begin += step
        until = Node(begin.to_bytes(_SPAN_BYTES))
        yield after, until
        after = until
    yield after, LAST

"""Whose devices are: what new uses and changed people make of it, and what is told of that (DESIGN §3.3).

The one writer of people looks. Whoever records uses writes them without reading, then looks at what is told
of the device, and sends on only a use that may change it. That misses none: the one writer first doubts what
is told, then reads the uses. A use whose recorder still saw no doubt was written before that, and is read.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from identity.changes import PersonChange
from identity.evidence import Use
from identity.nodes import Node, names_device
from identity.owning import Heard, Ownership, may_change, owned, tell
from identity.resolve import Cluster
from identity.rules import Rules
from storage.chunks import chunks
from storage.ports import Store

DEVICES_EACH: Final = 2_000
"""Devices that are looked at together, of all."""
NOTHING: Final[Mapping[Node, Ownership]] = MappingProxyType({})


class Looked(msgspec.Struct, frozen=True):
    """What looking at devices found, to be told and then written."""

    owners: Mapping[Node, Ownership]
    changes: Sequence[PersonChange]


class Otherwise(NamedTuple):
    """A device of which is told otherwise than its uses say."""

    device: Node
    told: Ownership | None
    right: Ownership

    def change(self, time_ms: int) -> PersonChange | None:
        """What telling what is right would tell."""
        return tell(self.device, self.told, self.right, time_ms, ())[1]


def told_otherwise(
    store: Store,
    rules: Rules,
    profiles_of: Callable[[Sequence[Node]], Mapping[Node, Node]],
    progress: Callable[[str, int, int], None],
) -> Iterator[Otherwise]:
    """Every device of which is told otherwise than all its uses say; people are as `profiles_of` has them.

    Those that are nobody's for good are left out: nobody looks at them again.
    """
    done = 0
    devices = ((each, list(uses)) for each, uses in groupby(store.devices.scan_uses(), _device))
    for some in chunks(devices, DEVICES_EACH):
        held = store.owners.of([device for device, _ in some])
        users = {use.person for _, uses in some for use in uses if use.person}
        profile_of = {**{user: user for user in users}, **profiles_of(sorted(users))}
        for device, uses in some:
            told = held.get(device)
            if told is not None and told.for_good:
                continue
            right = owned(uses, profile_of.__getitem__, rules, told)
            if right.owner != (told.owner if told else None):
                yield Otherwise(device, told, right)
        done += len(some)
        progress("devices looked at", done, 0)


_device: Final = attrgetter("device")


def that_may_change(
    store: Store, uses: Sequence[Use], event_of: Callable[[Use], str]
) -> list[Heard]:
    """Those of uses, which are stored, that may change whose a device is."""
    held = store.owners.of({use.device for use in uses}) if uses else {}
    return [Heard(use, event_of(use)) for use in uses if may_change(held.get(use.device), use)]


def look(
    store: Store,
    rules: Rules,
    heard: Iterable[Heard],
    changes: Sequence[PersonChange],
    now_of: Mapping[Node, Cluster],
    *,
    again: Collection[Node] = (),
    devices: Collection[Node] = (),
    believed: Mapping[Node, Ownership] = NOTHING,
    shared: bool = True,
) -> Looked:
    """Whose devices are after uses of them and after changes of people, who are as `now_of` has them.

    Where that says nothing of somebody, they are as stored. `again` are people whose devices are looked at as
    well, and `devices` further ones; `believed` is what those who follow changes heard of some devices, stored
    or not. `shared`: others may record uses meanwhile, so that a doubt is written first; else nothing is
    written here.
    """
    because, at_ms = _causes(heard, changes)
    news = {node for node in because if not names_device(node)}
    about = {node for node in (*news, *again) if not names_device(node)}
    devices = {*devices, *filter(names_device, because), *believed}
    devices |= store.owners.used_by(sorted(about)) if about else set()
    if not devices:
        return Looked({}, [])
    held = {**store.owners.of(sorted(devices)), **believed}
    devices = {device for device in devices if device not in held or not held[device].for_good}
    if shared:
        store.owners.put({device: _doubted(held.get(device)) for device in sorted(devices)})
    uses_of = store.devices.uses_of(sorted(devices))
    users = {use.person for uses in uses_of.values() for use in uses if use.person}
    people = dict(store.people.clusters_of(sorted(users - now_of.keys())))
    people |= {node: now_of[node] for node in users & now_of.keys()}
    owners: dict[Node, Ownership] = {}
    told: list[PersonChange] = []
    for device in sorted(devices):
        uses = uses_of.get(device, [])
        named = {device, *(use.person for use in uses)}
        causes = sorted(set().union(*(because[node] for node in named if node in because)))
        before = held.get(device)
        found = owned(uses, lambda node: _profile_of(node, people), rules, before)
        time_ms = max((at_ms[node] for node in named if node in at_ms), default=found.newest_ms)
        owners[device], change = tell(device, before, found, time_ms, causes)
        told += [change] if change else []
    return Looked(owners, told)


def _profile_of(node: Node, people: Mapping[Node, Cluster]) -> Node:
    return people[node].profile_id if node in people else node


def _doubted(held: Ownership | None) -> Ownership:
    return msgspec.structs.replace(held or Ownership(None, 0), doubted=True)


def _causes(
    heard: Iterable[Heard], changes: Iterable[PersonChange]
) -> tuple[dict[Node, set[str]], dict[Node, int]]:
    """What brings news of devices and people, and when it happened."""
    because: dict[Node, set[str]] = {}
    at_ms: dict[Node, int] = {}

    def note(node: Node, causes: Iterable[str], time_ms: int) -> None:
        because.setdefault(node, set()).update(causes)
        at_ms[node] = max(at_ms.get(node, 0), time_ms)

    for each in heard:
        note(each.use.device, [each.event], each.use.last_ms)
    for change in changes:
        if change.kind.of_people:
            for side in (*change.before, *change.after):
                for node in side.members:
                    note(node, change.because, change.time_ms)
    return because, at_ms

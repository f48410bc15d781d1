"""Whom destinations reach: members of segments and whose their devices are, many at a time.

What `Memberships` and `Devices` say one row at a time, for exports, which ask it of everybody.
"""

import heapq
from collections.abc import Collection, Iterable, Iterator
from itertools import groupby
from typing import Final, Protocol, runtime_checkable

from identity.nodes import Node
from profiles.segments.membership import Standing
from storage.chunks import chunks
from storage.gathering import people_of
from storage.ports import Store

BATCH: Final = 2_000
"""Members of one batch: some megabytes, and few statements."""
LAST: Final = Node(b"\xff" * 17)
"""Past every node."""


class Reaching(Protocol):
    """Reads what exports ask."""

    def standings(
        self, segments: Collection[str], after: Node, until: Node
    ) -> Iterator[list[Standing]]:
        """Standings of members of any of `segments`, in batches: each once, in order of profile id.

        Of those past `after` and up to `until`. Each batch is read when it is asked for.
        """

    def sole_users(self, devices: Iterable[Node]) -> dict[Node, Node | None]:
        """Of devices with uses: today's profile of the only person identifier that used it.

        None where there are several, or none at all but logouts.
        """

    def newest_companions(self, devices: Iterable[Node]) -> dict[Node, Node]:
        """The companion that each device identifier with any was last seen with."""


@runtime_checkable
class _HasReaching(Protocol):
    @property
    def reaching(self) -> Reaching: ...


class ScannedReaching:
    """`Reaching` of any store, by its ports."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def standings(
        self, segments: Collection[str], after: Node, until: Node
    ) -> Iterator[list[Standing]]:
        """See `Reaching`."""
        wanted = frozenset(segments)
        every = heapq.merge(*(self._members(each, after, until) for each in sorted(segments)))
        for some in chunks((node for node, _ in groupby(every)), BATCH):
            found = self._store.memberships.get(some)
            held = [found[node] for node in some if node in found]
            yield [each for each in held if not wanted.isdisjoint(each.segments)]

    def _members(self, segment: str, after: Node, until: Node) -> Iterator[Node]:
        while page := self._store.memberships.members(segment, after or None, BATCH):
            for node, _ in page:
                if node > until:
                    return
                yield node
            after = page[-1][0]

    def sole_users(self, devices: Iterable[Node]) -> dict[Node, Node | None]:
        """See `Reaching`."""
        uses = self._store.devices.uses_of(devices)
        users = {
            device: {use.person for use in some if use.person} for device, some in uses.items()
        }
        sole = {device: next(iter(some)) for device, some in users.items() if len(some) == 1}
        profiles = people_of(self._store, set(sole.values()))
        return {device: profiles[sole[device]] if device in sole else None for device in users}

    def newest_companions(self, devices: Iterable[Node]) -> dict[Node, Node]:
        """See `Reaching`."""
        found = self._store.devices.companions_of(devices)
        return {device: some[0].with_node for device, some in found.items() if some}


def reaching_of(store: Store) -> Reaching:
    """How to read what exports ask of `store`: its own way if it has one."""
    return store.reaching if isinstance(store, _HasReaching) else ScannedReaching(store)

"""In which order a backfill looks at everybody: people first, and with each the devices that they used.

A device's part is read for whoever used it, since visits on it are theirs. What of it is nobody's is looked at
in the same go, and when the turn of devices comes it need not be read again.

Why nobody is passed over: whom a backfill has looked at, in full and for what is defined now, it may skip once
that is written. What happens to a profile afterwards is evaluated when it happens. So it is with leaves that a
backfill is past, and a device that was looked at early is in no other place. `Order` skips a device only if
that was written, by this process and without a gap: where a backfill goes on from what another process left, or
somebody else moved it, all is forgotten, and all devices have their turn. That somebody used a device, though,
is never taken as a sign that it was looked at: a part names the newest devices of a person only.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from identity.nodes import Node, names_device, nodes_in
from storage.ports import Parts
from storage.segment_ports import Backfill, Turn

PAGES_MAX: Final = 8
"""Pages of leaves that are listed for one piece: some milliseconds."""
PREFIX: Final = 2
"""Bytes of a node under which those that were looked at are kept: a page of leaves is between few of them."""
LOOKED_MAX: Final = 4_000_000
"""Devices that are remembered, 16 bytes each. Of more than that some are looked at twice."""
PEOPLE_SHARE: Final = 0.75
"""Of a backfill's time what looking at people takes, about."""


class Position(NamedTuple):
    """How far a backfill is."""

    turn: Turn
    after: Node | None
    """The last leaf that was looked at, or passed over, in this turn."""


def position_of(state: Backfill) -> Position:
    """Where a backfill goes on. One that an older version began goes on in its order."""
    if state.turn is Turn.ALL and state.after is None:
        return Position(Turn.PEOPLE, None)
    return Position(state.turn, state.after)


def share_at(position: Position, share: float) -> float:
    """About how much of everything is done where `share` of the leaves is in this turn."""
    match position.turn:
        case Turn.PEOPLE:
            return PEOPLE_SHARE * share
        case Turn.DEVICES:
            return PEOPLE_SHARE + (1 - PEOPLE_SHARE) * share
        case Turn.ALL:
            return share


class Order:
    """Which leaves come next, for one process that fills. Any thread, one at a time."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._looked = _Nodes()
        self._upto: tuple[int, Position] | None = None
        """The revision, and the place up to which what was looked at is written."""

    def begin(self, state: Backfill) -> None:
        """A step from here: what is remembered counts if it led here."""
        here = (state.revision, position_of(state))
        if self._upto != here:
            self._looked.clear()
            self._upto = here

    def next(self, at: Position, limit: int) -> tuple[list[Node], Position | None]:
        """Up to about so many leaves to look at, and where to go on; None: that is all."""
        wanted: list[Node] = []
        after = at.after
        for _ in range(PAGES_MAX):
            page = self._parts.leaves(after, limit)
            wanted += self._of_turn(page, at.turn)
            if len(page) < limit:
                last = at.turn is not Turn.PEOPLE
                return wanted, None if last else Position(Turn.DEVICES, None)
            after = page[-1]
            if 2 * len(wanted) >= limit:
                break
        return wanted, Position(at.turn, after)

    def _of_turn(self, page: Sequence[Node], turn: Turn) -> Iterable[Node]:
        if turn is Turn.ALL:
            return page
        if turn is Turn.PEOPLE:
            return [leaf for leaf in page if not names_device(leaf)]
        devices = [leaf for leaf in page if names_device(leaf)]
        known = self._looked.near(devices)
        return [device for device in devices if device not in known]

    def wrote(self, state: Backfill, devices: Iterable[Node]) -> None:
        """What was found up to here is written for good, that of `devices`, which were not their turn, too."""
        self._upto = (state.revision, position_of(state))
        self._looked.add(devices)


class _Nodes:
    """Many nodes in little memory."""

    def __init__(self) -> None:
        self._by_prefix: dict[bytes, bytearray] = {}
        self._count = 0

    def add(self, nodes: Iterable[Node]) -> None:
        """Some more."""
        for node in nodes:
            if self._count >= LOOKED_MAX:
                return
            self._by_prefix.setdefault(node[:PREFIX], bytearray()).extend(node)
            self._count += 1

    def near(self, nodes: Iterable[Node]) -> set[Node]:
        """Those that begin like some of `nodes`."""
        found: set[Node] = set()
        for prefix in {node[:PREFIX] for node in nodes}:
            found.update(nodes_in(bytes(self._by_prefix.get(prefix, b""))))
        return found

    def clear(self) -> None:
        """None."""
        self._by_prefix.clear()
        self._count = 0

"""Members of segments and whose their devices are, from SQLite: few broad statements."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Final

import msgspec

from identity.nodes import Node
from profiles.segments.membership import Standing
from storage.reaching import BATCH
from storage.sqlite.database import Database

_last_ms, _with_node = itemgetter(1), itemgetter(2)
_standing = msgspec.msgpack.Decoder(Standing).decode
_PREFIX_BYTES: Final = 6
"""Of a node, that are nothing but hash: ids are spread evenly over what they can be."""
_WHOLE: Final = 1 << 8 * _PREFIX_BYTES
_FIRST: Final = _WHOLE >> 8
"""How much of all ids is looked at first, at most; then as much as holds about one batch."""
_GROWTH_MAX: Final = 8
_SPAN: Final = "profile > ? AND profile <= ?"


class SqliteReaching:
    """`storage.reaching.Reaching`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._most_are_members: dict[tuple[str, ...], bool] = {}
        """Whether most who stand anywhere are in one of these segments, as the first that were read tell."""

    def standings(
        self, segments: Collection[str], after: Node, until: Node
    ) -> Iterator[list[Standing]]:
        wanted, named = frozenset(segments), sorted(segments)
        width = _FIRST
        while after < until:
            end = min(_past(after, width), until)
            rows = self._rows(named, after, end)
            found = [_standing(blob) for _, blob in rows]
            if members := [each for each in found if not wanted.isdisjoint(each.segments)]:
                yield members
            after = rows[-1][0] if len(rows) == BATCH else end
            # A little less than a batch: a span that holds more is read twice.
            width = int(width * min(_GROWTH_MAX, 0.9 * BATCH / max(len(rows), 1))) + 1

    def _rows(self, segments: Sequence[str], after: Node, until: Node) -> list[tuple[Node, bytes]]:
        """The first `BATCH` standings of a span of ids: those of members, or all if most are members."""
        key = tuple(segments)
        if self._most_are_members.get(key):
            return self._database.rows(
                f"SELECT profile, standing FROM standings WHERE {_SPAN} ORDER BY profile LIMIT ?",
                (after, until, BATCH),
            )
        marks = ",".join("?" * len(segments))
        # Members are read from every segment, sorted and made unique by the `IN`.
        rows = self._database.rows(
            "SELECT profile, standing FROM standings WHERE profile IN (SELECT profile FROM "
            f"segment_members WHERE segment IN ({marks}) AND {_SPAN}) ORDER BY profile LIMIT ?",
            (*segments, after, until, BATCH),
        )
        if key not in self._most_are_members and rows:
            ((every,),) = self._database.rows(
                f"SELECT count(*) FROM standings WHERE {_SPAN}", (after, rows[-1][0])
            )
            # To read a standing, and that it is no member's, takes as long as to look up a member.
            self._most_are_members[key] = every < 2 * len(rows)
        return rows

    def sole_users(self, devices: Iterable[Node]) -> dict[Node, Node | None]:
        rows = self._database.rows_in(
            lambda marks: (
                "SELECT device, low, high, coalesce(profile, low) FROM (SELECT device, "
                "min(nullif(person, x'')) AS low, max(person) AS high FROM uses "
                f"WHERE device IN ({marks}) GROUP BY device) "
                "LEFT JOIN cluster_members ON node = low"
            ),
            devices,
        )
        return {device: profile if low == high else None for device, low, high, profile in rows}

    def newest_companions(self, devices: Iterable[Node]) -> dict[Node, Node]:
        rows = self._database.rows_in(
            lambda marks: (
                f"SELECT node, last_ms, with_node FROM companions WHERE node IN ({marks})"
            ),
            devices,
        )
        # The newest comes last, and of several that are as new the first one.
        rows.sort(key=_with_node, reverse=True)
        rows.sort(key=_last_ms)
        return {node: with_node for node, _, with_node in rows}


def _past(node: Node, width: int) -> Node:
    """The end of a span of so many of the values that a node can begin with."""
    last = int.from_bytes(node[:_PREFIX_BYTES].ljust(_PREFIX_BYTES, b"\0")) + width
    return Node(last.to_bytes(_PREFIX_BYTES)) if last < _WHOLE else Node(b"\xff" * 17)

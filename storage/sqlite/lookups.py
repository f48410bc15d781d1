"""What takes several tables of SQLite."""

from collections.abc import Collection, Iterable, Mapping
from functools import cache

from identity.decisions import Decision
from identity.incremental import Around
from identity.nodes import Node, names_device
from identity.resolve import Cluster
from storage.around import around_of
from storage.identity_ports import Decisions, Evidence, Held, Named, People
from storage.sqlite.database import Database
from storage.sqlite.identity import cluster_from, uses_from


class SqliteLookups:
    """`storage.identity_ports.Lookups`."""

    def __init__(
        self,
        database: Database,
        evidence: Evidence,
        people: People,
        decisions: Decisions,
    ) -> None:
        self._database = database
        self._evidence = evidence
        self._people = people
        self._decisions = decisions

    def around(
        self, limits: Mapping[Node, int], as_one: Iterable[Collection[Node]] = ()
    ) -> tuple[Around, list[Decision]]:
        return around_of(self._evidence, self._people, self._decisions, limits)

    def named(self, nodes: Iterable[Node]) -> dict[Node, Named]:
        wanted = list(nodes)
        rows = self._database.rows_in(
            _named_with_uses if any(map(names_device, wanted)) else _named, wanted
        )
        # Made once for all its members: of 100, that is some milliseconds.
        people: dict[Node, Cluster] = {}
        uses = uses_from(row[:5] for row in rows if row[6])
        users: dict[Node, dict[Node, Node]] = {}
        for device, _, _, _, person, profile, of_use in rows:
            if of_use and person:
                users.setdefault(device, {})[person] = profile or person
        found = {}
        for node, type_, sealed, part, profile, members, of_use in rows:
            if of_use:
                continue
            if profile is None:
                cluster = Cluster(node, frozenset((node,)))
            elif (known := people.get(profile)) is not None:
                cluster = known
            else:
                cluster = people[profile] = cluster_from(profile, members)
            found[node] = Named(
                cluster, Held(type_, sealed, part), uses.get(node, ()), users.get(node, {})
            )
        return found


@cache
def _named(marks: str) -> str:
    return (
        "SELECT node, type, sealed, part, profile, members, 0 FROM identifiers "
        "LEFT JOIN parts ON leaf = node "
        "LEFT JOIN cluster_members USING (node) LEFT JOIN clusters USING (profile) "
        f"WHERE node IN ({marks})"
    )


@cache
def _named_with_uses(marks: str) -> str:
    """What is known of nodes, and the uses of those that are devices, by one statement.

    Each statement lets go of Python's lock, and may have to wait for it.
    """
    numbered = ",".join(f"?{n}" for n in range(1, marks.count("?") + 1))
    return (
        f"{_named(numbered)} UNION ALL "
        "SELECT device, first_ms, last_ms, hour, person, profile, 1 FROM uses "
        f"LEFT JOIN cluster_members ON node = person WHERE device IN ({numbered})"
    )

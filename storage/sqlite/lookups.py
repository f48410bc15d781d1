"""What takes several tables of SQLite."""

from collections.abc import Collection, Iterable, Mapping

from identity.decisions import Decision
from identity.incremental import Around
from identity.nodes import Node, names_device
from identity.resolve import Cluster
from storage.around import around_of
from storage.ports import Decisions, Devices, Evidence, Held, Named, People
from storage.sqlite.database import Database
from storage.sqlite.identity import cluster_from


class SqliteLookups:
    """`storage.ports.Lookups`."""

    def __init__(
        self,
        database: Database,
        devices: Devices,
        evidence: Evidence,
        people: People,
        decisions: Decisions,
    ) -> None:
        self._database = database
        self._devices = devices
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
            lambda marks: (
                "SELECT node, type, sealed, part, profile, members FROM identifiers "
                "LEFT JOIN parts ON leaf = node "
                "LEFT JOIN cluster_members USING (node) LEFT JOIN clusters USING (profile) "
                f"WHERE node IN ({marks})"
            ),
            wanted,
        )
        devices = [node for node in wanted if names_device(node)]
        uses = self._devices.uses_of(devices) if devices else {}
        # Made once for all its members: of 100, that is some milliseconds.
        people: dict[Node, Cluster] = {}
        found = {}
        for node, type_, sealed, part, profile, members in rows:
            if profile is None:
                cluster = Cluster(node, frozenset((node,)))
            elif (known := people.get(profile)) is not None:
                cluster = known
            else:
                cluster = people[profile] = cluster_from(profile, members)
            found[node] = Named(cluster, Held(type_, sealed, part), uses.get(node, ()))
        return found

"""What takes several tables, in one round trip: they are read at the same time."""

from collections.abc import Collection, Iterable, Mapping

from identity.decisions import Decision
from identity.incremental import Around
from identity.nodes import Node, names_device
from identity.resolve import Cluster
from storage.cassandra.deciding import CassandraDecisions
from storage.cassandra.devices import CassandraDevices
from storage.cassandra.evidence import CassandraEvidence
from storage.cassandra.people import (
    CassandraIdentifiers,
    CassandraPeople,
    clusters_in,
    refusals_in,
)
from storage.chunks import by_limit
from storage.identity_ports import Held, Named


class CassandraLookups:
    """`storage.identity_ports.Lookups`: one round trip, or two where more than links names somebody."""

    def __init__(
        self,
        identifiers: CassandraIdentifiers,
        people: CassandraPeople,
        devices: CassandraDevices,
        evidence: CassandraEvidence,
        decisions: CassandraDecisions,
    ) -> None:
        self._identifiers = identifiers
        self._people = people
        self._devices = devices
        self._evidence = evidence
        self._decisions = decisions

    def named(self, nodes: Iterable[Node]) -> dict[Node, Named]:
        wanted = list(nodes)
        values, people = self._identifiers.ask(wanted), self._people.ask(wanted)
        uses = self._devices.uses_of([node for node in wanted if names_device(node)])
        rows = {node: (state, part) for node, state, part in people}
        clusters = clusters_in((node, state) for node, (state, _) in rows.items())
        found = {}
        for node, (type_, sealed) in values:
            _, part = rows.get(node, (None, None))
            found[node] = Named(
                clusters.get(node) or Cluster(node, frozenset({node})),
                Held(type_, sealed, part),
                uses.get(node, ()),
            )
        return found

    def around(
        self, limits: Mapping[Node, int], as_one: Iterable[Collection[Node]] = ()
    ) -> tuple[Around, list[Decision]]:
        nodes = sorted(limits)
        states = self._people.ask_states_of(nodes, as_one)
        beside: set[Node] = set()
        asked = [
            self._evidence.ask_links(some, most, beside)
            for most, some in sorted(by_limit(limits).items())
        ]
        state_of = dict(states)
        links = {(link.a, link.b): link for some in asked for link in some}
        # Few identifiers are named otherwise than by links: for the others that is all there is to read.
        named_otherwise = sorted(beside)
        must_links = self._evidence.ask_must_links(named_otherwise)
        matches = self._evidence.ask_matches(named_otherwise)
        decisions = self._decisions.ask(named_otherwise)
        around = Around(
            list(links.values()),
            list(must_links),
            list(matches),
            clusters_in(state_of.items()),
            refusals_in(state_of.values()),
        )
        return around, list(decisions)

"""All that is said of some identifiers, read one table after the other: where no table is far away."""

from collections.abc import Mapping

from identity.decisions import Decision
from identity.incremental import Around
from identity.nodes import Node
from storage.chunks import by_limit
from storage.identity_ports import Decisions, Evidence, People


def around_of(
    evidence: Evidence, people: People, decisions: Decisions, limits: Mapping[Node, int]
) -> tuple[Around, list[Decision]]:
    """What `storage.ports.Lookups.around` promises."""
    nodes = sorted(limits)
    links = {
        (link.a, link.b): link
        for most, some in sorted(by_limit(limits).items())
        for link in evidence.links_of(some, most)
    }
    around = Around(
        list(links.values()),
        evidence.must_links_of(nodes),
        evidence.matches_of(nodes),
        people.clusters_of(nodes),
        people.refusals_of(nodes),
    )
    return around, decisions.of(nodes)

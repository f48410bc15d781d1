"""All evidence of a store, for what decides about everybody at once."""

from collections.abc import Iterator
from typing import Final

from identity.decisions import Decision
from identity.nodes import Node
from identity.resolve import Evidence
from storage.ports import Store

PAGE: Final = 1_000


def all_decisions(store: Store) -> Iterator[Decision]:
    """Every decision of operators, newest first; those that were taken back too."""
    before: tuple[int, str] | None = None
    while page := store.decisions.list(PAGE, before):
        yield from page
        before = (page[-1].time_ms, page[-1].id)


def evidence_of(store: Store) -> Evidence:
    """Everything that is stored about who is who, in memory: some 500 bytes a link."""
    decisions = list(all_decisions(store))
    told = [must for decision in decisions for must in decision.must_links()]
    return Evidence(
        links=list(store.evidence.scan_links()),
        must_links=[*store.evidence.scan_must_links(), *told],
        keep_apart=[apart for decision in decisions for apart in decision.keep_apart()],
        matches=list(store.evidence.scan_matches()),
        blocked=frozenset[Node]().union(*(decision.blocked() for decision in decisions)),
    )

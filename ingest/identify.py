"""The identify stage: new evidence becomes people, in the transaction that stores it (DESIGN §3.4)."""

from collections.abc import Iterable, Sequence

from identity.evidence import KeepApart, Link, MustLink
from identity.incremental import decide
from identity.nodes import Node
from identity.resolve import Cluster, Refusal
from identity.rules import Rules
from storage.ports import Store


class _Known:
    """`identity.incremental.Known` over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def links_of(self, nodes: Sequence[Node], limit_each: int | None = None) -> list[Link]:
        return self._store.evidence.links_of(nodes, limit_each)

    def must_links_of(self, nodes: Sequence[Node]) -> list[MustLink]:
        return self._store.evidence.must_links_of(nodes)

    def keep_apart(self) -> list[KeepApart]:
        return self._store.evidence.keep_apart()

    def clusters_of(self, nodes: Iterable[Node]) -> dict[Node, Cluster]:
        return self._store.people.clusters_of(nodes)

    def refusals_of(self, nodes: Iterable[Node]) -> list[Refusal]:
        return self._store.people.refusals_of(nodes)


def identify(
    store: Store, links: Sequence[Link], must_links: Sequence[MustLink], rules: Rules
) -> None:
    """Bring people up to date with evidence that the store holds already."""
    change = decide(links, must_links, _Known(store), rules)
    store.people.write(change.clusters, change.alone)
    store.people.replace_refusals(change.resolved, change.refusals)

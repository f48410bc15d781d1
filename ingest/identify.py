"""The identify stage: new evidence becomes people (DESIGN §3.4). One writer at a time."""

from collections.abc import Callable, Iterable, Sequence

from identity.evidence import KeepApart, Link, MustLink
from identity.incremental import Change, decide
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
    store: Store,
    links: Sequence[Link],
    must_links: Sequence[MustLink],
    rules: Rules,
    *,
    again: bool = False,
    announce: Callable[[Change], None] = lambda change: None,
) -> Change | None:
    """Store evidence and bring people up to date with it; None if it said nothing new.

    `announce` hears of the change before people are written. `again` decides all of it as if it were
    new and writes every row of its components: for evidence that another writer may have half decided.
    """
    new_links = store.evidence.merge_links(links)
    new_must_links = store.evidence.merge_must_links(must_links)
    news: list[Link | MustLink] = [*links, *must_links]
    touched = {node for each in news for node in (each.a, each.b)} if again else set()
    if not (new_links or new_must_links or touched):
        return None
    change = decide(new_links, new_must_links, _Known(store), rules, touched=touched)
    announce(change)
    store.people.write(change.resolved, change.clusters, change.refusals)
    return change


def decide_again(store: Store, nodes: Iterable[Node], rules: Rules) -> Change:
    """Write the people of `nodes` and all their components anew, from the evidence that is stored."""
    change = decide([], [], _Known(store), rules, touched=nodes)
    store.people.write(change.resolved, change.clusters, change.refusals)
    return change

"""What this process has already stored, so that it is not written again and again.

Forgetting is harmless, since registers merge again; remembering is safe, since they never go back.
"""

from typing import Any, Final

from identity.evidence import Companion, Link, Use
from identity.nodes import Identifier, Node
from ingest.record import Recorded

KNOWN_MAX: Final = 100_000
"""Entries of each kind that are remembered: some 60 MB in all at most."""


class Known:
    """Statements that are durable. Ask for what is new in a batch; learn it when the batch is durable."""

    def __init__(self) -> None:
        self._identifiers: dict[Node, bool] = {}
        self._links: dict[tuple[Node, Node], Link] = {}
        self._uses: dict[tuple[Node, Node, int], tuple[int, int]] = {}
        self._companions: dict[tuple[Node, Node], int] = {}

    def new_identifiers(self, said: Recorded) -> dict[Node, Identifier]:
        """Identifiers that may not be stored yet."""
        held = self._identifiers
        return {node: value for node, value in said.identifiers.items() if node not in held}

    def new_links(self, said: Recorded) -> list[Link]:
        """Links that may change a stored register."""
        links = []
        for key, link in said.links.items():
            held = self._links.get(key)
            if held is None or held.merge(link) != held:
                links.append(link)
        return links

    def new_uses(self, said: Recorded) -> list[Use]:
        """Uses that may widen a stored register."""
        uses = []
        for key, use in said.uses.items():
            held = self._uses.get(key)
            if held is None or use.first_ms < held[0] or use.last_ms > held[1]:
                uses.append(use)
        return uses

    def new_companions(self, said: Recorded) -> list[Companion]:
        """Companions that may be newer than the stored register."""
        held = self._companions
        return [
            companion
            for key, companion in said.companions.items()
            if held.get(key, -1) < companion.last_ms
        ]

    def knows(self, companion: Companion) -> bool:
        """Whether two are known to go together, however long ago they were last seen to."""
        return (companion.node, companion.with_node) in self._companions

    def learn(self, said: Recorded) -> None:
        """Everything that `said` says is durable now."""
        for key, link in said.links.items():
            known = self._links.get(key)
            self._links[key] = link if known is None else known.merge(link)
        for at, use in said.uses.items():
            first_ms, last_ms = self._uses.get(at, (use.first_ms, use.last_ms))
            self._uses[at] = (min(first_ms, use.first_ms), max(last_ms, use.last_ms))
        self._identifiers.update(dict.fromkeys(said.identifiers, True))
        self._companions.update((key, each.last_ms) for key, each in said.companions.items())
        for kind in (self._identifiers, self._links, self._uses, self._companions):
            _forget(kind)


def _forget(held: dict[Any, Any]) -> None:
    if len(held) > KNOWN_MAX:
        # The oldest half goes: dictionaries remember the order of insertion.
        for key in list(held)[: len(held) - KNOWN_MAX // 2]:
            del held[key]

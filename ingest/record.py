"""The record stage: what one batch of events says, before anything is read or written (pure)."""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from identity.event import Event, Source
from identity.evidence import Companion, Link, MustLink, Use
from identity.extract import Extractor
from identity.nodes import Identifier, Node
from ingest.decode import Refused
from profiles.facts import Facts, facts_of


class Recorded(msgspec.Struct):
    """What a batch of events says, with repeated statements coalesced."""

    events: list[tuple[Node, Event, Facts]]
    """(leaf, event, facts) in the order of the log."""
    refused: list[Refused]
    links: dict[tuple[Node, Node], Link]
    must_links: list[MustLink]
    uses: dict[tuple[Node, Node, int], Use]
    companions: dict[tuple[Node, Node], Companion]
    identifiers: dict[Node, Identifier]
    used_by: dict[tuple[Node, Node, int], str] = {}
    """The newest event of each use."""


def record(
    events: Iterable[Event],
    refused: Sequence[Refused],
    extractor: Extractor,
    source_named: Callable[[str], Source],
) -> Recorded:
    """Identify each event's leaf and evidence. An event that names nobody is refused, not lost."""
    said = Recorded([], list(refused), {}, [], {}, {}, {})
    for event in events:
        found = extractor.extract(event, source_named(event.source))
        if found.leaf is None:
            said.refused.append(
                Refused(
                    reason="names_nobody",
                    detail="no identifier is left: "
                    + (_ignored(found.ignored) or "none was given"),
                    raw=event.raw,
                    received_ms=event.received_ms,
                    source=event.source,
                )
            )
            continue
        said.events.append((found.leaf, event, facts_of(event, found.device)))
        for identifier, node in found.identifiers:
            said.identifiers[node] = identifier
        for link in found.links:
            held = said.links.get((link.a, link.b))
            said.links[link.a, link.b] = link if held is None else held.merge(link)
        said.must_links += found.must_links
        for use in found.uses:
            key = (use.device, use.person, use.hour)
            known = said.uses.get(key)
            said.uses[key] = use if known is None else known.merge(use)
            if known is None or use.last_ms >= known.last_ms:
                said.used_by[key] = event.message_id
        for companion in found.companions:
            pair = (companion.node, companion.with_node)
            other = said.companions.get(pair)
            if other is None or companion.last_ms > other.last_ms:
                said.companions[pair] = companion
    return said


def _ignored(ignored: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{type_name} is {reason}" for type_name, reason in ignored)

"""Bring what parts keep for segments up to date: new collectors read the timeline (DESIGN §4)."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from identity.nodes import Node
from profiles.facts import hash64
from profiles.fold import collect_again
from profiles.part import Part
from profiles.segments import collect
from profiles.segments.catalogue import Catalogue
from profiles.segments.collect import Collecting, Hit
from storage.ports import Store, TimelineQuery, TimelineRow

ROWS_AT_ONCE: Final = 20_000
"""Rows of timelines that are read in one page: some 20 MB."""


class _Said(msgspec.Struct):
    """What collectors read of an event."""

    properties: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Said).decode


def key_of(type_: str, name: str) -> str:
    """The key under which an event is counted, as in `profiles.facts.Facts.event`."""
    return collect.key_of(name) if type_ == "track" else "$" + type_


def hits_of(
    collecting: Collecting, key: str, message: int, time_ms: int, raw: bytes
) -> Mapping[int, Hit]:
    """What collectors keep of a stored event."""
    if not collecting.wants(key):
        return {}
    return collecting.hits(key, message, time_ms, _decode(raw).properties or {})


def bring_up_to_date(store: Store, catalogue: Catalogue, parts: Mapping[Node, Part]) -> list[Node]:
    """Let parts keep all that a catalogue needs, and nothing else; those that changed.

    A part of `catalogue.collects_since` lacks nothing: whoever only reads need not bring it here.

    A part holds the hits of what it has counted: rows beyond where it stands are not its own yet.
    """
    behind = {leaf: part for leaf, part in parts.items() if part.collected_at < catalogue.revision}
    for since in {part.collected_at for part in behind.values()}:
        some = {leaf: part for leaf, part in behind.items() if part.collected_at == since}
        found = _hits(store, catalogue.added_since(since), some)
        for leaf, part in some.items():
            collect_again(part, leaf, catalogue.revision, catalogue.live, found.get(leaf, ()))
    return list(behind)


def _hits(
    store: Store, collecting: Collecting, parts: Mapping[Node, Part]
) -> dict[Node, list[tuple[int, Mapping[int, Hit]]]]:
    """`(time_ms, hits)` of all events that parts have counted."""
    found: dict[Node, list[tuple[int, Mapping[int, Hit]]]] = {}
    if not collecting.numbers:
        return found
    leaves = [leaf for leaf, part in parts.items() if part.offset >= 0]
    for row in _rows(store, leaves, collecting.names()):
        if row.offset > parts[row.leaf].offset:
            continue
        key = key_of(row.type, row.name)
        if hits := hits_of(collecting, key, hash64(row.message_id), row.time_ms, row.raw):
            found.setdefault(row.leaf, []).append((row.time_ms, hits))
    return found


def _rows(store: Store, leaves: list[Node], keys: list[str] | None) -> Iterator[TimelineRow]:
    names = tuple(key.removeprefix("$") for key in keys) if keys else ()
    before = None
    while leaves:
        query = TimelineQuery(limit=ROWS_AT_ONCE, names=names, before=before)
        page = store.timeline.read(leaves, query)
        yield from page
        if len(page) < ROWS_AT_ONCE:
            return
        before = (page[-1].key_ms, page[-1].message_id, page[-1].leaf)

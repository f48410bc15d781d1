"""The fold protocol: which events count in which part, and where in it (DESIGN §4)."""

from collections.abc import Collection, Iterable, Mapping

import msgspec

from identity.nodes import Node, names_device
from profiles.body import NO_HITS, add, add_hits, trim, trim_hits
from profiles.facts import Facts
from profiles.part import Body, Part
from profiles.segments.collect import Hit
from profiles.visits import body_at, settle_visits


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One event for a part."""

    offset: int
    counted_at: int
    """The lowest offset that counted its message."""
    facts: Facts
    hits: Mapping[int, Hit] = NO_HITS
    """What the collectors of segments keep of it."""


def fold(part: Part, leaf: Node, entries: Iterable[Entry]) -> bool:
    """Add entries, oldest offset first; True if the part changed.

    An entry counts if the part does not stand beyond its offset yet, and no earlier offset counted its
    message (`counted_at` is the lowest offset that did). So redelivery and replay change nothing.
    """
    touched: dict[int, Body] = {}
    device = names_device(leaf)
    changed = False
    for entry in entries:
        if entry.offset <= part.offset:
            continue
        part.offset = entry.offset
        changed = True
        if entry.counted_at < entry.offset:
            continue
        facts = entry.facts
        part.newest_key_ms = max(part.newest_key_ms, facts.key_ms)
        if device:
            body = body_at(part, facts.time_ms)
        else:
            body = part.body = part.body or Body()
        add(body, facts, entry.hits)
        touched[id(body)] = body
    for body in touched.values():
        trim(body)
    if device and touched:
        settle_visits(part)
    return changed


def collect_again(
    part: Part,
    leaf: Node,
    revision: int,
    live: Collection[int],
    hits: Iterable[tuple[int, Mapping[int, Hit]]],
) -> None:
    """Bring what segments need of a part to a revision of them: `(time_ms, hits)` of all events counted so far.

    The hits are those of collectors that are new to the part. What no segment in force needs is dropped.
    A lean part (`decode_lean`) will do.
    """
    part.collected_at = revision
    kept = frozenset(live)
    bodies = [part.body] if part.body else []
    bodies += [visit.body for visit in part.visits]
    for body in bodies:
        if not kept.issuperset(body.collected):
            body.collected = {n: held for n, held in body.collected.items() if n in kept}
    device = names_device(leaf)
    touched: dict[int, Body] = {}
    for time_ms, found in hits:
        if device:
            body = body_at(part, time_ms)
        else:
            body = part.body = part.body or Body()
        add_hits(body, found)
        touched[id(body)] = body
    for body in touched.values():
        trim_hits(body)

"""The fold protocol: which events count in which part, and where in it (DESIGN §4)."""

from collections.abc import Iterable

from identity.nodes import Node, names_device
from profiles.body import add, trim
from profiles.facts import Facts
from profiles.part import Body, Part
from profiles.visits import body_at, settle_visits


def fold(part: Part, leaf: Node, entries: Iterable[tuple[int, int, Facts]]) -> bool:
    """Add `(offset, counted_at, facts)` entries, oldest offset first; True if the part changed.

    An entry counts if the part does not stand beyond its offset yet, and no earlier offset counted its
    message (`counted_at` is the lowest offset that did). So redelivery and replay change nothing.
    """
    touched: dict[int, Body] = {}
    device = names_device(leaf)
    changed = False
    for offset, counted_at, facts in entries:
        if offset <= part.offset:
            continue
        part.offset = offset
        changed = True
        if counted_at < offset:
            continue
        part.newest_key_ms = max(part.newest_key_ms, facts.key_ms)
        if device:
            body = body_at(part, facts.time_ms)
        else:
            body = part.body = part.body or Body()
        add(body, facts)
        touched[id(body)] = body
    for body in touched.values():
        trim(body)
    if device and touched:
        settle_visits(part)
    return changed

"""Which events and traits were ever seen, so that a misspelt one is noticed."""

from typing import Final

from profiles.part import decode
from profiles.segments.seen import Known
from storage.ports import Store

LEAVES_MAX: Final = 4_000
"""Leaves that are looked at: a name that hardly anybody has may be missed, and is then only warned of.

Leaves are hashes: the first in their order are as good as any.
"""
CHUNK: Final = 400


def known_names(store: Store) -> Known:
    """The names of events, traits and consent purposes of some thousand leaves."""
    events: set[str] = set()
    traits: set[str] = set()
    looked, after = 0, None
    while looked < LEAVES_MAX:
        leaves = store.parts.leaves(after, CHUNK)
        for blob in store.parts.read(leaves).values():
            part = decode(blob)
            bodies = [part.body] if part.body else []
            for body in (*bodies, *(visit.body for visit in part.visits)):
                events.update(counter.spelling for counter in body.counters.values())
                traits.update(body.traits)
        looked += CHUNK
        if len(leaves) < CHUNK:
            break
        after = leaves[-1]
    return Known(events=frozenset(events), traits=frozenset(traits))

"""From members to a destination's rows: all that can be done in any process, a batch at a time."""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from destinations.audience import Recipient
from destinations.destination import Renderer, Stated, Update
from destinations.gate import Gate, Tally, Withheld

_by_segment = attrgetter("segment")


class Rendered(msgspec.Struct, frozen=True):
    """What became of a batch of members."""

    looked_at: int
    people: int
    withheld: Mapping[str, int]
    rows: Sequence[Any]


class Rendering(msgspec.Struct, frozen=True):
    """What is done with every batch of a full export; it can be sent to another process."""

    gate: Gate
    names: Mapping[str, str]
    """At the destination, of segments by their ids."""
    renderer: Renderer

    def __call__(self, batch: Sequence[Recipient]) -> Rendered:
        """The rows of those who may be sent."""
        tally = Tally()
        updates = updates_of(batch, self.names, self.gate, tally)
        before = tally.stopped
        rows = self.renderer.render(updates, tally) if updates else ()
        people = len(updates) - (tally.stopped - before)
        return Rendered(len(batch), people, tally.withheld, rows)


def updates_of(
    batch: Sequence[Recipient], names: Mapping[str, str], gate: Gate, tally: Tally
) -> list[Update]:
    """What is told of members of segments: all that they are in, of those whom the gate lets pass."""
    updates = []
    purposes, stops, withhold = gate.purposes, gate.stops, tally.withhold
    for recipient in batch:
        consent = recipient.consent
        # The gate is asked about those alone who may not pass: this loop is what a million members cost.
        for purpose in purposes:
            if consent.get(purpose) is not True:
                withhold(stops(consent) or Withheld.NO_CONSENT)
                break
        else:
            stated = [
                Stated(names[segment], True, since)
                for segment, since in recipient.segments.items()
                if segment in names
            ]
            if len(stated) > 1:
                stated.sort(key=_by_segment)
            if stated:
                updates.append(Update(recipient, stated))
    return updates

"""Which devices have visits that are somebody else's now: their users are looked at in full (DESIGN §3.3)."""

from collections.abc import Collection, Mapping, Sequence

from identity.devices import Known, all_stay
from identity.evidence import Use
from identity.nodes import Node
from identity.rules import Rules
from profiles.part import decode_lean, visit_spans
from storage.gathering import people_of
from storage.ports import Store

Spans = Sequence[tuple[int, int]]


def moved(
    store: Store,
    rules: Rules,
    grown: Mapping[Node, tuple[Spans, Spans]],
    uses: Collection[Use],
    used: Mapping[Node, Sequence[Use]],
) -> set[Node]:
    """Devices of which not every visit there was is whose it was.

    `grown`: the visits before and after, of those where they changed; `uses` are new or longer than they
    were, `used` are those before, of every device in either.
    """
    if not grown and not uses:
        return set()
    now: dict[Node, dict[tuple[Node, int], Use]] = {
        device: {(use.person, use.hour): use for use in used.get(device, ())}
        for device in grown.keys() | {use.device for use in uses}
    }
    for use in uses:
        registers, key = now[use.device], (use.person, use.hour)
        registers[key] = registers[key].merge(use) if key in registers else use
    people = {person for registers in now.values() for person, _ in registers if person}
    person_of = people_of(store, people).__getitem__
    blobs = store.parts.read([device for device in now if device not in grown])
    stayed = {device: visit_spans(decode_lean(blob)) for device, blob in blobs.items()}
    found = set()
    for device, registers in now.items():
        here = stayed.get(device, [])
        before, after = grown.get(device, (here, here))
        then = Known(before, used.get(device, ()))
        if not all_stay(then, Known(after, list(registers.values())), person_of, rules):
            found.add(device)
    return found

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
    store: Store, rules: Rules, grown: Mapping[Node, tuple[Spans, Spans]], uses: Collection[Use]
) -> list[Node]:
    """Devices of which not every visit there was is whose it was.

    `grown`: the visits before and after, of those where they changed. `uses` are about to be stored.
    """
    devices = grown.keys() | {use.device for use in uses}
    if not devices:
        return []
    # What is nobody's because of many people stays so, until people change.
    kiosks = {each.profile_id for each in store.memberships.get(devices).values() if each.kiosk}
    used = store.devices.uses_of(devices - kiosks)
    now = {
        device: {(use.person, use.hour): use for use in used.get(device, [])}
        for device in devices - kiosks
    }
    for use in uses:
        if (registers := now.get(use.device)) is not None:
            key = (use.person, use.hour)
            registers[key] = registers[key].merge(use) if key in registers else use
    people = {person for registers in now.values() for person, _ in registers if person}
    person_of = people_of(store, people).__getitem__
    blobs = store.parts.read([device for device in now if device not in grown])
    found = []
    for device, registers in now.items():
        here = visit_spans(decode_lean(blobs[device])) if device in blobs else []
        before, after = grown.get(device, (here, here))
        then = Known(before, used.get(device, []))
        if not all_stay(then, Known(after, list(registers.values())), person_of, rules):
            found.append(device)
    return found

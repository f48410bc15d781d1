"""What several people share, in words: an identifier that names many, and devices that they used."""

from collections.abc import Mapping, Sequence
from typing import Final

from identity.evidence import Use
from identity.explain import DEVICE, Obstacle
from identity.nodes import Node
from profiles.part import decode_lean
from storage.gathering import devices_of, people_of
from storage.ports import Store

COUNTED_MAX: Final = 250
"""Identifiers beside a hub whose people are counted; of a larger one the answer is "more than". To read 1,000,
and who they are, takes longer than all else of an explanation."""
DEVICES_MAX: Final = 5
"""Devices of two people that are told."""
LOOKED_AT_MAX: Final = 100
"""A person's newest devices that are looked at for others who used them: as many as one identifier keeps."""


def people_named(store: Store, node: Node, most: int = COUNTED_MAX) -> str:
    """How many people links name together with a node, in words: "61 people"."""
    links = store.evidence.links_of([node], most + 1)
    others = {link.b if link.a == node else link.a for link in links}
    if len(others) > most:
        return f"more than {most:,} identifiers"
    return _counted(len(set(people_of(store, others).values())))


def _counted(people: int) -> str:
    return "one person" if people == 1 else f"{people:,} people"


def shared_devices(store: Store, one: Sequence[Node], other: Sequence[Node]) -> list[Obstacle]:
    """The devices that two people used, the newest first: those of who has fewer identifiers, by their uses."""
    few, many = sorted((one, other), key=len)
    parts = {node: decode_lean(blob) for node, blob in store.parts.read(few).items()}
    newest = devices_of(few, parts)[:LOOKED_AT_MAX]
    uses_of = store.devices.uses_of(newest) if newest else {}
    users = {device: {use.person for use in uses} for device, uses in uses_of.items()}
    shared = [each for each in newest if not users.get(each, set()).isdisjoint(many)]
    return used_by(store, shared[:DEVICES_MAX], uses_of)


def used_by(
    store: Store, devices: Sequence[Node], uses_of: Mapping[Node, Sequence[Use]]
) -> list[Obstacle]:
    """That devices join nobody, and how many people used each."""
    users = {use.person for each in devices for use in uses_of.get(each, ()) if use.person}
    today = people_of(store, users)
    found = []
    for device in devices:
        uses = [use for use in uses_of.get(device, ()) if use.person]
        people = {today[use.person] for use in uses}
        used = f"{_counted(len(people))} used it" if people else "nobody used it by name"
        found.append(
            Obstacle(
                rule=DEVICE,
                detail=f"shared device: {used}" if len(people) > 1 else used,
                a=device,
                since_ms=min((use.first_ms for use in uses), default=0),
            )
        )
    return found

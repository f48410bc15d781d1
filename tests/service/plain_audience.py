"""Members of segments with their identifiers, one profile at a time by the plain ports: how it is meant."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from destinations.audience import Recipient
from identity.nodes import Identifier, Node, code_of, names_device, type_code
from identity.rules import Rules
from profiles.segments.membership import Standing
from storage.gathering import people_of
from storage.keys import Vault
from storage.ports import Store


def plain_members(
    store: Store, rules: Rules, vault: Vault, segments: Collection[str], types: Collection[str]
) -> dict[Node, Recipient]:
    """Everybody who is in one of `segments`, by profile id."""
    found = {}
    for segment in segments:
        for node, _ in store.memberships.members(segment, None, 1_000_000):
            standing = store.memberships.get([node])[node]
            identifiers = [
                Identifier(type_, vault.open(each, sealed))
                for each, (type_, sealed) in store.identifiers.get(
                    own(store, rules, standing, types)
                ).items()
                if type_ in types
            ]
            found[node] = Recipient(
                profile_id=node, identifiers=tuple(sorted(identifiers)), consent=standing.consent,
                segments=standing.segments,
            )  # fmt: skip
    return found


def own(store: Store, rules: Rules, standing: Standing, types: Collection[str]) -> list[Node]:
    """Of the identifiers by which a profile can be reached, those that are not somebody else's."""
    codes = {code_of(each) for each in types}
    return [
        node
        for node in standing.reach
        if type_code(node) in codes
        and (not names_device(node) or is_own(store, rules, node, standing.profile_id))
    ]


def is_own(store: Store, rules: Rules, device: Node, profile: Node) -> bool:
    """Whether a device is that of the profile: of its last user, or of nobody else."""
    uses = store.devices.uses_of([device]).get(device)
    if not uses:
        # An advertising id: what it was last seen with was used.
        with_it = store.devices.companions_of([device]).get(device)
        uses = store.devices.uses_of([with_it[0].with_node]).popitem()[1] if with_it and _used(
            store, with_it[0].with_node
        ) else []  # fmt: skip
    by_people = [use for use in uses if use.person]
    if not by_people:
        return True
    last = max(by_people, key=lambda use: (use.last_ms, use.person)).person
    profiles = profiles_of(store, [last, *(use.person for use in by_people)])
    if len(set(profiles.values())) > rules.owners_max:
        return device == profile
    return profiles[last] == profile


def _used(store: Store, device: Node) -> bool:
    return bool(store.devices.uses_of([device]))


def profiles_of(store: Store, people: Iterable[Node]) -> dict[Node, Node]:
    """Today's profiles of person identifiers."""
    return people_of(store, set(people))

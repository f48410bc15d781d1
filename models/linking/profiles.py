"""Profiles as records, so that a customer file can be linked with the people who are known already."""

from collections.abc import Callable, Iterator
from typing import Final

from identity.nodes import EMAIL, PHONE, Node, names_device
from models.linking.errors import BadRecords
from models.linking.people import ADDRESS, MAIL, TELEPHONE
from models.linking.reading import (
    ID,
    IGNORE,
    RECORDS_MAX,
    VALUE_MAX,
    Sheet,
    flat,
    in_order,
    role_of,
)
from profiles.profile import Profile
from storage.ports import Store
from storage.profiles import Lookup, ProfileReader

PAGE: Final = 500
"""Profiles read at a time."""


def profile_sheet(
    store: Store,
    reader: ProfileReader,
    now_ms: int,
    progress: Callable[[int], None] = lambda _: None,
) -> Sheet:
    """Every person of the store as a record under its profile id. Traits are recognized like columns.

    A device's profile is nobody's and is left out. BadRecords if nobody is known.
    """
    ids: list[str] = []
    rows: list[dict[str, str]] = []
    roles: dict[str, str] = {}
    for some in _pages(store):
        for found in reader.get_many([Lookup(profile_id=node) for node in some], now_ms):
            if found is not None and found.profile.id in some and len(ids) < RECORDS_MAX:
                ids.append(found.profile.id.hex())
                rows.append(_record(found.profile, roles))
        progress(len(ids))
    if not ids:
        raise BadRecords("profiles: nobody is known; load events first")
    every = sorted({role for row in rows for role in row})
    texts = {role: [row.get(role, "") for row in rows] for role in every}
    return in_order(Sheet("profiles", ids, texts, roles))


def _pages(store: Store) -> Iterator[set[Node]]:
    """Ids of all profiles of people, some at a time."""
    seen: set[Node] = set()
    after: Node | None = None
    while leaves := store.parts.leaves(after, PAGE):
        after = leaves[-1]
        people = [leaf for leaf in leaves if not names_device(leaf)]
        clusters = store.people.clusters_of(people)
        some = {clusters[node].profile_id if node in clusters else node for node in people} - seen
        seen |= some
        if some:
            yield some


def _record(profile: Profile, roles: dict[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for column, text in flat(profile.traits):
        role = roles.setdefault(column, role_of(column))
        if role in (ID, IGNORE) or not text:
            continue
        if role == ADDRESS and role in found:
            found[role] = f"{found[role]} {text}"[:VALUE_MAX]
        else:
            found.setdefault(role, text[:VALUE_MAX])
    for member in profile.members:
        if member.identifier and member.identifier.type in (EMAIL, PHONE):
            role = MAIL if member.identifier.type == EMAIL else TELEPHONE
            found.setdefault(role, member.identifier.value)
    return found

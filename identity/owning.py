"""To whom a device was last told to belong, what may change that, and the change (DESIGN §3.3). Pure.

What is told is who owns a device as of its last use or logout. That it lies idle since ends no ownership here:
nothing happens then that anybody could be told of.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from identity.changes import BECAUSE_MAX, Kind, PersonChange
from identity.devices import present_owner
from identity.evidence import Use
from identity.nodes import Node
from identity.resolve import Cluster
from identity.rules import Rules

USERS_MAX: Final = 100
"""Person identifiers on a kiosk beyond which it is nobody's for good: nobody looks again."""


class Heard(msgspec.Struct, frozen=True, array_like=True):
    """A use of a device that may change whose it is, and the event that said so."""

    use: Use
    event: str


class Ownership(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What was last told of a device, and enough to see which further uses cannot change it."""

    owner: Node | None
    """The profile id, as it was then."""
    told_ms: int
    """The time of the last change; 0: none yet."""
    newest_ms: int = 0
    """The last use or logout that was looked at."""
    latest: Node | None = None
    """The person identifier whose later uses change nothing (empty: logouts); None: everybody's may."""
    users: tuple[Node, ...] = ()
    """Person identifiers that used it."""
    logged_out: bool = False
    """Whether anybody ever logged out there."""
    kiosk: bool = False
    """Of more people than a device has owners."""
    doubted: bool = False
    """Somebody is looking at it again just now, or ended while doing so."""

    @property
    def for_good(self) -> bool:
        """Whether nothing makes it somebody's any more."""
        return self.kiosk and len(self.users) > USERS_MAX


def may_change(held: Ownership | None, use: Use) -> bool:
    """Whether a use that was just stored may change what is told of its device.

    Most cannot: a device's one user uses it again, or its owner, later than anybody else.
    """
    if held is None or held.doubted:
        return True
    if held.for_good:
        return False
    if held.kiosk:
        return bool(use.person) and use.person not in held.users
    if held.users == (use.person,) and not held.logged_out:
        return False
    return not (held.latest == use.person and use.first_ms > held.newest_ms)


def owned(
    uses: Sequence[Use], person_of: Callable[[Node], Node], rules: Rules, held: Ownership | None
) -> Ownership:
    """Whose a device is by all its uses; when that was told is left as it is held."""
    newest = max(uses, key=_newest, default=None)
    owner = present_owner(uses, person_of, 0, rules)
    users = sorted({use.person for use in uses if use.person})
    kiosk = len(set(map(person_of, users))) > rules.owners_max
    latest = None
    if newest is not None and (person_of(newest.person) if newest.person else None) == owner:
        latest = newest.person
    return Ownership(
        owner=owner,
        told_ms=held.told_ms if held else 0,
        newest_ms=newest.last_ms if newest else 0,
        latest=latest,
        users=tuple(users[: USERS_MAX + 1] if kiosk else users),
        logged_out=any(not use.person for use in uses),
        kiosk=kiosk,
    )


def _newest(use: Use) -> tuple[int, Node]:
    return use.last_ms, use.person


def tell(
    device: Node, before: Ownership | None, after: Ownership, time_ms: int, because: Sequence[str]
) -> tuple[Ownership, PersonChange | None]:
    """What is told of a device now, and the change from what was told before, if it is one.

    Changes of one device have times that grow, whatever the clocks say that they come from.
    """
    owner = before.owner if before else None
    if owner == after.owner:
        return after, None
    time_ms = max(time_ms, before.told_ms + 1 if before else 0)
    sides = [_side(each) for each in (owner, after.owner)]
    digest = hashlib.blake2b(b"@%d|" % time_ms + device, digest_size=16)
    for side in sides:
        digest.update(b"|" + b"".join(cluster.profile_id for cluster in side))
    digest.update(b"|" + "\0".join(because).encode())
    change = PersonChange(
        id=digest.hexdigest(), time_ms=time_ms, kind=Kind.OWNERSHIP, before=sides[0],
        after=sides[1], because=tuple(because[:BECAUSE_MAX]), device=device,
    )  # fmt: skip
    return msgspec.structs.replace(after, told_ms=time_ms), change


def _side(owner: Node | None) -> tuple[Cluster, ...]:
    """One side of a change: its owner without any identifiers, for who is who is told elsewhere."""
    return () if owner is None else (Cluster(owner, frozenset()),)


def told(changes: Sequence[PersonChange]) -> Mapping[Node, Ownership]:
    """What whoever hears these changes believes of their devices, in doubt whether anything else is known."""
    found: dict[Node, Ownership] = {}
    for change in sorted(changes, key=_time):
        if change.device is not None:
            owner = change.after[0].profile_id if change.after else None
            found[change.device] = Ownership(owner, change.time_ms, doubted=True)
    return found


def _time(change: PersonChange) -> int:
    return change.time_ms

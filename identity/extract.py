"""From one event to identifiers, a leaf and evidence (DESIGN §3.1). Pure; depends on event and rules alone."""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from identity.event import Event, Source
from identity.evidence import NEVER, Companion, Link, MustLink, Use, pair
from identity.nodes import (
    ADVERTISING_ID,
    ANONYMOUS_ID,
    DEVICE_ID,
    EMAIL,
    GA_CLIENT_ID,
    PHONE,
    USER_ID,
    Identifier,
    Node,
    NodeHasher,
)
from identity.normalize import CACHE_MAX, VALUE_MAX, Normalizer, text_of
from identity.rules import Rules

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000

LOGOUT: Final = Node(b"")
"""The person of a use that says: somebody logged out."""

Named = tuple[Identifier, Node]
Ignored = list[tuple[str, str]]


class Extract(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one event says about who is who."""

    leaf: Node | None
    """Where the event is stored; None if it names nobody."""
    person: Node | None = None
    """Its highest-priority person identifier that is believed."""
    device: Node | None
    """Its highest-priority device identifier; never an advertising id."""
    identifiers: tuple[Named, ...] = ()
    links: tuple[Link, ...] = ()
    must_links: tuple[MustLink, ...] = ()
    uses: tuple[Use, ...] = ()
    companions: tuple[Companion, ...] = ()
    """One way only; the store keeps them both ways."""
    ignored: tuple[tuple[str, str], ...] = ()
    """(type, why) of the identifiers that name nobody; never their values."""


class Extractor:
    """Applies the rules to events, one at a time."""

    def __init__(self, rules: Rules, hasher: NodeHasher) -> None:
        self._hash = hasher.node
        self._normalize = Normalizer(rules).normalize
        self._named: dict[tuple[str, str], tuple[Named | None, str]] = {}
        self._rank = {
            name: rank for rank, name in enumerate((*rules.person_priority, *rules.external_ids))
        }
        self._person_types = frozenset(self._rank) | {USER_ID, EMAIL, PHONE}
        self._device_rank = {name: rank for rank, name in enumerate(rules.device_priority)}
        self._logouts = frozenset(name.lower() for name in rules.logout_events)

    def extract(self, event: Event, source: Source) -> Extract:
        """The event's leaf, identifiers and evidence.

        Where the source requires a user hash, a claim without it counts as if it were not made: the
        event stays with its device, or names nobody. To write it under the claimed person would let
        anybody write into that profile. With the hash, only the user id is proven, so it leads.
        """
        ignored: Ignored = []
        people = self._people(event, ignored)
        devices = self._devices(event, ignored)
        told: list[Named] = []
        if event.type in ("alias", "merge"):
            told = self._told_to_be_one(event, source, people, devices, ignored)
        if source.user_hash_secret is not None and (people or told):
            people, told = self._proven(event, source, people, told, ignored)
        person = people[0][1] if people else told[0][1] if told else None
        links = []
        for _, other in people[1:]:
            links.append(_link(people[0][1], other, event, source))
        must_links = []
        for _, other in told[1:]:
            if source.trusted:
                must_links.append(_must_link(told[0][1], other, event, source))
            else:
                links.append(_link(told[0][1], other, event, source))
        device = devices[0] if devices else None
        if device is not None and device[0].type == ADVERTISING_ID:
            device = None  # a companion only: many visitors share it, or reset it
        return Extract(
            leaf=person or (device[1] if device else None),
            person=person,
            device=device[1] if device else None,
            identifiers=(*people, *devices, *(each for each in told if each not in people)),
            links=tuple(links),
            must_links=tuple(must_links),
            uses=self._uses(event, person, devices) if devices else (),
            companions=_companions(devices, event.time_ms) if len(devices) > 1 else (),
            ignored=tuple(ignored),
        )

    def _people(self, event: Event, ignored: Ignored) -> list[Named]:
        """Person identifiers, the highest priority first; of one type, `userId` first, then by node."""
        found: list[Named] = []
        if event.user_id:
            self._add(found, USER_ID, event.user_id, ignored)
        subject = found[0] if found else None
        if event.traits:
            self._add(found, EMAIL, event.traits.get("email"), ignored)
            self._add(found, PHONE, event.traits.get("phone"), ignored)
        for type_name, value in event.external_ids:
            if type_name in self._person_types:
                self._add(found, type_name, value, ignored)
        if len(found) > 1:
            rank, last = self._rank, len(self._rank)
            # Another user id among the external ids is the event's word too, but not its subject.
            found.sort(
                key=lambda each: (rank.get(each[0].type, last), each is not subject, each[1])
            )
        return found

    def _devices(self, event: Event, ignored: Ignored) -> list[Named]:
        """Device identifiers, the highest priority first, the advertising id last."""
        found: list[Named] = []
        if event.device_id:
            self._add(found, DEVICE_ID, event.device_id, ignored)
        if event.anonymous_id:
            self._add(found, ANONYMOUS_ID, event.anonymous_id, ignored)
        if event.ga_client_id:
            self._add(found, GA_CLIENT_ID, event.ga_client_id, ignored)
        if event.advertising_id:
            self._add(found, ADVERTISING_ID, event.advertising_id, ignored)
        if len(found) > 1:
            self._sort_devices(found)
        return found

    def _sort_devices(self, found: list[Named]) -> None:
        rank, last = self._device_rank, len(self._device_rank)
        found.sort(
            key=lambda named: (named[0].type == ADVERTISING_ID, rank.get(named[0].type, last))
        )

    def _add(self, found: list[Named], type_name: str, raw: Any, ignored: Ignored) -> None:
        if raw is None or raw == "":
            return
        named, why = self._name(type_name, raw if isinstance(raw, str) else text_of(raw))
        if named is not None:
            if named not in found:
                found.append(named)
        elif why:
            ignored.append((type_name, why))

    def _name(self, type_name: str, text: str) -> tuple[Named | None, str]:
        """The identifier that a text spells, and its node; or why it names nobody."""
        known = self._named.get((type_name, text))
        if known is not None:
            return known
        value, why = self._normalize(type_name, text)
        named = (Identifier(type_name, value), self._hash(type_name, value)) if value else None
        if len(text) <= VALUE_MAX:
            if len(self._named) >= CACHE_MAX:
                self._named.clear()
            self._named[type_name, text] = named, why
        return named, why

    def _told_to_be_one(
        self,
        event: Event,
        source: Source,
        people: Sequence[Named],
        devices: list[Named],
        ignored: Ignored,
    ) -> list[Named]:
        """What an alias or a merge says is one person: the first is one with each of the others.

        A former id that is a device joins `devices` instead, and so becomes a use.
        """
        found: list[Named] = []
        if event.type == "merge":
            for type_name, value in event.merge_ids:
                if type_name in self._person_types:
                    self._add(found, type_name, value, ignored)
            rank, last = self._rank, len(self._rank)
            found.sort(key=lambda named: (rank.get(named[0].type, last), named[1]))
            return found
        previous = event.previous_id
        if not previous:
            return []
        if source.alias_previous_is_device or previous == event.anonymous_id:
            self._add(devices, ANONYMOUS_ID, previous, ignored)
            self._sort_devices(devices)
            return []
        self._add(found, USER_ID, previous, ignored)
        if not people or not found or found[0] == people[0]:
            return []
        return [people[0], found[0]]

    def _proven(
        self,
        event: Event,
        source: Source,
        people: list[Named],
        told: list[Named],
        ignored: Ignored,
    ) -> tuple[list[Named], list[Named]]:
        """People and what is told of them with the proven user id first; nobody without the proof."""
        user = self._name(USER_ID, event.user_id)[0]
        if user is None or not _verified(event, source):
            claimed = [*people, *(each for each in told if each not in people)]
            ignored += [(identifier.type, "not verified") for identifier, _ in claimed]
            return [], []
        if event.type == "alias" and told:
            told = [user, told[1]] if told[1] != user else []
        return [user, *(each for each in people if each != user)], told

    def _uses(self, event: Event, person: Node | None, devices: list[Named]) -> tuple[Use, ...]:
        at = event.time_ms
        logout = event.type == "track" and event.name.lower() in self._logouts
        people = ([person] if person else []) + ([LOGOUT] if logout else [])
        return tuple(
            [
                Use(device=device, person=who, hour=at // HOUR_MS, first_ms=at, last_ms=at)
                for who in people
                for identifier, device in devices
                if identifier.type != ADVERTISING_ID
            ]
        )


def _link(a: Node, b: Node, event: Event, source: Source) -> Link:
    low, high = pair(a, b)
    received = event.received_ms
    return Link(
        a=low,
        b=high,
        first_ms=received,
        first_event=event.message_id,
        source=event.source,
        trusted_ms=received if source.trusted else NEVER,
        last_ms=received // DAY_MS * DAY_MS,
    )


def _must_link(a: Node, b: Node, event: Event, source: Source) -> MustLink:
    low, high = pair(a, b)
    return MustLink(
        a=low, b=high, first_ms=event.received_ms, first_event=event.message_id, source=source.name
    )


def _companions(devices: list[Named], at: int) -> tuple[Companion, ...]:
    nodes = [node for _, node in devices]
    return tuple(
        Companion(node=a, with_node=b, last_ms=at)
        for index, a in enumerate(nodes)
        for b in nodes[index + 1 :]
    )


def _verified(event: Event, source: Source) -> bool:
    """Whether `userHash` is the hex HMAC-SHA256 of the user id, as Intercom's identity verification."""
    secret = (source.user_hash_secret or "").encode()
    user_id = event.user_id.encode("utf-8", "surrogatepass")
    expected = hmac.new(secret, user_id, hashlib.sha256).hexdigest()
    # As bytes: compare_digest raises on a text that is not ASCII.
    given = event.user_hash.lower().encode("utf-8", "surrogatepass")
    return hmac.compare_digest(expected.encode(), given)

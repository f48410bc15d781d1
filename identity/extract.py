"""From one event to identifiers, a leaf and evidence (DESIGN §3.1). Pure; depends on event and rules alone."""

import hashlib
import hmac
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
from identity.normalize import Normalizer
from identity.rules import Rules

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000

LOGOUT: Final = Node(b"")
"""The person of a use that says: somebody logged out."""

Named = tuple[Identifier, Node]


class Extract(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one event says about who is who."""

    leaf: Node | None
    """Where the event is stored; None if it names nobody."""
    device: Node | None
    """Its highest-priority device identifier."""
    identifiers: tuple[Named, ...] = ()
    links: tuple[Link, ...] = ()
    must_links: tuple[MustLink, ...] = ()
    uses: tuple[Use, ...] = ()
    companions: tuple[Companion, ...] = ()
    ignored: tuple[tuple[str, str], ...] = ()
    """(type, why) of the identifiers that name nobody; never their values."""


class Extractor:
    """Applies the rules to events, one at a time."""

    def __init__(self, rules: Rules, hasher: NodeHasher) -> None:
        self._rules = rules
        self._node = hasher.node
        self._normalize = Normalizer(rules).normalize
        self._external = frozenset(rules.external_ids)
        priority = (*rules.person_priority, *rules.external_ids)
        self._rank = {name: rank for rank, name in enumerate(priority)}
        self._device_rank = {name: rank for rank, name in enumerate(rules.device_priority)}
        self._logouts = frozenset(name.lower() for name in rules.logout_events)

    def extract(self, event: Event, source: Source) -> Extract:
        """The event's leaf, identifiers and evidence."""
        ignored: list[tuple[str, str]] = []
        people = self._people(event, ignored)
        devices = self._devices(event, ignored)
        if people and source.user_hash_secret is not None and not _verified(event, source):
            # An unverified claim must not write into the claimed person's profile either.
            ignored += [(identifier.type, "not verified") for identifier, _ in people]
            people = []
        previous, previous_is_device = self._previous(event, source, ignored)
        if previous is not None and previous_is_device and previous not in devices:
            devices.append(previous)
        person = people[0][1] if people else None
        device = devices[0][1] if devices else None
        if device is not None and devices[0][0].type == ADVERTISING_ID:
            device = None  # a companion only: many visitors share or reset it
        must_links: list[MustLink] = []
        links = [self._link(person, other, event, source) for _, other in people[1:] if person]
        identifiers = people + devices
        if previous is not None and not previous_is_device and person is not None:
            identifiers.append(previous)
            if previous[1] != person:
                if source.trusted:
                    must_links.append(_must_link(person, previous[1], event, source))
                else:
                    links.append(self._link(person, previous[1], event, source))
        return Extract(
            leaf=person or device,
            device=device,
            identifiers=tuple(identifiers),
            links=tuple(links),
            must_links=tuple(must_links),
            uses=self._uses(event, person, devices) if devices else (),
            companions=_companions(devices, event.time_ms) if len(devices) > 1 else (),
            ignored=tuple(ignored),
        )

    def _people(self, event: Event, ignored: list[tuple[str, str]]) -> list[Named]:
        """Person identifiers, the highest priority first."""
        found: list[Named] = []
        if event.user_id:
            self._add(found, USER_ID, event.user_id, ignored)
        if event.traits:
            self._add(found, EMAIL, event.traits.get("email"), ignored)
            self._add(found, PHONE, event.traits.get("phone"), ignored)
        for type_name, value in event.external_ids:
            if type_name in self._external or type_name in (USER_ID, EMAIL, PHONE):
                self._add(found, type_name, value, ignored)
        if len(found) > 1:
            rank = self._rank
            found.sort(key=lambda named: (rank.get(named[0].type, len(rank)), named[1]))
        return found

    def _devices(self, event: Event, ignored: list[tuple[str, str]]) -> list[Named]:
        """Device identifiers, the highest priority first, the advertising id last."""
        found: list[Named] = []
        for type_name, value in (
            (DEVICE_ID, event.device_id),
            (ANONYMOUS_ID, event.anonymous_id),
            (GA_CLIENT_ID, event.ga_client_id),
            (ADVERTISING_ID, event.advertising_id),
        ):
            if value:
                self._add(found, type_name, value, ignored)
        if len(found) > 1:
            rank = self._device_rank
            found.sort(key=lambda named: rank.get(named[0].type, len(rank)))
        return found

    def _add(
        self, found: list[Named], type_name: str, raw: Any, ignored: list[tuple[str, str]]
    ) -> None:
        if raw is None or raw == "":
            return
        value, why = self._normalize(type_name, raw)
        if value:
            named = (Identifier(type_name, value), self._node(type_name, value))
            if named not in found:
                found.append(named)
        elif why:
            ignored.append((type_name, why))

    def _previous(
        self, event: Event, source: Source, ignored: list[tuple[str, str]]
    ) -> tuple[Named | None, bool]:
        """The identifier that an alias names as the former one, and whether it names a device."""
        if event.type != "alias" or not event.previous_id:
            return None, False
        is_device = source.alias_previous_is_device or event.previous_id == event.anonymous_id
        found: list[Named] = []
        self._add(found, ANONYMOUS_ID if is_device else USER_ID, event.previous_id, ignored)
        return (found[0] if found else None), is_device

    def _link(self, a: Node, b: Node, event: Event, source: Source) -> Link:
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

    def _uses(self, event: Event, person: Node | None, devices: list[Named]) -> tuple[Use, ...]:
        at = event.time_ms
        logout = event.type == "track" and event.name.lower() in self._logouts
        people = ([person] if person else []) + ([LOGOUT] if logout else [])
        return tuple(
            Use(device=device, person=who, hour=at // HOUR_MS, first_ms=at, last_ms=at)
            for who in people
            for identifier, device in devices
            if identifier.type != ADVERTISING_ID
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
    expected = hmac.new(
        (source.user_hash_secret or "").encode(), event.user_id.encode(), hashlib.sha256
    ).hexdigest()
    return hmac.compare_digest(expected, event.user_hash.lower())

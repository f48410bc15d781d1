"""A profile: the fold of a person's parts at read, as callers see it."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from identity.nodes import Identifier, Node
from profiles.body import merge, merge_active
from profiles.facts import Kind
from profiles.part import Body, Counter, Interaction, Money

_REMOVED: Final = int(Kind.REMOVED)
"""Of many items a plain number is compared in half the time of a member of the enum."""


class Member(msgspec.Struct, frozen=True):
    """An identifier of a profile."""

    node: Node
    identifier: Identifier | None
    """None where the value was not kept."""


class OrderSums(msgspec.Struct, frozen=True):
    """Orders in one currency, each counted once; amounts in millionths."""

    currency: str
    orders: int
    revenue: int
    refunds: int
    refunded: int


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """One person, or a device's activity that belongs to nobody. Times are milliseconds UTC."""

    id: Node
    members: Sequence[Member] = ()
    devices: Sequence[Member] = ()
    """Devices the person used, newest first; for a device profile, the device itself and its companions."""
    traits: dict[str, Any] = {}
    computed: dict[str, Any] = {}
    """Traits that are computed of events at this moment; one that has no value is left out."""
    first_ms: int | None = None
    last_ms: int | None = None
    """Of the oldest and newest event counted."""
    events: int = 0
    counters: dict[str, Counter] = {}
    sums: Sequence[OrderSums] = ()
    interactions: Sequence[Interaction] = ()
    """Newest first, without purchases."""
    purchases: Sequence[Interaction] = ()
    """Newest first; an order told twice is there once."""
    consent: dict[str, bool] = {}
    anonymous_visits: int = 0
    """Visits on devices, without a login in them or with, that count for this profile."""


def assemble(
    profile_id: Node,
    bodies: Iterable[Body],
    *,
    members: Sequence[Member] = (),
    devices: Sequence[Member] = (),
    anonymous_visits: int = 0,
    computed: dict[str, Any] | None = None,
) -> Profile:
    """The profile that `bodies` fold to. Their order does not matter."""
    parts = list(bodies)
    # A stored body is in order and under its caps already.
    whole = parts[0] if len(parts) == 1 else merge(parts)
    return Profile(
        id=profile_id,
        members=members,
        devices=devices,
        traits={
            name: trait.value for name, trait in whole.traits.items() if trait.value is not None
        },
        first_ms=whole.first_ms if whole.events else None,
        last_ms=whole.last_ms if whole.events else None,
        events=whole.events,
        counters=whole.counters,
        sums=order_sums(whole),
        interactions=whole.interactions,
        purchases=purchases_of(whole),
        consent={purpose: stated.granted for purpose, stated in whole.consent.items()},
        anonymous_visits=anonymous_visits,
        computed=computed or {},
    )


def active(profile_id: Node, bodies: Iterable[Body]) -> Profile:
    """The profile that `bodies` fold to, without what recommendations do not ask.

    It has what was done with items, times and consent; active parts will do (`profiles.part.decode_active`).
    """
    parts = list(bodies)
    whole = parts[0] if len(parts) == 1 else merge_active(parts)
    return Profile(
        id=profile_id,
        first_ms=whole.first_ms if whole.events else None,
        last_ms=whole.last_ms if whole.events else None,
        events=whole.events,
        interactions=whole.interactions,
        purchases=purchases_of(whole),
        consent={purpose: stated.granted for purpose, stated in sorted(whole.consent.items())},
    )


def purchases_of(body: Body) -> list[Interaction]:
    """The purchases of the copies of orders that count."""
    if not body.purchases:
        return []
    counted = {key: order.message for key, order in body.orders.items()}
    return [
        item for item in body.purchases if counted.get(item.order, item.message) == item.message
    ]


def order_sums(body: Body) -> list[OrderSums]:
    """Orders, revenue and refunds per currency."""
    sums: dict[str, Money] = {
        currency: Money(money.count, money.amount) for currency, money in body.settled.items()
    }
    for order in body.orders.values():
        money = sums.setdefault(order.currency, Money())
        money.count += 1
        money.amount += order.amount
    nothing = Money()
    return [
        OrderSums(
            currency,
            sums.get(currency, nothing).count,
            sums.get(currency, nothing).amount,
            body.refunds.get(currency, nothing).count,
            body.refunds.get(currency, nothing).amount,
        )
        for currency in sorted(sums.keys() | body.refunds.keys())
    ]


def history(profile: Profile) -> list[Interaction]:
    """Everything the profile did with items, newest first: what recommendations start from."""
    known = profile.interactions
    if profile.purchases:
        known = sorted([*known, *profile.purchases], reverse=True)
    return [item for item in known if item.kind != _REMOVED]

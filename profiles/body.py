"""Fold events into bodies, and bodies into one: the commutative heart of every profile."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from profiles.facts import Facts
from profiles.part import (
    DAY_MS,
    DAYS_KEPT,
    DEVICES_MAX,
    EVENT_NAMES_MAX,
    INTERACTIONS_MAX,
    ORDERS_MAX,
    OTHER_EVENTS,
    PURCHASES_MAX,
    PURPOSES_MAX,
    TRAITS_MAX,
    Body,
    Consent,
    Counter,
    Interaction,
    Money,
    Order,
    Trait,
)
from profiles.segments import collect
from profiles.segments.collect import Collected, Hit

_SORTED: Final = (
    "traits", "counters", "orders", "settled", "refunds", "devices", "consent", "collected",
)  # fmt: skip
NO_HITS: Final[Mapping[int, Hit]] = MappingProxyType({})


def add(body: Body, facts: Facts, hits: Mapping[int, Hit] = NO_HITS) -> None:
    """Fold one event into `body`, and its hits by collector; call `trim` when a run of events is in."""
    now = facts.time_ms
    add_hits(body, hits)
    body.events += 1
    body.first_ms = min(body.first_ms, now)
    body.last_ms = max(body.last_ms, now)
    _count(body, facts.event, Counter(facts.spelling, 1, now, now, {now // DAY_MS: 1}))
    for name, value in facts.traits.items():
        _set_trait(body, name, Trait(now, facts.message, value))
    for purpose, granted in facts.consent:
        _set_consent(body, purpose, Consent(now, granted))
    if facts.device is not None and body.devices.get(facts.device, now) <= now:
        body.devices[facts.device] = now
    if facts.kind is not None and facts.items:
        order = facts.order or 0
        target = body.purchases if facts.order is not None else body.interactions
        target.extend(
            Interaction(now, facts.message, position, item.id, facts.kind, item.quantity, order)
            for position, item in enumerate(facts.items)
        )
    if facts.refund:
        if facts.amount is not None:
            _add_money(body.refunds, facts.currency, 1, abs(facts.amount))
    elif facts.order is not None:
        told = Order(facts.amount is None, now, facts.message, facts.currency, facts.amount or 0)
        body.orders[facts.order] = min(told, body.orders.get(facts.order, told))


def add_hits(body: Body, hits: Mapping[int, Hit]) -> None:
    """What collectors keep of one event; call `trim` when a run of events is in."""
    for number, hit in hits.items():
        collected = body.collected.get(number)
        if collected is None:
            collected = body.collected[number] = Collected()
        collect.add(collected, hit)


def merge(bodies: Iterable[Body]) -> Body:
    """One body that holds what all of them hold; the order of `bodies` does not matter."""
    whole = Body()
    for body in bodies:
        _take_activity(whole, body)
        for event, counter in body.counters.items():
            _count(whole, event, counter)
        for name, trait in body.traits.items():
            _set_trait(whole, name, trait)
        for device, last_ms in body.devices.items():
            whole.devices[device] = max(last_ms, whole.devices.get(device, last_ms))
        for number, collected in body.collected.items():
            collect.merge_into(whole.collected.setdefault(number, Collected()), collected)
        for currency, sums in body.settled.items():
            _add_money(whole.settled, currency, sums.count, sums.amount)
        for currency, sums in body.refunds.items():
            _add_money(whole.refunds, currency, sums.count, sums.amount)
    trim(whole)
    return whole


def merge_active(bodies: Iterable[Body]) -> Body:
    """`merge`, of what was done with items, consent and times only: active parts will do (`decode_active`)."""
    whole = Body()
    for body in bodies:
        _take_activity(whole, body)
    _trim_activity(whole)
    return whole


def _take_activity(whole: Body, body: Body) -> None:
    whole.events += body.events
    whole.first_ms = min(whole.first_ms, body.first_ms)
    whole.last_ms = max(whole.last_ms, body.last_ms)
    for purpose, consent in body.consent.items():
        _set_consent(whole, purpose, consent)
    whole.interactions += body.interactions
    whole.purchases += body.purchases
    for key, order in body.orders.items():
        whole.orders[key] = min(order, whole.orders.get(key, order))


def _trim_activity(body: Body) -> None:
    body.interactions = newest(body.interactions, INTERACTIONS_MAX)
    body.purchases = newest(body.purchases, PURCHASES_MAX)
    if len(body.consent) > PURPOSES_MAX:
        body.consent = {name: body.consent[name] for name in sorted(body.consent)[:PURPOSES_MAX]}
    if len(body.orders) > ORDERS_MAX:
        _settle_orders(body)


def trim(body: Body) -> None:
    """Bring every collection into its one order and under its cap."""
    _trim_activity(body)
    oldest_day = body.last_ms // DAY_MS - DAYS_KEPT
    for counter in body.counters.values():
        days = counter.days
        # Most names of a visit have one day.
        if len(days) != 1 or counter.last_ms // DAY_MS < oldest_day:
            counter.days = {day: n for day, n in sorted(days.items()) if day >= oldest_day}
    if len(body.counters) > EVENT_NAMES_MAX:
        _fold_rare_names(body)
    if len(body.traits) > TRAITS_MAX:
        body.traits = {name: body.traits[name] for name in sorted(body.traits)[:TRAITS_MAX]}
    if len(body.devices) > DEVICES_MAX:
        ranked = sorted(body.devices.items(), key=lambda entry: (-entry[1], entry[0]))
        body.devices = dict(ranked[:DEVICES_MAX])
    trim_hits(body)
    for name in _SORTED:
        held = getattr(body, name)
        if len(held) > 1:
            setattr(body, name, {key: held[key] for key in sorted(held)})


def trim_hits(body: Body) -> None:
    """The same of what collectors keep, where nothing else changed."""
    for collected in body.collected.values():
        collect.trim(collected)
    body.collected = {number: body.collected[number] for number in sorted(body.collected)}


def newest(interactions: list[Interaction], most: int) -> list[Interaction]:
    """The newest `most` of them, newest first."""
    return sorted(interactions, reverse=True)[:most] if len(interactions) > 1 else interactions


def _count(body: Body, event: str, more: Counter) -> None:
    counter = body.counters.get(event)
    if counter is None:
        body.counters[event] = Counter(
            more.spelling, more.total, more.first_ms, more.last_ms, dict(more.days)
        )
        return
    counter.total += more.total
    counter.spelling = min(counter.spelling, more.spelling)
    counter.first_ms = min(counter.first_ms, more.first_ms)
    counter.last_ms = max(counter.last_ms, more.last_ms)
    for day, n in more.days.items():
        counter.days[day] = counter.days.get(day, 0) + n


def _set_trait(body: Body, name: str, trait: Trait) -> None:
    held = body.traits.get(name)
    if held is None or (trait.time_ms, trait.message) > (held.time_ms, held.message):
        body.traits[name] = trait


def _set_consent(body: Body, purpose: str, consent: Consent) -> None:
    held = body.consent.get(purpose)
    if held is None or consent.beats(held):
        body.consent[purpose] = consent


def _add_money(sums: dict[str, Money], currency: str, count: int, amount: int) -> None:
    money = sums.get(currency)
    if money is None:
        sums[currency] = Money(count, amount)
    else:
        money.count += count
        money.amount += amount


def _fold_rare_names(body: Body) -> None:
    """Keep the smallest names; a name once beyond them never comes back, so no order matters."""
    names = sorted(name for name in body.counters if name != OTHER_EVENTS)
    for name in names[EVENT_NAMES_MAX - 1 :]:
        counter = body.counters.pop(name)
        counter.spelling = OTHER_EVENTS
        _count(body, OTHER_EVENTS, counter)


def _settle_orders(body: Body) -> None:
    ranked = sorted(body.orders.items(), key=lambda entry: (entry[1].time_ms, entry[0]))
    for key, order in ranked[: len(ranked) - ORDERS_MAX]:
        del body.orders[key]
        _add_money(body.settled, order.currency, 1, order.amount)

"""The web site of the real shop: made-up visits that lead to real orders, by the people who placed them."""

from collections.abc import Sequence
from random import Random
from typing import Final

from simulator.catalog import Item
from simulator.population import DAY_MS, HOUR_MS, Device, Person, Population, Rates, app, browser
from simulator.shop import Scenario
from simulator.slice import Customer, Order
from simulator.truth import Situation
from simulator.visits import KIOSK_VISITS_PER_DAY, STEPS, Visit, settle

DAYS: Final = 21
"""How long before the last order the site opened: some 15,000 messages around the slice's orders."""
RATES: Final = Rates(future_clock=0.005, skewed_clock=0.03, newsletter=0.01, junk=0.002)
"""A calmer shop than the test bed's: its figures are looked at by newcomers."""
ACCOUNT_AT_ORDER: Final = 0.7
"""Customers who never log in on the site before their first order there."""
SHARES: Final = 0.2
HAS_APP: Final = 0.4
BEFORE_ORDER_MS: Final = 8 * 60_000
"""How long before the order its visit begins."""
WILL_BUY: Final = 0.5
"""Products looked at that the order will hold; the others were bought with one of them by somebody."""


def storefront_for(
    customers: Sequence[Customer],
    catalog: Sequence[Item],
    orders: Sequence[Order],
    seed: int,
    days: int = DAYS,
) -> Scenario:
    """Clicks around the orders of the last `days` days, with the customers' own user ids and e-mails.

    Iterating gives (event, truth) in order of delivery. A browser tells each order with the
    `order_id` and content of the back end's message, which the caller has already.
    """
    random = Random(f"{seed}/around")  # noqa: S311 - reproducible, not secret
    end_ms = max(order.time_ms for order in orders)
    start_ms = end_ms - days * DAY_MS
    recent = [order for order in orders if order.time_ms >= start_ms]
    people = _people(random, customers, recent)
    population = Population(list(people.values()), [], [browser(random, Situation.KIOSK, RATES)])
    _furnish(random, population, start_ms, days)
    taste = _Taste(random, catalog, orders)
    visits: list[Visit] = []
    for order in recent:
        visits += _visits(random, order, people[order.user_id], taste)
    for _ in range(KIOSK_VISITS_PER_DAY * days // 3):
        visits.append(_at_kiosk(random, population, start_ms, days))
    return Scenario(seed, population, settle(random, visits, RATES), catalog, RATES)


class _Taste:
    """What somebody looks at before an order: its products, and what others bought with those."""

    def __init__(self, random: Random, catalog: Sequence[Item], orders: Sequence[Order]) -> None:
        self._random = random
        self._item = {item.id: item for item in catalog}
        self._orders_with: dict[str, list[Order]] = {}
        for order in orders:
            for product_id in order.product_ids:
                self._orders_with.setdefault(product_id, []).append(order)

    def before(self, order: Order, count: int) -> tuple[Item, ...]:
        random = self._random
        found = []
        for _ in range(count):
            product_id = random.choice(order.product_ids)
            if random.random() >= WILL_BUY:
                other = random.choice(self._orders_with[product_id])
                product_id = random.choice(other.product_ids)
            found.append(self._item[product_id])
        return tuple(found)


def _people(
    random: Random, customers: Sequence[Customer], orders: Sequence[Order]
) -> dict[str, Person]:
    first_ms: dict[str, int] = {}
    for order in orders:
        first_ms.setdefault(order.user_id, order.time_ms)
    return {
        one.user_id: Person(
            id=f"customer-{one.user_id}",
            user_id=one.user_id,
            name="",
            email=one.email,
            phone="",
            sign_up_ms=first_ms[one.user_id] - BEFORE_ORDER_MS
            if random.random() < ACCOUNT_AT_ORDER
            else 0,
        )
        for one in customers
        if one.user_id in first_ms
    }


def _furnish(random: Random, population: Population, start_ms: int, days: int) -> None:
    """Give everybody a browser, some of them one with their neighbour in the list, and some an app."""
    free: Device | None = None
    for person in population.people:
        if free is not None:
            person.devices.append(free)
            free = None
        elif random.random() < SHARES:
            out = random.random() < RATES.family_logs_out
            kind = Situation.SHARED_WITH_LOGOUT if out else Situation.SHARED_WITHOUT_LOGOUT
            free = browser(random, kind, RATES)
            person.devices.append(free)
            population.devices.append(free)
        else:
            person.devices.append(browser(random, Situation.SINGLE_OWNER, RATES))
            population.devices.append(person.devices[-1])
        if random.random() < HAS_APP:
            person.devices.append(app(random, start_ms, days, RATES))
            population.devices.append(person.devices[-1])


def _visits(random: Random, order: Order, person: Person, taste: _Taste) -> list[Visit]:
    """Up to two visits of somebody who looks around, and the one that ends with the order."""
    visits = []
    for _ in range(random.choice((0, 1, 1, 2))):
        at_ms = order.time_ms - random.randrange(HOUR_MS, 6 * DAY_MS)
        steps = random.choice(STEPS)
        visits.append(Visit(random.choice(person.devices), person, at_ms, steps))
        visits[-1].items = taste.before(order, steps)
    at_ms = order.time_ms - BEFORE_ORDER_MS
    last = Visit(person.devices[0], person, at_ms, random.choice(STEPS))
    last.items, last.order, last.buys = taste.before(order, last.steps), order, True
    return [*visits, last]


def _at_kiosk(random: Random, population: Population, start_ms: int, days: int) -> Visit:
    passer_by = random.random() < RATES.kiosk_passer_by
    visitor = None if passer_by else random.choice(population.people)
    at_ms = start_ms + random.randrange(days) * DAY_MS + random.randrange(9, 18) * HOUR_MS
    return Visit(population.kiosks[0], visitor, at_ms, random.choice(STEPS))

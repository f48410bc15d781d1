"""A seeded storefront whose every message has a known person: a stream to measure identity resolution with."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Final

from simulator.catalog import Item
from simulator.online_retail import Json
from simulator.pharmacy import pharmacy
from simulator.population import Person, Population, Rates, populate
from simulator.storefront import Delivery, Storefront
from simulator.truth import IdentifierTruth, Truth
from simulator.visits import KIOSK_VISITS_PER_DAY, Visit, plan

START_MS: Final = 1_767_225_600_000
"""2026-01-01, UTC."""
PEOPLE_PER_KIOSK: Final = 500
EVENTS_PER_VISIT: Final = 11.25
"""Measured, with the back end's messages and repeated deliveries; see `people_for`."""


class Scenario:
    """People and their visits; equal scenarios give equal streams, byte for byte.

    Events share parts (contexts, products) with one another: copy one before changing it.
    """

    def __init__(
        self,
        seed: int,
        population: Population,
        visits: list[Visit],
        catalog: Sequence[Item],
        rates: Rates,
    ) -> None:
        self._seed = seed
        self._population = population
        self._rates = rates
        self.visits = visits
        self.catalog = catalog

    @property
    def people(self) -> list[Person]:
        """Everybody, those included who never come."""
        return self._population.people

    def __iter__(self) -> Iterator[tuple[Json, Truth]]:
        """(event, truth) in order of delivery; each call begins again. Holds what is on its way only."""
        random = Random(f"{self._seed}/stream")  # noqa: S311 - reproducible, not secret
        return deliver(self.visits, Storefront(random, self.catalog, self._rates))

    def events(self) -> list[tuple[Json, Truth]]:
        """The whole stream in memory: some 2 KB an event."""
        return list(self)

    def identifiers(self) -> list[IdentifierTruth]:
        """Whose each identifier is, those included that no message carries."""
        return self._population.identifiers()


class Shop(Scenario):
    """A made-up shop: `people` in households, visiting it for `days` days from `start_ms` on."""

    def __init__(
        self,
        seed: int,
        people: int = 1000,
        days: int = 30,
        *,
        visits_per_day: float = 0.2,
        kiosks: int | None = None,
        start_ms: int = START_MS,
        catalog: Sequence[Item] | None = None,
        rates: Rates | None = None,
    ) -> None:
        if people < 1 or days < 1:
            raise ValueError("a shop needs at least one person and one day")
        rates = rates or Rates()
        random = Random(f"{seed}/plan")  # noqa: S311 - reproducible, not secret
        counters = max(1, people // PEOPLE_PER_KIOSK) if kiosks is None else kiosks
        population = populate(random, people, counters, start_ms, days, rates)
        visits = plan(random, population, start_ms, days, visits_per_day, rates)
        super().__init__(seed, population, visits, catalog or pharmacy(), rates)


def people_for(events: int, days: int = 30, visits_per_day: float = 0.2) -> int:
    """How many people make about so many events (within 10 % from some 50,000 events on)."""
    visits = days * (visits_per_day + KIOSK_VISITS_PER_DAY / PEOPLE_PER_KIOSK)
    return max(1, round(events / (visits * EVENTS_PER_VISIT)))


def deliver(visits: Iterable[Visit], storefront: Storefront) -> Iterator[tuple[Json, Truth]]:
    """The messages of `visits` (sorted by start) in order of delivery."""
    waiting: list[Delivery] = []
    for visit in visits:
        # A visit causes nothing before its start, so whatever is due by then can go.
        while waiting and waiting[0].at_ms < visit.start_ms:
            due = heapq.heappop(waiting)
            yield due.event, due.truth
        for delivery in storefront.deliveries(visit):
            heapq.heappush(waiting, delivery)
    while waiting:
        due = heapq.heappop(waiting)
        yield due.event, due.truth

"""When people visit and on which device, who logs in, and how each visit stands to the logins around it."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Final

from simulator.catalog import Item
from simulator.population import DAY_MS, HOUR_MS, Device, Person, Population, Rates
from simulator.slice import Order
from simulator.truth import Login, Situation

STEP_MS_MAX: Final = 60_000
"""The longest pause inside a visit: far below the 30 minutes that end one."""
STEPS: Final = (2, 3, 3, 4, 5, 6, 8, 11)
"""Products looked at in a visit."""
STEPS_AROUND: Final = 10
"""More messages than products looked at: pages, login, checkout, logout."""
BETWEEN_VISITS_MS: Final = 3 * 60_000
"""One browser serves one visitor at a time, and changing seats takes a while."""
KIOSK_VISITS_PER_DAY: Final = 14


@dataclass(slots=True, eq=False)
class Visit:
    """One person's time at one device. What it looks at is drawn by taste where `items` is empty."""

    device: Device
    person: Person | None
    start_ms: int
    steps: int
    id: str = ""
    user_id: str = ""
    """The user id that its messages carry: from the first one on if `known`, else from the login on."""
    known: bool = False
    """Signed in from its first message on."""
    login: bool = False
    logs_out: bool = False
    newsletter: bool = False
    junk: bool = False
    buys: bool = False
    place: Login = Login.NEVER
    items: tuple[Item, ...] = ()
    order: Order | None = None
    """The real order that it ends with, which the back end tells itself."""

    @property
    def end_ms(self) -> int:
        """When it is over at the latest."""
        return self.start_ms + (self.steps + STEPS_AROUND) * STEP_MS_MAX


def plan(
    random: Random,
    population: Population,
    start_ms: int,
    days: int,
    visits_per_day: float,
    rates: Rates,
) -> list[Visit]:
    """All visits of all people, by start. Takes memory for each visit, and none for its messages."""
    visits: list[Visit] = []
    for person in population.people:
        # Most come seldom, some come daily.
        pace = visits_per_day * random.choice((0.3, 0.5, 0.7, 1.0, 2.5))
        for at in _times(random, start_ms, days, pace):
            visits.append(Visit(random.choice(person.devices), person, at, random.choice(STEPS)))
    for kiosk in population.kiosks:
        for at in _times(random, start_ms, days, KIOSK_VISITS_PER_DAY):
            passer_by = random.random() < rates.kiosk_passer_by
            visitor = None if passer_by else random.choice(population.people)
            visits.append(Visit(kiosk, visitor, at, random.choice(STEPS)))
    for visit in visits:
        drawn = random.random()
        visit.buys = visit.person is not None and drawn < rates.buys
        visit.junk = drawn > 1 - rates.junk
    return settle(random, visits, rates)


def settle(random: Random, visits: Iterable[Visit], rates: Rates) -> list[Visit]:
    """Put the visits of a device one after another, decide who logs in, label them; sorted by start."""
    settled = _one_at_a_time(visits)
    _decide_logins(random, settled, rates)
    _label(settled)
    for number, visit in enumerate(settled):
        visit.id = f"visit-{number}"
        if visit.person is not None:
            visit.device.users[visit.person.id] = None
    return settled


def _times(random: Random, start_ms: int, days: int, per_day: float) -> list[int]:
    """Moments of a Poisson process, moved into the day's waking hours."""
    found = []
    day = random.expovariate(per_day)
    while day < days:
        hour = 8 + 15 * math.sqrt(random.random())
        found.append(start_ms + int(day) * DAY_MS + int(hour * HOUR_MS))
        day += random.expovariate(per_day)
    return found


def _one_at_a_time(visits: Iterable[Visit]) -> list[Visit]:
    free_ms: dict[Device, int] = defaultdict(int)
    settled = sorted(visits, key=lambda visit: visit.start_ms)
    for visit in settled:
        visit.start_ms = max(visit.start_ms, free_ms[visit.device])
        free_ms[visit.device] = visit.end_ms + BETWEEN_VISITS_MS
    settled.sort(key=lambda visit: visit.start_ms)
    return settled


def _decide_logins(random: Random, visits: list[Visit], rates: Rates) -> None:
    signed_up: set[Person] = set()
    signed_in: dict[Device, str] = {}
    for visit in visits:
        person, device = visit.person, visit.device
        if person is None:
            continue
        if visit.start_ms < person.sign_up_ms:
            visit.newsletter = random.random() < rates.newsletter
            continue
        if device in signed_in:
            # The SDK goes on with the id it has stored, though an alias may have replaced it since.
            visit.known, visit.user_id = True, signed_in[device]
            continue
        share = rates.kiosk_login if device.situation is Situation.KIOSK else rates.login
        # The first visit after signing up is the one they sign up in.
        new = person not in signed_up and device.situation is not Situation.KIOSK
        visit.login = visit.order is not None or new or random.random() < share
        if visit.login:
            signed_up.add(person)
            visit.user_id = person.user_id_at(visit.start_ms)
            visit.junk = False
            if device.remembers:
                signed_in[device] = visit.user_id
            visit.logs_out = device.logs_out and random.random() >= rates.forgets_logout
        else:
            visit.newsletter = random.random() < rates.newsletter


def names_somebody(visit: Visit) -> bool:
    """Whether a message of the visit carries a person's identifier."""
    return visit.known or visit.login or visit.newsletter


def _label(visits: list[Visit]) -> None:
    named: dict[Device, list[int]] = defaultdict(list)
    for number, visit in enumerate(visits):
        if names_somebody(visit):
            named[visit.device].append(number)
    for number, visit in enumerate(visits):
        if not (logins := named.get(visit.device)):
            visit.place = Login.NEVER
        elif names_somebody(visit):
            visit.place = Login.IN_VISIT
        elif number < logins[0]:
            visit.place = Login.BEFORE_FIRST
        else:
            visit.place = Login.AFTER_LAST if number > logins[-1] else Login.BETWEEN

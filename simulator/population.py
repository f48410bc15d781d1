"""Who shops, and on which devices: people, households, kiosks, and what they have in common."""

from dataclasses import dataclass, field
from random import Random
from typing import Final

import msgspec

from simulator.truth import IdentifierTruth, Situation, Source

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
NEVER_MS: Final = 1 << 62

_FIRST: Final = (
    "Asha Ravi Meera Arjun Priya Vikram Anita Suresh Kavya Rahul Divya Imran Fatima Sunil Neha "
    "Joseph Lakshmi Gopal Sana Manish Pooja Harish Rekha Karan Leela Nikhil Tara Mohan Usha Dev"
)
_LAST: Final = "Rao Iyer Khan Sharma Patel Das Nair Singh Gupta Reddy Bose Menon Shah"
MAIN_USER: Final = 4
"""How much likelier the main user of a family's browser takes it than a device of their own."""
JUNK_EMAIL: Final = "test@test.com"
JUNK_USER_ID: Final = "null"


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """How often things happen: shares of people, devices, visits or messages, each 0 to 1."""

    never_sign_up: float = 0.15
    """People who only ever browse."""
    has_app: float = 0.6
    has_tablet: float = 0.15
    remembers: float = 0.5
    """Browsers of one owner that stay signed in after a login. Apps always do, shared browsers never."""
    family_logs_out: float = 0.5
    """Shared browsers whose users log out."""
    forgets_logout: float = 0.1
    """Visits there that end without it all the same."""
    login: float = 0.35
    """Visits of signed-up people, signed out, that log in; at a kiosk, `kiosk_login`."""
    kiosk_login: float = 0.25
    kiosk_passer_by: float = 0.5
    """Visits to a kiosk by somebody the shop will never know."""
    newsletter: float = 0.02
    """Visits without login in which a person leaves an e-mail address and nothing else."""
    junk: float = 0.005
    """Visits in which the site identifies `null` and `test@test.com`."""
    buys: float = 0.15
    refunded: float = 0.06
    same_email: float = 0.02
    """People of a household who typed an e-mail that is another member's too."""
    legacy_id: float = 0.05
    """People who had a user id of the old shop, which an alias joins to the new one."""
    denies_ads: float = 0.3
    changes_consent: float = 0.15
    skewed_clock: float = 0.06
    future_clock: float = 0.01
    odd_case: float = 0.1
    """Devices whose build of the site spells event names in lower case."""
    reinstalled: float = 0.1
    """Apps that get a new anonymous id on the way; their device id stays."""
    late: float = 0.03
    """Visits whose later messages wait hours or days on the device."""
    repeated: float = 0.02
    """Messages that are delivered twice, the same bytes."""
    identify_late: float = 0.2
    """Identifies that arrive after the messages that follow them."""


@dataclass(slots=True, eq=False)
class Person:
    """One human being. Times are milliseconds since 1970."""

    id: str
    user_id: str
    name: str
    email: str
    phone: str
    sign_up_ms: int
    """From when on they have an account; NEVER_MS: they never sign up."""
    favourites: tuple[int, int] = (0, 1)
    """Numbers of the shelves they like."""
    legacy_id: str = ""
    migrated_ms: int = 0
    """When `legacy_id` became `user_id`."""
    consent: tuple[tuple[int, bool], ...] = ((0, True),)
    """(from when, whether ads are allowed), oldest first."""
    devices: list["Device"] = field(default_factory=list)

    def user_id_at(self, time_ms: int) -> str:
        """The id they log in with."""
        return self.legacy_id if self.legacy_id and time_ms < self.migrated_ms else self.user_id

    def allows_ads(self, time_ms: int) -> bool:
        """Whether they consent to advertising at that time."""
        return next(allowed for since, allowed in reversed(self.consent) if since <= time_ms)


@dataclass(slots=True, eq=False)
class Device:
    """A browser or an app's installation."""

    source: Source
    situation: Situation
    anonymous_id: str
    device_id: str = ""
    """Apps only, like `advertising_id`."""
    advertising_id: str = ""
    tablet: bool = False
    remembers: bool = False
    logs_out: bool = False
    skew_ms: int = 0
    """How far its clock is ahead."""
    lower_case: bool = False
    reinstalled_ms: int = NEVER_MS
    new_anonymous_id: str = ""
    users: dict[str, None] = field(default_factory=dict)
    """Ids of the known people who used it."""

    def anonymous_id_at(self, time_ms: int) -> str:
        """Its anonymous id at that time."""
        return self.anonymous_id if time_ms < self.reinstalled_ms else self.new_anonymous_id


@dataclass(slots=True)
class Population:
    """Everybody, and every device that is not lying in a drawer."""

    people: list[Person]
    devices: list[Device]
    kiosks: list[Device]

    def identifiers(self) -> list[IdentifierTruth]:
        """Whose each identifier is, those that never occur in an event included."""
        owners: dict[tuple[str, str], dict[str, None]] = {}
        for person in self.people:
            if person.sign_up_ms < NEVER_MS:
                for kind, value in (("user_id", person.user_id), ("user_id", person.legacy_id)):
                    owners.setdefault((kind, value), {})[person.id] = None
            for kind, value in (("email", person.email), ("phone", person.phone)):
                owners.setdefault((kind, value), {})[person.id] = None
        for device in (*self.devices, *self.kiosks):
            for kind, value in (
                ("anonymous_id", device.anonymous_id),
                ("anonymous_id", device.new_anonymous_id),
                ("device_id", device.device_id),
                ("advertising_id", device.advertising_id),
            ):
                owners[kind, value] = device.users
        owners["user_id", JUNK_USER_ID] = owners["email", JUNK_EMAIL] = {}
        return [
            IdentifierTruth(type=kind, value=value, people=tuple(sorted(people)))
            for (kind, value), people in owners.items()
            if value
        ]


def uuid(random: Random) -> str:
    """A version 4 UUID from `random`."""
    text = f"{random.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def populate(
    random: Random, people: int, kiosks: int, start_ms: int, days: int, rates: Rates
) -> Population:
    """Households of one to four until there are `people`, each with devices of their own and shared."""
    made = Population([], [], [])
    while len(made.people) < people:
        size = min(random.choice((1, 1, 1, 2, 2, 3, 4)), people - len(made.people))
        family = [
            _person(random, len(made.people) + number, start_ms, days, rates)
            for number in range(size)
        ]
        made.people += family
        shared = [_shared(random, rates)] if size > 1 else []
        made.devices += shared
        for person in family:
            own = _own(random, start_ms, days, rates, bool(shared))
            # One member uses the family's browser most.
            person.devices = shared * (MAIN_USER if person is family[0] else 1) + own
            made.devices += own
        if size > 1 and random.random() < rates.same_email * size:
            family[1].email = family[0].email
    for _ in range(kiosks):
        made.kiosks.append(browser(random, Situation.KIOSK, rates))
    return made


def browser(random: Random, situation: Situation, rates: Rates, tablet: bool = False) -> Device:
    """A new browser."""
    device = Device(
        source=Source.WEB, situation=situation, anonymous_id=uuid(random), tablet=tablet
    )
    device.remembers = situation is Situation.SINGLE_OWNER and random.random() < rates.remembers
    device.logs_out = situation is Situation.SHARED_WITH_LOGOUT
    _quirks(random, device, rates)
    return device


def app(random: Random, start_ms: int, days: int, rates: Rates) -> Device:
    """A phone with the shop's app, signed in for good after the first login."""
    device = Device(
        source=Source.APP,
        situation=Situation.SINGLE_OWNER,
        anonymous_id=uuid(random),
        device_id=f"{random.getrandbits(64):016x}",
        advertising_id=uuid(random),
        remembers=True,
    )
    if random.random() < rates.reinstalled:
        device.reinstalled_ms = start_ms + random.randrange(days * DAY_MS)
        device.new_anonymous_id = uuid(random)
    _quirks(random, device, rates)
    return device


def _quirks(random: Random, device: Device, rates: Rates) -> None:
    device.lower_case = random.random() < rates.odd_case
    drawn = random.random()
    if drawn < rates.future_clock:
        device.skew_ms = random.randrange(30 * DAY_MS, 400 * DAY_MS)
    elif drawn < rates.future_clock + rates.skewed_clock:
        device.skew_ms = random.choice((-1, 1)) * random.randrange(2 * 60_000, 30 * HOUR_MS)


def _shared(random: Random, rates: Rates) -> Device:
    logs_out = random.random() < rates.family_logs_out
    situation = Situation.SHARED_WITH_LOGOUT if logs_out else Situation.SHARED_WITHOUT_LOGOUT
    return browser(random, situation, rates)


def _own(random: Random, start_ms: int, days: int, rates: Rates, shares: bool) -> list[Device]:
    """The devices that a person shares with nobody; at least one unless the family has a browser."""
    own = []
    if not shares or random.random() < 0.3:
        own.append(browser(random, Situation.SINGLE_OWNER, rates))
    if random.random() < rates.has_app:
        own.append(app(random, start_ms, days, rates))
    if random.random() < rates.has_tablet:
        own.append(browser(random, Situation.SINGLE_OWNER, rates, tablet=True))
    return own


def _person(random: Random, number: int, start_ms: int, days: int, rates: Rates) -> Person:
    first, last = random.choice(_FIRST.split()), random.choice(_LAST.split())
    span = days * DAY_MS
    # Half had an account before the stream begins; the rest sign up on the way.
    sign_up = start_ms + max(0, random.randrange(-span, span))
    never = random.random() < rates.never_sign_up
    person = Person(
        id=f"person-{number}",
        user_id=f"u{100_000 + number}",
        name=f"{first} {last}",
        email=f"{first}.{last}{number}@example.in".lower(),
        phone=f"+9198{number:08d}",
        sign_up_ms=NEVER_MS if never else sign_up,
        favourites=(random.randrange(1 << 16), random.randrange(1 << 16)),
    )
    if random.random() < rates.legacy_id:
        person.legacy_id = f"old-{50_000 + number}"
        person.migrated_ms = start_ms + random.randrange(span // 4, span)
    allowed = random.random() >= rates.denies_ads
    person.consent = ((0, allowed),)
    if random.random() < rates.changes_consent:
        person.consent += ((start_ms + random.randrange(span), not allowed),)
    return person

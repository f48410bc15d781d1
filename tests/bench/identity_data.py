"""A population of identifiers at the scale of facts/identity.md, and what goes wrong with it in the field.

1.5 million persons have 4.1 million identifiers, 1 to 124 each (log-normal; the generator of the yardstick had
4.0 million, p99 14, at most 124). Two persons in five are a browser that never says who sits there; a fifth of
the others are guests without a user id. What is true is told some four times in a year: each identifier beside
its person's best one. The shares of second and third e-mails and phones are assumptions.

What is injected are messages as SDKs send them, which go through decoding and extraction as all others do.
"""

from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from identity.nodes import ANONYMOUS_ID, DEVICE_ID, EMAIL, PHONE, USER_ID
from models.scores import Ints
from tests.workspace import DAY, NOON

YEAR_MS: Final = 365 * DAY
START_MS: Final = NOON - YEAR_MS
PERSONS: Final = 1_500_000
EVENTS_PER_PERSON: Final = 10_000_000 / PERSONS
"""Of the yardstick: shares of events are shares of so many."""
SIZE_MAX: Final = 124
GUESTS: Final = 0.2
"""Of the people with several identifiers, those without a user id."""
EMAILS: Final = (0.10, 0.72, 0.14, 0.04)
"""Shares of people with no, one, two and three e-mails; a guest has one at least."""
PHONES: Final = (0.40, 0.50, 0.10)
REPEATS: Final = 3.0
"""How often two identifiers are named together again, on average."""
DEVICE_ALIASES: Final = "device_aliases"
"""The source of aliases whose former id is a device."""

Rng = np.random.Generator
Bools = npt.NDArray[np.bool_]


class Kind(IntEnum):
    """Types of identifiers, the best one first."""

    USER = 0
    EMAIL = 1
    PHONE = 2
    BROWSER = 3
    APP = 4


TYPES: Final = (USER_ID, EMAIL, PHONE, ANONYMOUS_ID, DEVICE_ID)
_SPELLING: Final = ("u{}", "e{}@example.org", "+9198{:08d}", "browser-{}", "app-{}")


class Pairs(NamedTuple):
    """Identifiers that were named together: from `first_ms` on, for the last time at `last_ms`."""

    left: Ints
    right: Ints
    first_ms: Ints
    last_ms: Ints


class World(NamedTuple):
    """Identifiers, numbered from 0 on in the order of their persons, and within a person the best one first."""

    owner: Ints
    """The person of each; what injections add is nobody's."""
    kind: npt.NDArray[np.int8]
    true: Pairs
    """Each identifier but a person's best, with the best one."""
    guest: Bools
    """Of each identifier: whether its person has no user id, but an e-mail or a phone."""

    @property
    def named(self) -> Bools:
        """Which identifiers name a person."""
        return self.kind <= Kind.PHONE


def name_of(number: int, kind: int) -> tuple[str, str]:
    """(type, value) of an identifier, normalized."""
    return TYPES[kind], _SPELLING[kind].format(number)


def world(seed: int, persons: int = PERSONS) -> World:
    """Everybody, each with what is theirs alone."""
    draw = np.random.default_rng(seed)
    size = np.minimum(1 + np.floor(draw.lognormal(0.25, 1.05, persons)), SIZE_MAX).astype(np.int64)
    several = size > 1
    guest = several & (draw.random(persons) < GUESTS)
    users = (several & ~guest).astype(np.int64)
    emails = several * np.maximum(draw.choice(len(EMAILS), persons, p=EMAILS), guest)
    phones = several * draw.choice(len(PHONES), persons, p=PHONES)
    emails = np.minimum(emails, size - users)
    phones = np.minimum(phones, size - users - emails)
    owner = np.repeat(np.arange(persons), size)
    first = np.cumsum(size) - size
    place = np.arange(len(owner)) - first[owner]
    kind = np.full(len(owner), Kind.BROWSER, np.int8)
    kind[draw.random(len(owner)) < 0.3] = Kind.APP
    kind[place < (users + emails + phones)[owner]] = Kind.PHONE
    kind[place < (users + emails)[owner]] = Kind.EMAIL
    kind[place < users[owner]] = Kind.USER
    right = np.flatnonzero(place > 0)
    first_ms, last_ms = _told(draw, len(right))
    true = Pairs(first[owner[right]], right, first_ms, last_ms)
    return World(owner, kind, true, guest[owner])


def _told(draw: Rng, count: int) -> tuple[Ints, Ints]:
    """The first and the last of the times that something true is told, evenly over the year."""
    times = 1 + draw.poisson(REPEATS, count)
    first = 1 - draw.random(count) ** (1 / times)
    again = np.maximum(times - 1, 1)
    last = np.where(times > 1, first + (1 - first) * draw.random(count) ** (1 / again), first)
    return (
        START_MS + (first * YEAR_MS).astype(np.int64),
        START_MS + (last * YEAR_MS).astype(np.int64),
    )


class Injection(NamedTuple):
    """What goes wrong: identifiers named together that are not one person's."""

    pairs: Pairs
    kinds: npt.NDArray[np.int8] = np.empty(0, np.int8)
    """Of identifiers that are added: they are nobody's, and their numbers follow the world's."""
    shared: Ints = np.empty(0, np.int64)
    """Identifiers that really are two persons': they have no one right cluster."""
    signs_in: bool = False
    """The person of a pair's first end names all they have, as a login does, beside the other end."""


def false_links(made: World, seed: int, share: float, devices: bool = True) -> Injection:
    """Each once, between two identifiers of different persons: `share` of all events.

    Without `devices`, as many of them, all between identifiers that name a person.
    """
    draw = np.random.default_rng(seed)
    some = np.arange(len(made.owner)) if devices else np.flatnonzero(made.named)
    persons = int(made.owner.max()) + 1
    left, right = draw.choice(some, (2, round(share * EVENTS_PER_PERSON * persons)))
    keep = made.owner[left] != made.owner[right]
    return Injection(_once(draw, left[keep], right[keep]))


def one_value(made: World, seed: int, count: int) -> Injection:
    """One e-mail, which is nobody's, named together with `count` identifiers of all kinds."""
    draw = np.random.default_rng(seed)
    left = draw.choice(len(made.owner), count, replace=False)
    right = np.full(count, len(made.owner))
    return Injection(_once(draw, left, right), np.array([Kind.EMAIL], np.int8))


def shared_values(made: World, seed: int, kind: Kind, values: int, people: int) -> Injection:
    """`values` identifiers of a kind, each of which `people` who name themselves sign in with."""
    draw = np.random.default_rng(seed)
    # By identifiers, not by persons: who has more of them comes more often.
    left = draw.choice(np.flatnonzero(made.named), values * people)
    right = np.repeat(len(made.owner) + np.arange(values), people)
    pairs = _once(draw, left, right)
    return Injection(pairs, np.full(values, kind, np.int8), signs_in=True)


def family_phones(made: World, seed: int, share: float) -> Injection:
    """`share` of the persons give the phone of another one, as often as their own identifiers."""
    draw = np.random.default_rng(seed)
    persons = int(made.owner.max()) + 1
    count = round(share * persons)
    phones = draw.choice(np.flatnonzero(made.kind == Kind.PHONE), count, replace=False)
    others = draw.choice(np.flatnonzero(made.named), count)
    keep = made.owner[phones] != made.owner[others]
    first_ms, last_ms = _told(draw, count)
    pairs = Pairs(others[keep], phones[keep], first_ms[keep], last_ms[keep])
    return Injection(pairs, shared=phones[keep], signs_in=True)


def _once(draw: Rng, left: Ints, right: Ints) -> Pairs:
    at = START_MS + draw.integers(0, YEAR_MS, len(left))
    return Pairs(left, right, at, at)


def messages(made: World, injected: Injection) -> Iterator[tuple[dict[str, Any], str]]:
    """(message, source) of an injection, as SDKs send them; none of them is trusted."""
    kind: list[int] = np.concatenate([made.kind, injected.kinds]).tolist()
    begins = np.searchsorted(made.owner, made.owner[injected.pairs.left])
    ends = np.searchsorted(made.owner, made.owner[injected.pairs.left], side="right")
    columns = (column.tolist() for column in (*injected.pairs, begins, ends))
    for number, (left, right, first, last, begin, end) in enumerate(zip(*columns, strict=True)):
        named = [left]
        if injected.signs_in:
            named = [one for one in range(begin, end) if kind[one] <= Kind.PHONE]
        names = [name_of(one, kind[one]) for one in (*named, right)]
        for at in {first, last}:
            message, source = message_naming(names, f"injected-{number}-{at}", at)
            if injected.signs_in and number % 2 and "anonymousId" in message:
                # Older SDKs alias the browser to the user when somebody logs in.
                message |= {"type": "alias", "previousId": message["anonymousId"]}
            yield message, source


def message_naming(
    names: Sequence[tuple[str, str]], message_id: str, at: int
) -> tuple[dict[str, Any], str]:
    """(message, source) of one event that names all of `names`; of a user id or device, two at most."""
    by_type: dict[str, list[str]] = {kind: [] for kind in TYPES}
    for kind, value in names:
        by_type[kind].append(value)
    users, browsers, apps = by_type[USER_ID], by_type[ANONYMOUS_ID], by_type[DEVICE_ID]
    context: dict[str, Any] = {
        "traits": {kind: by_type[kind][0] for kind in (EMAIL, PHONE) if by_type[kind]},
        "externalId": [
            {"type": kind, "id": value} for kind in (EMAIL, PHONE) for value in by_type[kind][1:]
        ],
    }
    message: dict[str, Any] = {
        "type": "identify", "messageId": message_id, "context": context,
        "originalTimestamp": at, "receivedAt": at,
    }  # fmt: skip
    source = "web"
    if users:
        message["userId"] = users[0]
    if browsers:
        message["anonymousId"] = browsers[0]
    if apps:
        context["device"] = {"id": apps[0]}
    if len(users) == 2:
        message |= {"type": "alias", "previousId": users[1]}
    if len(browsers) == 2 or len(apps) == 2:
        # Only an alias names two devices of a type; its source says that it is about devices.
        message |= {"type": "alias", "previousId": (browsers if len(browsers) == 2 else apps)[1]}
        source = DEVICE_ALIASES
    return message, source

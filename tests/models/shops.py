"""Small shops whose right answers are obvious."""

import random

from models.interactions import DAY_MS, Interactions, Row
from models.protocol import History
from profiles.facts import Kind

NOW = 1_790_000_000_000

TEA = ["tea", "cup", "honey"]
DOG = ["leash", "bone", "bowl"]


def rows(people: int = 60, seed: int = 1, days: int = 120) -> list[Row]:
    """Half the people buy things for tea, half for dogs, again and again; `salt` sells to everybody."""
    random_ = random.Random(seed)
    found: list[Row] = []
    for person in range(people):
        liked = TEA if person % 2 else DOG
        for _ in range(8):
            at = NOW - random_.randrange(days * DAY_MS)
            found.append((f"p{person}", random_.choice(liked), "Order Completed", at, 1.0))
        found.append((f"p{person}", "salt", "Order Completed", NOW - 5 * DAY_MS, 1.0))
        found.append((f"p{person}", liked[0], "Product Viewed", NOW - DAY_MS, 1.0))
    return found


def shop(people: int = 60, seed: int = 1) -> Interactions:
    return Interactions.of(rows(people, seed))


def history_of(interactions: Interactions, *done: tuple[str, Kind], now: int = NOW) -> History:
    """A history of events a day apart, the first the oldest."""
    import numpy as np

    code = interactions.item_code
    return History(
        np.array([code[item] for item, _ in done], np.int32),
        np.array([kind for _, kind in done], np.int8),
        np.array([now - (len(done) - n) * DAY_MS for n in range(len(done))], np.int64),
        np.ones(len(done), np.float32),
        now,
    )

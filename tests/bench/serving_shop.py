"""The large shop of the serving benchmark: a catalogue, factors of its items, and people who look at them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.artefact import Manifest
from models.interactions import Interactions
from models.protocol import Model
from models.registry import Registry
from models.zoo.blend import Blend
from models.zoo.counting import Popular, RecentBuyers, Trending
from models.zoo.factors import ALS
from models.zoo.linear import ItemKNN
from models.zoo.personal import BuyAgain
from models.zoo.sessions import SessionKNN
from profiles.facts import Kind
from storage.ports import CatalogItem
from tests.workspace import DAY, NOON, Workspace

FACTORS: Final = 128
CATEGORIES: Final = 200
ITERATIONS: Final = 4
"""Of training: enough for factors of their final lengths, in a minute of one core."""
WEIGHTS: Final = (0.3, 0.3, 0.3, 0.3, 0.4, 0.4, 0.5)
"""Of the blend's parts, counts first, ALS last."""
FILTER: Final = "price < 500 AND in_stock AND category = 'Health'"
"""Half of the categories, four fifths of the prices, nine tenths in stock: about a third of the items."""


def make(folder: Path, items: int, people: int, events: int = 20) -> list[str]:
    """A workspace in `folder` with two versions of a model; the user ids in it."""
    world = Workspace(folder)
    random = np.random.default_rng(7)
    ids = [f"item-{n:06}" for n in range(items)]
    catalogue(world, ids, random)
    matrix = learning(ids, random)
    als = ALS(factors=FACTORS, iterations=ITERATIONS).fit(matrix, NOON)
    for version in ("v1", "v2"):
        learned(folder, ids, als, version)
    learned(folder, ids, blended(matrix, als), "blend")
    users = [f"u{n}" for n in range(people)]
    seen = views(random, people, people * events, items)
    world.take(_events(users, seen), batch=1000)
    world.close()
    return users


class Views(NamedTuple):
    """Who looked at what, in parallel."""

    user: npt.NDArray[np.int32]
    item: npt.NDArray[np.int32]


def views(random: np.random.Generator, people: int, count: int, items: int) -> Views:
    """Each person likes three categories; in each few items have most of the views; a tenth is for anything."""
    liked = random.integers(0, CATEGORIES, (people, 3))
    user = np.sort(random.integers(0, people, count))
    category = liked[user, random.integers(0, 3, count)]
    rank = (items // CATEGORIES * random.random(count) ** 2.5).astype(int)
    item = rank * CATEGORIES + category
    anything = random.random(count) < 0.1
    item[anything] = random.integers(0, items, int(anything.sum()))
    return Views(user.astype(np.int32), item.astype(np.int32))


def learning(ids: list[str], random: np.random.Generator) -> Interactions:
    """What models learn from: how long ALS' factors are decides how many have to be read."""
    count, people = 8 * len(ids), len(ids) // 3
    seen = views(random, people, count, len(ids))
    return Interactions(
        seen.user,
        seen.item,
        np.where(random.random(count) < 0.2, Kind.BOUGHT, Kind.VIEWED).astype(np.int8),
        NOON - (90 * DAY * random.random(count)).astype(np.int64),
        np.ones(count, np.float32),
        np.array([f"u{n}" for n in range(people)], object),
        np.array(ids, object),
    )


def blended(matrix: Interactions, als: ALS) -> Blend:
    """The default champion: every part learned, and weights of the size that it learns on real data."""
    parts: list[Model] = [
        Popular(),
        RecentBuyers(),
        Trending(7),
        BuyAgain(),
        ItemKNN(),
        SessionKNN(),
    ]
    for part in parts:
        part.fit(matrix, NOON)
    blend = Blend([*parts, als])
    weights = np.array([WEIGHTS, WEIGHTS], np.float32)
    arrays = dict(blend.arrays()) | {"weights": weights, "again": np.array([0.5, 1.0])}
    return Blend.restore(blend.parameters(), arrays)


def catalogue(world: Workspace, ids: list[str], random: np.random.Generator) -> None:
    """Every item with category, brand, price, stock and an attribute."""
    category = random.integers(0, CATEGORIES, len(ids))
    price = random.lognormal(5.2, 1, len(ids)).round(2)
    stocked = random.random(len(ids)) < 0.9
    world.store.catalog.upsert(
        [
            CatalogItem(
                id=item,
                name=f"Item {n}",
                category=f"{'Health' if category[n] % 2 else 'Care'}/{category[n]}",
                brand=f"brand {n % 500}",
                price_micros=round(float(price[n]) * 10**6),
                currency="INR",
                in_stock=bool(stocked[n]),
                attributes={"colour": f"c{n % 12}"},
            )
            for n, item in enumerate(ids)
        ]
    )


def learned(folder: Path, ids: list[str], champion: Model, version: str) -> None:
    """A version with this champion."""
    size = len(ids)
    counts = (size / np.arange(1, size + 1)).astype(np.float32)
    models: dict[str, Model] = {champion.name: champion}
    for kind in (Popular, RecentBuyers, Trending):
        models[kind.name] = kind.restore({}, {"scores": counts})
    registry = Registry(folder / "models")
    registry.push(
        Manifest(
            version=version, champion=champion.name, trained_ms=NOON, window_ms=(NOON - 90 * DAY, NOON),
            interactions=1, people=1, items=size, data_hash="", parameters={},
        ),
        ids,
        models,
    )  # fmt: skip
    if version == "v1":
        registry.promote(version, force="a benchmark")


def _events(users: list[str], seen: Views) -> Iterator[dict[str, Any]]:
    for k, (user, item) in enumerate(zip(seen.user.tolist(), seen.item.tolist(), strict=True)):
        at = NOON - k % 30 * DAY
        yield {
            "type": "track", "event": "Product Viewed", "messageId": str(k), "userId": users[user],
            "originalTimestamp": at, "receivedAt": at, "properties": {"product_id": f"item-{item:06}"},
        }  # fmt: skip

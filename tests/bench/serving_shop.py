"""The large shop of the serving benchmark: a catalogue, factors of its items, and people who look at them."""

from pathlib import Path
from typing import Any, Final

import numpy as np

from models.artefact import Manifest
from models.protocol import Model
from models.registry import Registry
from models.zoo.counting import Popular, RecentBuyers, Trending
from models.zoo.factors import ALS
from storage.ports import CatalogItem
from tests.workspace import DAY, NOON, Workspace

FACTORS: Final = 128
CATEGORIES: Final = 200
FILTER: Final = "price < 500 AND in_stock AND category = 'Health'"
"""Half of the categories, four fifths of the prices, nine tenths in stock: about a third of the items."""


def make(folder: Path, items: int, people: int, events: int = 20) -> list[str]:
    """A workspace in `folder` with two versions of a model; the user ids in it."""
    world = Workspace(folder)
    random = np.random.default_rng(7)
    ids = [f"item-{n:06}" for n in range(items)]
    catalogue(world, ids, random)
    for number in range(2):
        learned(folder, ids, random, f"v{number + 1}")
    users = [f"u{n}" for n in range(people)]
    # As in a real shop few items have most of the views.
    seen = np.minimum(random.zipf(1.3, (people, events)) - 1, items - 1)
    world.take(_events(users, seen), batch=1000)
    world.close()
    return users


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


def learned(folder: Path, ids: list[str], random: np.random.Generator, version: str) -> None:
    """A version whose champion is ALS; its factors are made, for their values do not change the work."""
    size = len(ids)
    length = np.exp(random.normal(0, 0.8, (size, 1)))
    factors = (random.normal(0, 0.1, (size, FACTORS)) * length).astype(np.float32)
    counts = (size / np.arange(1, size + 1)).astype(np.float32)
    models: dict[str, Model] = {"als": ALS.restore({"factors": FACTORS}, {"items": factors})}
    for kind in (Popular, RecentBuyers, Trending):
        models[kind.name] = kind.restore({}, {"scores": counts})
    registry = Registry(folder / "models")
    registry.push(
        Manifest(
            version=version, champion="als", trained_ms=NOON, window_ms=(NOON - 90 * DAY, NOON),
            interactions=1, people=1, items=size, data_hash="", parameters={},
        ),
        ids,
        models,
    )  # fmt: skip
    if version == "v1":
        registry.promote(version, force="a benchmark")


def _events(users: list[str], seen: Any) -> Any:
    for n, user in enumerate(users):
        for k, item in enumerate(seen[n].tolist()):
            yield {
                "type": "track", "event": "Product Viewed", "messageId": f"{user}:{k}", "userId": user,
                "originalTimestamp": NOON - k * DAY, "receivedAt": NOON - k * DAY,
                "properties": {"product_id": f"item-{item:06}"},
            }  # fmt: skip

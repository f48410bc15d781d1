"""The models that the serving benchmark serves: one setting of each, trained on its store."""

from pathlib import Path

from models import zoo
from models.data import interactions
from models.registry import Registry
from models.train import train
from service.rpc.recommending import Recommending
from service.rpc.served_models import ServedModels
from storage.ports import CatalogItem
from tests.workspace import NOON, Workspace


def train_models(world: Workspace, folder: Path) -> str:
    """A champion in the registry of `folder`; what it is."""
    registry = Registry(folder / "models")
    done = interactions(world.store, world.rules)
    world.store.catalog.upsert(
        [CatalogItem(id=str(item), name=f"Item {item}", category="All") for item in done.items]
    )
    manifest = train(
        done, registry, NOON,
        default=lambda: [grid[:1] for grid in zoo.default()], test_days=7,
    )  # fmt: skip
    registry.promote(manifest.version, force="a benchmark")
    return f"{manifest.champion}, {manifest.items:,} items, {manifest.interactions:,} interactions"


def served_models(world: Workspace, folder: Path) -> Recommending:
    """Models as the service serves them."""
    return ServedModels(Registry(folder / "models"), world.store.catalog, refresh_s=2.0)

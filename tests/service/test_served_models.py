"""The registry's champion behind the API: swapped when it moves, filtered by the catalogue."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models.recommender
from models.artefact import Manifest
from models.data import interactions
from models.protocol import Code, Model
from models.registry import CHAMPION, Registry
from models.train import train
from models.zoo.counting import Popular, RecentBuyers, Trending
from models.zoo.linear import ItemKNN
from models.zoo.personal import BuyAgain, RecentlyViewed
from profiles.part import Interaction
from service.pb.onefold.v1 import recommendation_service_pb2 as pb
from service.rpc import served_models
from service.rpc.item_view import ItemView
from service.rpc.recommending import Answered, Asked, Conditions, Surface
from service.rpc.served_models import NOT_LOADED, NOT_TRAINED, ServedModels
from storage.ports import CatalogItem
from tests.service.conftest import TIMEOUT_S, Api, who
from tests.workspace import DAY, NOON, Workspace

ITEMS = {
    # item: (category, brand, price in units, in stock, sensitive)
    "soap": ("Care", "Lux", 40, True, False),
    "cream": ("Care/Skin", "Lux", 300, True, False),
    "comb": ("Carelessness", "Ace", 20, False, False),
    "vitamin": ("Health", "Ace", 500, True, False),
    "test-kit": ("Health", "Ace", 900, True, True),
}


def small() -> list[list[Model]]:
    return [
        [Popular()],
        [RecentBuyers()],
        [Trending()],
        [RecentlyViewed()],
        [BuyAgain()],
        [ItemKNN()],
    ]


class Clock:
    """Seconds, as the test says."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1
        return self.now_s


@pytest.fixture
def shop(tmp_path: Path) -> Any:
    """Eight people who buy soap with cream, and vitamins with test kits."""
    world = Workspace(tmp_path / "shop")
    for n in range(8):
        pair = ("soap", "cream") if n % 2 else ("vitamin", "test-kit")
        world.see(
            event="Order Completed", user=f"u{n}", at=NOON - DAY - n * DAY,
            properties={"order_id": f"o{n}", "products": [{"product_id": item} for item in (*pair, "comb")]},
        )  # fmt: skip
    world.store.catalog.upsert(
        [
            CatalogItem(
                id=item, name=item.title(), category=category, brand=brand,
                price_micros=price * 10**6, currency="INR", in_stock=in_stock, sensitive=sensitive,
            )
            for item, (category, brand, price, in_stock, sensitive) in ITEMS.items()
        ]
    )  # fmt: skip
    yield world
    world.close()


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


def promoted(shop: Workspace, registry: Registry, now_ms: int = NOON) -> Manifest:
    """A version trained on the shop, as champion."""
    manifest = train(interactions(shop.store, shop.rules), registry, now_ms, default=small)
    return registry.promote(manifest.version, force="a test")


def served(shop: Workspace, registry: Registry) -> ServedModels:
    return ServedModels(registry, shop.store.catalog, refresh_s=0.5, clock=Clock())


def did(item: str, kind: int = 6) -> Interaction:
    return Interaction(NOON - DAY, 1, 0, item, kind, 1)


def ask(models: ServedModels, *history: Interaction, **fields: Any) -> Answered:
    defaults: dict[str, Any] = {"surface": Surface.FOR_YOU, "now_ms": NOON}
    return models.recommend(Asked(history=history, **defaults | fields))


def ids(answered: Answered) -> set[str]:
    return {item.id for item in answered.items}


def test_without_a_champion_the_answer_is_empty_and_says_why(
    shop: Workspace, registry: Registry
) -> None:
    answered = ask(served(shop, registry))
    assert (answered.items, answered.fallback) == ((), NOT_TRAINED)


def test_a_champion_answers_as_soon_as_it_is_promoted(shop: Workspace, registry: Registry) -> None:
    models = served(shop, registry)
    ask(models)
    first = promoted(shop, registry)
    assert ask(models).version == first.version
    shop.see(event="Order Completed", user="u9", properties={"product_id": "cream"})
    second = promoted(shop, registry, NOON + 1)
    assert ask(models).version == second.version
    registry.roll_back()
    assert ask(models).version == first.version
    assert ask(models).trained_ms == NOON


def test_a_champion_that_cannot_be_loaded_leaves_the_old_one_in_place(
    shop: Workspace, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    models = served(shop, registry)
    first = promoted(shop, registry)
    assert ask(models).version == first.version
    second = promoted(shop, registry, NOON + 1)
    for file in (registry.folder / "versions" / second.version).glob("*.npy"):
        file.write_bytes(b"rubbish")

    assert ask(models).version == first.version
    assert "ArtefactError" in caplog.text
    assert ask(served(shop, registry)).fallback == NOT_LOADED


def test_reasons_are_true_and_name_the_item(shop: Workspace, registry: Registry) -> None:
    promoted(shop, registry)
    models = served(shop, registry)
    (best, *_) = ask(models, did("soap"), exclude_bought=True).items

    assert (best.id, best.code, best.because_of) == ("cream", Code.BOUGHT, "soap")
    assert best.text == "because you bought Soap"
    (best, *_) = ask(models, did("soap", 1), exclude_seen=True).items
    assert (best.code, best.text) == (Code.VIEWED, "because you viewed Soap")


def test_no_reason_names_a_sensitive_item(shop: Workspace, registry: Registry) -> None:
    promoted(shop, registry)
    models = served(shop, registry)
    answers = [
        ask(models, did("test-kit"), exclude_bought=True),
        ask(models, surface=Surface.SIMILAR_ITEMS, context_items=("test-kit",)),
        ask(models, surface=Surface.BOUGHT_TOGETHER, context_items=("test-kit",)),
        ask(models, did("test-kit"), surface=Surface.BUY_AGAIN),
    ]
    for answered in answers:
        assert answered.items
        for item in answered.items:
            assert item.because_of != "test-kit"
            assert "test" not in item.text.lower()


def test_whoever_may_be_somebody_else_is_shown_nothing_sensitive(
    shop: Workspace, registry: Registry
) -> None:
    promoted(shop, registry)
    models = served(shop, registry)
    for surface in Surface:
        shown = ids(
            ask(
                models, did("test-kit"), did("vitamin"), surface=surface, hide_sensitive=True,
                context_items=("vitamin",),
            )
        )  # fmt: skip
        assert "test-kit" not in shown
    assert "test-kit" in ids(ask(models, did("vitamin")))


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (Conditions(categories=("care",)), {"soap", "cream"}),
        (Conditions(categories=("Care/Skin/",)), {"cream"}),
        (Conditions(categories=("Care", "Health")), {"soap", "cream", "vitamin", "test-kit"}),
        (Conditions(brands=("ACE",)), {"comb", "vitamin", "test-kit"}),
        (Conditions(in_stock_only=True), {"soap", "cream", "vitamin", "test-kit", "unlisted"}),
        (Conditions(price_max_micros=40 * 10**6, currency="INR"), {"soap", "comb"}),
        (Conditions(price_min_micros=300 * 10**6, price_max_micros=500 * 10**6), {"cream", "vitamin"}),
        (Conditions(price_max_micros=10**9, currency="EUR"), set()),
        (Conditions(categories=("Shoes",)), set()),
        (Conditions(categories=("Care",), brands=("Lux",), price_max_micros=10**8), {"soap"}),
    ],
)  # fmt: skip
def test_a_filter_lets_through_what_meets_all_of_it(
    shop: Workspace, conditions: Conditions, expected: set[str]
) -> None:
    view = ItemView([*ITEMS, "unlisted"], shop.store.catalog)
    for _ in range(2):  # the second one is kept from the first
        mask = view.allowed(conditions, hide_sensitive=False)
        assert mask is not None
        assert {
            item for item, let in zip([*ITEMS, "unlisted"], mask, strict=True) if let
        } == expected
        hidden = view.allowed(conditions, hide_sensitive=True)
        assert hidden is not None
        assert np.array_equal(hidden, mask & ~view.sensitive)


def test_without_a_filter_everything_may_be_answered(shop: Workspace) -> None:
    assert ItemView(list(ITEMS), shop.store.catalog).allowed(None, hide_sensitive=False) is None


def test_a_filter_holds_on_every_surface_and_for_fallbacks(
    shop: Workspace, registry: Registry
) -> None:
    promoted(shop, registry)
    models = served(shop, registry)
    for surface in Surface:
        for history in ((), (did("soap"), did("vitamin"))):
            answered = ask(
                models, *history, surface=surface, context_items=("cream",),
                conditions=Conditions(brands=("Ace",), in_stock_only=True),
            )  # fmt: skip
            assert ids(answered) <= {"vitamin", "test-kit"}


def test_a_change_of_the_catalogue_counts_after_the_next_look(
    shop: Workspace, registry: Registry
) -> None:
    promoted(shop, registry)
    models = served(shop, registry)
    in_stock = Conditions(in_stock_only=True)
    assert "soap" in ids(ask(models, conditions=in_stock))
    shop.store.catalog.upsert([CatalogItem(id="soap", in_stock=False, updated_ms=1)])

    assert "soap" not in ids(ask(models, conditions=in_stock))


def test_every_code_has_its_words() -> None:
    assert set(served_models._TEXT) == set(Code)


def test_every_surface_is_one_of_the_recommender() -> None:
    assert all(getattr(models.recommender, surface) == surface for surface in Surface)


def test_the_whole_way_from_an_event_to_a_recommendation(
    shop: Workspace, registry: Registry, tmp_path: Path
) -> None:
    promoted(shop, registry)
    make: Callable[[Workspace], ServedModels] = lambda world: served(world, registry)  # noqa: E731
    with Api(tmp_path / "shop", recommending=make) as api:

        def answer(**identifiers: str) -> pb.RecommendResponse:
            return api.recommendations.Recommend(
                pb.RecommendRequest(
                    surface=pb.SURFACE_FOR_YOU,
                    lookup=who(**identifiers),
                    exclude_seen=True,
                    limit=3,
                ),
                timeout=TIMEOUT_S,
            )

        unknown = answer(anonymous_id="new")
        api.shop.see(browser="new", view="soap", messageId="v1")
        after_view = answer(anonymous_id="new")
        api.shop.see(browser="new", user="newcomer", view="soap", messageId="v2", at=NOON + 1)
        after_login = answer(user_id="newcomer")

    assert unknown.fallback
    assert unknown.fallback_reason == "no history"
    assert unknown.items
    assert not after_view.fallback
    assert after_view.items[0].item_id == "cream"
    assert after_view.items[0].reason.text == "because you viewed Soap"
    assert [item.item_id for item in after_login.items] == [i.item_id for i in after_view.items]
    assert registry.resolve(CHAMPION) == after_login.model_version

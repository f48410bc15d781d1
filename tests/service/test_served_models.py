"""The registry's champion behind the API: swapped when it moves, filtered by the catalogue."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models.recommender
from models.artefact import Manifest
from models.data import interactions
from models.errors import FilterError, RulesError
from models.filter_text import parse
from models.protocol import Code, Model
from models.registry import CHAMPION, Registry
from models.train import train
from models.variety import Variety
from models.zoo.counting import Popular, RecentBuyers, Trending
from models.zoo.linear import ItemKNN
from models.zoo.personal import BuyAgain, RecentlyViewed
from profiles.part import Interaction
from service.pb.onefold.v1 import recommendation_service_pb2 as pb
from service.rpc import served_models
from service.rpc.item_view import ItemView
from service.rpc.recommending import Answered, Asked, Surface
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


def test_without_a_filter_everything_may_be_answered(shop: Workspace) -> None:
    view = ItemView(list(ITEMS), shop.store.catalog)
    assert view.filtered(None, hide_sensitive=False).allowed is None
    hidden = view.filtered(None, hide_sensitive=True).allowed
    assert hidden is not None
    assert np.array_equal(hidden, ~view.sensitive)


def test_a_filter_that_nothing_passes_says_why(shop: Workspace, registry: Registry) -> None:
    promoted(shop, registry)
    models = served(shop, registry)
    for text, why in [
        ("in_stock AND price < 5", "none has price < 5"),
        ("price > 400 AND price < 100", "all of them by none"),
        ("brand = 'Nobody'", "none has brand = 'Nobody'"),
    ]:
        answered = ask(models, did("soap"), filter=parse(text))
        assert (list(answered.items), answered.model) == ([], "")
        assert why in answered.fallback
    with pytest.raises(FilterError, match=r"at character 1: .* did you mean brand"):
        ask(models, filter=parse("brnad = 'Lux'"))


def test_a_relaxed_filter_gives_up_from_the_last_condition_on_and_says_which(
    shop: Workspace, registry: Registry
) -> None:
    promoted(shop, registry)
    models = served(shop, registry)
    wanted = parse("brand = 'Lux' AND price < 50 AND weigth < 5")
    one = ask(models, filter=wanted, relaxed=True, limit=1, surface=Surface.TRENDING)
    four = ask(models, filter=wanted, relaxed=True, limit=4, surface=Surface.TRENDING)

    assert [item.id for item in one.items] == ["soap"]
    assert len(one.given_up) == 1
    assert "weigth < 5 (at character 34: no item has a field" in one.given_up[0]
    assert [item.id for item in four.items][:2] == ["soap", "cream"]
    assert list(four.given_up[1:]) == ["price < 50", "brand = 'Lux'"]
    hidden = ask(
        models, filter=wanted, relaxed=True, limit=9, surface=Surface.TRENDING, hide_sensitive=True
    )
    assert "test-kit" not in ids(hidden)


def test_a_filter_holds_on_every_surface_and_for_fallbacks(
    shop: Workspace, registry: Registry
) -> None:
    promoted(shop, registry)
    models = served(shop, registry)
    for surface in Surface:
        for history in ((), (did("soap"), did("vitamin"))):
            answered = ask(
                models, *history, surface=surface, context_items=("cream",),
                filter=parse("brand = 'Ace' AND in_stock"),
            )  # fmt: skip
            assert ids(answered) <= {"vitamin", "test-kit"}


def test_a_change_of_the_catalogue_counts_after_the_next_look(
    shop: Workspace, registry: Registry
) -> None:
    promoted(shop, registry)
    models = served(shop, registry)
    in_stock = parse("in_stock")
    assert "soap" in ids(ask(models, filter=in_stock))
    shop.store.catalog.upsert([CatalogItem(id="soap", in_stock=False, updated_ms=1)])

    assert "soap" not in ids(ask(models, filter=in_stock))


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


def test_what_is_viewed_since_training_was_viewed_recently(
    shop: Workspace, registry: Registry
) -> None:
    promoted(shop, registry)
    shop.store.catalog.upsert([CatalogItem(id="novelty", name="Novelty")])
    models = served(shop, registry)
    for surface, expected in (
        (Surface.RECENTLY_VIEWED, ["novelty", "soap"]),
        (Surface.BUY_AGAIN, []),
    ):
        answered = ask(
            models, Interaction(NOON, 2, 0, "novelty", 1, 1), did("soap", 1), surface=surface
        )
        assert [item.id for item in answered.items] == expected
    assert ids(ask(models, did("novelty"), did("soap"), exclude_bought=True)) == {"cream", "comb"}


def test_without_consent_nothing_follows_from_a_sensitive_item(
    shop: Workspace, registry: Registry
) -> None:
    promoted(shop, registry)
    models = served(shop, registry)
    told = ask(models, did("test-kit"), did("soap"), hide_sensitive=True, exclude_bought=True)
    untold = ask(models, did("soap"), hide_sensitive=True, exclude_bought=True)
    assert (told.items, told.fallback) == (untold.items, untold.fallback)


RULES = """
- name: gift
  pin: [cream, unheard-of, test-kit]
  surfaces: [TRENDING]
  reason: our gift
- name: vitamins
  promote: all
  where: category = 'Health'
  boost: 100
- name: no-combs
  hide: [comb]
- name: vip
  hide: [soap]
  segments: [vip]
- name: past
  hide: all
  where: in_stock
  until: 2020-01-01
"""


def ruled(shop: Workspace, registry: Registry, text: str) -> ServedModels:
    folder = registry.folder.parent / "merchandising"
    folder.mkdir(exist_ok=True)
    (folder / "rules.yaml").write_text(text)
    return ServedModels(registry, shop.store.catalog, refresh_s=0.5, clock=Clock(), rules=folder)


def test_rules_pin_promote_and_hide(shop: Workspace, registry: Registry) -> None:
    promoted(shop, registry)
    models = ruled(shop, registry, RULES)
    trending = ask(models, surface=Surface.TRENDING).items

    assert [item.id for item in trending[:3]] == ["cream", "test-kit", "vitamin"]
    assert (trending[0].code, trending[0].text, trending[0].rule) == (
        Code.PINNED,
        "our gift",
        "gift",
    )
    assert (trending[2].code, trending[2].rule) == (Code.TRENDING, "vitamins")
    assert "comb" not in {item.id for item in trending}
    assert next(item for item in trending if item.id == "soap").rule == ""
    assert "soap" not in ids(ask(models, surface=Surface.TRENDING, segments=lambda: ["vip"]))
    for surface in Surface:
        answered = ask(models, did("soap"), did("comb"), surface=surface, context_items=("soap",))
        assert "comb" not in ids(answered)


def test_a_pin_is_shown_only_where_it_may_be(shop: Workspace, registry: Registry) -> None:
    promoted(shop, registry)
    models = ruled(shop, registry, RULES)
    trending: dict[str, Any] = {"surface": Surface.TRENDING}
    assert "test-kit" not in ids(ask(models, **trending, hide_sensitive=True))
    assert "cream" not in ids(ask(models, **trending, excluded={"cream"}))
    assert "cream" not in ids(ask(models, did("cream"), **trending, exclude_bought=True))
    assert ids(ask(models, **trending, filter=parse("brand = 'Ace'"))) == {"test-kit", "vitamin"}
    assert [item.id for item in ask(models, **trending, limit=1).items] == ["cream"]


def test_rules_that_change_are_read_again_and_wrong_ones_leave_the_old_in_force(
    shop: Workspace, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    promoted(shop, registry)
    models = ruled(shop, registry, RULES)
    path = registry.folder.parent / "merchandising" / "rules.yaml"
    assert "comb" not in ids(ask(models, surface=Surface.TRENDING))
    path.write_text("- name: x\n  hyde: [soap]\n")
    assert "comb" not in ids(ask(models, surface=Surface.TRENDING))
    assert "rules.yaml:2: hyde: no such field; did you mean hide?" in caplog.text
    path.write_text("- name: other\n  hide: all\n  where: bradn = 'Lux'\n")
    assert "comb" in ids(ask(models, surface=Surface.TRENDING))
    assert "other: where: at character 1: no item has a field 'bradn'" in caplog.text
    path.unlink()
    assert "soap" in ids(ask(models, surface=Surface.TRENDING))
    with pytest.raises(RulesError, match="must be a list of rules"):
        ruled(shop, registry, "hide: [soap]")


def test_diversity_reaches_the_models(shop: Workspace, registry: Registry) -> None:
    promoted(shop, registry)
    answered = ask(served(shop, registry), surface=Surface.TRENDING, variety=Variety(0, 1))
    categories = [ITEMS[item.id][0] for item in answered.items]
    assert len(categories) == len(set(categories)) == 4


def test_what_is_new_is_read_aside_while_the_old_answers(
    shop: Workspace, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = promoted(shop, registry)
    models = ServedModels(registry, shop.store.catalog, 0.001, aside=True)
    assert ask(models).version == first.version
    second = promoted(shop, registry, NOON + 1)
    reading, may_read = threading.Event(), threading.Event()
    load = registry.load

    def slow(name: str = CHAMPION) -> Any:
        reading.set()
        assert may_read.wait(10)
        return load(name)

    monkeypatch.setattr(registry, "load", slow)
    until = time.monotonic() + 10
    while not reading.is_set() and time.monotonic() < until:
        assert ask(models).version == first.version
    assert ask(models).version == first.version
    may_read.set()
    while ask(models).version != second.version:
        assert time.monotonic() < until


def test_a_shop_of_one_item_and_one_person_has_answers(tmp_path: Path, registry: Registry) -> None:
    world = Workspace(tmp_path / "tiny")
    world.see(event="Order Completed", user="u1", properties={"product_id": "soap"}, at=NOON - DAY)
    promoted(world, registry)
    models = served(world, registry)
    for surface in Surface:
        for limit in (0, 1, 200):
            answered = ask(
                models, did("soap"), surface=surface, context_items=("soap",), limit=limit,
                filter=parse("in_stock OR price > 5"), relaxed=True, variety=Variety(1, 1),
            )  # fmt: skip
            assert ids(answered) <= {"soap"}
            assert answered.items or answered.fallback
    assert ids(ask(models, surface=Surface.TRENDING)) == {"soap"}
    world.close()


def test_a_history_of_a_hundred_thousand_events_is_answered(
    shop: Workspace, registry: Registry
) -> None:
    promoted(shop, registry)
    models = served(shop, registry)
    many = [
        Interaction(NOON - n, n, 0, ("soap", "vitamin", f"old-{n}")[n % 3], 1 + n % 8, 1e30)
        for n in range(100_000)
    ]
    for surface in (Surface.FOR_YOU, Surface.BUY_AGAIN, Surface.RECENTLY_VIEWED):
        answered = ask(models, *many, surface=surface, context_items=("soap",))
        assert ids(answered) <= set(ITEMS)
        assert all(np.isfinite(item.score) for item in answered.items)
    assert ask(models, *many, exclude_seen=True, surface=Surface.TRENDING).items

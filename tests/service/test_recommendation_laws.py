"""What holds for every page of recommendations, whoever looks at it and whatever is asked."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.data import interactions
from models.filter_text import parse
from models.filters import Columns, columns_of
from models.protocol import Code
from models.registry import Registry
from models.train import train
from profiles.facts import Kind
from profiles.profile import history
from service.pb.onefold.v1 import recommendation_service_pb2 as pb
from service.rpc.messages import MatchMessages
from service.rpc.paging import Tokens
from service.rpc.parsing import LookupParser, type_names
from service.rpc.recommendation_service import RecommendationService
from service.rpc.served_models import ServedModels
from storage.ports import CatalogItem
from tests.service.conftest import SENSITIVE, who
from tests.service.test_served_models import small
from tests.workspace import DAY, NOON, Workspace

ITEMS = [f"item-{n}" for n in range(14)]
UNLISTED, NEW, HIDDEN = "item-13", "novelty", "item-3"
SECRET = {"item-4", "item-8"}
EVENTS = [
    "Product Viewed",
    "Product Clicked",
    "Product Added",
    "Product Reviewed",
    "Order Completed",
]
USERS = [f"u{n}" for n in range(10)]
CONSENTING = {"u1", "u2", "u3"}
FILTERS = [
    "", "in_stock", "price < 400 AND in_stock", "brand = 'b1' OR category = 'a'", "price < 0",
    "price < 500 AND brand = 'b0' AND category = 'a/x'", "NOT colour:*", "weight > 0.5",
]  # fmt: skip
RULES = f"""
- {{name: gift, pin: [{NEW}, item-8, {HIDDEN}], segments: [vip]}}
- {{name: recalled, hide: [{HIDDEN}]}}
- {{name: push, promote: all, where: brand = 'b1', boost: 3, surfaces: [FOR_YOU, TRENDING]}}
"""


def catalog() -> list[CatalogItem]:
    """With and without price, text and attributes; one item is not in it, and one was not sold yet."""
    return [
        CatalogItem(
            id=item,
            name=f"Secret {item}" if item in SECRET else "" if n % 3 else f"Name {item}",
            category=["", "a", "a/x", "b"][n % 4],
            brand=f"b{n % 2}",
            price_micros=None if n % 5 == 0 else n * 60 * 10**6,
            in_stock=n % 6 != 0,
            sensitive=item in SECRET,
            attributes={"weight": float("nan") if n % 2 else n / 10, **({"colour": "red"} if n % 3 else {})},
        )
        for n, item in enumerate([*ITEMS[:-1], NEW])
    ]  # fmt: skip


class Shop:
    """A served shop, and what is true in it."""

    def __init__(self, folder: Path) -> None:
        self.world = Workspace(folder)
        chance = random.Random(11)
        for n in range(260):
            user = chance.choice(USERS)
            consent = {"allowedConsentIds": [SENSITIVE]} if user in CONSENTING else {}
            self.world.see(
                event=chance.choice(EVENTS), user=user, browser=f"b-{user}",
                at=NOON - chance.randrange(60 * DAY),
                properties={"order_id": f"o{n}", "product_id": chance.choice([*ITEMS, NEW, "unheard-of"])},
                context={"consentManagement": consent},
            )  # fmt: skip
        done = interactions(self.world.store, self.world.rules)
        done = done.where(np.array([done.items[item] != NEW for item in done.item]))
        registry = Registry(folder / "models")
        registry.promote(train(done, registry, NOON, default=small).version, force="a test")
        self.world.store.catalog.upsert(catalog())
        rules = folder / "rules"
        rules.mkdir()
        (rules / "shop.yaml").write_text(RULES)
        self.models = ServedModels(registry, self.world.store.catalog, 1e9, rules=rules)
        self.service = RecommendationService(
            self.world.reader, self.models, LookupParser(self.world.rules),
            MatchMessages(type_names(self.world.rules)), Tokens(b"k" * 32, "test"), lambda: NOON,
            lambda found: ["vip"] if found.profile.events % 2 else [], SENSITIVE,
        )  # fmt: skip
        self.done = {
            user: {(i.item, Kind(i.kind)) for i in history(self.world.profile(user_id=user))}
            for user in USERS
        }
        self.names = {item.id: item.name for item in catalog()}
        ids = [*ITEMS, NEW, "unheard-of"]
        self.place = {item: n for n, item in enumerate(ids)}
        self.columns: Columns = columns_of(ids, catalog())


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    made = Shop(tmp_path_factory.mktemp("shop"))
    yield made
    made.world.close()


rows = st.builds(
    pb.RecommendRequest,
    surface=st.integers(1, 6),
    limit=st.integers(1, 8),
    context_item_ids=st.lists(st.sampled_from([*ITEMS, NEW, "unheard-of"]), min_size=1, max_size=3),
    exclude_item_ids=st.lists(st.sampled_from(ITEMS), max_size=2),
    exclude_seen=st.booleans(),
    exclude_bought=st.booleans(),
    filter_expression=st.sampled_from(FILTERS),
    filter_mode=st.integers(0, 2),
    diversity=st.builds(
        pb.Diversity, weight=st.sampled_from([0, 0.4, 1]), items_per_category_max=st.integers(0, 2)
    ),
)
lookups = st.one_of(
    st.sampled_from(USERS).map(lambda user: ("user_id", user)),
    st.sampled_from(USERS).map(lambda user: ("anonymous_id", f"b-{user}")),
    st.just(("user_id", "ghost")),
)


@settings(max_examples=250, deadline=None)
@given(lookups, st.lists(rows, min_size=1, max_size=4))
def test_laws_of_a_page(shop: Shop, whom: tuple[str, str], rows: list[pb.RecommendRequest]) -> None:
    reply = shop.service.RecommendPage(
        pb.RecommendPageRequest(lookup=who(**dict([whom])), rows=rows), None  # type: ignore[arg-type]
    )  # fmt: skip
    user = whom[1].removeprefix("b-")
    consents = whom[0] == "user_id" and user in CONSENTING
    done = shop.done.get(user, set())
    shown = [item.item_id for row in reply.rows for item in row.items]
    assert len(shown) == len(set(shown)), "an item is there twice"
    assert HIDDEN not in shown
    assert consents or not SECRET & set(shown)
    assert len({row.attribution_token for row in reply.rows}) == len(rows)
    for asked, row in zip(rows, reply.rows, strict=True):
        assert len(row.items) <= asked.limit
        assert row.items or row.fallback_reason
        check_filter(shop, asked, row)
        for item in row.items:
            assert item.item_id not in (*asked.exclude_item_ids, *asked.context_item_ids)
            check_reason(shop, asked, item, done)


def check_filter(shop: Shop, asked: pb.RecommendRequest, row: pb.RecommendResponse) -> None:
    relaxed = asked.filter_mode == pb.FILTER_MODE_RELAXED
    assert relaxed or not row.relaxed_conditions
    if asked.filter_expression and not row.relaxed_conditions:
        mask = shop.columns.mask(parse(asked.filter_expression))
        for item in row.items:
            assert mask[shop.place[item.item_id]], (item.item_id, asked.filter_expression)


def check_reason(shop: Shop, asked: pb.RecommendRequest, item: Any, done: set[Any]) -> None:
    reason = item.reason
    assert reason.item_id not in SECRET
    assert "Secret" not in reason.text
    because, kinds = reason.item_id, {kind for name, kind in done if name == item.item_id}
    bought, seen = Kind.BOUGHT in kinds, kinds - {Kind.BOUGHT, Kind.REVIEWED}
    hidden = not because  # a sensitive item is not named
    true = {
        Code.BOUGHT: hidden or (because, Kind.BOUGHT) in done,
        Code.VIEWED: hidden or bool({(because, Kind.VIEWED), (because, Kind.CLICKED)} & done),
        Code.BUY_AGAIN: bought,
        Code.RECENT: bool(seen),
        Code.SIMILAR: hidden or because in asked.context_item_ids,
        Code.PINNED: item.rule == "gift",
        Code.LIKED: bool(done) and hidden,
        Code.TRENDING: hidden,
        Code.POPULAR: hidden,
    }
    assert true[Code(reason.code)], reason
    assert item.rule in ("", "gift", "push")
    if because and reason.code in (Code.BOUGHT, Code.VIEWED):
        assert reason.text.endswith(shop.names.get(because) or because)

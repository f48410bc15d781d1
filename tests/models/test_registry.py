"""Artefacts that are checked, and a registry whose champion only moves for a reason."""

import json
from pathlib import Path

import pytest

from models import zoo
from models.artefact import Manifest, load
from models.errors import ArtefactError, NoSuchModel, NotEnoughData, PromotionRefused
from models.interactions import Interactions
from models.protocol import Code, Model
from models.recommender import (
    BUY_AGAIN,
    FOR_YOU,
    RECENTLY_VIEWED,
    SIMILAR_ITEMS,
    TRENDING,
    Recommender,
    Request,
)
from models.registry import CHAMPION, Registry
from models.train import train
from models.zoo.blend import Blend
from models.zoo.counting import Popular, RecentBuyers, Trending
from models.zoo.factors import ALS
from models.zoo.linear import EASE, ItemKNN
from models.zoo.personal import BuyAgain, RecentlyViewed
from models.zoo.sessions import SessionKNN
from models.zoo.together import BoughtTogether
from profiles.facts import Kind
from profiles.part import Interaction
from tests.models.shops import DOG, NOW, TEA, rows, shop


def small() -> list[list[Model]]:
    return [
        [Popular()], [RecentBuyers()], [Trending()], [RecentlyViewed()], [BuyAgain()],
        [ItemKNN()], [ALS(factors=8)], [EASE(5)], [SessionKNN()], [BoughtTogether()], [Blend()],
    ]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Registry, list[Manifest]]:
    registry = Registry(tmp_path_factory.mktemp("models"))
    manifests = [train(shop(200, seed), registry, NOW + seed, default=small) for seed in (1, 2)]
    return registry, manifests


@pytest.fixture
def registry(trained: tuple[Registry, list[Manifest]], tmp_path: Path) -> Registry:
    import shutil

    shutil.copytree(trained[0].folder, tmp_path / "models")
    return Registry(tmp_path / "models")


def test_promotion_and_rolling_back_move_the_alias(registry: Registry) -> None:
    newest, older = (manifest.version for manifest in registry.versions())
    assert registry.resolve("candidate") == newest
    with pytest.raises(NoSuchModel):
        registry.resolve(CHAMPION)
    registry.promote(older)
    stamp = registry.alias_stamp(CHAMPION)
    registry.promote("candidate")
    assert registry.alias_stamp(CHAMPION) != stamp
    assert registry.resolve(CHAMPION) == newest
    assert registry.roll_back().version == older
    assert registry.load().manifest.version == older
    with pytest.raises(NoSuchModel, match="no former champion"):
        registry.roll_back()


def test_what_a_baseline_beats_is_promoted_only_for_a_stated_reason(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    manifest = train(Interactions.of(rows(people=6)), registry, NOW, default=small)
    assert "not evaluated" in manifest.refusal
    with pytest.raises(PromotionRefused, match="20 are needed"):
        registry.promote("candidate")
    assert registry.promote("candidate", force="the only data there is").version == manifest.version


def test_nothing_to_learn_from_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotEnoughData):
        train(Interactions.of([]), Registry(tmp_path), NOW)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../evil", "", "champion", "a/b", "none"])
def test_a_name_that_is_no_version_is_refused(registry: Registry, name: str) -> None:
    with pytest.raises(NoSuchModel):
        registry.promote(name)


def damaged(registry: Registry, name: str) -> Path:
    folder = registry.folder / "versions" / registry.resolve("candidate")
    return folder / name


@pytest.mark.parametrize("name", ["items.json", "ease.weights.npy", "manifest.json"])
def test_a_damaged_file_is_named(registry: Registry, name: str) -> None:
    path = damaged(registry, name)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ArtefactError, match=name.replace(".", r"\.")):
        registry.load("candidate")
    with pytest.raises((ArtefactError, NoSuchModel)):
        registry.promote("candidate")


def test_a_missing_file_is_named(registry: Registry) -> None:
    damaged(registry, "als.items.npy").unlink()
    with pytest.raises(ArtefactError, match=r"als\.items\.npy: missing"):
        registry.load("candidate")


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("format", 99, "format 99"),
        ("files", {"../../etc/passwd": "0"}, "is not a file name"),
        ("parameters", {"mind_reading": {}}, "no model of this code"),
        ("items", 3, "not 3"),
    ],
)
def test_a_manifest_that_lies_is_refused(
    registry: Registry, field: str, value: object, says: str
) -> None:
    path = damaged(registry, "manifest.json")
    manifest = json.loads(path.read_text())
    manifest[field] = value
    path.write_text(json.dumps(manifest))
    with pytest.raises(ArtefactError, match=says):
        load(path.parent)


def test_artefacts_hold_no_pickles(registry: Registry) -> None:
    folder = damaged(registry, "manifest.json").parent
    assert {path.suffix for path in folder.iterdir()} == {".npy", ".json"}


# --- the recommender ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recommender(trained: tuple[Registry, list[Manifest]]) -> Recommender:
    return Recommender(trained[0].load("candidate"))


def did(item: str, kind: Kind, at: int = NOW - 1000) -> Interaction:
    return Interaction(at, 1, 0, item, kind, 1.0)


def test_a_tea_drinker_gets_tea_things_with_a_true_reason(recommender: Recommender) -> None:
    answer = recommender.recommend(
        Request(
            surface=FOR_YOU,
            history=[did("tea", Kind.BOUGHT)],
            now_ms=NOW,
            exclude_bought=True,
            limit=2,
        )
    )
    assert {pick.item for pick in answer.picks} <= {*TEA, "salt"} - {"tea"}
    assert {(pick.code, pick.because_of) for pick in answer.picks} == {(Code.BOUGHT, "tea")}
    assert answer.model == recommender.manifest.champion
    assert answer.fallback == ""


def test_a_stranger_gets_what_is_trending_and_is_told_why(recommender: Recommender) -> None:
    answer = recommender.recommend(Request(surface=FOR_YOU, history=[], now_ms=NOW, limit=3))
    assert answer.model == "trending"
    assert answer.fallback == "no history"
    assert answer.picks[0].code is Code.TRENDING


def test_items_that_training_did_not_know_are_no_history(recommender: Recommender) -> None:
    answer = recommender.recommend(
        Request(surface=FOR_YOU, history=[did("brand-new", Kind.BOUGHT)], now_ms=NOW)
    )
    assert answer.fallback == "no history"


def test_each_surface_has_its_answer(recommender: Recommender) -> None:
    done = [did("tea", Kind.VIEWED), did("bone", Kind.BOUGHT)]

    def items(surface: str, **more: object) -> list[str]:
        request = Request(surface=surface, history=done, now_ms=NOW, **more)  # type: ignore[arg-type]
        return [pick.item for pick in recommender.recommend(request).picks]

    assert items(BUY_AGAIN) == ["bone"]
    assert items(RECENTLY_VIEWED) == ["tea"]
    assert items(SIMILAR_ITEMS, context_items=["leash"], limit=1)[0] in [*DOG, "salt"]
    assert "leash" not in items(SIMILAR_ITEMS, context_items=["leash"])
    assert len(items(TRENDING)) == 7


def test_what_is_excluded_or_not_allowed_is_never_answered(recommender: Recommender) -> None:
    import numpy as np

    allowed = np.array([item in ("cup", "bowl", "tea") for item in recommender.items])
    answer = recommender.recommend(
        Request(surface=FOR_YOU, history=[did("tea", Kind.BOUGHT)], now_ms=NOW, allowed=allowed,
                excluded=["cup"], exclude_bought=True)
    )  # fmt: skip
    assert [pick.item for pick in answer.picks] in ([], ["bowl"])


def test_a_reason_that_must_not_be_named_is_not(recommender: Recommender) -> None:
    import numpy as np

    unspoken = np.array([item == "tea" for item in recommender.items])
    answer = recommender.recommend(
        Request(surface=FOR_YOU, history=[did("tea", Kind.BOUGHT)], now_ms=NOW, unspoken=unspoken,
                exclude_bought=True)
    )  # fmt: skip
    assert answer.picks
    assert all(pick.because_of != "tea" for pick in answer.picks)


def test_every_model_of_the_zoo_is_in_the_artefact(recommender: Recommender) -> None:
    assert set(recommender.manifest.parameters) == set(zoo.CLASSES) - {"content"}

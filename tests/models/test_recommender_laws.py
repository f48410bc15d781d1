"""What holds for every answer, whoever asks and whatever is asked."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import products, zoo
from models.artefact import Bundle, Manifest, load, save
from models.protocol import Code, Model
from models.recommender import (
    BOUGHT_TOGETHER,
    BUY_AGAIN,
    FOR_YOU,
    POPULAR,
    RECENTLY_VIEWED,
    SIMILAR_ITEMS,
    TRENDING,
    Answer,
    Recommender,
    Request,
)
from profiles.facts import Kind
from profiles.part import Interaction
from tests.models.shops import DOG, NOW, TEA, shop

ITEMS = [*TEA, *DOG, "salt"]
SURFACES = [
    FOR_YOU, SIMILAR_ITEMS, BOUGHT_TOGETHER, BUY_AGAIN, TRENDING, POPULAR, RECENTLY_VIEWED,
]  # fmt: skip
SEEN = {Kind.VIEWED, Kind.CLICKED, Kind.ADDED, Kind.WISHED, Kind.BOUGHT}
DAY = 86_400_000


def models() -> dict[str, Model]:
    small = {"als": {"factors": 8, "regularization": 1.0}, "ease": {"regularization": 5.0}}
    data = shop()
    return {name: made(**small.get(name, {})).fit(data, NOW) for name, made in zoo.CLASSES.items()}


def manifest(champion: str, items: int) -> Manifest:
    return Manifest(
        version="v1", champion=champion, trained_ms=NOW, window_ms=(0, NOW), interactions=1,
        people=1, items=items, data_hash="", parameters={},
    )  # fmt: skip


_MODELS = models()
_NAMES = [str(item) for item in shop().items]
RECOMMENDERS = [
    Recommender(Bundle(manifest(champion, len(_NAMES)), _NAMES, _MODELS))
    for champion in zoo.CANDIDATES
]

known = st.sampled_from([*ITEMS, "unheard of"])
histories = st.lists(
    st.builds(
        Interaction,
        time_ms=st.integers(NOW - 900 * DAY, NOW + DAY),
        message=st.integers(0, 9),
        position=st.just(0),
        item=known,
        kind=st.sampled_from([int(kind) for kind in Kind]),
        quantity=st.floats(0.5, 100),
    ),
    max_size=15,
)
masks = st.none() | st.lists(
    st.booleans(), min_size=len(ITEMS), max_size=len(ITEMS)
).map(lambda flags: np.array(flags, bool))  # fmt: skip
requests = st.builds(
    Request,
    surface=st.sampled_from(SURFACES),
    history=histories,
    now_ms=st.just(NOW),
    limit=st.integers(0, 9),
    context_items=st.lists(known, max_size=3),
    excluded=st.lists(known, max_size=3),
    exclude_seen=st.booleans(),
    exclude_bought=st.booleans(),
    allowed=masks,
    unspoken=masks,
)


def law(check: Callable[[Request, Answer], None]) -> Callable[[], None]:
    """A test of one law, for every recommender."""

    @settings(max_examples=150, deadline=None)
    @given(requests, st.sampled_from(RECOMMENDERS))
    def test(request: Request, recommender: Recommender) -> None:
        check(request, recommender.recommend(request))

    test.__name__ = check.__name__
    return test


@law
def test_no_item_twice_and_never_more_than_asked(request: Request, answer: Answer) -> None:
    items = [pick.item for pick in answer.picks]
    assert len(items) == len(set(items)) <= request.limit


@law
def test_scores_are_finite_and_fall(request: Request, answer: Answer) -> None:
    scores = [pick.score for pick in answer.picks]
    assert np.isfinite(scores).all()
    assert scores == sorted(scores, reverse=True)


@law
def test_what_must_not_be_shown_is_not(request: Request, answer: Answer) -> None:
    items = {pick.item for pick in answer.picks}
    did = {(done.item, Kind(done.kind)) for done in request.history}
    assert not items & {*request.excluded, *request.context_items}
    if request.allowed is not None:
        assert all(request.allowed[_NAMES.index(item)] for item in items)
    if request.exclude_seen:
        assert not items & {item for item, kind in did if kind in SEEN}
    if request.exclude_bought:
        assert not items & {item for item, kind in did if kind is Kind.BOUGHT}


@law
def test_every_reason_is_true(request: Request, answer: Answer) -> None:
    did = {(done.item, Kind(done.kind)) for done in request.history}
    for pick in answer.picks:
        true = {
            Code.BOUGHT: (pick.because_of, Kind.BOUGHT) in did,
            Code.VIEWED: {(pick.because_of, Kind.VIEWED), (pick.because_of, Kind.CLICKED)} & did,
            Code.BUY_AGAIN: (pick.item, Kind.BOUGHT) in did and pick.because_of == pick.item,
            Code.RECENT: pick.item in {item for item, kind in did if kind in SEEN - {Kind.BOUGHT}},
            Code.SIMILAR: pick.because_of in request.context_items,
            Code.TRENDING: not pick.because_of,
            Code.POPULAR: not pick.because_of,
            Code.LIKED: did and not pick.because_of,
        }
        assert true[pick.code], pick


@law
def test_an_unspoken_item_explains_no_other(request: Request, answer: Answer) -> None:
    for pick in answer.picks:
        if request.unspoken is not None and pick.code in (Code.BOUGHT, Code.VIEWED):
            assert not request.unspoken[_NAMES.index(pick.because_of)]


@law
def test_an_empty_answer_and_a_fallback_say_why(request: Request, answer: Answer) -> None:
    if not answer.picks:
        assert answer.model == ""
        assert answer.fallback
    elif request.surface == FOR_YOU and answer.model not in zoo.CANDIDATES:
        assert answer.fallback


def test_each_likeness_names_the_item_it_is_a_likeness_to() -> None:
    for recommender in RECOMMENDERS:
        answer = recommender.recommend(
            Request(surface=SIMILAR_ITEMS, history=[], now_ms=NOW, context_items=["bone", "tea"])
        )
        like = {pick.item: pick.because_of for pick in answer.picks}
        assert (like["bowl"], like["cup"]) == ("bone", "tea")


def test_what_was_only_wished_for_was_not_viewed() -> None:
    wished = Interaction(NOW - 1, 1, 0, "tea", Kind.WISHED, 1.0)
    for recommender in RECOMMENDERS:
        answer = recommender.recommend(Request(surface=FOR_YOU, history=[wished], now_ms=NOW))
        assert {pick.code for pick in answer.picks} == {Code.LIKED}


def test_a_loaded_recommender_answers_like_the_fitted_one(tmp_path: Path) -> None:
    save(tmp_path / "v1", manifest("als", len(_NAMES)), _NAMES, _MODELS)
    loaded = Recommender(load(tmp_path / "v1"))
    fitted = RECOMMENDERS[list(zoo.CANDIDATES).index("als")]
    history = [Interaction(NOW - 1, 1, 0, "tea", Kind.BOUGHT, 1.0)]
    for surface in SURFACES:
        request = Request(surface=surface, history=history, now_ms=NOW, context_items=["cup"])
        ours, theirs = loaded.recommend(request), fitted.recommend(request)
        assert (ours.model, ours.fallback) == (theirs.model, theirs.fallback)
        assert [(p.item, p.code, p.because_of) for p in ours.picks] == [
            (p.item, p.code, p.because_of) for p in theirs.picks
        ]
        assert [p.score for p in ours.picks] == pytest.approx([p.score for p in theirs.picks])


def test_an_artefact_without_its_champion_is_refused(tmp_path: Path) -> None:
    from models.errors import ArtefactError

    without = {name: model for name, model in _MODELS.items() if name != "als"}
    save(tmp_path / "v1", manifest("als", len(_NAMES)), _NAMES, without)
    with pytest.raises(ArtefactError, match="champion als is not in it"):
        load(tmp_path / "v1")


def test_nothing_trained_answers_with_nothing_and_says_so() -> None:
    empty = Recommender(Bundle(msgspec.structs.replace(manifest("als", 0)), [], {}))
    for surface in SURFACES:
        answer = empty.recommend(Request(surface=surface, history=[], now_ms=NOW))
        assert (list(answer.picks), answer.model) == ([], "")
        assert "no model is trained" in answer.fallback


def narrowed() -> Recommender:
    """ALS that reads its longest factors first, as it does where there are many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "SMALL", 0)
        patch.setattr(products, "BLOCK_ROWS", 2)
        patch.setattr(products, "HEAD_BYTES_MAX", 5 * 8 * 4)
        als = _MODELS["als"]
        made = type(als).restore(als.parameters(), als.arrays())
    return Recommender(Bundle(manifest("als", len(_NAMES)), _NAMES, {**_MODELS, "als": made}))


NARROWED = narrowed()


@settings(deadline=None)
@given(requests)
def test_reading_only_the_best_changes_no_answer(request: Request) -> None:
    whole = RECOMMENDERS[list(zoo.CANDIDATES).index("als")].recommend(request)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "BLOCK_ROWS", 2)
        some = NARROWED.recommend(request)
    assert (some.model, some.fallback) == (whole.model, whole.fallback)
    assert [p.score for p in some.picks] == pytest.approx([p.score for p in whole.picks], abs=1e-6)
    assert {p.item for p in some.picks if p.score > 1e-5} == {
        p.item for p in whole.picks if p.score > 1e-5
    }

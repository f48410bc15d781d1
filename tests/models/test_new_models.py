"""Orders, visits, words, refills and the blend: what each knows that the others do not."""

import numpy as np
import pytest

from models.cases import cases_of
from models.evaluation import fitted, leaderboard
from models.interactions import DAY_MS, About, Interactions, Row
from models.judging import Ground, judge
from models.metrics import gini
from models.protocol import Model, Scores
from models.zoo.blend import Blend, conditional_logit
from models.zoo.content import Content, tokens
from models.zoo.counting import Popular, RecentBuyers, Trending
from models.zoo.linear import EASE, ItemKNN
from models.zoo.personal import BuyAgain
from models.zoo.sessions import SessionKNN
from models.zoo.together import BoughtTogether
from profiles.facts import Kind
from tests.models.shops import NOW, history_of, shop

ORDER = "Order Completed"
VIEW = "Product Viewed"
MINUTE = 60_000


def scored(data: Interactions, scores: Scores | None) -> dict[str, float]:
    assert scores is not None
    return {str(data.items[n]): float(scores[n]) for n in np.flatnonzero(scores)}


# --- bought together ------------------------------------------------------------------------------


def orders() -> Interactions:
    """Pen and ink go together; bags go into every second order of anything; one order has both odd ones."""
    rows: list[Row] = []
    for n in range(60):
        at = NOW - n * DAY_MS
        items = ["pen", "ink"] if n % 3 == 0 else ["rice"]
        items += ["bag"] * (n % 2)
        rows += [(f"p{n}", item, ORDER, at, 1.0) for item in items]
    rows += [("q", item, ORDER, NOW - DAY_MS, 1.0) for item in ("pen", "drum")]
    return Interactions.of(rows)


def test_what_goes_with_a_pen_is_ink_not_what_goes_with_everything() -> None:
    data = orders()
    model = BoughtTogether(shrink=1).fit(data, NOW)
    found = scored(data, model.similar(data.item_code["pen"]))
    assert max(found, key=lambda item: found[item]) == "ink"
    assert found.get("bag", 0) < found["ink"] / 4
    assert "drum" not in found, "one order is no evidence"
    assert "pen" not in found


def test_a_basket_is_completed_with_what_goes_with_it() -> None:
    data = orders()
    model = BoughtTogether(shrink=1).fit(data, NOW)
    asked = history_of(data, ("rice", Kind.BOUGHT), ("pen", Kind.BOUGHT))
    found = scored(data, model.scores(asked))
    assert max(found, key=lambda item: found[item]) == "ink"
    ink = np.array([data.item_code["ink"]], np.int32)
    causes = model.because(asked, ink)
    assert causes is not None
    assert data.items[causes[0]] == "pen"


# --- sessions -------------------------------------------------------------------------------------


def visits() -> Interactions:
    """Tents are looked at before stoves, guitars before strings; months ago tents went with lamps."""
    rows: list[Row] = []
    for n in range(20):
        for visit, age in (
            (["tent", "stove"], 2),
            (["guitar", "string"], 2),
            (["tent", "lamp"], 300),
        ):
            at = NOW - age * DAY_MS - n * 60 * MINUTE
            rows += [(f"{visit[1]}{n}", item, VIEW, at + k * MINUTE, 1.0)
                     for k, item in enumerate(visit)]  # fmt: skip
    return Interactions.of(rows)


def test_the_next_click_is_that_of_recent_visits_like_this_one() -> None:
    data = visits()
    model = SessionKNN().fit(data, NOW)
    found = scored(data, model.scores(history_of(data, ("tent", Kind.VIEWED))))
    assert found["stove"] > 2 * found["lamp"] > 0
    assert "string" not in found
    likeness = scored(data, model.similar(data.item_code["guitar"]))
    assert set(likeness) == {"string"}


def test_the_last_click_says_more_than_the_first() -> None:
    data = visits()
    model = SessionKNN(fade=1).fit(data, NOW)
    asked = history_of(data, ("tent", Kind.VIEWED), ("guitar", Kind.VIEWED))
    found = scored(data, model.scores(asked))
    assert found["string"] > found["stove"] > 0
    codes = np.array([data.item_code[item] for item in ("string", "stove")], np.int32)
    causes = model.because(asked, codes)
    assert causes is not None
    assert [data.items[cause] for cause in causes] == ["guitar", "tent"]


def test_a_pause_ends_a_visit() -> None:
    rows = [("p", "tea", VIEW, NOW - 40 * MINUTE, 1.0), ("p", "cup", VIEW, NOW - 5 * MINUTE, 1.0)]
    data = Interactions.of(rows)
    tea = data.item_code["tea"]
    apart, together = (SessionKNN(gap_minutes=gap).fit(data, NOW) for gap in (30, 60))
    assert scored(data, apart.similar(tea)) == {}
    assert set(scored(data, together.similar(tea))) == {"cup"}


# --- content --------------------------------------------------------------------------------------


def described() -> Interactions:
    texts = {"tea": "green tea", "cup": "tea cup", "honey": "honey for tea", "leash": "dog leash",
             "bone": "dog bone", "bowl": "bowl for dogs", "salt": "salt",
             "new-tea": "black tea with honey", "new-toy": "dogs like this toy", "silent": ""}  # fmt: skip
    return shop(200).described({item: About(text) for item, text in texts.items()})


@pytest.mark.parametrize(("bought", "best", "worst"), [("tea", "new-tea", "new-toy"),
                                                      ("bone", "new-toy", "new-tea")])  # fmt: skip
def test_a_new_item_goes_to_whom_its_words_suit(bought: str, best: str, worst: str) -> None:
    data = described()
    model = Content(factors=8, regularization=1).fit(data, NOW)
    found = model.scores(history_of(data, (bought, Kind.BOUGHT)))
    assert found is not None
    code = data.item_code
    assert found[code[best]] > 0.05
    assert found[code[best]] > 3 * found[code[worst]]
    assert found[code["silent"]] == pytest.approx(0, abs=1e-6)
    likeness = model.similar(code["new-tea"])
    assert likeness is not None
    assert likeness[code["tea"]] > likeness[code["bone"]]
    placed = model.place(["black tea with honey", ""])
    np.testing.assert_allclose(placed[0], model.arrays()["items"][code["new-tea"]], atol=1e-5)
    assert not placed[1].any()


def test_new_items_are_found_more_often_than_by_popularity() -> None:
    data = described()
    buyers = sorted({str(data.users[u]) for u in data.user[data.item == data.item_code["tea"]]})[
        :40
    ]
    later: list[Row] = [(user, "new-tea", ORDER, NOW + DAY_MS, 1.0) for user in buyers]
    old = [(str(data.users[u]), str(data.items[i]), int(k), int(t), 1.0)
           for u, i, k, t in zip(data.user, data.item, data.kind, data.time_ms, strict=True)]  # fmt: skip
    both = Interactions.of([*old, *later]).described(data.about)
    cases, _ = cases_of(both, NOW, NOW + 2 * DAY_MS)
    ground = Ground.of(both, NOW)
    by_words = judge(Content(factors=8, regularization=1).fit(both, NOW), cases, ground)
    by_count = judge(Popular().fit(both, NOW), cases, ground)
    assert np.nanmean(by_words.recall["cold item"]) > 0.5
    assert np.nanmean(by_count.recall["cold item"]) == 0


def test_words_of_any_script_become_tokens() -> None:
    assert {"हनद", "चय"} <= set(tokens("हिन्दी चाय"))
    assert "vitamin" in tokens("ＶＩＴＡＭＩＮ C")
    assert "維他命" in tokens("維他命")
    assert tokens("…!") == []


# --- refills --------------------------------------------------------------------------------------


def test_what_is_due_comes_before_what_was_just_bought() -> None:
    rows = [("p", "pills", ORDER, NOW - days * DAY_MS, 1.0) for days in (95, 65, 35)]
    rows += [("p", "soap", ORDER, NOW - days * DAY_MS, 1.0) for days in (63, 33, 3)]
    data = Interactions.of(rows)
    asked = cases_of(Interactions.of([*rows, ("p", "soap", ORDER, NOW, 1.0)]), NOW, NOW + 1)[0][0]
    plain, due = (BuyAgain(cadence=cadence).fit(data, NOW) for cadence in (0, 0.9))
    assert (
        scored(data, plain.scores(asked.history))["soap"]
        > scored(data, plain.scores(asked.history))["pills"]
    )
    found = scored(data, due.scores(asked.history))
    assert found["pills"] > found["soap"]


def test_an_item_bought_once_is_due_when_others_buy_it_again() -> None:
    rows = [
        (f"q{n}", "pills", ORDER, NOW - days * DAY_MS, 1.0) for n in range(5) for days in (60, 30)
    ]
    data = Interactions.of([*rows, ("p", "pills", ORDER, NOW - 15 * DAY_MS, 1.0)])
    model = BuyAgain(half_life_days=1e6, cadence=1).fit(data, NOW)
    full = BuyAgain(half_life_days=1e6).fit(data, NOW)
    asked = history_of(data, ("pills", Kind.BOUGHT), now=NOW - 14 * DAY_MS)  # a day ago then
    both = [scored(data, each.scores(asked))["pills"] for each in (model, full)]
    assert both[0] / both[1] == pytest.approx(1 / 30, rel=0.05)


# --- blend ----------------------------------------------------------------------------------------


def parts() -> list[Model]:
    return [Popular(), Trending(30), BuyAgain(), EASE(5)]


def test_a_blend_knows_repeats_and_tastes() -> None:
    data = shop(300)
    board = leaderboard(data, [*([part] for part in parts()), [RecentBuyers()], [Blend()]])
    blend = board.row("blend")
    assert blend.scores["all"].ndcg >= board.row("buy_again").scores["all"].ndcg - 0.01
    assert blend.scores["novel"].ndcg >= board.row("ease").scores["novel"].ndcg - 0.03
    assert set(blend.over_parts["novel"]) == {row.model for row in board.rows} - {"blend"}


def test_weights_are_learned_before_the_test_window() -> None:
    fits: list[int] = []

    class Spy(EASE):
        def fit(self, interactions: Interactions, now_ms: int) -> "Spy":
            fits.append(now_ms)
            super().fit(interactions, now_ms)
            return self

    data = shop(120)
    end = data.window[1] + 1
    leaderboard(data, [[Popular()], [Spy(5)], [Blend()]])
    assert fits == [end - 60 * DAY_MS, end - 30 * DAY_MS]

    def learned(future: str) -> bytes:
        later = [(f"p{n}", future, ORDER, NOW + n, 1.0) for n in range(60)]
        rows = [("p0", item, VIEW, NOW, 1.0) for item in ("tea", "bone")]
        old = [(str(data.users[u]), str(data.items[i]), int(k), int(t), 1.0) for u, i, k, t in
               zip(data.user, data.item, data.kind, data.time_ms, strict=True)]  # fmt: skip
        everything = Interactions.of([*old, *rows, *later])
        return bytes(Blend(parts()).fit(everything, NOW).arrays()["weights"].tobytes())

    assert learned("tea") == learned("bone")


def test_a_logit_finds_the_weights_that_made_the_choices() -> None:
    random = np.random.default_rng(1)
    features = random.normal(size=(3_000, 5, 2))
    truth = np.array([1.5, -0.7])
    utility = features @ truth + random.gumbel(size=(3_000, 5))
    share = (utility == utility.max(axis=1, keepdims=True)).astype(float).ravel()
    found = conditional_logit(features.reshape(-1, 2), share, np.full(3_000, 5), 1e-3)
    np.testing.assert_allclose(found, truth, atol=0.12)


def test_models_of_a_blend_are_fitted_with_it() -> None:
    data = shop()
    models = fitted([*parts(), ItemKNN(), Blend()], data, NOW)
    blend = models["blend"]
    assert isinstance(blend, Blend)
    assert all(models[part.name] is part for part in blend.parts)
    causes = blend.because(history_of(data, ("tea", Kind.BOUGHT)),
                           np.array([data.item_code["tea"]], np.int32))  # fmt: skip
    assert causes is not None
    assert data.items[causes[0]] == "tea", "what was bought before is its own reason"


# --- slices ---------------------------------------------------------------------------------------


def test_a_board_tells_of_cold_people_cold_items_and_categories() -> None:
    data = shop(200)
    later: list[Row] = [(f"new{n}", "tea", ORDER, NOW - DAY_MS, 1.0) for n in range(30)]
    old = [(str(data.users[u]), str(data.items[i]), int(k), int(t), 1.0)
           for u, i, k, t in zip(data.user, data.item, data.kind, data.time_ms, strict=True)]  # fmt: skip
    fresh: list[Row] = [(f"p{n}", "launched", ORDER, NOW - DAY_MS, 1.0) for n in range(30)]
    about = {"tea": About("", "Drinks/Tea"), "cup": About("", "Drinks"), "bone": About("", "Pets")}
    board = leaderboard(
        Interactions.of([*old, *later, *fresh]).described(about), [[Popular()], [EASE(5)]]
    )
    scores = board.row("popular").scores
    assert set(scores) >= {"all", "novel", "cold user", "cold item", "category Drinks"}
    assert scores["cold user"].people == board.cold_people == 30
    assert scores["cold user"].hit_rate == 1
    assert scores["cold item"].recall == 0
    assert board.row("ease").scores["cold user"].ndcg == 0, "it has no answer for nobody"
    assert board.row("popular").novelty > 0


def test_gini_is_nothing_for_equals_and_near_one_for_a_few() -> None:
    assert gini(np.full(50, 3)) == pytest.approx(0)
    assert gini(np.append(np.ones(99, np.int64), 100_000)) > 0.95
    assert gini(np.zeros(3, np.int64)) == 0

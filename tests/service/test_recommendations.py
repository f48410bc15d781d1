"""`RecommendationService`, over a twin of the models that shows what they are asked."""

from typing import Any

import grpc
import pytest

from models.variety import Variety
from profiles.facts import Kind
from service.pb.onefold.v1 import common_pb2
from service.pb.onefold.v1 import profile_service_pb2 as profile_pb
from service.pb.onefold.v1 import recommendation_service_pb2 as pb
from service.rpc import limits
from service.rpc.recommend_requests import NEED_CONTEXT, SURFACES
from service.rpc.recommending import Surface
from tests.service.conftest import SENSITIVE, TIMEOUT_S, Api, who
from tests.service.refusals import refused
from tests.workspace import HOUR, NOON

INR = "INR"


def recommend(api: Api, **fields: Any) -> pb.RecommendResponse:
    fields.setdefault("surface", pb.SURFACE_FOR_YOU)
    return api.recommendations.Recommend(pb.RecommendRequest(**fields), timeout=TIMEOUT_S)


def items(reply: pb.RecommendResponse) -> list[str]:
    return [item.item_id for item in reply.items]


def clicked(item: str) -> pb.SessionEvent:
    return pb.SessionEvent(kind=profile_pb.INTERACTION_KIND_CLICKED, item_id=item)


def test_the_answer_says_what_why_and_from_which_model(api: Api) -> None:
    api.shop.see(user="asha", view="soap", at=NOON - HOUR)
    api.shop.see(user="asha", view="thermometer", at=NOON)
    reply = recommend(api, lookup=who(user_id="asha"), limit=5)

    assert items(reply) == ["thermometer", "soap"]
    assert reply.items[0].score > reply.items[1].score
    reason = reply.items[0].reason
    assert (reason.code, reason.item_id) == ("recent", "thermometer")
    assert reason.text == "you looked at thermometer"
    assert (reply.model, reply.model_version) == ("recent", "3")
    assert reply.trained_time.ToMilliseconds() == NOON
    assert reply.newest_event_time.ToMilliseconds() == NOON
    assert (reply.fallback, reply.fallback_reason) == (False, "")
    assert reply.match.answered_by == common_pb2.ANSWER_PERSON


@pytest.mark.parametrize("lookup", [who(user_id="ghost"), who(), who(user_id=""), None])
def test_an_unknown_person_gets_a_fallback_and_never_an_error(
    api: Api, lookup: common_pb2.Lookup | None
) -> None:
    reply = recommend(api, lookup=lookup)

    assert items(reply) == ["popular"]
    assert (reply.fallback, reply.fallback_reason) == (True, "no history")
    assert not reply.HasField("match")
    assert not reply.HasField("newest_event_time")
    assert not reply.HasField("trained_time")


def test_the_next_answer_knows_the_last_event_and_the_login_brings_the_session_along(
    api: Api,
) -> None:
    api.shop.see(browser="b1", view="thermometer", at=NOON - 2)
    assert items(recommend(api, lookup=who(anonymous_id="b1"))) == ["thermometer"]
    api.shop.see(browser="b1", user="asha", view="soap", at=NOON - 1)

    assert items(recommend(api, lookup=who(user_id="asha"))) == ["soap", "thermometer"]


def test_what_happens_in_this_session_counts_like_stored_events(api: Api) -> None:
    api.shop.see(user="asha", view="soap", at=NOON - HOUR)
    reply = recommend(
        api, lookup=who(user_id="asha"), session_events=[clicked("comb"), clicked("towel")]
    )

    assert items(reply) == ["towel", "comb", "soap"]
    assert reply.newest_event_time.ToMilliseconds() == NOON
    assert items(recommend(api, session_events=[clicked("comb")])) == ["comb"]


def test_a_session_event_of_tomorrow_happened_now(api: Api) -> None:
    event = clicked("comb")
    event.time.FromMilliseconds(NOON + HOUR)
    reply = recommend(api, session_events=[event])
    assert reply.newest_event_time.ToMilliseconds() == NOON


def test_the_models_are_asked_what_the_caller_asked(api: Api) -> None:
    recommend(
        api,
        surface=pb.SURFACE_SIMILAR_ITEMS,
        context_item_ids=["soap"],
        exclude_item_ids=["comb"],
        exclude_seen=True,
        exclude_bought=True,
        limit=10**6,
        filter=pb.ItemFilter(
            categories=["Care"], brands=["Lux"], in_stock_only=True,
            price_min=common_pb2.Money(currency_code="inr", units=1, nanos=500_000_000),
            price_max=common_pb2.Money(currency_code=INR, units=500),
        ),
        filter_expression=" vegan OR NOT colour = 'red' ",
        filter_mode=pb.FILTER_MODE_RELAXED,
        diversity=pb.Diversity(weight=0.25, items_per_category_max=2),
    )  # fmt: skip
    (asked,) = api.models.asked

    assert asked.surface is Surface.SIMILAR_ITEMS
    assert (asked.context_items, asked.excluded) == (("soap",), frozenset({"comb"}))
    assert (asked.exclude_seen, asked.exclude_bought) == (True, True)
    assert asked.limit == limits.RECOMMENDED_MAX
    assert str(asked.filter) == (
        "category IN ('Care') AND brand IN ('Lux') AND currency = 'INR' AND price >= 1.5 "
        "AND price <= 500 AND in_stock AND (vegan OR NOT colour = 'red')"
    )
    assert (asked.relaxed, asked.variety) == (True, Variety(0.25, 2))


def consent(api: Api, granted: bool, at: int, **whom: str) -> None:
    purposes = {"allowedConsentIds" if granted else "deniedConsentIds": [SENSITIVE]}
    api.shop.see(at=at, view="soap", context={"consentManagement": purposes}, **whom)


def test_sensitive_items_need_a_person_and_their_consent(api: Api) -> None:
    def hidden(**whom: str) -> bool:
        recommend(api, lookup=who(**whom))
        return api.models.asked[-1].hide_sensitive

    api.shop.see(browser="b1", user="asha", view="soap", at=NOON - 3)
    assert hidden(user_id="asha")
    consent(api, True, NOON - 2, browser="b1", user="asha")
    assert not hidden(user_id="asha")
    assert hidden(anonymous_id="b1")  # somebody else may be sitting there
    assert hidden(user_id="ghost")
    consent(api, False, NOON - 1, browser="b1", user="asha")
    assert hidden(user_id="asha")


def test_rules_hear_of_the_segments_that_a_person_is_in(api: Api) -> None:
    api.shop.see(user="asha", view="soap")
    recommend(api, lookup=who(user_id="asha"))
    recommend(api)
    assert [sorted(asked.segments()) for asked in api.models.asked] == [["seen 1"], []]


def page(api: Api, *rows: pb.RecommendRequest, **fields: Any) -> pb.RecommendPageResponse:
    return api.recommendations.RecommendPage(
        pb.RecommendPageRequest(rows=rows, **fields), timeout=TIMEOUT_S
    )


def row(surface: pb.Surface = pb.SURFACE_FOR_YOU, **fields: Any) -> pb.RecommendRequest:
    return pb.RecommendRequest(surface=surface, **fields)


def test_a_page_shows_no_item_twice(api: Api) -> None:
    for n, item in enumerate(["soap", "comb", "towel", "cream"]):
        api.shop.see(user="asha", view=item, at=NOON - 1 - n)
    reply = page(
        api, row(limit=2), row(pb.SURFACE_RECENTLY_VIEWED, exclude_item_ids=["towel"]), row(limit=5),
        lookup=who(user_id="asha"), session_events=[clicked("lamp")], exclude_item_ids=["comb"],
    )  # fmt: skip

    shown = [[item.item_id for item in each.items] for each in reply.rows]
    assert shown == [["lamp", "soap"], ["cream"], ["towel"]]
    assert reply.newest_event_time.ToMilliseconds() == NOON
    assert reply.match.answered_by == common_pb2.ANSWER_PERSON
    assert len({each.attribution_token for each in reply.rows}) == 3
    assert [asked.surface for asked in api.models.asked][1] is Surface.RECENTLY_VIEWED


@pytest.mark.parametrize(
    ("rows", "field"),
    [
        ([], "rows"),
        ([row()] * (limits.ROWS_MAX + 1), "rows"),
        ([row(), row(limit=-1)], "rows[1].limit"),
        ([row(pb.SURFACE_UNSPECIFIED)], "rows[0].surface"),
        ([row(pb.SURFACE_SIMILAR_ITEMS)], "rows[0].context_item_ids"),
        ([row(lookup=who(user_id="asha"))], "rows[0].lookup"),
        ([row(session_events=[clicked("soap")])], "rows[0].session_events"),
        ([row(), row(filter_expression="price <")], "rows[1].filter_expression"),
        ([row(filter=pb.ItemFilter(brands=["x"] * 101))], "rows[0].filter.brands"),
    ],
)
def test_a_malformed_page_is_refused_with_its_field(
    api: Api, rows: list[pb.RecommendRequest], field: str
) -> None:
    said = refused(lambda: page(api, *rows))
    assert (said.code, said.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [field])
    assert not api.models.asked


def test_each_answer_has_a_token_of_its_own(api: Api) -> None:
    tokens = {recommend(api).attribution_token for _ in range(3)}
    assert len(tokens) == 3
    assert all(len(token) < 200 for token in tokens)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"surface": 0}, "surface"),
        ({"surface": 99}, "surface"),
        ({"surface": pb.SURFACE_SIMILAR_ITEMS}, "context_item_ids"),
        ({"surface": pb.SURFACE_BOUGHT_TOGETHER, "context_item_ids": [""]}, "context_item_ids"),
        ({"context_item_ids": ["x"] * 51}, "context_item_ids"),
        ({"exclude_item_ids": ["x"] * 1001}, "exclude_item_ids"),
        ({"limit": -1}, "limit"),
        ({"lookup": who(hat="9")}, "lookup.identifiers[0].type"),
        ({"session_events": [pb.SessionEvent(item_id="x")]}, "session_events[0].kind"),
        ({"session_events": [pb.SessionEvent(kind=99, item_id="x")]}, "session_events[0].kind"),  # type: ignore[arg-type]
        ({"session_events": [clicked("")]}, "session_events[0].item_id"),
        ({"session_events": [clicked("x")] * 101}, "session_events"),
        ({"filter": pb.ItemFilter(categories=["x"] * 101)}, "filter.categories"),
        ({"filter": pb.ItemFilter(price_max=common_pb2.Money(nanos=10**9))}, "filter.price_max"),
        ({"filter_expression": "price < 5 AND"}, "filter_expression"),
        ({"filter_mode": 9}, "filter_mode"),
        ({"diversity": pb.Diversity(weight=1.5)}, "diversity.weight"),
        ({"diversity": pb.Diversity(weight=float("nan"))}, "diversity.weight"),
        ({"diversity": pb.Diversity(items_per_category_max=-1)}, "diversity.items_per_category_max"),
        (
            {"filter": pb.ItemFilter(price_min=common_pb2.Money(currency_code="EUR"),
                                     price_max=common_pb2.Money(currency_code=INR))},
            "filter.price_max",
        ),
    ],
)  # fmt: skip
def test_a_malformed_request_is_refused_with_its_field(
    api: Api, fields: dict[str, Any], field: str
) -> None:
    said = refused(lambda: recommend(api, **fields))

    assert (said.code, said.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [field])
    assert not api.models.asked


def test_every_surface_has_its_value() -> None:
    assert {name.removeprefix("SURFACE_"): SURFACES.get(n) for name, n in pb.Surface.items() if n} == {
        surface.value: surface for surface in Surface
    }  # fmt: skip
    assert set(Surface) >= NEED_CONTEXT


def test_every_kind_of_interaction_may_happen_in_a_session(api: Api) -> None:
    events = [pb.SessionEvent(kind=int(kind), item_id=f"i{kind}") for kind in Kind]  # type: ignore[arg-type]
    recommend(api, session_events=events)
    assert {each.kind for each in api.models.asked[0].history} == {int(kind) for kind in Kind}

"""`ProfileService`, through a real channel."""

import grpc
import msgspec
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from profiles.facts import CANONICAL, Kind
from service.pb.onefold.v1 import common_pb2
from service.pb.onefold.v1 import profile_service_pb2 as pb
from service.rpc import limits
from service.rpc.messages import FILL, INTERACTIONS, set_money, set_value
from storage.gathering import Answer
from storage.ports import CatalogItem
from tests.service.conftest import TIMEOUT_S, Api, who
from tests.service.refusals import refused
from tests.workspace import HOUR, MINUTE, NOON


def get(api: Api, lookup: common_pb2.Lookup, *paths: str, limit: int = 0) -> pb.GetProfileResponse:
    return api.profiles.GetProfile(
        pb.GetProfileRequest(
            lookup=lookup, read_mask=FieldMask(paths=paths), interaction_limit=limit
        ),
        timeout=TIMEOUT_S,
    )


def times(message: Timestamp) -> int:
    return message.ToMilliseconds()


def read(value: common_pb2.Value) -> tuple[str, object]:
    kind = value.WhichOneof("kind")
    assert kind is not None
    return kind, getattr(value, kind)


def asha(api: Api) -> None:
    """One person: an anonymous view, a login, traits, an order in two tellings."""
    shop = api.shop
    shop.see(browser="b1", view="thermometer", at=NOON - HOUR)
    shop.see(
        type="identify", browser="b1", user="asha", at=NOON - HOUR + MINUTE,
        traits={"email": "asha@example.com", "age": 41, "weight": 61.5, "vip": True, "tags": ["a", "b"],
                "pin": "007"},
    )  # fmt: skip
    for browser in ("b1", ""):
        shop.see(
            event="Order Completed", browser=browser, user="asha", at=NOON,
            properties={"order_id": "o1", "revenue": "249.50", "currency": "inr",
                        "products": [{"product_id": "vitamin-c", "quantity": 2}]},
        )  # fmt: skip


def test_a_person_is_found_by_any_identifier_and_by_the_profile_id(api: Api) -> None:
    asha(api)

    by_user = get(api, who(user_id="asha"))
    by_email = get(api, who(email=" Asha@Example.COM "))
    by_id = get(api, who(by_user.match.profile_id))

    assert by_user.profile == by_email.profile == by_id.profile
    assert by_user.match.answered_by == common_pb2.ANSWER_PERSON
    assert by_user.match.matched.type == "user_id"
    assert by_email.match.matched.type == "email"
    assert by_email.match.matched.value == ""


def test_a_profile_says_what_is_known(api: Api) -> None:
    asha(api)
    profile = get(api, who(user_id="asha")).profile

    assert {(each.type, each.value) for each in profile.identifiers} == {
        ("user_id", "asha"),
        ("email", "asha@example.com"),
    }
    assert [(each.type, each.value) for each in profile.devices] == [("anonymous_id", "b1")]
    assert {name: read(value) for name, value in profile.traits.items()} == {
        "email": ("string_value", "asha@example.com"),
        "age": ("int_value", 41),
        "weight": ("double_value", 61.5),
        "vip": ("bool_value", True),
        "tags": ("json_value", '["a","b"]'),
        "pin": ("string_value", "007"),
    }  # fmt: skip
    assert times(profile.first_seen_time) == NOON - HOUR
    assert times(profile.last_seen_time) == NOON
    assert profile.event_count == 4
    assert [(each.name, each.count) for each in profile.event_counts] == [
        ("Order Completed", 2),
        ("$identify", 1),
        ("Product Viewed", 1),
    ]
    (orders,) = profile.orders
    assert (orders.order_count, orders.revenue.units, orders.revenue.nanos) == (1, 249, 500_000_000)
    assert orders.revenue.currency_code == "INR"
    assert [(each.kind, each.item_id, each.quantity) for each in profile.interactions] == [
        (pb.INTERACTION_KIND_BOUGHT, "vitamin-c", 2),
        (pb.INTERACTION_KIND_VIEWED, "thermometer", 1),
    ]
    assert profile.visit_count >= 1


def test_a_read_mask_fills_only_what_it_names(api: Api) -> None:
    asha(api)
    profile = get(api, who(user_id="asha"), "traits", "event_count").profile

    assert {field.name for field, _ in profile.ListFields()} == {"traits", "event_count"}
    assert get(api, who(user_id="asha"), "*").profile == get(api, who(user_id="asha")).profile


def test_a_read_mask_of_no_field_is_refused(api: Api) -> None:
    said = refused(lambda: get(api, who(user_id="asha"), "traits", "shoe_size"))

    assert (said.code, said.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    assert said.fields == ["read_mask.paths[1]"]


def test_every_field_of_a_profile_is_filled_by_something() -> None:
    assert {*FILL, INTERACTIONS} == set(pb.Profile.DESCRIPTOR.fields_by_name)


def test_every_kind_of_interaction_has_the_number_it_is_stored_with() -> None:
    assert {kind.name: int(kind) for kind in Kind} == {
        name.removeprefix("INTERACTION_KIND_"): number
        for name, number in pb.InteractionKind.items()
        if number
    }
    assert set(CANONICAL) == set(Kind)


def test_every_answer_has_its_value() -> None:
    assert {answer.name for answer in Answer} == {
        name.removeprefix("ANSWER_") for name, number in common_pb2.Answer.items() if number
    }


def test_interactions_have_a_limit(api: Api) -> None:
    for n in range(60):
        api.shop.see(user="asha", view=f"item{n}", at=NOON - HOUR + n)

    newest = [i.item_id for i in get(api, who(user_id="asha"), limit=3).profile.interactions]
    assert newest == ["item59", "item58", "item57"]
    assert len(get(api, who(user_id="asha")).profile.interactions) == limits.INTERACTIONS_DEFAULT
    assert len(get(api, who(user_id="asha"), limit=10**6).profile.interactions) == 60
    assert refused(lambda: get(api, who(user_id="asha"), limit=-1)).fields == ["interaction_limit"]


def test_an_unknown_person_is_not_found(api: Api) -> None:
    said = refused(lambda: get(api, who(user_id="nobody-knows-me")))

    assert (said.code, said.reason) == (grpc.StatusCode.NOT_FOUND, "PROFILE_NOT_FOUND")
    assert "nobody-knows-me" not in said.message


@pytest.mark.parametrize(
    ("lookup", "field"),
    [
        (common_pb2.Lookup(), "lookup"),
        (who(user_id="  "), "lookup"),
        (who("not-hex"), "lookup.profile_id"),
        (who("00ff"), "lookup.profile_id"),
        (who("0" * 32, user_id="asha"), "lookup"),
        (who(shoe_size="42"), "lookup.identifiers[0].type"),
        (who(user_id="x" * 513), "lookup.identifiers[0].value"),
        (
            common_pb2.Lookup(
                identifiers=[common_pb2.Identifier(type="email", value="a@b.de")] * 21
            ),
            "lookup.identifiers",
        ),
    ],
    ids=["empty", "blank", "not hex", "short", "both", "unknown type", "long value", "too many"],
)
def test_a_malformed_lookup_is_refused_with_its_field(
    api: Api, lookup: common_pb2.Lookup, field: str
) -> None:
    said = refused(lambda: get(api, lookup))

    assert (said.code, said.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [field])


def test_a_device_answers_for_its_present_owner_and_leaves_out_what_is_sensitive(api: Api) -> None:
    api.shop.store.catalog.upsert(
        [CatalogItem(id="hiv-test", sensitive=True), CatalogItem(id="soap")]
    )
    for item in ("hiv-test", "soap"):
        api.shop.see(browser="b1", user="asha", view=item, at=NOON)

    by_user = get(api, who(user_id="asha"))
    by_device = get(api, who(anonymous_id="b1"))

    assert {i.item_id for i in by_user.profile.interactions} == {"hiv-test", "soap"}
    assert {i.item_id for i in by_device.profile.interactions} == {"soap"}
    assert by_device.match.answered_by == common_pb2.ANSWER_DEVICE_OWNER
    assert by_device.profile.profile_id == by_user.profile.profile_id
    events = api.profiles.ListEvents(
        pb.ListEventsRequest(lookup=who(anonymous_id="b1"), include_payload=True), timeout=TIMEOUT_S
    )
    assert sorted(b"soap" in each.payload for each in events.events) == [False, True]
    assert not any(b"hiv" in each.payload for each in events.events)


def test_a_device_that_nobody_owns_is_a_profile_of_its_own(api: Api) -> None:
    api.shop.see(browser="b1", view="soap")
    found = get(api, who(anonymous_id="b1"))

    assert found.match.answered_by == common_pb2.ANSWER_DEVICE
    assert found.profile.profile_id == found.profile.devices[0].identifier_id
    assert not found.profile.identifiers


def test_identifiers_of_two_people_say_that_they_disagree(api: Api) -> None:
    asha(api)
    api.shop.see(type="identify", user="ravi", traits={"email": "ravi@example.com"})
    found = get(api, who(user_id="asha", email="ravi@example.com"))

    assert found.profile == get(api, who(user_id="asha")).profile
    assert [each.type for each in found.match.disagreeing] == ["email"]


def test_the_next_answer_knows_the_last_event(api: Api) -> None:
    asha(api)
    api.shop.see(browser="b1", view="plasters", at=NOON + 1)

    assert get(api, who(user_id="asha")).profile.interactions[0].item_id == "plasters"


def test_a_batch_answers_each_entry_for_itself(api: Api) -> None:
    asha(api)
    reply = api.profiles.BatchGetProfiles(
        pb.BatchGetProfilesRequest(
            lookups=[who(user_id="asha"), who(user_id="ghost"), who(hat="9"), common_pb2.Lookup()]
            + [who(email="asha@example.com")] * 60,
            read_mask=FieldMask(paths=["traits"]),
        ),
        timeout=TIMEOUT_S,
    )

    assert len(reply.results) == 64
    assert reply.results[0].profile.traits["age"].int_value == 41
    assert [result.error.code for result in reply.results[1:4]] == [
        common_pb2.EntryError.CODE_NOT_FOUND,
        common_pb2.EntryError.CODE_INVALID,
        common_pb2.EntryError.CODE_INVALID,
    ]
    assert all(each.profile == reply.results[0].profile for each in reply.results[4:])


def test_a_batch_over_the_limit_is_refused(api: Api) -> None:
    lookups = [who(user_id="asha")] * (limits.PROFILES_MAX + 1)
    said = refused(
        lambda: api.profiles.BatchGetProfiles(pb.BatchGetProfilesRequest(lookups=lookups))
    )

    assert said.fields == ["lookups"]


def test_a_batch_that_would_be_too_large_says_where_to_go_on(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    asha(api)
    size = get(api, who(user_id="asha")).ByteSize()
    monkeypatch.setattr(limits, "REPLY_BYTES_MAX", size * 5 // 2)
    reply = api.profiles.BatchGetProfiles(
        pb.BatchGetProfilesRequest(lookups=[who(user_id="asha")] * 60), timeout=TIMEOUT_S
    )

    filled = [result.HasField("profile") for result in reply.results]
    assert filled == [True, True] + [False] * 58
    assert {result.error.code for result in reply.results[2:]} == {
        common_pb2.EntryError.CODE_REPLY_FULL
    }


def test_one_profile_is_sent_however_large_the_others_are(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    asha(api)
    monkeypatch.setattr(limits, "REPLY_BYTES_MAX", 1)
    reply = api.profiles.BatchGetProfiles(
        pb.BatchGetProfilesRequest(lookups=[who(user_id="asha")] * 2), timeout=TIMEOUT_S
    )

    assert [result.HasField("profile") for result in reply.results] == [True, False]


def test_text_that_is_half_a_character_breaks_nothing() -> None:
    value = common_pb2.Value()
    set_value(value, "caf\ud83d")
    assert value.string_value == "caf?"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (2**70, "json_value"),
        (-(2**63), "json_value"),
        (2**63 - 1, "int_value"),
        (True, "bool_value"),
    ],
)
def test_a_number_keeps_its_digits(value: int, kind: str) -> None:
    message = common_pb2.Value()
    set_value(message, value)
    assert message.WhichOneof("kind") == kind
    assert msgspec.json.decode(str(getattr(message, kind)).lower()) == value


@pytest.mark.parametrize("micros", [0, 1, -1, 249_500_000, -249_500_001, 10**18])
def test_money_is_exact(micros: int) -> None:
    message = common_pb2.Money()
    set_money(message, micros, "INR")
    assert message.units * 10**6 + message.nanos // 1000 == micros
    assert message.units * message.nanos >= 0

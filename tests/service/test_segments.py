"""`SegmentService` says who is in which segment, and how that came about."""

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct

from identity.nodes import Identifier
from ingest.deciding import DecidingHere, Draft, merge
from profiles.segments.catalogue import Edit, Put
from service.pb.onefold.v1 import profile_service_pb2 as profiles
from service.pb.onefold.v1 import segment_service_pb2 as pb
from storage.profiles import Lookup
from tests.service.conftest import TIMEOUT_S, Api, who
from tests.service.refusals import refused
from tests.service.segments import (
    BUYERS,
    LOOKERS,
    LOYAL,
    ORDERS,
    apply,
    order,
    pass_time,
    segments_of,
    size,
)
from tests.workspace import DAY, HOUR, MINUTE, NOON


def test_a_profile_is_in_its_segments_at_the_moment_of_the_answer(api: Api) -> None:
    apply(api, {"buyers": BUYERS, "loyal": LOYAL})
    order(api, "asha")
    assert segments_of(api, user_id="asha") == {"buyers": NOON}
    pass_time(api, MINUTE)
    order(api, "asha", at=api.now_ms)
    assert segments_of(api, user_id="asha") == {"buyers": NOON, "loyal": NOON + MINUTE}
    pass_time(api, 30 * DAY)
    assert list(segments_of(api, user_id="asha")) == ["loyal"]
    apply(api, {}, removed=("loyal",), fill=False)
    assert segments_of(api, user_id="asha") == {}
    lookup = pb.ListProfileSegmentsRequest(lookup=who(user_id="nobody"))
    said = refused(lambda: api.segments.ListProfileSegments(lookup, timeout=TIMEOUT_S))
    assert said.reason == "PROFILE_NOT_FOUND"


def test_who_sits_at_a_device_does_not_see_its_owners_sensitive_segments(api: Api) -> None:
    apply(
        api,
        {"lookers": LOOKERS, "ill": BUYERS | {"sensitive": True}, "through": {"segment": "ill"}},
    )
    api.shop.see(browser="b1", user="asha", event="Order Completed", at=NOON - HOUR)
    api.shop.see(browser="b1", user="asha", at=NOON - HOUR)

    assert set(segments_of(api, user_id="asha")) == {"ill", "lookers", "through"}
    assert set(segments_of(api, anonymous_id="b1")) == {"lookers"}


def test_history_keeps_people_time_merges_and_definitions_apart(api: Api) -> None:
    order(api, "before")
    apply(api, {"buyers": BUYERS})
    pass_time(api, DAY)
    for user in ("asha", "a-old"):
        order(api, user, at=api.now_ms)
    nodes = [
        resolved.matched
        for resolved in api.shop.reader.resolve(
            [Lookup(identifiers=(Identifier("user_id", u),)) for u in ("asha", "a-old")], NOON
        )
        if resolved
    ]
    deciding = DecidingHere(api.shop.store, api.shop.rules)
    deciding.make(merge(api.shop.store, Draft("d1", "op", "same person", api.now_ms), nodes))
    request = pb.GetSegmentHistoryRequest(segment_id="buyers", hourly=True, days=3)
    found = api.segments.GetSegmentHistory(request, timeout=TIMEOUT_S)

    first, second = found.flows
    assert (first.entered, first.entered_by_definition) == (0, 1)
    assert (second.entered, second.left, second.left_by_identity) == (2, 0, 1)
    assert second.from_time.ToMilliseconds() == api.now_ms // HOUR * HOUR
    assert found.size == 2
    status = api.segments.GetSegment(pb.GetSegmentRequest(segment_id="buyers"), timeout=TIMEOUT_S)
    assert status.segment.day.left_by_identity == 1
    pass_time(api, 29 * DAY)  # the first order is 30 days old, the others are not
    assert size(api, "buyers") == 1
    by_day = api.segments.GetSegmentHistory(
        pb.GetSegmentHistoryRequest(segment_id="buyers"), timeout=TIMEOUT_S
    )
    assert [each.left for each in by_day.flows] == [0, 0, 1]
    wrong = pb.GetSegmentHistoryRequest(segment_id="buyers", days=-1)
    assert refused(lambda: api.segments.GetSegmentHistory(wrong)).fields == ["days"]


def test_an_overlap_is_who_is_in_both(api: Api) -> None:
    apply(api, {"buyers": BUYERS, "lookers": LOOKERS})
    for user in ("asha", "ravi"):
        order(api, user)
    for user in ("ravi", "meera", "ali"):
        api.shop.see(user=user)

    def overlap(one: str, other: str) -> pb.GetSegmentOverlapResponse:
        request = pb.GetSegmentOverlapRequest(segment_id=one, other_id=other)
        return api.segments.GetSegmentOverlap(request, timeout=TIMEOUT_S)

    found = overlap("buyers", "lookers")
    assert (found.both, found.first, found.second) == (1, 2, 3)
    assert overlap("buyers", "buyers").both == 2
    assert refused(lambda: overlap("buyers", "none")).reason == "SEGMENT_NOT_FOUND"
    assert refused(lambda: overlap("buyers", "")).fields == ["other_id"]


def test_a_computed_trait_shows_on_the_profile(api: Api) -> None:
    apply(api, {"orders": ORDERS})
    for user in ("asha", "asha"):
        order(api, user)
    found = api.profiles.GetProfile(
        profiles.GetProfileRequest(lookup=who(user_id="asha")), timeout=TIMEOUT_S
    ).profile
    assert found.computed_traits["orders"].int_value == 2
    assert "orders" not in found.traits


def test_what_cannot_be_read_is_listed_and_can_be_removed(api: Api) -> None:
    tree = {"event": "Order Completed", "near": "Pune"}
    edit = Edit(revision=1, time_ms=NOON, author="v2", put=(Put("tomorrow", tree),))
    assert api.shop.store.definitions.append(edit)
    listed = api.segments.ListSegments(pb.ListSegmentsRequest(), timeout=TIMEOUT_S)
    assert [each.segment_id for each in listed.broken] == ["tomorrow"]
    assert listed.broken[0].message.startswith("near: ")
    assert refused(lambda: size(api, "tomorrow")).reason == "SEGMENT_NOT_FOUND"
    assert list(apply(api, {}, removed=("tomorrow",)).removed_ids) == ["tomorrow"]


def test_edits_say_who_changed_what_and_why_newest_first(api: Api) -> None:
    apply(api, {"buyers": BUYERS, "loyal": LOYAL}, author="asha", note="autumn")
    apply(api, {"loyal": LOYAL | {"count": {"at_least": 3}}}, author="ravi")
    apply(api, {}, removed=("buyers",), author="meera")

    def edits(segment: str = "", most: int = 0) -> list[pb.SegmentEdit]:
        request = pb.ListSegmentEditsRequest(segment_id=segment, page_size=most)
        return list(api.segments.ListSegmentEdits(request, timeout=TIMEOUT_S).edits)

    assert [(each.author, each.revision) for each in edits()] == [
        ("meera", 3),
        ("ravi", 2),
        ("asha", 1),
    ]
    assert [each.author for each in edits("buyers")] == ["meera", "asha"]
    assert [each.author for each in edits(most=1)] == ["meera"]
    newest, first = edits("buyers")
    assert list(newest.removed_ids) == ["buyers"]
    assert (first.note, first.time.ToMilliseconds()) == ("autumn", NOON)
    assert [each.id for each in first.definitions] == ["buyers", "loyal"]
    tree = Struct()
    json_format.ParseDict({"name": "Buyers"}, tree)
    assert first.definitions[0].tree["name"] == tree["name"]

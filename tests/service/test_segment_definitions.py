"""`SegmentService` defines segments, and says what is wrong with them."""

import threading
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from service.pb.onefold.v1 import segment_service_pb2 as pb
from service.rpc import limits
from tests.service.conftest import TIMEOUT_S, Api
from tests.service.refusals import refused
from tests.service.segments import (
    BUYERS,
    LOOKERS,
    LOYAL,
    ORDERS,
    apply,
    check,
    defined,
    order,
    profile_id,
)


def test_what_is_applied_is_in_force_and_comes_back_as_it_was_written(api: Api) -> None:
    order(api, "asha")
    done = apply(api, {"buyers": BUYERS, "loyal": LOYAL, "orders": ORDERS})
    assert (done.revision, list(done.added_ids)) == (1, ["buyers", "loyal", "orders"])

    found = api.segments.ListSegments(pb.ListSegmentsRequest(), timeout=TIMEOUT_S)
    assert [each.definition.id for each in found.segments] == ["buyers", "loyal", "orders"]
    buyers, loyal, orders = found.segments
    assert (buyers.name, buyers.people, buyers.devices, buyers.filled) == ("Buyers", 1, 0, 1)
    assert (loyal.name, loyal.people, loyal.revision) == ("loyal", 0, 1)
    assert orders.computed_trait
    assert json_format.MessageToDict(buyers.definition.tree)["within"] == "30d"
    again = api.segments.ApplySegments(
        pb.ApplySegmentsRequest(definitions=[each.definition for each in found.segments], author="b"),
        timeout=TIMEOUT_S,
    )  # fmt: skip
    assert (again.revision, list(again.changed_ids), list(again.added_ids)) == (1, [], [])


def test_a_check_says_what_would_change_and_changes_nothing(api: Api) -> None:
    order(api, "asha")
    apply(api, {"buyers": BUYERS, "loyal": LOYAL})
    found = check(api, {"buyers": BUYERS | {"within": "7d"}, "lookers": LOOKERS}, "loyal")

    assert not found.problems
    assert list(found.added_ids) == ["lookers"]
    assert list(found.changed_ids) == ["buyers"]
    assert list(found.removed_ids) == ["loyal"]
    assert found.revision == 1
    assert check(api, {"buyers": BUYERS, "loyal": LOYAL}) == pb.CheckSegmentsResponse(revision=1)


def test_a_check_says_everything_that_is_wrong_where_and_what_was_meant(api: Api) -> None:
    found = check(
        api,
        {"one": {"event": "Order Completed", "witin": "30d", "count": {"at_leest": 2}},
         "a/b": BUYERS},
    )  # fmt: skip
    said = {(each.segment_id, each.path): each.suggestion for each in found.problems}
    assert said["one", "witin"] == "within"
    assert said["one", "count.at_leest"] == "at_least"
    assert said["a/b", "id"]
    assert not found.added_ids


def test_names_that_were_never_seen_are_warned_of_with_what_is_near(api: Api) -> None:
    order(api, "asha")
    trees = {"buyers": {"event": "Order Complete"}, "orders": ORDERS,
             "many": {"trait": "orders", "at_least": 2}}  # fmt: skip
    (warning,) = check(api, trees).warnings
    assert (warning.segment_id, warning.path) == ("buyers", "event")
    assert warning.suggestion == "Order Completed"


def tower(depth: int) -> dict[str, Any]:
    tree: dict[str, Any] = LOOKERS
    for _ in range(depth):
        tree = {"not": tree}
    return tree


@pytest.mark.parametrize(
    ("trees", "says"),
    [
        ({"huge": {"any": [LOOKERS] * 10_000}}, "9,000 keys and values"),
        ({"deep": tower(30)}, "is deeper than 20 conditions"),
        ({"a": {"segment": "b"}, "b": {"segment": "a"}}, "cannot depend on itself"),
        ({"a": {"segment": "none"}}, 'there is no segment "none"'),
        ({"empty": {}}, "empty"),
        ({"empty": {"all": []}}, "is empty"),
        ({"buyers": BUYERS, "other": BUYERS | {"id": "buyers"}}, "is defined twice"),
        ({"big": LOOKERS | {"count": {"at_least": float("inf")}}}, "infinite, or no number"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_a_segment_is_refused(api: Api, trees: dict[str, Any], says: str) -> None:
    messages = defined({key: {} for key in trees})
    for message in messages:
        message.tree.update(trees[message.id])
    request = pb.ApplySegmentsRequest(definitions=messages, author="asha")

    said = refused(lambda: api.segments.ApplySegments(request, timeout=TIMEOUT_S))
    assert said.code is grpc.StatusCode.INVALID_ARGUMENT
    assert says in said.message
    assert all(field.startswith("definitions[") for field in said.fields)
    assert not api.shop.store.definitions.since(0)


def test_a_hundred_mistakes_are_an_answer_that_clients_take(api: Api) -> None:
    tree = {"all": [{"event": "Order Completed", "wherever": number} for number in range(99)]}
    said = refused(lambda: apply(api, {"wrong": tree}))

    assert said.code is grpc.StatusCode.INVALID_ARGUMENT
    assert said.fields[0] == "definitions[wrong].all[0].wherever"
    assert said.message.endswith(f"and {99 - len(said.fields)} more")


def test_who_defines_must_say_who_and_each_only_once(api: Api) -> None:
    assert refused(lambda: apply(api, {"buyers": BUYERS}, author=" ")).fields == ["author"]
    long = "x" * (limits.REASON_MAX + 1)
    assert refused(lambda: apply(api, {"buyers": BUYERS}, note=long)).fields == ["note"]
    twice = pb.ApplySegmentsRequest(definitions=defined({"a": BUYERS}) * 2, author="asha")
    said = refused(lambda: api.segments.ApplySegments(twice, timeout=TIMEOUT_S))
    assert (said.fields, "is there twice" in said.message) == (["definitions"], True)
    said = refused(lambda: apply(api, {}, removed=("none",)))
    assert said.fields == ["definitions[none]"]


def test_a_plan_that_somebody_overtook_is_refused(api: Api) -> None:
    seen = check(api, {"buyers": BUYERS}).revision
    apply(api, {"loyal": LOYAL})
    apply(api, {"loyal": LOYAL | {"count": {"at_least": 3}}})

    said = refused(lambda: apply(api, {"buyers": BUYERS}, revision=seen + 1))
    assert (said.code, said.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SEGMENTS_OUTDATED")
    assert apply(api, {"buyers": BUYERS}, revision=2).revision == 3


def test_many_who_define_at_once_lose_nothing(api: Api) -> None:
    refusals: list[str] = []

    def define(number: int) -> None:
        while True:
            try:
                apply(api, {f"s{number}": LOOKERS}, fill=False)
            except grpc.RpcError as error:
                refusals.append(str(error.details()))
            else:
                return

    threads = [threading.Thread(target=define, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    edits = api.shop.store.definitions.since(0)
    assert [edit.revision for edit in edits] == [1, 2, 3, 4, 5, 6]
    assert {put.id for edit in edits for put in edit.put} == {f"s{n}" for n in range(6)}
    assert all("somebody else changed" in said for said in refusals)


def test_a_draft_of_few_people_is_sized_exactly_and_written_nowhere(api: Api) -> None:
    apply(api, {"loyal": LOYAL})
    consent = {"consentManagement": {"allowedConsentIds": ["ads"], "deniedConsentIds": []}}
    for user in ("asha", "asha", "ravi"):
        order(api, user, context=consent)
    api.shop.see(browser="b1", event="Order Completed")
    request = pb.PreviewSegmentRequest(definition=defined({"buyers": BUYERS})[0])
    found = api.segments.PreviewSegment(request, timeout=TIMEOUT_S)

    assert (found.people, found.devices, found.low, found.high, found.exact) == (2, 1, 3, 3, True)
    assert found.identifiers == {"user_id": 2, "anonymous_id": 1}
    assert found.consent == {"ads": 2}
    assert found.overlap == {"loyal": 1}
    assert profile_id(api, "asha") in found.example_ids
    listed = api.segments.ListSegments(pb.ListSegmentsRequest(), timeout=TIMEOUT_S)
    assert (listed.revision, len(listed.segments)) == (1, 1)


def test_a_sample_gives_an_interval_and_what_is_in_force_can_be_previewed(api: Api) -> None:
    apply(api, {"lookers": LOOKERS})
    for number in range(60):
        api.shop.see(user=f"u{number}")
    request = pb.PreviewSegmentRequest(definition=defined({"lookers": LOOKERS})[0], sample=20)
    found = api.segments.PreviewSegment(request, timeout=TIMEOUT_S)

    assert not found.exact
    assert found.low <= 60 <= found.high
    assert found.people == 60


def test_a_draft_that_is_no_segment_is_refused_with_its_field(api: Api) -> None:
    def fields(tree: dict[str, Any], sample: int = 0) -> list[str]:
        request = pb.PreviewSegmentRequest(definition=defined({"orders": tree})[0], sample=sample)
        return refused(lambda: api.segments.PreviewSegment(request, timeout=TIMEOUT_S)).fields

    assert fields({"event": "Order Completed", "witin": "3d"}) == ["definition.witin"]
    assert fields(LOOKERS, sample=-1) == ["sample"]
    assert fields(ORDERS) == ["definition"]
    apply(api, {"orders": ORDERS})
    assert fields(ORDERS) == ["definition"]

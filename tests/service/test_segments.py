"""`SegmentService`, through a real channel."""

import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct

from identity.nodes import Identifier
from ingest.deciding import DecidingHere, Draft, merge
from profiles.segments.catalogue import Edit, Put
from profiles.segments.membership import Reason
from service.pb.onefold.v1 import profile_service_pb2 as profiles
from service.pb.onefold.v1 import segment_service_pb2 as pb
from service.rpc import limits
from service.rpc.segment_messages import REASONS
from storage.profiles import Lookup
from tests.service.conftest import TIMEOUT_S, Api, who
from tests.service.refusals import refused
from tests.workspace import DAY, HOUR, MINUTE, NOON

BUYERS = {"name": "Buyers", "event": "Order Completed", "within": "30d"}
LOYAL = {"event": "Order Completed", "count": {"at_least": 2}}
LOOKERS = {"event": "Product Viewed"}
ORDERS = {"trait": "orders", "event": "Order Completed", "count": True}


def defined(trees: dict[str, Any]) -> list[pb.SegmentDefinition]:
    made = []
    for key, tree in trees.items():
        message = pb.SegmentDefinition(id=key)
        json_format.ParseDict(tree, message.tree)
        made.append(message)
    return made


def apply(
    api: Api, trees: dict[str, Any], *, removed: tuple[str, ...] = (), revision: int = 0,
    author: str = "asha", note: str = "", fill: bool = True,
) -> pb.ApplySegmentsResponse:  # fmt: skip
    done = api.segments.ApplySegments(
        pb.ApplySegmentsRequest(
            definitions=defined(trees), remove_ids=removed, revision=revision, author=author,
            note=note,
        ),
        timeout=TIMEOUT_S,
    )  # fmt: skip
    if fill:
        api.shop.segments.fill()
    return done


def check(api: Api, trees: dict[str, Any], *removed: str) -> pb.CheckSegmentsResponse:
    request = pb.CheckSegmentsRequest(definitions=defined(trees), remove_ids=removed)
    return api.segments.CheckSegments(request, timeout=TIMEOUT_S)


def order(api: Api, user: str, **fields: Any) -> None:
    api.shop.see(user=user, event="Order Completed", **fields)


def pass_time(api: Api, ms: int) -> None:
    api.now_ms += ms
    api.shop.now += ms


def size(api: Api, segment: str) -> int:
    request = pb.GetSegmentRequest(segment_id=segment)
    found = api.segments.GetSegment(request, timeout=TIMEOUT_S).segment
    return found.people + found.devices


def segments_of(api: Api, **identifiers: str) -> dict[str, int]:
    request = pb.ListProfileSegmentsRequest(lookup=who(**identifiers))
    found = api.segments.ListProfileSegments(request, timeout=TIMEOUT_S)
    return {each.segment_id: each.since.ToMilliseconds() for each in found.segments}


def members(api: Api, segment: str, token: str = "") -> Iterator[pb.ListSegmentMembersResponse]:
    request = pb.ListSegmentMembersRequest(segment_id=segment, resume_token=token)
    return iter(api.segments.ListSegmentMembers(request, timeout=TIMEOUT_S))


def profile_id(api: Api, user: str) -> str:
    request = profiles.GetProfileRequest(lookup=who(user_id=user))
    return api.profiles.GetProfile(request, timeout=TIMEOUT_S).profile.profile_id


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


def test_members_come_in_batches_and_go_on_after_a_cut(api: Api) -> None:
    apply(api, {"lookers": LOOKERS})
    api.shop.take(
        {"type": "track", "event": "Product Viewed", "messageId": f"m{n}", "userId": f"u{n}",
         "originalTimestamp": NOON, "receivedAt": NOON} for n in range(2_500)
    )  # fmt: skip
    api.shop.see(browser="b1")
    api.shop.segments.settle()
    stream = members(api, "lookers")
    first = next(stream)
    stream.cancel()  # type: ignore[attr-defined]
    rest = list(members(api, "lookers", first.resume_token))

    assert len(first.members) >= 500
    found = [each.profile_id for page in (first, *rest) for each in page.members]
    assert len(found) == len(set(found)) == 2_501
    (device,) = [each for page in (first, *rest) for each in page.members if each.device]
    assert device.since.ToMilliseconds() == NOON
    assert not list(members(api, "lookers", rest[-1].resume_token))


def test_a_token_is_good_for_its_own_segment_only(api: Api) -> None:
    apply(api, {"lookers": LOOKERS, "buyers": BUYERS})
    api.shop.see(user="asha")
    token = next(members(api, "lookers")).resume_token

    assert refused(lambda: list(members(api, "buyers", token))).fields == ["resume_token"]
    assert refused(lambda: list(members(api, "none"))).reason == "SEGMENT_NOT_FOUND"
    assert refused(lambda: list(members(api, ""))).fields == ["segment_id"]


def watch(api: Api, **fields: Any) -> Iterator[pb.WatchSegmentChangesResponse]:
    request = pb.WatchSegmentChangesRequest(**fields)
    return iter(api.segments.WatchSegmentChanges(request, timeout=TIMEOUT_S))


def test_changes_are_told_as_they_come_and_from_a_token_on(api: Api) -> None:
    apply(api, {"buyers": BUYERS, "lookers": LOOKERS})
    order(api, "asha")
    stream = watch(api)
    first = next(stream)
    pass_time(api, 30 * DAY)
    second = next(stream)
    stream.cancel()  # type: ignore[attr-defined]

    (entered,), (left,) = first.transitions, second.transitions
    assert (entered.entered, entered.reason) == (True, pb.SEGMENT_REASON_EVENT)
    assert (left.entered, left.reason) == (False, pb.SEGMENT_REASON_TIME)
    assert left.time.ToMilliseconds() == NOON + 30 * DAY
    assert (entered.segment_id, entered.profile_id) == ("buyers", profile_id(api, "asha"))
    assert entered.sequence < left.sequence
    resumed = next(watch(api, resume_token=first.resume_token))
    assert list(resumed.transitions) == [left]


def test_only_what_comes_from_now_on_and_only_some_segments(api: Api) -> None:
    apply(api, {"buyers": BUYERS, "lookers": LOOKERS})
    order(api, "asha")
    stream = watch(api, from_now=True, segment_ids=["buyers"])
    assert not next(stream).transitions
    api.shop.see(user="ravi")
    order(api, "ravi")
    (told,) = next(stream).transitions
    stream.cancel()  # type: ignore[attr-defined]
    assert (told.segment_id, told.profile_id) == ("buyers", profile_id(api, "ravi"))


def test_an_id_that_was_never_defined_is_not_watched_for_ever(api: Api) -> None:
    apply(api, {"buyers": BUYERS})
    apply(api, {}, removed=("buyers",))
    said = refused(lambda: next(watch(api, segment_ids=["buyer"])))
    assert said.fields == ["segment_ids[0]"]
    assert "did you mean buyers?" in said.message
    next(watch(api, segment_ids=["buyers"]))


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


def test_a_computed_trait_shows_on_the_profile(api: Api) -> None:
    apply(api, {"orders": ORDERS})
    for user in ("asha", "asha"):
        order(api, user)
    found = api.profiles.GetProfile(
        profiles.GetProfileRequest(lookup=who(user_id="asha")), timeout=TIMEOUT_S
    ).profile
    assert found.computed_traits["orders"].int_value == 2
    assert "orders" not in found.traits


def test_watched_sequences_of_a_profile_only_grow(api: Api) -> None:
    apply(api, {"buyers": BUYERS, "loyal": LOYAL, "lookers": LOOKERS})
    for _ in range(3):
        order(api, "asha")
        api.shop.see(user="asha")
    told = next(watch(api)).transitions
    assert all(one.sequence < other.sequence for one, other in pairwise(told))


def test_what_cannot_be_read_is_listed_and_can_be_removed(api: Api) -> None:
    tree = {"event": "Order Completed", "near": "Pune"}
    edit = Edit(revision=1, time_ms=NOON, author="v2", put=(Put("tomorrow", tree),))
    assert api.shop.store.definitions.append(edit)
    listed = api.segments.ListSegments(pb.ListSegmentsRequest(), timeout=TIMEOUT_S)
    assert [each.segment_id for each in listed.broken] == ["tomorrow"]
    assert listed.broken[0].message.startswith("near: ")
    assert refused(lambda: size(api, "tomorrow")).reason == "SEGMENT_NOT_FOUND"
    assert list(apply(api, {}, removed=("tomorrow",)).removed_ids) == ["tomorrow"]


def test_a_member_who_withdraws_consent_is_told_with_the_purpose(api: Api) -> None:
    apply(api, {"buyers": BUYERS})
    ids: list[tuple[list[str], list[str]]] = [(["ads"], []), ([], ["ads"])]
    for n, (allowed, denied) in enumerate(ids):
        consent = {"allowedConsentIds": allowed, "deniedConsentIds": denied}
        order(api, "asha", at=NOON + n, context={"consentManagement": consent})
    entered, withdrawn = next(watch(api)).transitions
    assert (entered.reason, entered.purpose) == (pb.SEGMENT_REASON_EVENT, "")
    assert (withdrawn.reason, withdrawn.purpose) == (pb.SEGMENT_REASON_CONSENT, "ads")
    assert not withdrawn.entered
    assert set(REASONS) == set(Reason)

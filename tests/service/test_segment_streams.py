"""`SegmentService` streams who is in a segment, and who comes and goes."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from profiles.segments.membership import Reason
from service.pb.onefold.v1 import segment_service_pb2 as pb
from service.rpc.segment_messages import REASONS
from tests.service.conftest import TIMEOUT_S, Api
from tests.service.refusals import refused
from tests.service.segments import (
    BUYERS,
    LOOKERS,
    LOYAL,
    apply,
    members,
    order,
    pass_time,
    profile_id,
)
from tests.workspace import DAY, NOON


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


def test_watched_sequences_of_a_profile_only_grow(api: Api) -> None:
    apply(api, {"buyers": BUYERS, "loyal": LOYAL, "lookers": LOOKERS})
    for _ in range(3):
        order(api, "asha")
        api.shop.see(user="asha")
    told = next(watch(api)).transitions
    assert all(one.sequence < other.sequence for one, other in pairwise(told))


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

"""What tests of `SegmentService` define and ask, through a real channel."""

from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format

from service.pb.onefold.v1 import profile_service_pb2 as profiles
from service.pb.onefold.v1 import segment_service_pb2 as pb
from tests.service.conftest import TIMEOUT_S, Api, who

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

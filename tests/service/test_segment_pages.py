"""`SegmentService`'s lists come page by page."""

from service.pb.onefold.v1 import segment_service_pb2 as pb
from tests.service.conftest import TIMEOUT_S, Api
from tests.service.refusals import refused
from tests.service.segments import BUYERS, LOOKERS, LOYAL, ORDERS, apply

TREES = {"buyers": BUYERS, "lookers": LOOKERS, "loyal": LOYAL, "orders": ORDERS}
LONG = {"all": [{"trait": "city", "in": [f"{n:_>200}" for n in range(900)]}]}
"""Some 200 kB."""


def listed(api: Api, most: int = 0, token: str = "") -> pb.ListSegmentsResponse:
    request = pb.ListSegmentsRequest(page_size=most, page_token=token)
    return api.segments.ListSegments(request, timeout=TIMEOUT_S)


def edits(api: Api, most: int, token: str = "", segment: str = "") -> pb.ListSegmentEditsResponse:
    request = pb.ListSegmentEditsRequest(page_size=most, page_token=token, segment_id=segment)
    return api.segments.ListSegmentEdits(request, timeout=TIMEOUT_S)


def test_segments_come_page_by_page_in_the_order_of_their_ids(api: Api) -> None:
    apply(api, TREES)
    first = listed(api, 3)
    assert [each.definition.id for each in first.segments] == ["buyers", "lookers", "loyal"]
    # One that is defined meanwhile in front of the token is not shown, and one behind it is.
    apply(api, {"apples": BUYERS, "pears": BUYERS})
    last = listed(api, 3, first.next_page_token)
    assert [each.definition.id for each in last.segments] == ["orders", "pears"]
    assert not last.next_page_token
    assert refused(lambda: listed(api, 3, "x")).fields == ["page_token"]
    assert refused(lambda: listed(api, -1)).fields == ["page_size"]


def test_a_page_of_long_definitions_fits_into_a_message(api: Api) -> None:
    apply(api, {f"s{n:02}": LONG for n in range(12)}, fill=False)
    apply(api, {f"s{n:02}": LONG for n in range(12, 24)}, fill=False)
    found, token = [], ""
    pages = 0
    while pages == 0 or token:
        page = listed(api, 0, token)
        found += [each.definition.id for each in page.segments]
        token, pages = page.next_page_token, pages + 1
    assert pages == 2
    assert found == [f"s{n:02}" for n in range(24)]


def test_edits_come_page_by_page_newest_first(api: Api) -> None:
    for key, tree in TREES.items():
        apply(api, {key: tree}, fill=False)
    first = edits(api, 3)
    assert [each.revision for each in first.edits] == [4, 3, 2]
    apply(api, {}, removed=("buyers",))
    last = edits(api, 3, first.next_page_token)
    assert ([each.revision for each in last.edits], last.next_page_token) == ([1], "")
    mine = edits(api, 1, segment="buyers")
    assert [each.revision for each in mine.edits] == [5]
    rest = edits(api, 1, mine.next_page_token, "buyers")
    assert ([each.revision for each in rest.edits], rest.next_page_token) == ([1], "")
    assert refused(lambda: edits(api, 1, mine.next_page_token)).fields == ["page_token"]

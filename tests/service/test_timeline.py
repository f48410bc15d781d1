"""`ListEvents`: pages, filters, tokens."""

import base64
from typing import Any

import grpc
import msgspec
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from service.pb.onefold.v1 import profile_service_pb2 as pb
from service.rpc import limits
from service.rpc.errors import InvalidArgument
from service.rpc.paging import Tokens, page_size
from tests.service.conftest import TIMEOUT_S, Api, who
from tests.service.refusals import refused
from tests.workspace import HOUR, MINUTE, NOON


def events(api: Api, **fields: Any) -> pb.ListEventsResponse:
    fields.setdefault("lookup", who(user_id="asha"))
    return api.profiles.ListEvents(pb.ListEventsRequest(**fields), timeout=TIMEOUT_S)


def at(time_ms: int) -> Timestamp:
    return Timestamp(seconds=time_ms // 1000, nanos=time_ms % 1000 * 1_000_000)


@pytest.fixture
def week(api: Api) -> Api:
    """25 views by one person, one of them before the login, and a visit of somebody else."""
    api.shop.see(browser="b1", view="item0", at=NOON - HOUR)
    for n in range(1, 25):
        api.shop.see(browser="b1", user="asha", view=f"item{n}", at=NOON - HOUR + n * MINUTE)
    api.shop.see(browser="b2", user="ravi", view="secret")
    return api


def test_everything_a_person_did_newest_first(week: Api) -> None:
    reply = events(week, include_payload=True)

    items = [msgspec.json.decode(e.payload)["properties"]["product_id"] for e in reply.events]
    assert items == [f"item{n}" for n in range(24, -1, -1)]
    assert reply.next_page_token == ""
    newest = reply.events[0]
    assert (newest.type, newest.name, newest.source) == ("track", "Product Viewed", "web")
    assert newest.event_time.ToMilliseconds() == NOON - 36 * MINUTE
    assert newest.receive_time.ToMilliseconds() == NOON - 36 * MINUTE
    assert newest.identifier_id == reply.match.matched.identifier_id
    assert reply.events[-1].identifier_id != newest.identifier_id


def test_payloads_are_sent_only_if_asked_for(week: Api) -> None:
    assert {each.payload for each in events(week).events} == {b""}


@pytest.mark.parametrize("size", [1, 7, 24, 25, 26])
def test_pages_together_are_everything_once(week: Api, size: int) -> None:
    seen: list[str] = []
    token = ""
    while True:
        page = events(week, page_size=size, page_token=token)
        assert len(page.events) <= size
        seen += [each.message_id for each in page.events]
        token = page.next_page_token
        if not token:
            break

    assert seen == [each.message_id for each in events(week).events]
    assert len(seen) == 25


def test_a_page_never_grows_beyond_what_a_client_receives(
    week: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REPLY_BYTES_MAX", 1000)
    seen = 0
    token = ""
    while True:
        page = events(week, include_payload=True, page_token=token)
        assert 0 < page.ByteSize() < 2000
        seen += len(page.events)
        if not (token := page.next_page_token):
            break
    assert seen == 25


def test_filters_by_time_and_name(week: Api) -> None:
    week.shop.see(type="page", name="Home", user="asha", at=NOON - HOUR + 90)
    start = NOON - HOUR

    between = events(week, since_time=at(start + MINUTE), until_time=at(start + 3 * MINUTE))
    assert [e.event_time.ToMilliseconds() for e in between.events] == [
        start + 2 * MINUTE,
        start + MINUTE,
    ]
    assert [e.name for e in events(week, names=["home"]).events] == ["Home"]
    assert [e.type for e in events(week, names=["PAGE"]).events] == ["page"]
    assert len(events(week, names=["product viewed", "page"]).events) == 26


def test_a_page_size_is_coerced(week: Api) -> None:
    assert page_size(0) == limits.PAGE_DEFAULT
    assert page_size(10**9) == limits.PAGE_MAX
    assert len(events(week, page_size=2**31 - 1).events) == 25
    said = refused(lambda: events(week, page_size=-1))
    assert (said.code, said.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["page_size"])


def test_a_token_that_we_did_not_make_is_refused(week: Api) -> None:
    token = events(week, page_size=5).next_page_token
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    forged = []
    for index in range(len(raw)):
        raw[index] ^= 1
        forged.append(base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("="))
        raw[index] ^= 1
    for bad in [*forged[::5], "x", "été", token + "AAAA", token[:-4], "=", "a" * 5000]:
        said = refused(lambda bad=bad: events(week, page_size=5, page_token=bad))  # type: ignore[misc]
        assert (said.code, said.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["page_token"])


def test_a_token_continues_its_own_query_only(week: Api) -> None:
    token = events(week, page_size=5).next_page_token

    assert len(events(week, page_size=9, page_token=token).events) == 9
    for other in ({"lookup": who(user_id="ravi")}, {"names": ["page"]}, {"since_time": at(NOON)}):
        said = refused(lambda other=other: events(week, page_token=token, **other))  # type: ignore[misc]
        assert said.fields == ["page_token"]


def test_a_token_of_another_workspace_is_refused() -> None:
    token = Tokens(b"a" * 32, "pages").seal(["x"])
    assert Tokens(b"a" * 32, "pages").open(token, list) == ["x"]
    for other in (Tokens(b"b" * 32, "pages"), Tokens(b"a" * 32, "attribution")):
        with pytest.raises(InvalidArgument):
            other.open(token, list)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"names": ["x"] * 51}, "names"),
        ({"since_time": Timestamp(seconds=2**60)}, "since_time"),
        ({"until_time": Timestamp(seconds=1, nanos=-1)}, "until_time"),
        ({"since_time": at(NOON), "until_time": at(NOON)}, "until_time"),
        ({"lookup": who()}, "lookup"),
    ],
)
def test_a_malformed_query_is_refused_with_its_field(
    api: Api, fields: dict[str, Any], field: str
) -> None:
    assert refused(lambda: events(api, **fields)).fields == [field]


def test_the_timeline_of_an_unknown_person_is_not_found(api: Api) -> None:
    assert refused(lambda: events(api)).reason == "PROFILE_NOT_FOUND"

"""GA4: Google's limits are kept, and nothing that names a person or an illness goes there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from destinations.audience import MemoryAudience, SegmentInfo
from destinations.errors import ExportRefused, TargetRefused
from destinations.ga4 import Ga4, property_name
from destinations.settings import Ga4Settings
from identity.nodes import Identifier
from tests.destinations.people import SEGMENTS, Desk, crowd, permission, person, some_people
from tests.destinations.receiver import Receiver, receiving
from tests.workspace import DAY, NOON


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def desk_of(
    folder: Path, receiver: Receiver, audience: MemoryAudience | None = None, **settings: Any
) -> Desk:
    fields = {"measurement_id": "G-1"} | settings
    url = f"http://127.0.0.1:{receiver.port}"
    made = Ga4(Ga4Settings(url=url, api_secret="s" * 16, **fields), lambda: desk.now_ms)
    desk = Desk(folder, audience or some_people(), made)
    return desk


def test_a_segment_is_a_user_property_of_a_client(tmp_path: Path, receiver: Receiver) -> None:
    audience = MemoryAudience(SEGMENTS)
    audience.put(person("asha", "regulars"))
    desk_of(tmp_path, receiver, audience).export()
    path, _, _ = receiver.requests[0]
    assert path == f"/mp/collect?measurement_id=G-1&api_secret={'s' * 16}"
    assert receiver.taken == [
        {
            "client_id": next(i.value for i in person("asha").identifiers if i.type == "ga_client_id"),
            "non_personalized_ads": True,
            "consent": {"ad_user_data": "DENIED", "ad_personalization": "DENIED"},
            "user_properties": {"regulars": {"value": "1"}},
            "events": [{"name": "audience_membership", "params": {"engagement_time_msec": 1}}],
        }
    ]  # fmt: skip


def test_google_hears_of_consent_only_where_it_was_given(
    tmp_path: Path, receiver: Receiver
) -> None:
    audience = MemoryAudience(SEGMENTS)
    audience.put(person("asha", "regulars", consent={"ads": True, "personal": True}))
    audience.put(person("ravi", "regulars", consent={"ads": True, "personal": False}))
    desk_of(
        tmp_path, receiver, audience, ad_user_data="ads", ad_personalization="personal"
    ).export()
    said = {json.dumps(body["consent"], sort_keys=True) for body in receiver.taken}
    assert said == {
        '{"ad_personalization": "GRANTED", "ad_user_data": "GRANTED"}',
        '{"ad_personalization": "DENIED", "ad_user_data": "GRANTED"}',
    }


def test_firebase_goes_by_app_instance(tmp_path: Path, receiver: Receiver) -> None:
    desk_of(tmp_path, receiver, measurement_id=None, firebase_app_id="1:2:android:3").export()
    assert all(len(body["app_instance_id"]) == 32 for body in receiver.taken)
    assert "firebase_app_id=1%3A2%3Aandroid%3A3" in receiver.requests[0][0]


def test_a_user_id_that_names_a_person_never_goes(tmp_path: Path, receiver: Receiver) -> None:
    audience = MemoryAudience(SEGMENTS)
    for name in ("asha@example.com", "+91 98765 43210", "9876543210", "u42"):
        ids = (Identifier("ga_client_id", f"{len(name)}.1"), Identifier("user_id", name))
        audience.put(person(name, "regulars", identifiers=ids))
    desk_of(tmp_path, receiver, audience, user_id=True).export()
    assert [body.get("user_id") for body in receiver.taken if "user_id" in body] == ["u42"]
    assert "example.com" not in json.dumps(receiver.taken)


def test_a_sensitive_segment_needs_a_name_that_tells_nothing(
    tmp_path: Path, receiver: Receiver
) -> None:
    desk = desk_of(tmp_path, receiver)
    allowed = {"allow_sensitive": ("diabetes-care",), "alias_sensitive": True}
    with pytest.raises(ExportRefused, match="a name that tells nothing"):
        desk.export(allowed=permission("diabetes-care", **allowed))
    desk.export(allowed=permission("diabetes-care", aliases={"diabetes-care": "s7"}, **allowed))
    assert [body["user_properties"] for body in receiver.taken] == [{"s7": {"value": "1"}}]
    assert "diabetes" not in json.dumps([str(each) for each in receiver.requests])


def test_when_it_happened_is_said_for_three_days(tmp_path: Path, receiver: Receiver) -> None:
    desk = desk_of(tmp_path, receiver)
    desk.export("delta")
    desk.audience.put(person("new", "regulars"), NOON + DAY)
    desk.audience.put(person("old", "regulars"), NOON)
    desk.now_ms = NOON + 3 * DAY
    before = len(receiver.taken)
    desk.export("delta")
    times = {body.get("timestamp_micros") for body in receiver.taken[before:]}
    assert times == {(NOON + DAY) * 1000, None}


@pytest.mark.parametrize(
    "name", ["", "1st", "ga_x", "google_x", "firebase_x", "_x", "a" * 25, "with space", "ünï"]
)
def test_names_that_google_refuses_are_refused_here(name: str) -> None:
    with pytest.raises(ValueError, match="aliases"):
        property_name(name)


def test_more_segments_than_google_takes_are_refused(tmp_path: Path, receiver: Receiver) -> None:
    names = tuple(f"s{number}" for number in range(26))
    desk = desk_of(tmp_path, receiver, MemoryAudience([SegmentInfo(each) for each in names]))
    with pytest.raises(ExportRefused, match="GA4 takes 25"):
        desk.export(allowed=permission(*names))


def test_two_segments_are_not_one_property(tmp_path: Path, receiver: Receiver) -> None:
    audience = MemoryAudience([SegmentInfo("a-b"), SegmentInfo("a_b")])
    with pytest.raises(ExportRefused, match="one user property"):
        desk_of(tmp_path, receiver, audience).export(allowed=permission("a-b", "a_b"))


def test_many_clients_are_told_at_once_and_a_wrong_key_ends_it_soon(
    tmp_path: Path, receiver: Receiver
) -> None:
    desk = desk_of(tmp_path, receiver, crowd(200))
    assert desk.export().delivery.people == 200
    assert len({body["client_id"] for body in receiver.taken}) == 200
    before = len(receiver.requests)
    receiver.behaviour = lambda number, body: 401
    with pytest.raises(TargetRefused, match="answered 401; check ids"):
        desk.export()
    assert len(receiver.requests) - before < 50


def test_what_google_refuses_becomes_a_letter(tmp_path: Path, receiver: Receiver) -> None:
    receiver.behaviour = lambda number, body: 400 if number == 3 else 204
    desk = desk_of(tmp_path, receiver, crowd(20), connections=1)
    assert desk.export().delivery.withheld == {"refused_by_destination": 1}
    assert (len(receiver.taken), len(desk.letters)) == (19, 1)


def test_what_the_validator_says_is_heard(tmp_path: Path, receiver: Receiver) -> None:
    said = {"fieldPath": "events", "description": "…", "validationCode": "NAME_INVALID"}
    receiver.answer = json.dumps({"validationMessages": [said]}).encode()
    with pytest.raises(TargetRefused, match=r"NAME_INVALID \(events\)"):
        desk_of(tmp_path, receiver, validate=True).export()
    assert receiver.requests[0][0].startswith("/debug/mp/collect?")
    receiver.answer = b'{"validationMessages": []}'
    desk_of(tmp_path, receiver, validate=True).export()

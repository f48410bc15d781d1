"""Webhooks: signed, tried again, cut by halves where one is refused, nothing lost where nobody answers."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from destinations.errors import TargetRefused, TargetUnavailable
from destinations.http import Address
from destinations.settings import WebhookSettings
from destinations.webhook import Webhook
from tests.destinations.people import Desk, crowd, person, some_people
from tests.destinations.receiver import Receiver, receiving
from tests.workspace import NOON

SECRET = "a secret of the test"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def hook(url: str, **settings: Any) -> Webhook:
    fields = {"retry_max_s": 0.0, "timeout_s": 10.0} | settings
    return Webhook(WebhookSettings(url=url, secret=SECRET, **fields), lambda: NOON)


def desk_of(folder: Path, url: str, people: int = 0, **settings: Any) -> Desk:
    return Desk(folder, crowd(people) if people else some_people(), hook(url, **settings))


def test_an_event_is_in_segments_shape(tmp_path: Path, receiver: Receiver) -> None:
    desk_of(tmp_path, receiver.url).export("delta")
    event = next(each for each in receiver.events() if each["userId"] == "asha")
    assert (event["type"], event["event"]) == ("track", "Audience Entered")
    assert event["properties"] == {"audience_key": "regulars", "regulars": True}
    assert event["context"]["personas"]["computation_key"] == "regulars"
    assert event["context"]["personas"]["computation_class"] == "audience"
    assert event["timestamp"] == "2026-09-20T14:13:20.000Z"
    assert "asha@example.com" not in json.dumps(event)


def test_who_has_none_of_the_wanted_identifiers_is_withheld(
    tmp_path: Path, receiver: Receiver
) -> None:
    desk = desk_of(tmp_path, receiver.url, identifiers=("email", "crm_id"), batch=1)
    desk.audience.put(person("zoya", "regulars", identifiers=person("zoya").identifiers[:1]))
    done = desk.export().delivery
    assert done.withheld["no_identifier"] == 1
    (asha, _) = sorted(receiver.events(), key=lambda each: str(each["context"]["externalIds"]))
    assert asha["context"]["externalIds"] == [
        {"type": "email", "id": "asha@example.com", "collection": "users", "encoding": "none"}
    ]
    assert "userId" not in asha


def test_identify_states_a_trait(tmp_path: Path, receiver: Receiver) -> None:
    desk_of(tmp_path, receiver.url, shape="identify").export()
    assert {json.dumps(each["traits"]) for each in receiver.events()} == {'{"regulars": true}'}


def test_a_request_is_signed_with_both_keys_while_they_change(
    tmp_path: Path, receiver: Receiver
) -> None:
    desk_of(tmp_path, receiver.url, old_secret="the one before").export()
    _, headers, body = receiver.requests[0]
    stamp = headers["X-Onefold-Timestamp"]
    expected = [
        "v1=" + hmac.new(key, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        for key in (SECRET.encode(), b"the one before")
    ]
    assert headers["X-Onefold-Signature"].split(",") == expected
    assert stamp == str(NOON // 1000)


def test_what_is_sent_again_has_the_same_ids(tmp_path: Path, receiver: Receiver) -> None:
    desk = desk_of(tmp_path, receiver.url)
    desk.export()
    desk.export()
    first, second = ({e["messageId"] for e in body["batch"]} for body in receiver.taken)
    assert first == second
    assert len({headers["Idempotency-Key"] for _, headers, _ in receiver.requests}) == 1


@pytest.mark.parametrize("trouble", [500, 503, 429, 408, "drop", "nonsense"])
def test_what_passes_by_is_tried_again(
    tmp_path: Path, receiver: Receiver, trouble: int | str
) -> None:
    receiver.behaviour = lambda number, body: trouble if number < 3 else 200
    desk = desk_of(tmp_path, receiver.url, retry_max_s=20.0)
    assert desk.export().delivery.result == "delivered"
    assert {each["userId"] for each in receiver.events()} == {"asha", "ravi"}
    assert len(receiver.requests) >= 3


def test_a_server_is_not_asked_before_it_said(tmp_path: Path, receiver: Receiver) -> None:
    receiver.behaviour = lambda number, body: (429, {"Retry-After": "1"}) if number == 1 else 200
    began = time.monotonic()
    desk_of(tmp_path, receiver.url, retry_max_s=20.0).export()
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize("trouble", ["hang", "drip", 500, "nonsense", "drop"])
def test_who_never_answers_well_ends_the_run_in_time_and_the_next_goes_on(
    tmp_path: Path, receiver: Receiver, trouble: int | str
) -> None:
    desk = desk_of(tmp_path, receiver.url, people=30, batch=10)
    patient = desk.destination
    desk.export("delta")
    for number in range(1_500):
        desk.audience.put(person(f"q{number}", "regulars"), NOON + 1)
    # The first thousand are acknowledged, then there is trouble in the middle of the rest.
    asked = len(receiver.requests) + 120
    receiver.behaviour = lambda number, body: trouble if number > asked else 200
    desk.destination = hook(receiver.url, batch=10, timeout_s=1.0)
    began = time.monotonic()
    with pytest.raises(TargetUnavailable, match="the next run goes on from there"):
        desk.export("delta")
    assert time.monotonic() - began < 10
    told = len(receiver.events())
    receiver.behaviour = lambda number, body: 200
    desk.destination = patient
    desk.export("delta")
    assert len(receiver.events()) - told <= 1_500 - (1_000 if told >= 1_030 else 0)
    assert len({each["userId"] for each in receiver.events()}) == 30 + 1_500
    assert len({each["messageId"] for each in receiver.events()}) == 30 + 1_500


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    desk = desk_of(tmp_path, f"http://127.0.0.1:{port}/hook")
    with pytest.raises(TargetUnavailable, match="refused"):
        desk.export()
    assert desk.deliveries.positions("x") == {}


def test_one_bad_event_is_found_and_the_others_are_taken(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.behaviour = lambda number, body: 422 if b'"p17"' in body or b'"p3"' in body else 200
    desk = desk_of(tmp_path, receiver.url, people=40, batch=40)
    done = desk.export().delivery
    assert len(receiver.events()) == 38
    assert done.withheld == {"refused_by_destination": 2}
    assert {json.loads(raw)["userId"] for raw, _ in desk.letters} == {"p3", "p17"}
    assert {why for _, why in desk.letters} == {"answered 422"}


@pytest.mark.parametrize("status", [301, 302, 401, 403, 404, 410])
def test_a_wrong_address_or_key_ends_the_run_and_nothing_becomes_a_letter(
    tmp_path: Path, receiver: Receiver, status: int
) -> None:
    receiver.behaviour = lambda number, body: (status, {"Location": "/elsewhere"})
    desk = desk_of(tmp_path, receiver.url)
    with pytest.raises(TargetRefused, match=f"answered {status}"):
        desk.export()
    assert (len(receiver.requests), desk.letters) == (1, [])


def test_an_answer_of_any_length_or_kind_is_taken_by_its_status(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.answer = b"\xff\x00{" * 100_000
    desk = desk_of(tmp_path, receiver.url, people=30, batch=10)
    assert desk.export().delivery.people == 30
    assert len(receiver.events()) == 30


def test_a_full_export_tells_first_who_left(tmp_path: Path, receiver: Receiver) -> None:
    desk = desk_of(tmp_path, receiver.url)
    desk.export()
    desk.audience.put(person("ravi"), NOON + 1)
    desk.export()
    said = [each["event"] for each in receiver.events() if each["userId"] == "ravi"]
    assert said == ["Audience Entered", "Audience Exited"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://example.com/x", "must be https"),
        ("ftp://example.com", "must be an address"),
        ("https://", "must be an address"),
        ("https://user:secret@example.com", "must not hold a user"),
    ],
)
def test_people_are_posted_to_safe_addresses_only(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Address.parse(url)


def test_a_place_hides_what_a_query_holds() -> None:
    assert Address.parse("https://h.example/a?key=secret").place == "https://h.example:443/a"

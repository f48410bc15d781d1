"""From messages to activity, links and dead letters: what the record stage reads, believes and refuses."""

from typing import Any

import msgspec
import pytest

from identity.event import Event
from ingest.decode import decode
from ingest.log import LogUnavailable, Message
from ingest.messages import (
    RECEIVED,
    SOURCE,
    activity_in,
    event_in,
    headers_of,
    key_of,
    source_in,
    statements_in,
)
from ingest.record import record
from ingest.workers.letters import FAILED
from tests.ingest.workers.world import SETTINGS, World
from tests.workspace import KEYS, NOON

EVENTS, ACTIVITY, LINKS, LETTERS = map(
    SETTINGS.topic, ("events", "activity", "links", "deadletters")
)


def rudder(**fields: Any) -> bytes:
    """An event as RudderStack's Kafka destination writes it: JSON with sorted keys, times as text."""
    event = {
        "anonymousId": "b1", "channel": "web", "context": {"library": {"name": "RudderLabs JavaScript SDK"}},
        "event": "Product Viewed", "integrations": {"All": True}, "messageId": "m1",
        "originalTimestamp": "2026-09-21T14:13:20.000Z", "properties": {"product_id": "tea"},
        "receivedAt": "2026-09-21T14:13:25.500Z", "request_ip": "10.0.0.1",
        "rudderId": "r", "sentAt": "2026-09-21T14:13:21.000Z", "timestamp": "2026-09-21T14:13:24.500Z",
        "type": "track", "userId": "",
    }  # fmt: skip
    return msgspec.json.encode(event | fields, order="sorted")


@pytest.fixture
def world() -> World:
    made = World(0, trouble=0.0)
    made.start("record")
    return made


def activity(world: World) -> list[Any]:
    return [activity_in(message) for message in world.log.messages(ACTIVITY)]


def letters(world: World) -> list[tuple[str, str, str, bytes]]:
    return [(e.reason, e.source, e.origin, e.raw) for e in world.durable.letters.values()]


def test_what_rudderstack_wrote_is_read_as_it_says(world: World) -> None:
    world.log.append("web", rudder(), b"b1")
    world.drain()
    (found,) = activity(world)
    assert found.source == "web"
    assert found.received_ms == 1_790_000_005_500
    assert found.time_ms == 1_790_000_004_500
    assert found.key_ms == 1_790_000_000_000
    assert (found.message_id, found.name, found.facts.items[0].id) == (
        "m1",
        "Product Viewed",
        "tea",
    )
    assert found.raw == rudder()


def test_activity_goes_to_the_log_of_its_leaf(world: World) -> None:
    for n in range(20):
        world.log.append("web", rudder(messageId=f"m{n}", userId=f"u{n % 3}"), b"u")
    world.drain()
    messages = world.log.messages(ACTIVITY)
    assert len(messages) == 20
    assert all(message.key == activity_in(message).leaf for message in messages)
    assert len({message.key for message in messages}) == 3


def test_without_a_receivedat_the_broker_says_when_it_came(world: World) -> None:
    event = msgspec.json.decode(rudder(), type=dict[str, Any])
    del event["receivedAt"]
    raw = msgspec.json.encode(event)
    message = Message("web", 0, 7, NOON + 77, b"", raw)
    decoded = event_in(message, world.source)
    assert isinstance(decoded, Event)
    assert decoded.received_ms == NOON + 77
    assert event_in(message, world.source) == decoded


def test_on_our_own_topic_our_headers_count(world: World) -> None:
    world.log.append(EVENTS, rudder(), b"b1", {SOURCE: b"app", RECEIVED: b"1790000009000"})
    world.log.append(EVENTS, rudder(messageId="m2"), b"b1", {RECEIVED: b"soon"})
    world.drain()
    first, second = sorted(activity(world), key=lambda each: each.message_id)
    assert (first.source, first.received_ms) == ("app", 1_790_000_009_000)
    assert (second.source, second.received_ms) == (EVENTS, 1_790_000_005_500)


def test_on_a_topic_of_others_a_header_names_no_source(world: World) -> None:
    world.log.append("web", rudder(), b"b1", {SOURCE: b"backend"})
    world.drain()
    assert [each.source for each in activity(world)] == ["web"]


def test_an_event_sent_through_our_topic_is_the_same_event(world: World) -> None:
    sent = decode(rudder(userId=" asha "), NOON, world.source)
    assert isinstance(sent, Event)
    message = Message(EVENTS, 0, 0, NOON + 5, key_of(sent), sent.raw, headers_of(sent))
    assert source_in(message) == "web"
    assert event_in(message, world.source) == sent
    assert key_of(sent) == b"asha"


def test_garbage_is_a_dead_letter_that_says_where_it_stood(world: World) -> None:
    garbage = b"\xff\xfe\x00 not json"
    at = world.log.append("web", garbage, b"x")
    world.log.append("web", rudder(), b"x")
    nameless = world.log.append("web", rudder(messageId="m2", anonymousId="null"), b"x")
    world.drain()
    assert len(activity(world)) == 1
    assert sorted(letters(world)) == sorted(
        [
            ("not_utf8", "web", at.origin, garbage),
            ("names_nobody", "web", nameless.origin, nameless.value),
        ]
    )
    told = {message.headers["reason"]: message for message in world.log.messages(LETTERS)}
    assert told[b"not_utf8"].headers["topic"] == b"web"
    assert told[b"not_utf8"].headers["partition"] == b"%d" % at.partition
    assert told[b"not_utf8"].headers["offset"] == b"%d" % at.offset
    body = msgspec.json.decode(told[b"names_nobody"].value)
    assert body["raw"].encode() == nameless.value
    assert body["origin"] == nameless.origin
    assert msgspec.json.decode(told[b"not_utf8"].value)["raw_base64"] == "//4AIG5vdCBqc29u"


def test_a_redelivered_dead_letter_is_kept_once(world: World) -> None:
    world.log.append("web", b"garbage", b"x")
    world.drain()
    world.log.reset(SETTINGS.group("record"))
    world.log.evict(world.processes[0].consumers[0])
    world.drain()
    assert len(letters(world)) == 1


def test_links_are_sent_once_though_many_events_say_them(world: World) -> None:
    for n in range(10):
        raw = rudder(messageId=f"m{n}", type="identify", userId="asha", traits={"email": "a@b.com"})
        world.log.append("web", raw, b"asha")
        world.drain()
    links = [link for m in world.log.messages(LINKS) for link in statements_in(m).links]
    assert len(links) == 1
    assert world.durable.uses
    assert len(world.durable.identifiers) == 3


def test_what_was_not_flushed_is_sent_again_and_not_taken_for_known(world: World) -> None:
    failures = [3]

    def fault(step: str) -> None:
        if step == "flush" and failures[0]:
            failures[0] -= 1
            world.log.messages(LINKS)
            raise LogUnavailable("the broker is away")

    world.log.fault = fault
    world.log.append(
        "web", rudder(type="identify", userId="asha", traits={"email": "a@b.com"}), b"x"
    )
    world.drain()
    # A link, and a use of a device that is new, each as often as it took.
    assert len(world.log.messages(LINKS)) == 2 * 4
    assert world.log.committed(SETTINGS.group("record"))


def test_an_event_that_breaks_the_stage_is_kept_as_it_came(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking(events: list[Event], *others: Any) -> Any:
        if any(event.message_id == "bad" for event in events):
            raise KeyError("asha@example.com")
        return record(events, *others)

    monkeypatch.setattr("ingest.workers.record.record", breaking)
    for name in ("m1", "bad", "m2"):
        world.log.append("web", rudder(messageId=name), b"x")
    world.drain()
    assert [each.message_id for each in activity(world)] == ["m1", "m2"]
    ((reason, source, _, raw),) = letters(world)
    assert (reason, source, raw) == (FAILED, "web", rudder(messageId="bad"))
    (letter,) = world.durable.letters.values()
    assert "KeyError at test_record.py" in letter.detail
    assert "asha" not in letter.detail


def test_the_same_events_in_one_process_have_the_same_leaves(world: World) -> None:
    assert KEYS.fingerprint() == KEYS.fingerprint()
    world.log.append("web", rudder(userId="asha"), b"asha")
    world.drain()
    (found,) = activity(world)
    assert found.leaf == KEYS.hasher().node("user_id", "asha")

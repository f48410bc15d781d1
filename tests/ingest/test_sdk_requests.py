"""Every request that a real SDK once made, made again (captures: facts/rudderstack.md §3)."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from identity.event import Source
from ingest.collector import Collector
from ingest.http.keys import WriteKeys
from tests.ingest.http_client import NOW, Client, Recording, Reply, serving

FOLDER = Path(__file__).parents[3] / "shared" / "sdk-requests"
CAPTURES: dict[str, dict[str, Any]] = {
    f"{path.stem}-{number}": json.loads(line)
    for path in sorted(FOLDER.glob("*.jsonl"))
    for number, line in enumerate(path.read_text().splitlines(), 1)
}
pytestmark = pytest.mark.skipif(not CAPTURES, reason=f"no captured requests in {FOLDER}")
_OURS = {"host", "content-length", "connection", "accept-encoding"}


def write_key(capture: dict[str, Any]) -> str:
    """The key that a captured request bears."""
    if "basic_decoded" in capture:
        return str(capture["basic_decoded"]).rstrip(":")
    return str(capture["path"]).partition("writeKey=")[2].partition("&")[0]


def body_of(capture: dict[str, Any]) -> bytes | None:
    """The captured body as bytes, compressed as it was."""
    if capture["body"] is None:
        return None
    raw = json.dumps(capture["body"]).encode()
    return gzip.compress(raw) if capture["gzip"] else raw


def messages_of(capture: dict[str, Any]) -> list[dict[str, Any]]:
    """The events that a captured body holds."""
    messages: list[dict[str, Any]] = capture["body"].get("batch", [capture["body"]])
    return messages


def replay(client: Client, capture: dict[str, Any]) -> Reply:
    """Make the request again."""
    headers = {name: value for name, value in capture["headers"] if name.lower() not in _OURS}
    return client.ask(capture["method"], capture["path"], body_of(capture), headers)


@pytest.fixture(scope="module")
def taken() -> Recording:
    return Recording()


@pytest.fixture(scope="module")
def shop(taken: Recording) -> Iterator[Client]:
    """A collector that knows every key of the captures."""
    every = {write_key(capture) for capture in CAPTURES.values()}
    keys = WriteKeys({key: Source(name="shop") for key in every})
    with serving(Collector(keys, taken, lambda: NOW)) as client:
        yield client


@pytest.fixture(scope="module")
def stranger(taken: Recording) -> Iterator[Client]:
    """A collector that knows none of them."""
    keys = WriteKeys({"another": Source(name="shop")})
    with serving(Collector(keys, taken, lambda: NOW)) as client:
        yield client


@pytest.mark.parametrize("capture", CAPTURES.values(), ids=CAPTURES)
def test_a_real_request_gets_the_answer_its_sdk_needs(
    capture: dict[str, Any], shop: Client, stranger: Client, taken: Recording
) -> None:
    taken.events.clear()
    reply = replay(shop, capture)
    origin = next((value for name, value in capture["headers"] if name == "Origin"), None)
    if origin:
        assert reply.headers["access-control-allow-origin"] == origin
        assert reply.headers["access-control-allow-credentials"] == "true"
    if capture["method"] == "OPTIONS":
        asked = dict(capture["headers"])["Access-Control-Request-Headers"]
        assert reply.status == 204
        assert reply.headers["access-control-allow-headers"] == asked
    elif capture["path"].startswith("/sourceConfig/"):
        assert reply.status == 200
        assert json.loads(reply.body)["source"]["destinations"] == []
    else:
        assert (reply.status, reply.body) == (200, b"ok")
        assert_taken(taken, messages_of(capture))
        refused = replay(stranger, capture)
        assert (refused.status, refused.text) == (401, "invalid write key")


def assert_taken(taken: Recording, messages: list[dict[str, Any]]) -> None:
    assert not taken.refused
    assert [json.loads(event.raw) for event in taken.events] == messages
    for event, message in zip(taken.events, messages, strict=True):
        assert event.type == message["type"]
        assert event.message_id == message["messageId"]
        assert event.user_id == (message.get("userId") or "")
        assert event.anonymous_id == (message.get("anonymousId") or "")
        assert event.received_ms == NOW
        assert event.key_ms > 0
        if event.type == "identify":
            assert event.traits["email"] == "jane@example.com"
        if event.type == "alias":
            assert event.previous_id == message["previousId"]
        management = message["context"].get("consentManagement", {})
        allowed = dict.fromkeys(management.get("allowedConsentIds", []), True)
        denied = dict.fromkeys(management.get("deniedConsentIds", []), False)
        assert dict(event.consent) == allowed | denied


def test_there_are_captures_of_every_sdk() -> None:
    assert len(CAPTURES) >= 58

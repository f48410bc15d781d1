import gzip
import json
import logging
import socket
import time
import zlib

import pytest

from ingest.collector import BATCH_EVENTS_MAX, Collector
from ingest.decode import DEPTH_MAX, KEYS_MAX
from ingest.errors import CollectorError
from ingest.http import body as http_body
from ingest.http.body import InFlight
from ingest.http.keys import WriteKeys
from ingest.http.pixel import GIF
from ingest.http.serve import CollectorServer
from storage.errors import StoreUnavailable
from tests.ingest.http_client import (
    BACKEND,
    KEYS,
    NOW,
    WEB,
    Client,
    Recording,
    basic,
    bomb,
    serving,
)

NO_IDS = "request neither has anonymousId nor userId"
NO_EVENT = "event is not a valid rudder event"
PAGE = {"type": "page", "anonymousId": "a1", "messageId": "m1"}


# --- endpoints ---


@pytest.mark.parametrize(
    ("path", "type_name"),
    [
        ("/v1/identify", "identify"), ("/v1/track", "track"), ("/v1/page", "page"),
        ("/v1/screen", "screen"), ("/v1/group", "group"), ("/v1/alias", "alias"),
        ("/v1/merge", "merge"), ("/v1/i", "identify"), ("/v1/t", "track"), ("/v1/p", "page"),
        ("/v1/s", "screen"), ("/v1/g", "group"), ("/v1/a", "alias"),
    ],
)  # fmt: skip
def test_each_endpoint_takes_events_of_its_type(
    client: Client, taken: Recording, path: str, type_name: str
) -> None:
    reply = client.post(path, {"userId": "u1", "event": "Product Viewed"})
    assert (reply.status, reply.text) == (200, "ok")
    assert reply.headers["content-type"].startswith("text/plain")
    (event,) = taken.events
    assert (event.type, event.user_id, event.source, event.received_ms) == (
        type_name, "u1", "web", NOW,
    )  # fmt: skip


def test_the_endpoint_decides_the_type_and_the_stored_text_says_so(
    client: Client, taken: Recording
) -> None:
    client.post("/v1/identify", {**PAGE, "type": "page"})
    assert taken.events[0].type == "identify"
    assert json.loads(taken.events[0].raw)["type"] == "identify"


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/import", "/v1/b"])
def test_a_batch_keeps_its_order(client: Client, taken: Recording, path: str) -> None:
    batch = [{**PAGE, "messageId": f"m{n}"} for n in range(300)]
    reply = client.post(path, {"batch": batch, "sentAt": "2001-01-01T00:00:00Z"})
    assert (reply.status, reply.text) == (200, "ok")
    assert [event.message_id for event in taken.events] == [f"m{n}" for n in range(300)]
    assert taken.calls == 1


def test_the_sent_at_of_a_batch_is_ignored(client: Client, taken: Recording) -> None:
    event = {**PAGE, "originalTimestamp": "2026-11-18T10:00:00Z"}
    client.post("/v1/batch", {"batch": [event], "sentAt": "2001-01-01T00:00:00Z"})
    assert taken.events[0].time_ms == taken.events[0].key_ms == 1_794_996_000_000


def test_the_receipt_is_what_our_clock_says(client: Client, taken: Recording) -> None:
    client.post("/v1/page", {**PAGE, "receivedAt": "2001-01-01T00:00:00Z"})
    assert taken.events[0].received_ms == NOW


def test_a_beacon_brings_its_key_in_the_query(client: Client, taken: Recording) -> None:
    body = json.dumps({"batch": [PAGE]}).encode()
    reply = client.ask(
        "POST", "/beacon/v1/batch?writeKey=web-key", body, {"Content-Type": "text/plain"}
    )
    assert (reply.status, reply.text, len(taken.events)) == (200, "ok", 1)
    assert (
        client.ask("POST", "/beacon/v1/batch", body).text
        == "failed to read writekey from query params"
    )
    assert client.ask("POST", "/beacon/v1/batch?writeKey=x", body).status == 401


def test_a_pixel_is_an_event(client: Client, taken: Recording) -> None:
    reply = client.ask(
        "GET", "/pixel/v1/track?writeKey=web-key&anonymousId=a1&event=Opened&properties.mail=7"
    )
    assert (reply.status, reply.headers["content-type"], reply.body) == (200, "image/gif", GIF)
    (event,) = taken.events
    assert (event.type, event.name, event.properties) == ("track", "Opened", {"mail": "7"})
    assert b"web-key" not in event.raw


@pytest.mark.parametrize(
    "query",
    ["", "writeKey=no", "writeKey=web-key", "writeKey=web-key&a.b=1&a=2&a.b.c=3", "&".join(["a=1"] * 999)],
)  # fmt: skip
def test_a_pixel_is_an_image_even_if_the_event_is_none(
    client: Client, taken: Recording, query: str
) -> None:
    reply = client.ask("GET", f"/pixel/v1/page?{query}")
    assert (reply.status, reply.body) == (200, GIF)
    assert not taken.events


def test_analytics_js_gets_a_configuration_it_starts_on(client: Client) -> None:
    for path in ("/sourceConfig/?p=npm&writeKey=web-key", "/sourceConfig?writeKey=web-key"):
        reply = client.ask("GET", path)
        assert (reply.status, reply.headers["content-type"]) == (
            200,
            "application/json; charset=utf-8",
        )
        assert (
            json.loads(reply.body)["source"].items() >= {"config": {}, "destinations": []}.items()
        )
    reply = client.ask("GET", "/sourceConfig/", headers={"Authorization": basic("backend-key")})
    assert json.loads(reply.body)["source"]["id"] == "backend"
    assert client.ask("GET", "/sourceConfig/?writeKey=no").status == 401


def test_pages_for_machines(client: Client) -> None:
    assert json.loads(client.ask("GET", "/health").body) == {"server": "UP"}
    assert client.ask("GET", "/healthz").text == "ok"
    assert client.ask("GET", "/readyz").text == "ok"
    assert json.loads(client.ask("GET", "/version").body) == {"version": "1.2.3"}
    assert "Disallow: /" in client.ask("GET", "/robots.txt").text


def test_not_ready_is_said(taken: Recording) -> None:
    with serving(Collector(KEYS, taken, lambda: NOW, ready=lambda: False)) as client:
        assert client.ask("GET", "/readyz").status == 503
        assert client.ask("GET", "/healthz").status == 200


def test_the_head_of_a_page_has_no_body(client: Client) -> None:
    reply = client.ask("HEAD", "/healthz")
    assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"", "2")


def test_other_paths_and_methods_are_refused(client: Client) -> None:
    assert client.post("/v1/nothing", PAGE).status == 404
    reply = client.ask("GET", "/v1/track")
    assert (reply.status, reply.headers["allow"]) == (405, "POST, OPTIONS")
    assert client.post("/healthz", PAGE).status == 405


def test_any_page_may_send_with_any_header(client: Client) -> None:
    head = {
        "Origin": "https://shop.example", "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "anonymousid,authorization,rsa-retries,sentat",
    }  # fmt: skip
    reply = client.ask("OPTIONS", "/v1/track", headers=head)
    assert reply.status == 204
    assert reply.headers["access-control-allow-origin"] == "https://shop.example"
    assert reply.headers["access-control-allow-credentials"] == "true"
    assert reply.headers["access-control-allow-headers"] == head["Access-Control-Request-Headers"]
    assert "POST" in reply.headers["access-control-allow-methods"]
    assert reply.headers["access-control-max-age"] == "900"
    for key in ("web-key", "wrong"):  # a page must be able to read errors, too
        reply = client.post("/v1/page", PAGE, key, Origin="https://shop.example")
        assert reply.headers["access-control-allow-origin"] == "https://shop.example"


# --- write keys ---


def test_the_key_names_the_source(client: Client, taken: Recording) -> None:
    client.post("/v1/page", PAGE, "backend-key")
    assert taken.events[0].source == "backend"


def test_segment_sdks_may_bring_the_key_in_the_body(client: Client, taken: Recording) -> None:
    assert client.post("/v1/batch", {"batch": [PAGE], "writeKey": "web-key"}, "").status == 200
    assert client.post("/v1/page", {**PAGE, "writeKey": "web-key"}, "").status == 200
    assert client.post("/v1/page", {**PAGE, "writeKey": "no"}, "").text == "invalid write key"
    assert len(taken.events) == 2


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("", "failed to read writekey from header"),
        ("Bearer web-key", "failed to read writekey from header"),
        ("Basic !!!", "failed to read writekey from header"),
        (basic(""), "failed to read writekey from header"),
        (basic("unknown"), "invalid write key"),
        (basic("WEB-KEY"), "invalid write key"),
        (basic("\udcff".encode("utf-8", "surrogatepass").decode("latin-1")), "invalid write key"),
    ],
)
def test_without_a_known_key_nothing_is_taken(
    client: Client, taken: Recording, header: str, words: str
) -> None:
    reply = client.post("/v1/page", PAGE, "", **({"Authorization": header} if header else {}))
    assert (reply.status, reply.text) == (401, words)
    assert taken.calls == 0


def test_a_laptop_may_take_any_key(taken: Recording) -> None:
    keys = WriteKeys({"backend-key": BACKEND}, any_key=WEB)
    with serving(Collector(keys, taken, lambda: NOW)) as client:
        assert client.post("/v1/page", PAGE, "whatever").status == 200
        assert client.post("/v1/page", PAGE, "backend-key").status == 200
        assert client.post("/v1/page", PAGE, "").status == 401
    assert [event.source for event in taken.events] == ["web", "backend"]


# --- bad input ---


@pytest.mark.parametrize(
    ("body", "words", "reason"),
    [
        (b"{", "invalid json", "invalid_json"),
        (b"\xff\xfe{}", f"{NO_EVENT}: byte 0 is not valid UTF-8", "not_utf8"),
        (b"[]", NO_EVENT, "not_an_object"),
        (b"{}", NO_IDS, "no_identifier"),
        (b'{"userId":" ","anonymousId":null}', NO_IDS, "no_identifier"),
        (b'{"userId":["u"]}', f"{NO_EVENT}: userId is neither a text nor a number", "wrong_type"),
        (b'{"userId":"u","x":' + b"[" * 100_000,
         f"{NO_EVENT}: nested deeper than {DEPTH_MAX} levels", "too_deep"),
        (b"{" + b",".join(b'"k%d":1' % n for n in range(50_000)) + b"}", None, "too_large"),
        (b"{" + b",".join(b'"%d":1' % n for n in range(50_000)) + b"}",
         f"{NO_EVENT}: more than {KEYS_MAX} keys", "too_many_keys"),
    ],
    ids=["broken", "not utf-8", "list", "empty", "no ids", "wrong type", "deep", "large", "keys"],
)  # fmt: skip
def test_what_is_no_event_is_told_and_kept(
    client: Client, taken: Recording, body: bytes, words: str | None, reason: str
) -> None:
    began = time.perf_counter()
    reply = client.post("/v1/page", body)
    assert time.perf_counter() - began < 2
    assert reply.status == 400
    assert reply.headers["content-type"].startswith("text/plain")
    assert words is None or reply.text == words
    (letter,) = taken.refused
    assert letter.reason == reason
    assert letter.source == "web"


def test_an_empty_body_and_an_empty_batch_are_told(client: Client, taken: Recording) -> None:
    assert client.post("/v1/page", b"").text == "request body is nil"
    for batch in (b"{}", b'{"batch":[]}', b'{"batch":null}'):
        reply = client.post("/v1/batch", batch)
        assert (reply.status, reply.text) == (400, "empty batch payload")
    assert taken.calls == 0


@pytest.mark.parametrize(
    ("body", "words", "reason"),
    [
        (b'{"batch":[{"type":"page","userId":"u"},', "invalid json", "invalid_json"),
        (b'{"batch":{}}', NO_EVENT, "not_an_object"),
        (b"[1]", NO_EVENT, "not_an_object"),
        (b'{"batch":' + b"[" * 200_000, f"{NO_EVENT}: the batch is nested too deeply", "too_deep"),
    ],
)  # fmt: skip
def test_what_is_no_batch_is_kept_too(
    client: Client, taken: Recording, body: bytes, words: str, reason: str
) -> None:
    reply = client.post("/v1/batch", body)
    assert (reply.status, reply.text) == (400, words)
    assert [(letter.reason, letter.raw) for letter in taken.refused] == [(reason, body)]


def test_good_events_of_a_batch_are_taken_and_bad_ones_kept(
    client: Client, taken: Recording
) -> None:
    bad = [
        b"1", b"null", b"{}", b'{"type":"dance","userId":"u"}', b'{"userId":"u"}',
        b'{"type":"track","userId":"u"}', b'{"type":"page","userId":{}}',
        b'{"type":"page","userId":"u","x":"\xff"}',
        b'{"type":"page","userId":"u","x":' + b"[" * 70 + b"]" * 70 + b"}",
    ]  # fmt: skip
    good = json.dumps(PAGE).encode()
    body = b'{"batch":[' + b",".join([good, *bad, good]) + b"]}"
    reply = client.post("/v1/batch", body)
    assert (reply.status, reply.text) == (200, "ok")
    assert len(taken.events) == 2
    assert [letter.reason for letter in taken.refused] == [
        "not_an_object", "not_an_object", "no_type", "unknown_type", "no_type", "no_event_name",
        "wrong_type", "not_utf8", "too_deep",
    ]  # fmt: skip
    assert [letter.raw for letter in taken.refused] == bad


def test_a_batch_of_only_bad_events_says_what_is_wrong_with_the_first(
    client: Client, taken: Recording
) -> None:
    reply = client.post(
        "/v1/batch", {"batch": [{"type": "page"}, {"type": "dance", "userId": "u"}]}
    )
    assert (reply.status, reply.text) == (400, NO_IDS)
    assert len(taken.refused) == 2


def test_nan_from_python_and_half_an_emoji_from_javascript_are_mended(
    client: Client, taken: Recording
) -> None:
    batch = json.dumps(
        {"batch": [{**PAGE, "properties": {"price": float("nan"), "title": "\ud83d"}}]}
    )
    assert client.post("/v1/batch", batch.encode()).status == 200
    assert taken.events[0].properties == {"price": None, "title": "\ufffd"}
    json.loads(taken.events[0].raw)


def test_a_batch_has_a_largest_number_of_events(client: Client, taken: Recording) -> None:
    body = b'{"batch":[' + b",".join([b"{}"] * (BATCH_EVENTS_MAX + 1)) + b"]}"
    assert client.post("/v1/batch", body).status == 413
    assert taken.calls == 0


def test_errors_name_no_values(
    client: Client, taken: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    taken.failures = [RuntimeError("jane@example.com"), StoreUnavailable("jane@example.com")]
    with caplog.at_level(logging.DEBUG):
        for path in ("/v1/page", "/v1/page", "/v1/dance"):
            reply = client.post(path, {**PAGE, "userId": "jane@example.com"}, "web-key")
            assert "jane" not in reply.text
        client.post("/v1/page", {"userId": ["jane@example.com"]})
        client.post("/beacon/v1/batch?writeKey=secret-key", {"batch": [PAGE]}, "")
    assert "jane" not in caplog.text
    assert "-key" not in caplog.text
    assert all("jane" not in letter.detail for letter in taken.refused)


# --- bodies ---


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "text/plain", "image/png"]
)
@pytest.mark.parametrize("encoding", ["gzip", "", "identity"])
def test_gzip_is_told_by_its_first_bytes(
    client: Client, taken: Recording, content_type: str, encoding: str
) -> None:
    head = {"Content_Type": content_type} | ({"Content_Encoding": encoding} if encoding else {})
    assert client.post("/v1/page", gzip.compress(json.dumps(PAGE).encode()), **head).status == 200
    assert client.post("/v1/page", PAGE, **head).status == 200
    assert len(taken.events) == 2


def test_deflate_and_several_gzip_members_are_read(client: Client, taken: Recording) -> None:
    raw = json.dumps(PAGE).encode()
    assert client.post("/v1/page", zlib.compress(raw), Content_Encoding="deflate").status == 200
    assert client.post("/v1/page", gzip.compress(raw[:9]) + gzip.compress(raw[9:])).status == 200
    assert client.post("/v1/page", raw, Content_Encoding="br").status == 415


def test_a_gzip_bomb_is_refused_at_once(client: Client, taken: Recording) -> None:
    body = bomb(50_000_000)
    assert len(body) < 60_000
    began = time.perf_counter()
    reply = client.post("/v1/page", body, Content_Encoding="gzip")
    assert (reply.status, reply.text) == (413, "request size exceeds max limit")
    assert time.perf_counter() - began < 1
    assert taken.calls == 0


@pytest.mark.parametrize("cut", [3, 12, -9, -4])
def test_broken_gzip_is_told(client: Client, cut: int) -> None:
    reply = client.post("/v1/page", bomb(1000)[:cut], Content_Encoding="gzip")
    assert (reply.status, reply.text) == (400, "invalid gzip")


def _raw(port: int, *parts: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
        return answer


HEAD = b"POST /v1/page HTTP/1.1\r\nHost: x\r\nAuthorization: " + basic("web-key").encode() + b"\r\n"


def test_a_body_over_the_limit_is_not_read(client: Client, taken: Recording) -> None:
    answer = _raw(client.port, HEAD + b"Content-Length: 99999999999\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()
    assert client.post("/v1/page", b"0" * 5_000_000).text == "request size exceeds max limit"
    chunks = iter([b"0" * 100_000] * 50)
    reply = client.ask("POST", "/v1/page", chunks, {"Authorization": basic("web-key")})
    assert reply.status == 413
    assert taken.calls == 0


def test_a_chunked_body_is_read(client: Client, taken: Recording) -> None:
    raw = json.dumps(PAGE).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (1, raw[n : n + 1]) for n in range(len(raw)))
    answer = _raw(
        client.port,
        HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
        chunks,
        b"0\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert len(taken.events) == 1


def test_a_client_that_goes_away_leaves_nothing_behind(client: Client, taken: Recording) -> None:
    with socket.create_connection(("127.0.0.1", client.port)) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n" + json.dumps(PAGE).encode())
    assert client.ask("GET", "/healthz").status == 200
    assert taken.calls == 0


def test_a_slow_body_is_given_up(
    client: Client, taken: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_body, "BODY_SECONDS_MAX", 0.05)
    answer = _raw(client.port, HEAD + b"Content-Length: 1000\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert taken.calls == 0


# --- trouble behind it ---


@pytest.mark.parametrize("failure", [StoreUnavailable("disk full"), OSError(28, "No space left")])
def test_a_store_that_cannot_take_events_is_for_trying_again(
    client: Client, taken: Recording, failure: Exception
) -> None:
    taken.failures = [failure]
    reply = client.post("/v1/page", PAGE)
    assert (reply.status, reply.text) == (503, "store unavailable, try again")
    assert client.post("/v1/page", PAGE).status == 200
    assert len(taken.events) == 1


def test_an_unforeseen_failure_is_for_trying_again_too(client: Client, taken: Recording) -> None:
    taken.failures = [ZeroDivisionError()]
    assert client.post("/v1/page", PAGE).status == 500
    assert client.post("/v1/page", PAGE).status == 200


def test_too_much_at_a_time_is_told_to_come_again(taken: Recording) -> None:
    room = InFlight(requests_max=0)
    with serving(Collector(KEYS, taken, lambda: NOW, in_flight=room)) as client:
        reply = client.post("/v1/page", PAGE)
        assert reply.status == 503
        assert reply.headers["retry-after"] == "1"
        assert client.ask("GET", "/healthz").status == 200


def test_room_is_given_back(taken: Recording) -> None:
    room = InFlight()
    with serving(Collector(KEYS, taken, lambda: NOW, in_flight=room)) as client:
        client.post("/v1/page", PAGE)
        client.post("/v1/page", b"{")
        client.post("/v1/page", bomb(5_000_000))
    assert (room.requests, room.bytes) == (0, 0)


def test_what_was_submitted_is_finished_before_the_end(taken: Recording) -> None:
    stopped = []

    async def on_stop() -> None:
        stopped.append(len(taken.events))

    with serving(Collector(KEYS, taken, lambda: NOW, on_stop=on_stop)) as client:
        client.post("/v1/page", PAGE)
    assert stopped == [1]


def test_an_address_that_is_taken_is_named(client: Client, taken: Recording) -> None:
    other = CollectorServer(Collector(KEYS, taken, lambda: NOW), port=client.port)
    with pytest.raises(CollectorError, match=f"127.0.0.1:{client.port}: Address already in use"):
        other.bind()

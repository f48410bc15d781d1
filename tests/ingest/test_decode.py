import json
import random
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.event import TYPES, Event, Source
from ingest.deadletters import REASONS
from ingest.decode import (
    DEPTH_MAX,
    EVENT_BYTES_MAX,
    KEYS_MAX,
    MESSAGE_ID_MAX,
    Refused,
    decode,
    decode_many,
)

NOW = 1_790_000_000_000
SOURCE = Source(name="web")


def read(message: Any = None, forced_type: str = "", **fields: Any) -> Event | Refused:
    """Decode a message; a page by `u` unless `fields` say otherwise."""
    if not isinstance(message, bytes):
        message = json.dumps(
            message if message is not None else {"type": "page", "userId": "u", **fields}
        ).encode()
    return decode(message, NOW, SOURCE, forced_type)


def event_of(message: Any = None, forced_type: str = "", **fields: Any) -> Event:
    event = read(message, forced_type, **fields)
    assert isinstance(event, Event), event
    return event


def refusal_of(message: Any = None, forced_type: str = "", **fields: Any) -> str:
    refused = read(message, forced_type, **fields)
    assert isinstance(refused, Refused), refused
    assert refused.reason in REASONS
    assert refused.source == "web"
    assert refused.received_ms == NOW
    return refused.reason


# --- what is read ---


def test_everything_an_event_says_is_read() -> None:
    message = {
        "type": "Identify", "messageId": " m1\u200b ", "userId": " u1 ", "anonymousId": "a1",
        "originalTimestamp": NOW - 5, "sentAt": NOW, "traits": {"email": "new@b.com", "age": 7},
        "properties": {"x": [1, {"y": None}]}, "unknown": {"deep": [1]},
        "context": {
            "traits": {"email": "old@b.com", "phone": "1"}, "userHash": "ab12",
            "device": {"id": "d1", "advertisingId": "ad1", "model": "x"},
            "externalId": [{"type": "crm_id", "id": 4711}, {"type": "ga_client_id", "id": "GA1.2.3"}],
            "externalIds": {"type": "loyalty", "id": "L1"},
            "consentManagement": {"allowedConsentIds": ["ads"], "deniedConsentIds": ["mail"]},
        },
    }  # fmt: skip
    event = event_of(message)
    assert event == Event(
        type="identify", message_id="m1", received_ms=NOW, time_ms=NOW - 5, key_ms=NOW - 5,
        source="web", user_id="u1", anonymous_id="a1", device_id="d1", advertising_id="ad1",
        ga_client_id="GA1.2.3", external_ids=(("crm_id", "4711"), ("loyalty", "L1")), user_hash="ab12",
        traits={"email": "new@b.com", "age": 7, "phone": "1"}, properties={"x": [1, {"y": None}]},
        consent=(("ads", True), ("mail", False)), raw=event.raw,
    )  # fmt: skip


@pytest.mark.parametrize("type_name", TYPES)
def test_every_type_is_taken_in_any_case(type_name: str) -> None:
    for spelling in (type_name, type_name.upper(), f" {type_name.title()} "):
        assert event_of(type=spelling, event="e").type == type_name


def test_the_name_is_the_event_of_a_track_and_the_name_of_a_page() -> None:
    assert event_of(type="track", event="Order Completed", name="x").name == "Order Completed"
    assert event_of(type="page", event="x", name="Home").name == "Home"
    assert event_of(type="track", event=404).name == "404"


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        (12345, "12345"), (12345.0, "12345"), (" u ", "u"), ("u\u200b\ufeff", "u"), ("\u00e9", "\u00e9"),
        ("e\u0301", "\u00e9"), ("a\u0000b", "ab"), (2**63, str(2**63)), (2**64 + 1, str(2**64 + 1)),
    ],
)  # fmt: skip
def test_ids_are_text(written: Any, read_as: str) -> None:
    assert event_of(userId=written).user_id == read_as
    # By the lenient path, too.
    assert event_of(userId=written, traits="").user_id == read_as


@pytest.mark.parametrize("absent", [None, "", "  ", "\u200b"])
def test_null_empty_and_absent_are_alike(absent: Any) -> None:
    event = event_of(anonymousId="a", userId=absent, previousId=absent, name=absent)
    assert (event.user_id, event.previous_id, event.name) == ("", "", "")
    assert event_of(context=None, traits=None, properties=None).traits == {}


@pytest.mark.parametrize("empty", ["", [], False, None, {}])
def test_an_empty_object_may_be_written_in_any_way(empty: Any) -> None:
    event = event_of(context=empty, traits=empty, properties=empty)  # PHP writes {} as []
    assert (event.traits, event.properties) == ({}, {})
    assert event_of(context={"traits": empty, "device": empty}).device_id == ""


def test_external_ids_may_be_a_list_an_object_or_nonsense() -> None:
    one = {"type": "crm_id", "id": "7"}
    for written in (one, [one], [one, None, 3, "x", {}, {"type": "a"}, {"id": "b"}]):
        assert event_of(context={"externalId": written}).external_ids == (("crm_id", "7"),)
        assert event_of(context={"externalIds": written}).external_ids == (("crm_id", "7"),)
    assert event_of(context={"externalId": "x"}).external_ids == ()


def test_only_identify_takes_traits_from_the_top() -> None:
    both: dict[str, Any] = {"traits": {"a": 1, "b": 1}, "context": {"traits": {"b": 2, "c": 2}}}
    assert event_of(type="identify", **both).traits == {"a": 1, "b": 1, "c": 2}
    assert event_of(type="group", **both).traits == {"b": 2, "c": 2}


@pytest.mark.parametrize(
    ("context", "consent"),
    [
        (
            {"consentManagement": {"allowedConsentIds": ["a"], "deniedConsentIds": ["b"]}},
            {"a": True, "b": False},
        ),
        ({"consentManagement": {"allowedConsentIds": {"C1": "Ads"}, "deniedConsentIds": []}}, {"C1": True}),
        ({"consentManagement": {"allowedConsentIds": {"ads": ["a", "b"]}}}, {"a": True, "b": True}),
        ({"consentManagement": {"allowedConsentIds": ["a"], "deniedConsentIds": ["a"]}}, {"a": False}),
        (
            {"consent": {"categoryPreferences": {"ads": True, "mail": False, "x": "yes"}}},
            {"ads": True, "mail": False},
        ),
        ({"consent": {"categoryPreferences": []}, "consentManagement": 3}, {}),
        ({}, {}),
    ],
)  # fmt: skip
def test_consent_is_read_as_both_houses_write_it(
    context: dict[str, Any], consent: dict[str, bool]
) -> None:
    event = event_of(type="track", event="Segment Consent Preference Updated", context=context)
    assert dict(event.consent) == consent


# --- who it is ---


@pytest.mark.parametrize(
    "who",
    [
        {"userId": "u"}, {"anonymousId": "a"}, {"userId": 0.5},
        {"context": {"device": {"id": "d"}}}, {"context": {"externalId": [{"type": "crm_id", "id": 1}]}},
        {"context": {"externalId": {"type": "gaClientId", "id": "g"}}},
        {"context": {"traits": {"email": "a@b.com"}}}, {"traits": {"phone": 4915112345678}},
    ],
)  # fmt: skip
def test_any_identifier_will_do(who: dict[str, Any]) -> None:
    event_of({"type": "identify", **who})


@pytest.mark.parametrize(
    "who",
    [
        {}, {"userId": ""}, {"userId": " ", "anonymousId": None}, {"userId": False},
        {"context": {"device": {"advertisingId": "shared"}}}, {"properties": {"email": "a@b.com"}},
        {"context": {"traits": {"email": None, "phone": ""}}}, {"previousId": "p"},
    ],
)  # fmt: skip
def test_without_an_identifier_it_is_refused(who: dict[str, Any]) -> None:
    assert refusal_of({"type": "identify", **who}) == "no_identifier"


# --- ids of messages ---


def test_a_retry_of_a_message_without_id_has_the_same_id() -> None:
    one = b'{"type":"page","userId":"u","originalTimestamp":5,"sentAt":"x","big":99999999999999999999}'
    two = b' {"sentAt":7, "big":99999999999999999999, "originalTimestamp":5,\n"userId":"u","type":"page"}'
    first, second = decode(one, NOW, SOURCE), decode(two, NOW + 999, SOURCE)
    assert isinstance(first, Event)
    assert isinstance(second, Event)
    assert (first.message_id, first.key_ms) == (second.message_id, second.key_ms)
    assert first.message_id != event_of(originalTimestamp=5).message_id


def test_a_message_without_id_and_time_is_another_one_each_time() -> None:
    one, two = event_of(), decode(b'{"type":"page","userId":"u"}', NOW + 1, SOURCE)
    assert isinstance(two, Event)
    assert one.message_id != two.message_id
    assert (one.key_ms, two.key_ms) == (NOW, NOW + 1)


def test_a_message_with_an_id_and_no_time_has_a_key_that_a_retry_repeats() -> None:
    assert event_of(messageId="m").key_ms == 0


def test_an_overlong_message_id_still_tells_copies_apart() -> None:
    a, b = "x" * MESSAGE_ID_MAX + "a", "x" * MESSAGE_ID_MAX + "b"
    assert event_of(messageId=a).message_id == event_of(messageId=a).message_id
    assert event_of(messageId=a).message_id != event_of(messageId=b).message_id
    assert len(event_of(messageId=a).message_id) < 60
    assert event_of(messageId="x" * MESSAGE_ID_MAX).message_id == "x" * MESSAGE_ID_MAX


# --- the endpoint's type ---


def test_an_endpoints_type_replaces_the_messages_and_is_kept() -> None:
    raw = (
        b'{"type":"page","type":"x","event":"e","userId":"u","n":1.000,"big":99999999999999999999}'
    )
    event = event_of(raw, "track")
    assert event.type == "track"
    assert json.loads(event.raw)["type"] == "track"
    assert b'"n":1.000,"big":99999999999999999999' in event.raw
    assert decode(event.raw, NOW, SOURCE) == event
    refused = read(b'{"event":"e"}', "track")
    assert isinstance(refused, Refused)
    assert json.loads(refused.raw) == {"event": "e", "type": "track"}


# --- bad input ---


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "invalid_json"), (b"   ", "invalid_json"), (b"{", "invalid_json"), (b"nul", "invalid_json"),
        (b'{"type":"page","userId":"u"} x', "invalid_json"), (b"{'type':'page'}", "invalid_json"),
        (b'{"type":"page","userId":"u","n":1e999}', "invalid_json"),
        (b'{"type":"page","userId":"u","traits":{"n":1e999}}', "invalid_json"),
        (b'{"type":"page","userId":"u","traits":{"n":' + b"9" * 5000 + b"}}", "invalid_json"),
        (b'{"type":"page","userId":"\xff"}', "not_utf8"),
        (b'{"type":"page","userId":"u","unread":"\xed\xa0\x80"}', "not_utf8"),
        (b"[]", "not_an_object"), (b"null", "not_an_object"),
        (b'"x"', "not_an_object"), (b"1", "not_an_object"),
        (b'{"userId":"u"}', "no_type"), (b'{"userId":"u","type":null}', "no_type"),
        (b'{"userId":"u","type":"audiencelist"}', "unknown_type"), (b'{"userId":"u","type":7}', "unknown_type"),
        (b'{"userId":"u","type":["page"]}', "wrong_type"), (b'{"type":"page","userId":{"a":1}}', "wrong_type"),
        (b'{"type":"page","userId":"u","context":"x"}', "wrong_type"),
        (b'{"type":"page","userId":"u","properties":[1]}', "wrong_type"),
        (b'{"type":"track","userId":"u"}', "no_event_name"),
        (b'{"type":"track","userId":"u","event":" "}', "no_event_name"),
        (b'{"type":"track","userId":"u","event":{"name":"x"}}', "wrong_type"),
        (b'{"type":"track","userId":"u","event":["x"]}', "wrong_type"),
        (b"[" * 100_000, "too_deep"), (b'{"a":' * 100_000, "too_deep"), (b"x" * 512_001, "too_large"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_a_reason(raw: bytes, reason: str) -> None:
    assert refusal_of(raw) == reason
    refused = read(raw)
    assert isinstance(refused, Refused)
    assert refused.raw == raw


def test_repeated_keys_count_once_the_last_one() -> None:
    assert event_of(b'{"type":"page","userId":"a","userId":"b"}').user_id == "b"


@pytest.mark.parametrize(
    ("raw", "mended"),
    [
        (b'\xef\xbb\xbf{"type":"page","userId":"u"}', b'{"type":"page","userId":"u"}'),
        (
            b'{"type":"page","userId":"u","traits":{"a":NaN,"b":[-Infinity,Infinity],"c":"NaN \\" NaN"}}',
            b'{"type":"page","userId":"u","traits":{"a":null,"b":[null,null],"c":"NaN \\" NaN"}}',
        ),
        (
            b'{"type":"page","userId":"u","x":"\\uD83D \\ud83d\\ude00 \\\\ud83d \\udE00"}',
            b'{"type":"page","userId":"u","x":"\\ufffd \\ud83d\\ude00 \\\\ud83d \\ufffd"}',
        ),
    ],
    ids=["byte order mark", "not a number", "half an emoji"],
)
def test_what_can_be_mended_is(raw: bytes, mended: bytes) -> None:
    event = event_of(raw)
    assert event.raw == mended
    json.loads(mended)


def test_limits_hold_to_the_byte_the_level_and_the_key() -> None:
    def nested(levels: int) -> bytes:
        return b'{"type":"page","userId":"u","x":' + b"[" * levels + b"]" * levels + b"}"

    event_of(nested(DEPTH_MAX - 1))
    assert refusal_of(nested(DEPTH_MAX)) == "too_deep"
    keys = {f"k{n}": n for n in range(KEYS_MAX - 3)}
    event_of(properties=keys)
    assert refusal_of(properties={**keys, "more": 1}) == "too_many_keys"
    spare = EVENT_BYTES_MAX - len(json.dumps({"type": "page", "userId": "u", "x": ""}))
    event_of(x="x" * spare)
    assert refusal_of(x="x" * (spare + 1)) == "too_large"


@pytest.mark.parametrize(
    "raw",
    [
        b"{" + b",".join(b'"%x":1' % n for n in range(100_000)) + b"}",
        b"[" * EVENT_BYTES_MAX,
        b'{"a":' * (EVENT_BYTES_MAX // 5),
        b'{"x":"' + b"\\ud83d" * (EVENT_BYTES_MAX // 7) + b'"',
        b'"' * EVENT_BYTES_MAX,
        b'{"x":"' + b"\\" * (EVENT_BYTES_MAX - 10),
        b"NaN," * (EVENT_BYTES_MAX // 4),
        b'{"type":"page","userId":"u","traits":{"n":' + b"9" * 400_000 + b"}}",
    ],
    ids=["keys", "lists", "objects", "halves", "quotes", "backslashes", "nan", "digits"],
)
def test_hostile_input_costs_little(raw: bytes) -> None:
    began = time.process_time()
    assert refusal_of(raw)
    assert time.process_time() - began < 1


def test_a_detail_never_quotes_values() -> None:
    for fields in (
        {"userId": ["secret"]}, {"type": "secret"}, {"context": "secret"}, {"traits": ["secret"]},
    ):  # fmt: skip
        refused = read(**fields)
        assert isinstance(refused, Refused)
        assert "secret" not in refused.detail


# --- laws ---

_TEXT = st.text(max_size=20)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)
_FIELDS = (
    "type", "messageId", "userId", "anonymousId", "previousId", "event", "name", "timestamp",
    "originalTimestamp", "sentAt", "receivedAt", "traits", "properties", "context",
)  # fmt: skip
_IN_CONTEXT = (
    "traits", "device", "externalId", "externalIds", "consentManagement", "consent", "userHash",
)  # fmt: skip
_CONTEXTS = st.dictionaries(st.sampled_from(_IN_CONTEXT), _VALUES)
_MESSAGES = st.builds(
    lambda fields, context, usual: {**fields, **usual, "context": context},
    st.dictionaries(st.sampled_from(_FIELDS) | _TEXT, _VALUES),
    _CONTEXTS | _VALUES,
    st.fixed_dictionaries({"type": st.sampled_from(TYPES), "userId": _TEXT | st.integers()})
    | st.just({}),
)


@given(st.binary() | st.text().map(str.encode))
def test_no_bytes_raise(raw: bytes) -> None:
    decode(raw, NOW, SOURCE)
    decode(raw, NOW, SOURCE, "track", believe_received_at=True)


@given(_MESSAGES | _VALUES, st.sampled_from(("", *TYPES)), st.booleans())
def test_no_message_raises_and_what_is_kept_decodes_to_the_same(
    message: Any, forced_type: str, believe: bool
) -> None:
    raw = json.dumps(message).encode()
    decoded = decode(raw, NOW, SOURCE, forced_type, believe_received_at=believe)
    if isinstance(decoded, Refused):
        assert decoded.reason in REASONS
        assert decoded.detail.isprintable()
        return
    json.loads(decoded.raw)
    msgspec.msgpack.encode(decoded.name)
    assert decoded.message_id
    assert decode(decoded.raw, decoded.received_ms, SOURCE) == decoded


@given(_MESSAGES, st.randoms(use_true_random=False))
def test_the_order_of_keys_changes_nothing(message: dict[str, Any], random: random.Random) -> None:
    items = list(message.items())
    random.shuffle(items)
    raws = [json.dumps(message), json.dumps(dict(items), indent=2)]
    one, two = (decode(raw.encode(), NOW, SOURCE) for raw in raws)
    if isinstance(one, Event):
        assert isinstance(two, Event)
        assert msgspec.structs.replace(one, raw=b"") == msgspec.structs.replace(two, raw=b"")
    else:
        assert isinstance(two, Refused)


def test_many_are_decoded_as_each_one_is() -> None:
    raws = [b'{"type":"page","userId":"u"}', b"{", b'{"type":"page","userId":"v"}', b"1"]
    events, refused = decode_many(raws, NOW, SOURCE)
    assert [event.user_id for event in events] == ["u", "v"]
    assert [letter.raw for letter in refused] == [b"{", b"1"]

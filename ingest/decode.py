"""From bytes to a typed event, once, at the edge. Nothing raises: what is no event is `Refused`."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from identity.event import TYPES, Event, Source
from identity.normalize import text_of
from ingest.consent import consent_of
from ingest.deadletters import Refused
from ingest.mend import mend
from ingest.times import FUTURE_MAX_MS, event_time_ms, parse_ms

__all__ = ["Refused", "decode", "decode_many"]

EVENT_BYTES_MAX: Final = 512_000
"""Segment's limit is 500 KB an event; RudderStack's documentation says 32 KB (rudderstack.md §1.4)."""
DEPTH_MAX: Final = 64
"""Levels of nesting: real events have six; msgspec's own bound is the interpreter's stack."""
KEYS_MAX: Final = 10_000
"""Keys in one event, at all levels: the largest order of Online Retail II (541 lines) has some 2,200."""
MESSAGE_ID_MAX: Final = 200
"""A longer id is replaced by its hash, so that it still tells copies apart."""
_KEY_BYTES_MIN: Final = len('"":1,')
_TYPES: Final = frozenset(TYPES)
_GA_TYPES: Final = frozenset({"ga_client_id", "gaClientId", "gaclientid"})


class _Refusal(Exception):
    """Carries the reason out of the lenient path."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail


class _Device(msgspec.Struct):
    id: str | int | float | None = None
    advertising_id: str | int | float | None = msgspec.field(default=None, name="advertisingId")


class _Context(msgspec.Struct, rename="camel"):
    traits: dict[str, Any] | None = None
    device: _Device | None = None
    external_id: Any = None
    external_ids: Any = None
    consent_management: Any = None
    consent: Any = None
    user_hash: str | None = None


class _Message(msgspec.Struct, rename="camel"):
    """The fields that are read, as SDKs send them."""

    type: str | None = None
    message_id: str | None = None
    anonymous_id: str | int | float | None = None
    user_id: str | int | float | None = None
    previous_id: str | int | float | None = None
    event: str | None = None
    name: str | None = None
    original_timestamp: str | int | float | None = None
    sent_at: str | int | float | None = None
    timestamp: str | int | float | None = None
    received_at: str | int | float | None = None
    context: _Context | None = None
    traits: dict[str, Any] | None = None
    properties: dict[str, Any] | None = None
    merge_properties: Any = None


_strict: Final = msgspec.json.Decoder(_Message)
_any: Final = msgspec.json.Decoder()
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NO_CONTEXT: Final = _Context()


def decode(
    raw: bytes,
    received_ms: int,
    source: Source,
    forced_type: str = "",
    *,
    believe_received_at: bool = False,
) -> Event | Refused:
    """The event in `raw` (JSON), or why it is none.

    `forced_type` is that of an endpoint such as /v1/track: it replaces what the message says, also in
    `raw`, as RudderStack's gateway does. With `believe_received_at` the message's own `receivedAt`
    counts, as in dumps and topics that a gateway wrote; without one, its event time does (an import),
    and `received_ms` only where it states none.
    """
    try:
        message, raw = _parse(raw)
        if forced_type and message.type != forced_type:
            raw = _with_type(raw, forced_type)
        return _event(message, raw, received_ms, source, forced_type, believe_received_at)
    except _Refusal as refusal:
        return Refused(
            reason=refusal.reason,
            detail=refusal.detail,
            raw=_with_type(raw, forced_type) if forced_type else raw,
            received_ms=received_ms,
            source=source.name,
        )


def decode_many(
    raws: Iterable[bytes | msgspec.Raw], received_ms: int, source: Source
) -> tuple[list[Event], list[Refused]]:
    """The events of a batch, and what in it is none; each in its order."""
    events: list[Event] = []
    refused: list[Refused] = []
    for raw in raws:
        decoded = decode(bytes(raw), received_ms, source)
        if isinstance(decoded, Event):
            events.append(decoded)
        else:
            refused.append(decoded)
    return events, refused


def _parse(raw: bytes) -> tuple[_Message, bytes]:
    """The message, and its text: mended where it was not quite JSON."""
    if len(raw) > EVENT_BYTES_MAX:
        raise _Refusal("too_large", f"{len(raw)} bytes; an event has at most {EVENT_BYTES_MAX}")
    if not raw.isascii():
        _check_utf8(raw)
    # Counting is cheap and never too low, so that few messages are looked at more closely.
    if raw.count(b"{") + raw.count(b"[") <= DEPTH_MAX and len(raw) <= KEYS_MAX * _KEY_BYTES_MIN:
        try:
            return _strict.decode(raw), raw
        except (msgspec.DecodeError, ValueError):
            pass  # the slow path says why, or reads it all the same
    try:
        return _message(raw), raw
    except _Refusal as refusal:
        if refusal.reason != "invalid_json" or (mended := mend(raw)) == raw:
            raise
    return _message(mended), mended


def _message(raw: bytes) -> _Message:
    value = _any_json(raw)
    _check_shape(value)
    try:
        return _strict.decode(raw)
    except msgspec.ValidationError:
        return _lenient(value)
    except (msgspec.DecodeError, ValueError) as error:
        raise _no_json(error) from None


def _check_utf8(raw: bytes) -> None:
    # msgspec does not look into the fields that are not read, but whoever reads `raw` later does.
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        raise _Refusal("not_utf8", f"byte {error.start} is not valid UTF-8") from None


def _with_type(raw: bytes, type_name: str) -> bytes:
    """`raw` saying `type_name`, its other fields as they were; `raw` itself if it is no object."""
    try:
        fields = _fields.decode(raw)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return raw
    fields["type"] = msgspec.Raw(msgspec.json.encode(type_name))
    return msgspec.json.encode(fields)


def _any_json(raw: bytes) -> Any:
    try:
        return _any.decode(raw)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise _no_json(error) from None


def _no_json(error: Exception) -> _Refusal:
    if isinstance(error, RecursionError):
        return _Refusal("too_deep", f"nested deeper than {DEPTH_MAX} levels")
    # msgspec names the place, not the content.
    return _Refusal(
        "invalid_json", str(error) if isinstance(error, msgspec.DecodeError) else "not JSON"
    )


def _check_shape(value: Any) -> None:
    """Refuse too many keys or levels, level by level (no recursion)."""
    level, keys, depth = [value], 0, 0
    while level:
        depth += 1
        if depth > DEPTH_MAX:
            raise _Refusal("too_deep", f"nested deeper than {DEPTH_MAX} levels")
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                keys += len(each)
                below += each.values()
            elif isinstance(each, list):
                below += each
        if keys > KEYS_MAX:
            raise _Refusal("too_many_keys", f"more than {KEYS_MAX} keys")
        level = [each for each in below if isinstance(each, dict | list)]


def _lenient(value: Any) -> _Message:
    """A message whose fields have other types than the spec's: read what can be read, name what cannot."""
    if not isinstance(value, dict):
        raise _Refusal("not_an_object", "an event is a JSON object")
    read = _object(value, "context", "context") or {}
    device = read.get("device")
    device = device if isinstance(device, dict) else {}
    return _Message(
        type=_text(value, "type"),
        message_id=_text(value, "messageId"),
        anonymous_id=_text(value, "anonymousId"),
        user_id=_text(value, "userId"),
        previous_id=_text(value, "previousId"),
        merge_properties=value.get("mergeProperties"),
        event=_text(value, "event"),
        name=_text(value, "name"),
        original_timestamp=_number_or_text(value.get("originalTimestamp")),
        sent_at=_number_or_text(value.get("sentAt")),
        timestamp=_number_or_text(value.get("timestamp")),
        received_at=_number_or_text(value.get("receivedAt")),
        context=_Context(
            traits=_object(read, "traits", "context.traits"),
            device=_Device(
                id=text_of(device.get("id")), advertising_id=text_of(device.get("advertisingId"))
            ),
            external_id=read.get("externalId"),
            external_ids=read.get("externalIds"),
            consent_management=read.get("consentManagement"),
            consent=read.get("consent"),
            user_hash=text_of(read.get("userHash")),
        ),
        traits=_object(value, "traits", "traits"),
        properties=_object(value, "properties", "properties"),
    )


def _text(value: dict[str, Any], field: str) -> str:
    found = value.get(field)
    if found is None or isinstance(found, str | int | float):
        return text_of(found)
    raise _Refusal("wrong_type", f"{field} is neither a text nor a number")


def _object(value: dict[str, Any], field: str, path: str) -> dict[str, Any] | None:
    found = value.get(field)
    if found is None or isinstance(found, dict):
        return found
    if found in ("", [], False):
        return None
    raise _Refusal("wrong_type", f"{path} is not an object")


def _number_or_text(value: Any) -> str | int | float | None:
    return value if isinstance(value, str | int | float) else None


def _event(
    message: _Message,
    raw: bytes,
    received_ms: int,
    source: Source,
    forced_type: str,
    believe_received_at: bool,
) -> Event:
    type_name = forced_type or message.type or ""
    if type_name not in _TYPES:
        type_name = text_of(type_name).lower()
    if type_name not in _TYPES:
        raise _Refusal(
            "unknown_type" if type_name else "no_type", f"type must be one of {', '.join(TYPES)}"
        )
    stated_name = message.event if type_name == "track" else message.name
    name = text_of(stated_name) if stated_name else ""
    if type_name == "track" and not name:
        raise _Refusal("no_event_name", "event is missing from a track")
    context = message.context or _NO_CONTEXT
    original, stated = parse_ms(message.original_timestamp), parse_ms(message.timestamp)
    if believe_received_at:
        gateway = parse_ms(message.received_at)
        received_ms = _imported_ms(stated, original, received_ms) if gateway is None else gateway
    key_ms = original if original is not None else stated
    message_id = text_of(message.message_id)
    if not message_id:
        message_id = _hash_of(raw, received_ms if key_ms is None else None)
        key_ms = received_ms if key_ms is None else key_ms
    elif len(message_id) > MESSAGE_ID_MAX:
        message_id = "long-" + hashlib.blake2b(message_id.encode(), digest_size=16).hexdigest()
    external_ids, ga_client_id = _external_ids(context)
    device = context.device
    user_id = text_of(message.user_id) if message.user_id else ""
    anonymous_id = text_of(message.anonymous_id) if message.anonymous_id else ""
    device_id = text_of(device.id) if device and device.id else ""
    traits = _traits(type_name, context.traits, message.traits)
    merge_ids = _merge_ids(message.merge_properties) if type_name == "merge" else ()
    if not (user_id or anonymous_id or device_id or external_ids or ga_client_id or merge_ids):
        _check_reachable(traits)
    return Event(
        type=type_name,
        message_id=message_id,
        received_ms=received_ms,
        time_ms=_time_ms(message, stated, original, received_ms),
        key_ms=0 if key_ms is None else key_ms,
        source=source.name,
        name=name,
        user_id=user_id,
        anonymous_id=anonymous_id,
        previous_id=text_of(message.previous_id) if message.previous_id else "",
        merge_ids=merge_ids,
        device_id=device_id,
        advertising_id=text_of(device.advertising_id) if device and device.advertising_id else "",
        ga_client_id=ga_client_id,
        external_ids=external_ids,
        user_hash=context.user_hash or "",
        traits=traits,
        properties=message.properties or {},
        consent=()
        if context.consent_management is None and context.consent is None
        else consent_of(context.consent_management, context.consent),
        raw=raw,
    )


def _check_reachable(traits: dict[str, Any]) -> None:
    # RudderStack wants one of two ids; an e-mail or a phone names somebody, too.
    if not (text_of(traits.get("email")) or text_of(traits.get("phone"))):
        raise _Refusal("no_identifier", "neither userId nor anonymousId nor another identifier")


def _imported_ms(stated: int | None, original: int | None, now_ms: int) -> int:
    client = stated if stated is not None else original
    return now_ms if client is None or client > now_ms + FUTURE_MAX_MS else client


def _time_ms(message: _Message, stated: int | None, original: int | None, received_ms: int) -> int:
    if stated is not None:
        return event_time_ms(stated, None, None, received_ms)
    sent = parse_ms(message.sent_at)
    if sent is None and message.sent_at:
        original = None  # a client that cannot tell the time: RudderStack takes the receipt
    return event_time_ms(None, original, sent, received_ms)


def _merge_ids(listed: Any) -> tuple[tuple[str, str], ...]:
    """(type, value) of each of a merge's `mergeProperties` that states both."""
    pairs = [
        (text_of(each.get("type")), text_of(each.get("value")))
        for each in (listed if isinstance(listed, list) else ())
        if isinstance(each, dict)
    ]
    return tuple((type_name, value) for type_name, value in pairs if type_name and value)


def _traits(
    type_name: str, of_context: dict[str, Any] | None, top: dict[str, Any] | None
) -> dict[str, Any]:
    if type_name == "identify" and top:
        return {**of_context, **top} if of_context else top
    return of_context or {}


def _hash_of(raw: bytes, received_ms: int | None) -> str:
    """An id for a message that has none: what a retry repeats, so without `sentAt`."""
    fields = _any_json(raw)
    fields.pop("sentAt", None)
    fields["receivedAt"] = received_ms
    try:
        canonical = msgspec.json.encode(fields, order="sorted")
    except OverflowError:  # an integer of more than 64 bits
        canonical = json.dumps(fields, sort_keys=True).encode()
    return "hash-" + hashlib.blake2b(canonical, digest_size=16).hexdigest()


def _external_ids(context: _Context) -> tuple[tuple[tuple[str, str], ...], str]:
    if context.external_id is None and context.external_ids is None:
        return (), ""
    ids, ga_client_id = [], ""
    for listed in (context.external_id, context.external_ids):
        for each in listed if isinstance(listed, list) else [listed]:
            if not isinstance(each, dict):
                continue
            type_name, value = text_of(each.get("type")), text_of(each.get("id"))
            if type_name in _GA_TYPES:
                ga_client_id = value
            elif type_name and value:
                ids.append((type_name, value))
    return tuple(ids), ga_client_id

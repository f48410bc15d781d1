"""What messages on our topics look like (ingest/kafka/TOPICS.md describes them for others).

`events`, `backfill` and the inputs carry events as JSON, as RudderStack's Kafka destination writes them;
`activity` and `links` are for our own stages; `changes` and `deadletters` are for others.
"""

import base64
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from identity.changes import PersonChange
from identity.event import Event, Source
from identity.nodes import NODE_BYTES, Node, names_device
from identity.resolve import Cluster
from ingest.deadletters import Refused
from ingest.decode import decode
from ingest.folding import Activity
from ingest.identify import Statements
from ingest.log import Message
from ingest.segments.evaluating import Look
from profiles.segments.membership import Cause, Reason, Transition

SOURCE: Final = "source"
"""Header on our own topics: the name of the event's source."""
RECEIVED: Final = "received"
"""Header on our own topics: when the event was received, in decimal milliseconds."""
EPOCH: Final = "epoch"
"""Header on the changes topic: who decides people has a higher one than those before, who may still send."""
LOOK: Final = "look"
"""Header of an activity message without an event: the revision of segments that its leaf is to keep up with."""
CHANGES_FORMAT: Final = 1
SEGMENTS_FORMAT: Final = 1
LINKS_IN_MESSAGE_MAX: Final = 50
"""Statements in one message: a few, so that little goes to the dead letters with one that fails."""
OFFSET_BITS: Final = 40
"""Offsets of one partition: a trillion messages; log generations count above them."""

_RECEIVED_AT: Final = b'"receivedAt"'


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """A message on the evaluate topic: look at a profile, because something happened. Its key is the node."""

    node: Node
    cause: int
    spread: bool
    """Whether the node is a leaf or device, and its profile and users are to be found first."""
    revision: int = 0
    """The least revision of segments to look with."""
    only: list[str] | None = None
    """The segments that can have changed; None: every one."""

    @property
    def look(self) -> Look:
        """Why, and at what. ValueError if it has a cause that nobody gives."""
        return Look(Cause(self.cause), None if self.only is None else frozenset(self.only))


_encode = msgspec.msgpack.Encoder().encode
_decode_activity = msgspec.msgpack.Decoder(Activity).decode
_decode_asked = msgspec.msgpack.Decoder(Asked).decode
_decode_statements = msgspec.msgpack.Decoder(Statements).decode
_json = msgspec.json.Encoder().encode


def key_of(event: Event) -> bytes:
    """The key RudderStack gives an event: its user, else its anonymous visitor, else none."""
    return (event.user_id or event.anonymous_id).encode("utf-8", "surrogatepass")


def headers_of(event: Event) -> dict[str, bytes]:
    """What the JSON of an event does not say."""
    return {
        SOURCE: event.source.encode("utf-8", "surrogatepass"),
        RECEIVED: b"%d" % event.received_ms,
    }


def event_in(message: Message, source: Source) -> Event | Refused:
    """The event of `source` in a message; decoding it again gives an equal one.

    It was received when our own header says, else when its `receivedAt` says, else when it was sent.
    """
    received = _milliseconds(message.headers.get(RECEIVED))
    if received is not None:
        return decode(message.value, received, source)
    # Without a `receivedAt`, a client's clock would count as the time of receipt.
    believe = _RECEIVED_AT in message.value
    return decode(message.value, message.timestamp_ms, source, believe_received_at=believe)


def source_in(message: Message) -> str:
    """The name of an event's source on a topic of our own: its header, else the topic's name."""
    stated = message.headers.get(SOURCE)
    return stated.decode("utf-8", "replace") if stated else message.topic


def encode_activity(activity: Activity) -> bytes:
    """The value of a message on the activity topic; its key is the leaf."""
    return _encode(activity)


def activity_in(message: Message) -> Activity:
    """What `encode_activity` wrote; msgspec.DecodeError if it is something else."""
    return _decode_activity(message.value)


def look_of(message: Message) -> tuple[Node, int] | None:
    """The leaf and revision of a message on the activity topic that has no event; None if it has one.

    ValueError if it is neither.
    """
    stated = message.headers.get(LOOK)
    if stated is None:
        return None
    if len(message.key) != NODE_BYTES or not stated.isdigit():
        raise ValueError("not a leaf to look at")
    return Node(message.key), int(stated)


def encode_look(
    node: Node, look: Look, *, spread: bool = False, revision: int = 0
) -> tuple[bytes, bytes]:
    """(key, value) of a message on the evaluate topic."""
    only = None if look.only is None else sorted(look.only)
    return node, _encode(Asked(node, int(look.cause), spread, revision, only))


def asked_in(message: Message) -> Asked:
    """What `encode_look` wrote; msgspec.DecodeError or ValueError if it is something else."""
    asked = _decode_asked(message.value)
    if len(asked.node) != NODE_BYTES or asked.node != message.key:
        raise ValueError("not a node to look at")
    return asked


def encode_transition(told: Transition) -> tuple[bytes, bytes]:
    """(key, value) of a message on the segments topic: a track call as Segment's audiences send it, as JSON.

    The key and the user are the profile's id, in hex; a device's is the anonymous id. One that is sent again
    has the same text.
    """
    profile = told.profile_id.hex()
    properties: dict[str, Any] = {"audience_key": told.segment, told.segment: told.entered}
    event = "Audience Entered" if told.entered else "Audience Exited"
    if told.reason is Reason.CONSENT:
        properties = {
            "audience_key": told.segment,
            "purpose": told.purpose,
            "granted": told.entered,
        }
        event = "Audience Consent Changed"
    value = {
        "format": SEGMENTS_FORMAT,
        "type": "track",
        "event": event,
        "messageId": told.message_id,
        "anonymousId" if names_device(told.profile_id) else "userId": profile,
        "timestamp": _iso(told.at_ms),
        "properties": properties,
        "context": {
            "personas": {
                "computation_class": "audience",
                "computation_id": told.segment,
                "computation_key": told.segment,
            },
            "onefold": {"sequence": told.sequence, "reason": told.reason.value},
        },
    }
    return profile.encode(), _json(value)


def encode_statements(said: Statements) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of the messages on the links topic."""
    for start in range(0, len(said.links), LINKS_IN_MESSAGE_MAX):
        some = said.links[start : start + LINKS_IN_MESSAGE_MAX]
        yield some[0].a, _encode(Statements(some))
    for start in range(0, len(said.must_links), LINKS_IN_MESSAGE_MAX):
        several = said.must_links[start : start + LINKS_IN_MESSAGE_MAX]
        yield several[0].a, _encode(Statements((), several))
    for start in range(0, len(said.matches), LINKS_IN_MESSAGE_MAX):
        matches = said.matches[start : start + LINKS_IN_MESSAGE_MAX]
        yield matches[0].a, _encode(Statements((), (), matches))
    for decision in said.decisions:
        yield min(decision.nodes), _encode(Statements((), (), (), [decision]))
    for start in range(0, len(said.uses), LINKS_IN_MESSAGE_MAX):
        uses = said.uses[start : start + LINKS_IN_MESSAGE_MAX]
        yield uses[0].use.device, _encode(Statements((), (), (), (), uses))


def statements_in(message: Message) -> Statements:
    """What `encode_statements` wrote; msgspec.DecodeError if it is something else."""
    return _decode_statements(message.value)


def position_of(message: Message, log_generation: int) -> int:
    """Where a message stands in the log of its leaf; a later generation of the topic is later."""
    return log_generation << OFFSET_BITS | message.offset


def encode_change(change: PersonChange) -> tuple[bytes, bytes]:
    """(key, value) of a message on the changes topic, as JSON. The key is a profile's id or a device's.

    A change that is published again has the same `id` and the same text.
    """
    key = change.device or min(cluster.profile_id for cluster in change.after)
    value: dict[str, Any] = {
        "format": CHANGES_FORMAT,
        "id": change.id,
        "time": change.time_ms,
        "kind": change.kind.value,
        "before": [_profile(cluster) for cluster in change.before],
        "after": [_profile(cluster) for cluster in change.after],
        "because": list(change.because),
    }
    if change.refusal is not None:
        value["refused"] = {
            "a": change.refusal.a.hex(),
            "b": change.refusal.b.hex(),
            "rule": change.refusal.rule,
            "since": change.refusal.since_ms,
        }
    if change.device is not None:
        value["device"] = change.device.hex()
    return key.hex().encode(), _json(value)


def encode_letter(refused: Refused, origin: str) -> bytes:
    """The value of a message on the deadletters topic, as JSON; `raw_base64` where `raw` is no text."""
    value: dict[str, Any] = {
        "reason": refused.reason,
        "detail": refused.detail,
        "source": refused.source,
        "received": refused.received_ms,
        "origin": origin,
    }
    try:
        value["raw"] = refused.raw.decode()
    except UnicodeDecodeError:
        value["raw_base64"] = base64.b64encode(refused.raw).decode()
    return _json(value)


def letter_headers(refused: Refused, origin: Message | str) -> dict[str, bytes]:
    """Why a message is a dead letter and where it stood, for tools that do not read its value."""
    headers = {"reason": refused.reason.encode()}
    if isinstance(origin, Message):
        headers |= {
            "topic": origin.topic.encode(),
            "partition": b"%d" % origin.partition,
            "offset": b"%d" % origin.offset,
        }
    elif origin:
        headers["origin"] = origin.encode("utf-8", "surrogatepass")
    return headers


def refused_message(message: Message, reason: str, detail: str, source: str = "") -> Refused:
    """A message that no stage can read, as it is kept."""
    return Refused(
        reason=reason,
        detail=detail,
        raw=message.value,
        received_ms=message.timestamp_ms,
        source=source or message.topic,
    )


def _iso(ms: int) -> str:
    text = datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _milliseconds(stated: bytes | None) -> int | None:
    if stated is None or not stated.isdigit() or len(stated) > 15:
        return None
    return int(stated)


def _profile(cluster: Cluster) -> dict[str, Any]:
    return {"profile": cluster.profile_id.hex(), "members": _hex(cluster.members)}


def _hex(nodes: Iterable[bytes]) -> list[str]:
    return [node.hex() for node in sorted(nodes)]

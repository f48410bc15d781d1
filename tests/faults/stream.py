"""What is produced: a simulated shop's stream as RudderStack's Kafka destination writes it, in disorder.

The simulator's stream is late, skewed and told twice in places already; `disordered` shuffles it and repeats
more of it. Poison is mixed in, each piece once. Two sources: a browser's, which is not trusted, and the back
end's, which is.
"""

import random
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from identity.event import TYPES
from simulator.shop import Shop

WEB, BACK_END = "web", "backend"
"""The two sources; a topic of each name is an input."""

_encode = msgspec.json.Encoder().encode

POISON: tuple[tuple[bytes, str], ...] = (
    (b"not json", "invalid_json"),
    (b"\xff\xfe{}", "not_utf8"),
    (b"[1, 2]", "not_an_object"),
    (b'{"userId": "u1", "messageId": "p1"}', "no_type"),
    (b'{"type": "dance", "userId": "u1", "messageId": "p2"}', "unknown_type"),
    (b'{"type": "track", "userId": "u1", "messageId": "p3"}', "no_event_name"),
    (b'{"type": "page", "messageId": "p4"}', "no_identifier"),
    (b'{"type": "page", "userId": "null", "messageId": "p5"}', "names_nobody"),
)
"""(what is sent, the reason it is refused with)."""


class Message(NamedTuple):
    """One message of an input topic."""

    source: str
    key: bytes
    value: bytes


class Stream:
    """Messages in the order they are sent, and the truth about them."""

    def __init__(
        self, shop: Shop, messages: Sequence[Message], types: Collection[str] = TYPES
    ) -> None:
        self.shop = shop
        self.messages = messages
        self.message_ids = {event["messageId"] for event, _ in shop if event["type"] in types}
        """Of everything that must be counted, each once."""
        self.refused = sum(message.value in _POISONOUS for message in messages)

    @property
    def accepted(self) -> int:
        """Deliveries that name somebody, copies included."""
        return len(self.messages) - self.refused

    @property
    def people_of(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """Whose each identifier truly is."""
        return {(each.type, each.value): each.people for each in self.shop.identifiers()}

    @property
    def user_ids(self) -> list[str]:
        """Every user id of somebody."""
        return sorted(
            each.value for each in self.shop.identifiers() if each.type == "user_id" and each.people
        )


_POISONOUS = {value for value, _ in POISON}


def in_order(shop: Shop) -> Stream:
    """The stream as it reaches a gateway."""
    return Stream(shop, [message_of(event) for event, _ in shop])


def disordered(
    shop: Shop,
    seed: int,
    *,
    repeated: float = 0.3,
    poison: bool = True,
    types: Collection[str] = TYPES,
) -> Stream:
    """The stream's messages of `types`, shuffled, with a share of it sent again, and with poison in it."""
    dice = random.Random(seed)
    messages = [message_of(event) for event, _ in shop if event["type"] in types]
    messages += dice.sample(messages, round(len(messages) * repeated))
    if poison:
        messages += [Message(WEB, b"", value) for value, _ in POISON]
    dice.shuffle(messages)
    return Stream(shop, messages, types)


def message_of(event: dict[str, Any]) -> Message:
    """An event as RudderStack's Kafka destination writes it: plain JSON, the user or the browser as key."""
    key = event.get("userId") or event.get("anonymousId") or ""
    source = BACK_END if event.get("channel") == "server" else WEB
    return Message(source, str(key).encode(), _encode(event))


def cut(messages: Sequence[Message], pieces: int) -> Iterable[Sequence[Message]]:
    """`messages` in `pieces` about equal runs."""
    size = -(-len(messages) // pieces)
    return (messages[start : start + size] for start in range(0, len(messages), size))

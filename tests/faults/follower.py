"""Somebody who knows people only by the changes that are published."""

from collections.abc import Iterable
from typing import Any

import msgspec
from confluent_kafka import Message

from ingest.messages import EPOCH

People = set[tuple[str, frozenset[str]]]
"""(profile id, members), in hexadecimal digits."""


def heard(messages: Iterable[Message]) -> People:
    """Whom the messages of the changes topic, in their order, leave as people of two members or more.

    What a former decider still sends is known by its epoch, and ignored.
    """
    epoch = 0
    profile_of: dict[str, tuple[str, frozenset[str]]] = {}
    for message in messages:
        headers: Any = dict(message.headers() or [])
        sent_under = int(headers[EPOCH])
        if sent_under < epoch:
            continue
        epoch = sent_under
        value: Any = message.value()
        for after in msgspec.json.decode(value)["after"]:
            members = frozenset(after["members"])
            profile_of.update(dict.fromkeys(members, (after["profile"], members)))
    return {found for found in profile_of.values() if len(found[1]) > 1}

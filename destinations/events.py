"""Audience events in the shape that Segment and RudderStack give them (facts/formats.md §6)."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

from destinations.audience import Recipient
from destinations.destination import Stated, Update
from destinations.gate import Tally, Withheld
from destinations.running import message_id
from identity.nodes import ANONYMOUS_ID, USER_ID

NAMESPACE: Final = "onefold"
ENTERED: Final = "Audience Entered"
EXITED: Final = "Audience Exited"

encode: Final = msgspec.json.Encoder().encode


class Shape(msgspec.Struct, frozen=True):
    """How events look, and which identifiers go along."""

    form: Literal["track", "identify"]
    identifiers: tuple[str, ...]

    def events(self, updates: Sequence[Update], tally: Tally) -> list[dict[str, Any]]:
        """An event for each thing stated, in order; those without a wanted identifier are withheld."""
        found = []
        for update in updates:
            named, others = self._named(update.recipient)
            if not named and not others:
                tally.withhold(Withheld.NO_IDENTIFIER)
                continue
            for stated in update.stated:
                event = self._event(update, stated) | named
                if others:
                    event["context"]["externalIds"] = others
                found.append(event)
        return found

    def _named(self, recipient: Recipient) -> tuple[dict[str, Any], list[dict[str, str]]]:
        by_type: dict[str, list[str]] = {}
        for each in sorted(recipient.identifiers):
            if each.type in self.identifiers:
                by_type.setdefault(each.type, []).append(each.value)
        found: dict[str, Any] = {}
        if USER_ID in by_type:
            found["userId"] = by_type[USER_ID][0]
        if ANONYMOUS_ID in by_type:
            found["anonymousId"] = by_type[ANONYMOUS_ID][0]
        others = [
            {"type": name, "id": value, "collection": "users", "encoding": "none"}
            for name in self.identifiers
            if name not in (USER_ID, ANONYMOUS_ID)
            for value in by_type.get(name, ())
        ]
        return found, others

    def _event(self, update: Update, stated: Stated) -> dict[str, Any]:
        key = stated.segment
        said: dict[str, Any]
        if self.form == "track":
            said = {
                "type": "track",
                "event": ENTERED if stated.member else EXITED,
                "properties": {"audience_key": key, key: stated.member},
            }
        else:
            said = {"type": "identify", "traits": {key: stated.member}}
        about: dict[str, Any] = {"profile_id": update.recipient.profile_id.hex()}
        if stated.sequence:
            about |= {"sequence": stated.sequence, "reason": stated.reason}
        return said | {
            "messageId": message_id(update, stated),
            "timestamp": iso(stated.at_ms),
            "context": {
                "personas": {
                    "computation_class": "audience",
                    # Under another name, its own would tell what that name hides.
                    "computation_id": key,
                    "computation_key": key,
                    "namespace": NAMESPACE,
                    "space_id": NAMESPACE,
                },
                NAMESPACE: about,
            },
        }


def iso(time_ms: int) -> str:
    """A time as events carry it."""
    text = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")

"""What the simulator knows and a stitcher must find out: whose each message, visit and identifier is."""

from enum import StrEnum

import msgspec


class Situation(StrEnum):
    """What kind of device a visit happened on."""

    SINGLE_OWNER = "single_owner"
    SHARED_WITH_LOGOUT = "shared_with_logout"
    SHARED_WITHOUT_LOGOUT = "shared_without_logout"
    KIOSK = "kiosk"
    BACK_END = "back_end"
    """No device: a message of the shop's own servers that belongs to no visit."""


class Login(StrEnum):
    """Where a visit stands among the logins of its device. A login is a message that names a person."""

    IN_VISIT = "in_visit"
    BEFORE_FIRST = "before_first"
    BETWEEN = "between"
    AFTER_LAST = "after_last"
    NEVER = "never"
    """Nobody ever logs in on the device (or there is no device)."""


class Source(StrEnum):
    """Which write key a message came with; only the back end's claims deserve trust."""

    WEB = "web"
    APP = "app"
    BACK_END = "back_end"


class Truth(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The truth of one message. Every delivery of the message has an equal one."""

    message_id: str
    person: str | None
    """Who did it; None: a passer-by whom the shop will never know (only at kiosks)."""
    situation: Situation
    visit: str
    """The visit's id, the same for all its messages; "" for a message that belongs to none."""
    login: Login
    source: Source
    time_ms: int
    """When it really happened, whatever the client's clock said."""


class IdentifierTruth(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Whose an identifier is. The value is normalized: e-mail in lower case, phone in E.164."""

    type: str
    """`user_id`, `email`, `phone`, `anonymous_id`, `device_id` or `advertising_id`."""
    value: str
    people: tuple[str, ...]
    """Person identifiers: whose it is; two people mean a conflict. Devices: everyone who used it, sorted."""

"""The rules of identity, as values: what is blocked, what limits people, how long a device is somebody's."""

import re
from typing import Final

import msgspec

from identity.nodes import (
    ANONYMOUS_ID,
    DEVICE_ID,
    DEVICE_TYPES,
    EMAIL,
    GA_CLIENT_ID,
    PHONE,
    USER_ID,
    code_of,
)

BLOCKED_DEFAULT: Final = (
    "", "null", "none", "undefined", "nan", "n/a", "na", "nil", "unknown", "anonymous", "guest", "user",
    "test", "test@test.com", "test@example.com", "example@example.com", "[object object]", "true", "false",
    "-1", "(null)", "void",
)  # fmt: skip
"""Values that name nobody, compared without case (DESIGN §3.1; seen in the field: facts/identity.md)."""

BLOCKED_PATTERNS_DEFAULT: Final = (r"[0\-_. ]+", r"\{\{.*\}\}", r"(00000000-0000-0000-0000-0{12})")
"""Regular expressions that must match the whole value: zeros and dashes, unfilled templates."""

BLOCKED_PATTERNS_BY_TYPE_DEFAULT: Final = {
    PHONE: (r"(\+?\d{1,3})?(\d)\2{8,}", r"(\+?\d{1,3})?1234567890"),
}
"""What people type when a form insists on a phone number; many such numbers could be somebody's."""


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How evidence becomes people. A change is a new version; stored evidence stays as it is."""

    version: int = 1
    external_ids: tuple[str, ...] = ()
    """Types of `context.externalId` that name a person, for example `crm_id`."""
    person_priority: tuple[str, ...] = (USER_ID, EMAIL, PHONE)
    """Highest first; external ids follow in the order of `external_ids`."""
    device_priority: tuple[str, ...] = (DEVICE_ID, ANONYMOUS_ID, GA_CLIENT_ID)
    blocked: dict[str, tuple[str, ...]] = {}
    """More blocked values per type, or for all types under `*`."""
    blocked_patterns: dict[str, tuple[str, ...]] = {}
    limits: dict[str, int] = {}
    """Most identifiers of a type in one person; `limit_default` where the type is not named."""
    limit_default: int = 5
    limit_user_id: int = 1
    members_max: int = 100
    fanout_max: int = 20
    """A person identifier other than a user id that is linked to more than this is a hub and joins nobody."""
    fanout_max_user: int = 1000
    """The same for a user id: one that is linked to more is a constant in somebody's code, not a person."""
    default_region: str = "IN"
    """Region of phone numbers that have no country code (ISO 3166-1)."""
    logout_events: tuple[str, ...] = ("logged out", "signed out", "logout", "sign out")
    """Names of track events that end a person's use of a device, compared without case."""
    visit_gap_min: int = 30
    login_after_visit_min: int = 30
    owner_idle_max_days: int = 30
    before_first_use_max_days: int | None = None
    """How long before its first use a device's activity is the first user's; None: without end."""
    owners_max: int = 5
    """A device of more people is a kiosk, and its anonymous activity is nobody's."""

    def __post_init__(self) -> None:
        """Refuse rules that would join people by a device, or that could not be applied."""
        _check_types("external_ids", self.external_ids, forbidden=DEVICE_TYPES)
        _check_types("person_priority", self.person_priority, forbidden=DEVICE_TYPES)
        named: dict[int, str] = {}
        for name in (*self.person_priority, *self.external_ids):
            other = named.setdefault(code_of(name), name)
            if other != name:
                raise ValueError(f"external_ids: {name} and {other} share a code; rename one")
        if unknown := set(self.device_priority) - DEVICE_TYPES:
            raise ValueError(f"device_priority: {min(unknown)} names no device")
        for type_name, patterns in self.blocked_patterns.items():
            for pattern in patterns:
                try:
                    re.compile(pattern)
                except re.error as error:
                    raise ValueError(
                        f"blocked_patterns.{type_name}: {pattern!r} is no regular expression: {error}"
                    ) from None


def _check_types(field: str, names: tuple[str, ...], forbidden: frozenset[str]) -> None:
    for name in names:
        if not name or name in forbidden:
            raise ValueError(f"{field}: {name!r} cannot be one of them")
    if len(set(names)) < len(names):
        raise ValueError(f"{field}: names a type twice")

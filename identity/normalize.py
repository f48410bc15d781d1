"""Normalization: what a client typed becomes the one spelling of an identifier, or nothing."""

import math
import re
import unicodedata
from typing import Any, Final

import phonenumbers

from identity.nodes import EMAIL, PHONE
from identity.rules import BLOCKED_DEFAULT, BLOCKED_PATTERNS_DEFAULT, Rules

VALUE_MAX: Final = 512
"""Characters of an identifier: nothing that names a person is longer (an e-mail has at most 254)."""
CACHE_MAX: Final = 100_000
"""Normalized values remembered: parsing a phone number takes 30 us, looking it up 0.1 us."""

_INVISIBLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufe00-\ufe0f\U000e0000-\U000e007f]"
)
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")


def text_of(value: Any) -> str:
    """A text or a whole number as text, without invisible characters; "" for anything else."""
    if isinstance(value, str):
        if value.isascii() and value.isprintable():
            return value.strip()
        return unicodedata.normalize("NFC", _INVISIBLE.sub("", value)).strip()
    if isinstance(value, bool):
        return ""
    if isinstance(value, int):
        return str(value) if -(10**38) < value < 10**38 else ""
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() else repr(value)
    return ""


class Normalizer:
    """Normalizes values by the rules' version. Pure; its cache only saves time."""

    def __init__(self, rules: Rules) -> None:
        self._region = rules.default_region
        self._blocked = {
            name: frozenset(value.lower() for value in values)
            for name, values in rules.blocked.items()
        }
        self._patterns = {
            name: tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns)
            for name, patterns in rules.blocked_patterns.items()
        }
        everywhere = self._blocked.get("*", frozenset())
        self._blocked["*"] = everywhere | frozenset(BLOCKED_DEFAULT)
        self._patterns["*"] = self._patterns.get("*", ()) + tuple(
            re.compile(pattern, re.IGNORECASE) for pattern in BLOCKED_PATTERNS_DEFAULT
        )
        self._cache: dict[tuple[str, str], tuple[str, str]] = {}

    def value(self, type_name: str, raw: Any) -> str:
        """The normalized value, or "" where `raw` names nobody."""
        return self.normalize(type_name, raw)[0]

    def normalize(self, type_name: str, raw: Any) -> tuple[str, str]:
        """(value, ""), or ("", why it names nobody); ("", "") where it is absent."""
        key = (type_name, raw) if isinstance(raw, str) else (type_name, text_of(raw))
        found = self._cache.get(key)
        if found is None:
            text = text_of(key[1])
            if len(self._cache) >= CACHE_MAX:
                self._cache.clear()
            found = self._cache[key] = self._normalize(type_name, text) if text else ("", "")
        return found

    def _normalize(self, type_name: str, text: str) -> tuple[str, str]:
        if len(text) > VALUE_MAX:
            return "", "too long"
        if self._is_blocked(type_name, text):
            return "", "blocked"
        if type_name == EMAIL:
            address = text.lower()
            return (address, "") if _EMAIL.fullmatch(address) else ("", "not an e-mail address")
        if type_name == PHONE:
            number = self._phone(text)
            if number and self._is_blocked(type_name, number):
                return "", "blocked"
            return (number, "") if number else ("", "not a phone number")
        return text, ""

    def _is_blocked(self, type_name: str, text: str) -> bool:
        lowered = text.lower()
        return any(
            lowered in self._blocked.get(name, ())
            or any(pattern.fullmatch(text) for pattern in self._patterns.get(name, ()))
            for name in ("*", type_name)
        )

    def _phone(self, text: str) -> str:
        try:
            number = phonenumbers.parse(text, self._region)
        except phonenumbers.NumberParseException:
            return ""
        if not phonenumbers.is_possible_number(number):
            return ""
        return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)

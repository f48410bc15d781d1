"""Normalization: what a client typed becomes the one spelling of an identifier, or nothing."""

import math
import re
import unicodedata
from typing import Any, Final

import phonenumbers

from identity.nodes import EMAIL, PHONE
from identity.rules import (
    BLOCKED_DEFAULT,
    BLOCKED_PATTERNS_BY_TYPE_DEFAULT,
    BLOCKED_PATTERNS_DEFAULT,
    Rules,
)

VALUE_MAX: Final = 512
"""Characters of an identifier: nothing that names a person is longer (an e-mail has at most 254)."""
CACHE_MAX: Final = 100_000
"""Values remembered, of VALUE_MAX characters each at most: parsing a phone takes 30 us, looking it up 0.1."""

ABSENT: Final = ("", "")

_INVISIBLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Controls, and characters that no reader sees: joiners, direction marks, fillers, selectors, tags."""
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
    """Normalizes values by the rules' version. Pure; its cache only saves time.

    Normalizing what is normalized changes nothing.
    """

    def __init__(self, rules: Rules) -> None:
        self._region = rules.default_region
        self._blocked = {
            name: frozenset(value.lower() for value in values)
            for name, values in rules.blocked.items()
        }
        self._blocked["*"] = self._blocked.get("*", frozenset()) | frozenset(BLOCKED_DEFAULT)
        patterns = {name: list(some) for name, some in rules.blocked_patterns.items()}
        for name, some in (
            ("*", BLOCKED_PATTERNS_DEFAULT),
            *BLOCKED_PATTERNS_BY_TYPE_DEFAULT.items(),
        ):
            patterns.setdefault(name, []).extend(some)
        self._patterns = {
            name: tuple(re.compile(pattern, re.IGNORECASE) for pattern in some)
            for name, some in patterns.items()
        }
        self._cache: dict[tuple[str, str], tuple[str, str]] = {}

    def value(self, type_name: str, raw: Any) -> str:
        """The normalized value, or "" where `raw` names nobody."""
        return self.normalize(type_name, raw)[0]

    def normalize(self, type_name: str, raw: Any) -> tuple[str, str]:
        """(value, ""), or ("", why it names nobody); ("", "") where it is absent."""
        text = raw if isinstance(raw, str) else text_of(raw)
        found = self._cache.get((type_name, text))
        if found is not None:
            return found
        # Only short texts are remembered, so that nobody can fill the memory with long ones.
        short = len(text) <= VALUE_MAX
        key = (type_name, text)
        text = text_of(text)
        found = self._normalize(type_name, text) if text else ABSENT
        if short:
            if len(self._cache) >= CACHE_MAX:
                self._cache.clear()
            self._cache[key] = found
        return found

    def _normalize(self, type_name: str, text: str) -> tuple[str, str]:
        if len(text) > VALUE_MAX:
            return "", "too long"
        if self._is_blocked(type_name, text):
            return "", "blocked"
        if type_name == EMAIL:
            return self._email(text)
        if type_name == PHONE:
            return self._phone(text)
        return text, ""

    def _is_blocked(self, type_name: str, text: str) -> bool:
        lowered = text.lower()
        return any(
            lowered in self._blocked.get(name, ())
            or any(pattern.fullmatch(text) for pattern in self._patterns.get(name, ()))
            for name in ("*", type_name)
        )

    def _email(self, text: str) -> tuple[str, str]:
        # Lower case may take characters apart again, and make the text longer.
        address = unicodedata.normalize("NFC", text.lower())
        if len(address) > VALUE_MAX:
            return "", "too long"
        return (address, "") if _EMAIL.fullmatch(address) else ("", "not an e-mail address")

    def _phone(self, text: str) -> tuple[str, str]:
        try:
            number = phonenumbers.parse(text, self._region)
        except phonenumbers.NumberParseException:
            return "", "not a phone number"
        if not phonenumbers.is_valid_number(number):
            return "", "not a phone number"
        if number.extension:
            # E.164 has no extensions: everybody behind one switchboard would be one person.
            return "", "an extension"
        value = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        return ("", "blocked") if self._is_blocked(PHONE, value) else (value, "")

"""What an IAB TCF string (version 2) allows a vendor: the core segment of the published bit layout."""

import base64
import binascii
from functools import lru_cache
from typing import Final

VERSION: Final = 2
_VERSION_BITS: Final = (0, 6)
_PURPOSES: Final = (152, 24)
"""Purpose consents, from purpose 1 on."""
_MAX_VENDOR: Final = (213, 16)
_IS_RANGE: Final = 229
_VENDORS: Final = 230
CACHE_MAX: Final = 4_096
"""Strings of one consent dialogue repeat."""


@lru_cache(CACHE_MAX)
def allows(text: str, vendor: int, purposes: tuple[int, ...]) -> bool:
    """Whether the string gives consent to a vendor and to all of some purposes; False if it cannot be read."""
    core = text.partition(".")[0]
    try:
        raw = base64.urlsafe_b64decode(core + "=" * (-len(core) % 4))
    except (ValueError, binascii.Error):
        return False
    bits = _Bits(raw)
    try:
        if bits.number(*_VERSION_BITS) != VERSION:
            return False
        if not all(bits.flag(_PURPOSES[0] + purpose - 1) for purpose in purposes):
            return False
        return _vendor_allowed(bits, vendor)
    except IndexError:
        return False


def _vendor_allowed(bits: "_Bits", vendor: int) -> bool:
    if vendor > bits.number(*_MAX_VENDOR):
        return False
    if not bits.flag(_IS_RANGE):
        return bits.flag(_VENDORS + vendor - 1)
    entries, at = bits.number(_VENDORS, 12), _VENDORS + 12
    for _ in range(entries):
        first = last = bits.number(at + 1, 16)
        if bits.flag(at):
            last = bits.number(at + 17, 16)
            at += 16
        at += 17
        if first <= vendor <= last:
            return True
    return False


class _Bits:
    """A string of bits, from the highest on."""

    def __init__(self, raw: bytes) -> None:
        self._whole = int.from_bytes(raw)
        self._length = 8 * len(raw)

    def number(self, start: int, length: int) -> int:
        if start + length > self._length:
            raise IndexError(start)
        return self._whole >> (self._length - start - length) & ((1 << length) - 1)

    def flag(self, at: int) -> bool:
        return bool(self.number(at, 1))

"""Rows as they may be shown: without the identifiers and values of those whom they are about."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from destinations.audience import Recipient

SHOWN: Final = 2
"""Characters of a value that are shown: enough to see its form, too few to find anybody."""
_HASH_LENGTH: Final = 32
_HEX: Final = frozenset("0123456789abcdefABCDEF")


def masked(row: Any, recipients: Iterable[Recipient]) -> Any:
    """`row` as plain values, with everything about its people masked."""
    values: set[str] = set()
    for each in recipients:
        values.update(identifier.value for identifier in each.identifiers)
        values.update(str(value) for value in each.traits.values())
        values.add(each.profile_id.hex())
    plain = msgspec.to_builtins(row)
    if isinstance(plain, str):
        plain = msgspec.json.decode(plain)
    return _masked(plain, values)


def mask(text: str) -> str:
    """The beginning of a value."""
    return text[:SHOWN] + "…"


def _masked(value: Any, values: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: _masked(each, values) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(each, values) for each in value]
    if isinstance(value, str) and (value in values or _is_hash(value)):
        return mask(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and str(value) in values:
        return "…"
    return value


def _is_hash(text: str) -> bool:
    return len(text) >= _HASH_LENGTH and _HEX.issuperset(text.replace("-", ""))

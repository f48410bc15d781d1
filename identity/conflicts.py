"""Conflicts: what was not joined, under short ids by which operators name them. Pure."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

from identity.resolve import BLOCKED, HUB, KEPT_APART, Refusal

ID_DIGITS: Final = 8
"""Hexadecimal digits that are shown: of 10,000 conflicts, two share them once in 86 workspaces."""
ID_DIGITS_MIN: Final = 2
ID_DIGITS_MAX: Final = 32
_ID: Final = re.compile(f"c[0-9a-f]{{{ID_DIGITS_MIN},{ID_DIGITS_MAX}}}")
_ALONE: Final = frozenset({HUB, BLOCKED})


def conflict_id(refusal: Refusal, digits: int = ID_DIGITS) -> str:
    """`c` and hexadecimal digits: the same as long as the same rule refuses the same two identifiers."""
    said = refusal.a + refusal.b + refusal.rule.encode()
    return "c" + hashlib.blake2b(said, digest_size=ID_DIGITS_MAX // 2).hexdigest()[:digits]


def is_conflict_id(text: str) -> bool:
    """Whether `text` could be an id, or the beginning of one."""
    return _ID.fullmatch(text) is not None


def named(text: str, refusals: Iterable[Refusal]) -> list[Refusal]:
    """The conflicts whose id begins with `text`; none if `text` is no id."""
    if not is_conflict_id(text):
        return []
    return [each for each in refusals if conflict_id(each, ID_DIGITS_MAX).startswith(text)]


def of_two(refusal: Refusal) -> bool:
    """Whether it is about two identifiers; a hub or a blocked value stands alone."""
    return refusal.rule not in _ALONE


def rule_family(rule: str) -> str:
    """The rule without the decision: each decision that keeps people apart is a rule of its own."""
    return KEPT_APART if rule.startswith(KEPT_APART) else rule


def is_by(refusal: Refusal, rule: str) -> bool:
    """Whether `rule` refused it: `limit:user_id`, or `limit` for those of every type; empty: any rule."""
    return not rule or refusal.rule == rule or refusal.rule.startswith(rule + ":")


def count_by_rule(refusals: Iterable[Refusal]) -> dict[str, int]:
    """How many conflicts each rule makes, most first."""
    counted = Counter(rule_family(refusal.rule) for refusal in refusals)
    return dict(sorted(counted.items(), key=lambda each: (-each[1], each[0])))

"""Conflicts as operators list and name them. Reads are bounded: a store may hold a million."""

from typing import Final

import msgspec

from identity.conflicts import ID_DIGITS, ID_DIGITS_MAX, conflict_id, count_by_rule, is_by, named
from identity.nodes import Node
from identity.resolve import Refusal
from storage.ports import Store

LISTED_MAX: Final = 10_000
"""The newest conflicts that can be listed: more than anybody reads, and the last page takes 0.1 s to find."""
SEARCHED_MAX: Final = 100_000
"""The newest conflicts among which an id is looked for, and which are counted: a second."""
_READ_AHEAD: Final = 400
NAMED_MAX: Final = 5
"""Ids that an ambiguous one is told to mean."""


class AmbiguousConflict(LookupError):
    """Several conflicts have ids that begin so; the message names them."""


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a page of conflicts ends: its last one, and how many were before it."""

    passed: int
    since_ms: int
    a: Node
    b: Node


class Page(msgspec.Struct, frozen=True):
    """Conflicts, newest first."""

    conflicts: list[Refusal]
    next: Place | None
    """Where the next page starts; None: there is none."""


def page(
    store: Store,
    size: int,
    *,
    rule: str = "",
    since_ms: int | None = None,
    after: Place | None = None,
) -> Page:
    """The newest conflicts past `after`, of a rule or a family of rules, since a time."""
    passed = after.passed if after else 0
    limit, before = passed + size + 1, -1
    while True:
        limit = min(limit, LISTED_MAX)
        rows = store.people.refusals(limit)
        wanted = [
            (at, each)
            for at, each in enumerate(rows, 1)
            if (after is None or _order(each) > (-after.since_ms, after.a, after.b))
            and (since_ms is None or each.since_ms >= since_ms)
            and is_by(each, rule)
        ]
        older = bool(rows) and since_ms is not None and rows[-1].since_ms < since_ms
        # A store may give fewer than it was asked for and have more: those that just ended are left out.
        if len(wanted) > size or older or limit == LISTED_MAX or len(rows) == before:
            break
        before, limit = len(rows), 2 * limit + _READ_AHEAD
    found = [each for _, each in wanted[:size]]
    if len(wanted) <= size:
        return Page(found, None)
    at, last = wanted[size - 1]
    return Page(found, Place(at, last.since_ms, last.a, last.b))


def _order(refusal: Refusal) -> tuple[int, Node, Node]:
    return -refusal.since_ms, refusal.a, refusal.b


def counts(store: Store) -> dict[str, int]:
    """How many of the newest SEARCHED_MAX conflicts each rule made, most first."""
    return count_by_rule(store.people.refusals(SEARCHED_MAX))


def find_conflict(store: Store, text: str) -> Refusal | None:
    """The one of the newest SEARCHED_MAX conflicts whose id begins with `text`; None if there is none.

    AmbiguousConflict if there are several.
    """
    found = named(text, store.people.refusals(SEARCHED_MAX))
    if len(found) < 2:
        return found[0] if found else None
    ids = _told_apart([conflict_id(each, ID_DIGITS_MAX) for each in found])
    more = f" and {len(ids) - NAMED_MAX} more" if len(ids) > NAMED_MAX else ""
    raise AmbiguousConflict(
        f"{len(ids)} conflicts begin with {text}: {', '.join(ids[:NAMED_MAX])}{more}"
    )


def _told_apart(ids: list[str]) -> list[str]:
    """Ids, as short as tells them apart but no shorter than they are shown."""
    ordered = sorted(ids)
    digits = next(
        digits
        for digits in range(ID_DIGITS + 1, ID_DIGITS_MAX + 2)
        if len({each[:digits] for each in ordered}) == len(ordered)
    )
    return [each[:digits] for each in ordered]

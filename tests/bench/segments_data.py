"""Segments as a shop's marketing has them: every kind of condition, many windows and thresholds."""

from collections.abc import Mapping
from typing import Any, Final

from profiles.segments.catalogue import Edit, Put
from storage.segment_ports import Definitions

SHELVES: Final = (
    "pain-relief", "vitamins", "diabetes-care", "devices", "skin-care", "hair-care", "baby-care",
    "digestion", "first-aid", "fitness", "ayurveda", "oral-care",
)  # fmt: skip
WINDOWS: Final = ("3d", "7d", "14d", "30d", "60d", "90d")

Trees = dict[str, Any]


def mixed(count: int, step: int = 0) -> Trees:
    """So many segments of ten kinds, in turn; with another `step`, the same with other thresholds."""
    return {f"s{n:03}": _KINDS[n % len(_KINDS)](n // len(_KINDS), step) for n in range(count)}


def _bought(n: int, step: int) -> Any:
    return {
        "event": "Order Completed",
        "within": WINDOWS[n % 6],
        "count": {"at_least": 1 + n // 6 + step},
    }


def _spent(n: int, step: int) -> Any:
    spent = {"of": "revenue", "currency": "INR", "at_least": 500 * (n % 5 + 1) + 50 * step}
    return {"event": "Order Completed", "within": WINDOWS[n % 6], "sum": spent}


def _looks_at_a_shelf(n: int, step: int) -> Any:
    where = {"category": SHELVES[n % 12]}
    times = {"at_least": 1 + n // 6 + step}
    return {"event": "Product Viewed", "where": where, "within": WINDOWS[n % 6], "count": times}


def _looked_and_did_not_buy(n: int, step: int) -> Any:
    return {
        "event": "Product Added",
        "within": WINDOWS[n % 6],
        "then_not": {"event": "Order Completed", "within": f"{n % 7 + 1 + step}d"},
    }


def _lapsed(n: int, step: int) -> Any:
    recent = {"event": "Order Completed", "within": f"{5 * n + 5 + step}d"}
    return {"all": [{"event": "Order Completed"}, {"not": recent}]}


def _reachable(n: int, step: int) -> Any:
    purpose = ("ads", "functional")[n % 2]
    often = {
        "event": "Product Viewed",
        "within": WINDOWS[n % 6],
        "count": {"at_least": 2 + n // 6 + step},
    }
    return {"all": [{"consent": purpose}, {"has": "email"}, often]}


def _variety(n: int, step: int) -> Any:
    different = {"of": "product_id", "at_least": 3 + n % 8 + step}
    return {"event": "Product Viewed", "within": WINDOWS[n % 6], "distinct": different}


def _recent(n: int, step: int) -> Any:
    return {"seen": "last", "within": f"{n % 20 + 1 + step}d"}


def _buys_from_a_shelf(n: int, step: int) -> Any:
    where = {"products.category": SHELVES[n % 12]}
    return {
        "event": "Order Completed",
        "where": where,
        "within": WINDOWS[n % 6],
        "count": {"at_least": 1 + n // 12 + step},
    }


def _known_by_trait(n: int, step: int) -> Any:
    traits = {
        "any": [{"trait": "email", "ends_with": "example.in"}, {"trait": "name", "exists": True}]
    }
    started = {"event": "Checkout Started", "within": f"{n + 3 + step}d"}
    return {"all": [traits, started]}


_KINDS: Final = (
    _bought, _spent, _looks_at_a_shelf, _looked_and_did_not_buy, _lapsed, _reachable, _variety, _recent,
    _buys_from_a_shelf, _known_by_trait,
)  # fmt: skip


def define(definitions: Definitions, trees: Mapping[str, Any], revision: int, now_ms: int) -> None:
    """Make an edit of `trees`, as `onefold segments apply` does."""
    put = tuple(Put(key, tree) for key, tree in trees.items())
    edit = Edit(revision=revision, time_ms=now_ms, author="bench", put=put)
    if not definitions.append(edit):
        raise RuntimeError("the store has another edit of that revision")

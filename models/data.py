"""Interactions from a store: what everybody did, each event given to the person it belongs to."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from identity.nodes import Node
from identity.rules import Rules
from models.interactions import DAY_MS, About, Interactions, Row
from profiles.facts import KINDS, Kind, amount_of, hash64, items_of
from storage.attribution import Attribution
from storage.ports import CatalogItem, Store

PAGE: Final = 1_000
"""Items of the catalogue that are read at once."""


class _Said(msgspec.Struct):
    """What training reads of an event."""

    properties: dict[str, Any] | None = None


_decoder = msgspec.json.Decoder(_Said)


def interactions(
    store: Store,
    rules: Rules,
    *,
    as_of_ms: int | None = None,
    cut_ms: int | None = None,
    progress: Callable[[int], None] = lambda rows: None,
) -> Interactions:
    """Everything that people did with items; anonymous visits count for their owner, else for the device.

    With `as_of_ms` as it was known then. With `cut_ms` what lies before is given to the people of then,
    the rest to those of today: what an evaluation that splits there may know, for a login after the
    cut tells whose the visits before it were. An order told twice counts once.
    """
    today = Attribution(store, rules, as_of_ms)
    then = today if cut_ms is None else Attribution(store, rules, cut_ms)

    def whose(leaf: Node, time_ms: int) -> Node:
        known = then if cut_ms is not None and time_ms < cut_ms else today
        return known.profile(leaf, time_ms) or leaf

    # Stores give their leaves in orders of their own; what is learned must not depend on that.
    return Interactions.of(_rows(store, whose, as_of_ms, progress)).in_one_order()


def judged(store: Store, rules: Rules, known: Interactions, test_days: int) -> Interactions:
    """`known` again as a leaderboard of its last days may know it: identity as of the cut, and described."""
    if not len(known):
        return known
    again = interactions(store, rules, cut_ms=known.window[1] + 1 - test_days * DAY_MS)
    return again.described(known.about) if known.about else again


def described(known: Interactions, store: Store) -> Interactions:
    """The same with what the catalogue says; items that nobody touched yet are added.

    Sensitive items are not described: their words would place them beside what is not sensitive.
    """
    about: dict[str, About] = {}
    after = ""
    while page := store.catalog.list(after, PAGE):
        about |= {item.id: _about(item) for item in page if not item.sensitive}
        after = page[-1].id
    return known.described(about) if about else known


def _about(item: CatalogItem) -> About:
    said = [item.name, item.brand, item.category.replace("/", " ")]
    said += [value for value in item.attributes.values() if isinstance(value, str)]
    return About(" ".join(part for part in said if part), item.category)


def _rows(
    store: Store,
    whose: Callable[[Node, int], Node],
    as_of_ms: int | None,
    progress: Callable[[int], None],
) -> Iterator[Row]:
    orders: dict[tuple[bytes, int], tuple[tuple[bool, int, int], list[Row]]] = {}
    for count, row in enumerate(store.timeline.scan(), start=1):
        if not count % 10_000:
            progress(count)
        kind = KINDS.get(row.name.lower()) if row.type == "track" else None
        if kind is None or (as_of_ms is not None and row.time_ms > as_of_ms):
            continue
        properties = _decoder.decode(row.raw).properties or {}
        profile = whose(row.leaf, row.time_ms)
        rows: list[Row] = [
            (profile.hex(), item.id, int(kind), row.time_ms, item.quantity)
            for item in items_of(properties)
        ]
        if kind is not Kind.BOUGHT:
            yield from rows
            continue
        # The copy that counts is the one that profiles count: profiles.part.Order.
        message = hash64(row.message_id)
        order_id = str(properties.get("order_id") or properties.get("orderId") or "")
        key = (profile, hash64(order_id) if order_id else message)
        rank = (amount_of(properties) is None, row.time_ms, message)
        if key not in orders or rank < orders[key][0]:
            orders[key] = (rank, rows)
    for _, rows in orders.values():
        yield from rows

"""Columns of interactions: what is kept, what is left out, and what is the same."""

import math

import numpy as np
import pandas as pd

from models.interactions import DAY_MS, Interactions
from profiles.facts import Kind

NOW = 1_790_000_000_000


def test_odd_rows_are_repaired_or_left_out() -> None:
    data = Interactions.of(
        [
            ("ünï", "té", "order completed", 2, math.nan),
            ("p", "b", "Something Else", 1, 1.0),
            ("p", "b", "Product Viewed", 1, -3.0),
            ("p", "b", Kind.ADDED, 3, 2.5),
        ]
    )
    assert len(data) == 3
    assert data.time_ms.tolist() == [1, 2, 3]
    assert data.quantity.tolist() == [1, 1, 2.5]
    assert data.users.tolist() == ["p", "ünï"]


def test_nothing_is_fine() -> None:
    nothing = Interactions.of([])
    assert len(nothing) == 0
    assert nothing.window == (0, 0)
    assert nothing.matrix(NOW, 90).shape == (0, 0)


def test_a_pair_counts_by_its_strongest_event_decayed() -> None:
    data = Interactions.of(
        [("p", "a", "Order Completed", NOW - 90 * DAY_MS, 1), ("p", "a", "Product Viewed", NOW, 1),
         ("p", "b", "Product Viewed", NOW, 1), ("p", "b", "Product Removed", NOW, 1)]
    )  # fmt: skip
    np.testing.assert_allclose(data.matrix(NOW, 90).toarray(), [[0.5, 0.1]])
    np.testing.assert_allclose(data.matrix(NOW, None).toarray(), [[1.0, 0.1]])


def test_windows_keep_codes() -> None:
    data = Interactions.of(
        [("p", "a", "Order Completed", 1, 1), ("q", "b", "Order Completed", 5, 1)]
    )
    assert data.until(5).user.tolist() == [0]
    assert data.between(5, 6).item.tolist() == [1]
    assert data.until(5).items.tolist() == ["a", "b"]


def test_equal_rows_have_equal_hashes() -> None:
    rows = [("p", "a", "Order Completed", 1, 1.0), ("q", "b", "Order Completed", 5, 1.0)]
    assert Interactions.of(rows).content_hash() == Interactions.of(rows[::-1]).content_hash()
    assert Interactions.of(rows).content_hash() != Interactions.of(rows[:1]).content_hash()


def test_a_table_of_pandas_becomes_interactions() -> None:
    frame = pd.DataFrame(
        {"who": [1, 2], "what": ["a", "b"], "at": pd.to_datetime(["2026-01-01", "2026-01-02"])}
    )
    data = Interactions.from_table(frame, user="who", item="what", time="at")
    assert data.users.tolist() == ["1", "2"]
    assert data.time_ms[1] - data.time_ms[0] == DAY_MS
    assert set(data.kind.tolist()) == {int(Kind.BOUGHT)}


def test_in_one_order_ties_do_not_depend_on_who_came_first() -> None:
    rows = [
        ("u", "b", Kind.VIEWED, 5, 1.0),
        ("u", "a", Kind.BOUGHT, 5, 2.0),
        ("t", "a", Kind.VIEWED, 9, 1.0),
    ]
    there, back = Interactions.of(rows), Interactions.of(reversed(rows))
    assert there.content_hash() != back.content_hash()
    assert there.in_one_order().content_hash() == back.in_one_order().content_hash()
    assert there.in_one_order().items[there.in_one_order().item].tolist() == ["a", "b", "a"]


def test_a_table_holds_what_they_were_made_of() -> None:
    rows = [("p", "a", "Order Completed", 1, 2.0), ("q", "b", "Product Viewed", 5, 1.0)]
    data = Interactions.of(rows)
    table = data.to_arrow()
    assert table.column_names == ["user", "item", "event", "time", "quantity"]
    assert table["event"].to_pylist() == ["Order Completed", "Product Viewed"]
    again = Interactions.from_table(table, time="time", event="event", quantity="quantity")
    assert again.content_hash() == data.content_hash()
    assert data.to_pandas()["user"].tolist() == ["p", "q"]

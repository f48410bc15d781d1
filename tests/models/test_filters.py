"""Filters: what they mean, what they let through, and how their mistakes are said."""

import itertools
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import FilterError
from models.filter_text import both, conditions, parse
from models.filters import Columns, columns_of
from storage.ports import CatalogItem


def item(
    item_id: str, category: str = "", price: float | None = None, **fields: Any
) -> CatalogItem:
    attributes = fields.pop("attributes", {})
    return CatalogItem(
        id=item_id, category=category, price_micros=None if price is None else round(price * 10**6),
        attributes=attributes, **fields,
    )  # fmt: skip


CATALOG = [
    item("soap", "Care", 40, brand="Lux", name="Soap", currency="INR", attributes={"colour": "White", "g": 75}),
    item("cream", "Care/Skin", 300, brand="Lux", attributes={"colour": "red", "vegan": True, "g": "50"}),
    item("comb", "Carelessness", 20, brand="Ace", in_stock=False, attributes={"vegan": False}),
    item("kit", "Health/Tests", 900, brand="Ace", sensitive=True, attributes={"odd name": 1.5, "price": "x"}),
    item("tea", "Health/", attributes={"colour": "", "g": float("nan"), "until": "2026-11-30"}),
]  # fmt: skip
NAMES = [each.id for each in CATALOG] + ["unlisted"]
COLUMNS = columns_of(NAMES, CATALOG)


def passing(text: str, columns: Columns = COLUMNS) -> set[str]:
    mask = columns.mask(parse(text))
    return {name for name, let in zip(NAMES, mask, strict=True) if let}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("price < 300", "soap comb"),
        ("price <= 300 AND in_stock AND category = 'care'", "soap cream"),
        ("price = 40.0", "soap"),
        ("NOT price < 300", "cream kit tea unlisted"),
        ("price >= 300", "cream kit"),
        ("price:*", "soap cream comb kit"),
        ("currency = 'inr'", "soap"),
        ("category = 'Care'", "soap cream"),
        ("category = 'Care/Skin/'", "cream"),
        ("category != 'Health'", "soap cream comb"),
        ("category IN ('Health', 'Care/Skin')", "cream kit tea"),
        ("category NOT IN ('Health', 'Care/Skin')", "soap comb unlisted"),
        ("category : 'les'", "comb"),
        ("brand = 'LUX' OR NOT in_stock", "soap cream comb"),
        ("NOT (brand = 'lux' OR brand = 'ace')", "tea unlisted"),
        ("(price > 500 OR price < 30) AND brand = \"Ace\"", "comb kit"),
        ("in_stock", "soap cream kit tea unlisted"),
        ("in_stock = false", "comb"),
        ("NOT sensitive", "soap cream comb tea unlisted"),
        ("id IN ('soap', 'unlisted')", "soap unlisted"),
        ("colour = 'white'", "soap"),
        ("attributes.colour != 'white'", "cream tea"),
        ("colour:*", "soap cream tea"),
        ("vegan", "cream"),
        ("vegan = false", "comb"),
        ("vegan != true", "comb"),
        ("g > 50", "soap"),  # "50" is a text, NaN is nothing
        ("g = '50'", "cream"),
        ("g:*", "soap cream"),
        ("`odd name` = 1.5", "kit"),
        ("attributes.price = 'x'", "kit"),
        ("until < '2027-01-01'", "tea"),
        ("until > '2027-01-01'", ""),
        ("price < 10", ""),
        ("price < 30 AND price > 40", ""),
        ("price < 1e30", "soap cream comb kit"),
    ],
)  # fmt: skip
def test_a_filter_lets_through_what_it_says(text: str, expected: str) -> None:
    assert passing(text) == set(expected.split())


@pytest.mark.parametrize(
    ("text", "at", "says"),
    [
        ("prize < 5", 1, "did you mean price?"),
        ("in_stock AND Colour = 'red'", 14, "did you mean colour?"),
        ("in_stock AND weight > 5", 14, "there are id, name, category"),
        ("a AND b OR c", 9, "AND and OR together need parentheses"),
        ("category = Health", 12, "a text stands in quotes: 'Health'"),
        ("brand = 'Lux", 9, "does not end"),
        ("price < ", 8, "a value is expected here, not the end"),
        ("", 1, "the name of a field is expected"),
        ("'Lux' = brand", 1, "without quotes"),
        ("brand = 'a' brand = 'b'", 13, "'brand' is not expected here"),
        ("price < 5 && in_stock", 11, "write AND instead of &&"),
        ("(price < 5", 11, ") is expected here"),
        ("brand IN ()", 11, "a value is expected"),
        ("price < '500'", 1, "price holds numbers, not a text"),
        ("brand = 5", 1, "brand holds texts, not a number"),
        ("brand", 1, "brand holds texts: compare it with something"),
        ("in_stock > true", 1, "have no order"),
        ("category < 'x'", 1, "category"),
        ("name : 5", 8, "a text in quotes, or *"),
        ("price < 5; DROP", 10, "';' is not expected"),
        ("x" * 5_000, 4_001, "at most 4,000 characters"),
        ("(" * 30 + "in_stock" + ")" * 30, 22, "20 levels deep"),
        (" AND ".join(["in_stock"] * 101), 1301, "100 tests"),
        ("id IN (" + ",".join(["1"] * 201) + ")", 408, "200 values"),
        (" OR ".join(["name : 'a'"] * 11), 141, "10 tests with :"),
        ("price < " + "9" * 31, 9, "30 digits"),
    ],
)  # fmt: skip
def test_a_mistake_is_said_with_its_place(text: str, at: int, says: str) -> None:
    with pytest.raises(FilterError) as caught:
        COLUMNS.mask(parse(text))
    assert f"at character {at}: " in str(caught.value)
    assert says in str(caught.value)


def test_nothing_sold_yet_is_no_mistake() -> None:
    empty = columns_of(NAMES, [])
    assert passing("price < 500", empty) == set()
    assert passing("in_stock", empty) == set(NAMES)
    assert empty.why_none(parse("in_stock AND price < 500")).endswith("none has price < 500")


def test_why_nothing_passes_names_the_condition() -> None:
    assert "none has price < 5" in COLUMNS.why_none(parse("in_stock AND price < 5"))
    assert "all of them by none" in COLUMNS.why_none(parse("price < 30 AND price > 40"))


def test_conditions_are_given_up_from_the_last_one_on() -> None:
    masks, refused = COLUMNS.loosened(parse("brand = 'Ace' AND price < 100 AND weight > 3"))

    assert [given_up for _, given_up in masks] == ["", "price < 100", "brand = 'Ace'"]
    assert [{n for n, let in zip(NAMES, mask, strict=True) if let} for mask, _ in masks] == [
        {"comb"}, {"comb", "kit"}, set(NAMES),
    ]  # fmt: skip
    assert [each.startswith("weight > 3 (at character 35: ") for each in refused] == [True]


def test_both_is_met_by_what_meets_each() -> None:
    left, right = parse("brand = 'Ace' OR in_stock"), parse("price < 500 AND in_stock")
    together = both(left, right)
    assert together is not None
    assert np.array_equal(COLUMNS.mask(together), COLUMNS.mask(left) & COLUMNS.mask(right))
    assert (both(None, right), both(left, None)) == (right, left)


texts = st.text("ab'\"\\ äÄ,()`\n", max_size=5)
checks = st.one_of(
    st.sampled_from(["in_stock", "vegan = true", "price:*", "g >= -2.5e1"]),
    texts.map(lambda text: "brand = '" + text.replace("\\", "\\\\").replace("'", "''") + "'"),
    texts.map(lambda text: 'colour IN ("' + text.replace("\\", "\\\\").replace('"', '\\"') + '")'),
)
filters = st.recursive(
    checks,
    lambda inner: st.one_of(
        inner.map(lambda part: f"NOT ({part})"),
        st.tuples(inner, inner).map(lambda parts: f"({parts[0]}) AND ({parts[1]})"),
        st.tuples(inner, inner).map(lambda parts: f"({parts[0]}) or ({parts[1]})"),
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(filters)
def test_a_filter_as_it_is_shown_means_the_same(text: str) -> None:
    wanted = parse(text)
    assert np.array_equal(COLUMNS.mask(parse(str(wanted))), COLUMNS.mask(wanted))


@settings(deadline=None)
@given(filters)
def test_loosening_only_adds_items_and_ends_with_all(text: str) -> None:
    masks, refused = COLUMNS.loosened(parse(text))
    assert not refused
    assert len(masks) == len(conditions(parse(text))) + 1
    for (tight, _), (loose, _) in itertools.pairwise(masks):
        assert not (tight & ~loose).any()
    assert masks[-1][0].all()


@settings(deadline=None)
@given(st.text("abn ORANDNOTIN'\"`()<>=!:*,.5-_äß\\\x00\ud800", max_size=40))
def test_whatever_is_written_is_a_filter_or_a_filter_error(text: str) -> None:
    with suppress(FilterError):
        assert COLUMNS.mask(parse(text)).shape == (len(NAMES),)

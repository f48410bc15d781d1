"""What is collected depends on the events alone: not on their order, nor on who held which of them."""

from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiles.segments.collect import (
    HITS_MAX,
    Collected,
    Collecting,
    Collector,
    Hit,
    add,
    collectors_of,
    merged,
    trim,
    values_of,
)
from profiles.segments.parse import parse_segment
from profiles.segments.tree import DAY_MS, Check, Of, Op, Truth
from tests.profiles.segments.strategies import made_history


def collected(hits: list[Hit], *, trimmed_every: int = 1 << 30) -> Collected:
    whole = Collected()
    for n, hit in enumerate(hits, 1):
        add(whole, hit)
        if n % trimmed_every == 0:
            trim(whole)
    trim(whole)
    return whole


def made_hits(random: Random, count: int) -> list[Hit]:
    days = random.choice([1, 100, 1_000])
    return [
        Hit(random.randrange(days * DAY_MS), n, random.choice([0, n % 7]), random.randrange(100))
        for n in range(count)
    ]


@given(st.integers(0, 1 << 30), st.integers(0, 1_500), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_any_order_and_any_parts_give_the_same(seed: int, count: int, parts: int) -> None:
    random = Random(seed)
    hits = made_hits(random, count)
    whole = collected(hits)

    shuffled = random.sample(hits, len(hits))
    assert collected(shuffled, trimmed_every=random.randrange(1, 700)) == whole
    leaves: list[list[Hit]] = [[] for _ in range(parts)]
    for hit in shuffled:
        random.choice(leaves).append(hit)
    kept = [collected(leaf) for leaf in leaves if leaf]
    before = msgspec.msgpack.encode(kept)
    assert merged(kept) == whole
    assert msgspec.msgpack.encode(kept) == before
    assert len(whole.hits) <= HITS_MAX
    assert whole.total == count


@given(st.integers(0, 1 << 30))
@settings(max_examples=20, deadline=None)
def test_what_is_stored_comes_back_the_same(seed: int) -> None:
    random = Random(seed)
    events = made_history(random, None, 20)
    for of, path in [
        (Of.COUNT, ""),
        (Of.SUM, "revenue"),
        (Of.DISTINCT, "plan"),
        (Of.VALUES, "plan"),
    ]:
        collecting = Collecting({1: Collector("order completed", of=of, path=path)})
        whole = Collected()
        for n, event in enumerate(events):
            for hit in collecting.hits(
                "order completed", n, event.time_ms, event.properties
            ).values():
                add(whole, hit)
        trim(whole)
        blob = msgspec.msgpack.encode(whole)
        assert msgspec.msgpack.decode(blob, type=Collected) == whole


_TEXTS = st.sampled_from(["a", "b", "A", "1", ""])
_VALUES = _TEXTS | st.sampled_from([1, True, None, 2.5]) | st.lists(_TEXTS, max_size=2)
_ITEMS = st.dictionaries(st.sampled_from(["category", "price"]), _VALUES, max_size=2)
_PROPERTIES = st.dictionaries(
    st.sampled_from(["plan", "products", "price"]),
    _VALUES | _ITEMS | st.lists(_ITEMS | _VALUES, max_size=3),
    max_size=3,
)
_PATHS = ["plan", "products.category", "products.price", "price", "products.category.plan"]


@given(_PROPERTIES, st.lists(st.tuples(st.sampled_from(_PATHS), _TEXTS), max_size=6, unique=True))
@settings(max_examples=300)
def test_a_collector_is_passed_over_only_if_it_would_keep_nothing(
    properties: dict[str, Any], wanted: list[tuple[str, str]]
) -> None:
    collectors = {
        n: Collector("x", ((path, (Check(Op.EQ, text),)),)) for n, (path, text) in enumerate(wanted)
    }
    each = {n: c.hit(7, 1, properties) for n, c in collectors.items()}
    kept = {n: hit for n, hit in each.items() if hit}
    assert Collecting(collectors).hits("x", 7, 1, properties) == kept


@pytest.mark.parametrize("value", [None, 5, (1, 2), '["a",1]'])
def test_two_copies_of_one_message_on_two_leaves_can_be_put_in_order(
    value: int | tuple[int, ...] | str | None,
) -> None:
    one = collected([Hit(1, 1, 0, value)])
    assert len(merged([one, one]).hits) == 2


def test_the_values_of_an_event_are_kept_cut_and_once() -> None:
    collector = Collector("x", of=Of.VALUES, path="products.name")
    names = ["a", "b" * 300, "", "a", 1, 1.0, True]
    hit = collector.hit(1, 1, {"products": [{"name": name} for name in names]})
    assert hit is not None
    assert values_of(hit) == ["a", "b" * 200, 1, True]


def test_true_and_one_are_collected_apart() -> None:
    yes = Collector("x", (("plan", (Check(Op.EQ, Truth.TRUE),)),))
    one = Collector("x", (("plan", (Check(Op.EQ, 1),)),))
    assert yes != one
    assert yes.hit(1, 1, {"plan": True})
    assert not yes.hit(1, 1, {"plan": 1})
    assert not one.hit(1, 1, {"plan": True})


def test_conditions_that_differ_only_in_window_and_threshold_share_what_is_collected() -> None:
    tree = {
        "all": [
            {"event": "Login", "within": "3d"},
            {"event": "LOGIN", "within": "9d", "count": {"at_least": 4}},
            {"event": "login", "last": {"until": "9d"}},
        ]
    }
    assert len(set(collectors_of(parse_segment(tree, id="s").who))) == 1


def test_only_events_that_matter_are_wanted() -> None:
    collecting = Collecting({4: Collector("login"), 2: Collector("order completed")})
    assert collecting.numbers == [2, 4]
    assert collecting.wants("login")
    assert not collecting.wants("$page")
    assert collecting.names() == ["login", "order completed"]
    assert Collecting({1: Collector("*")}).names() is None

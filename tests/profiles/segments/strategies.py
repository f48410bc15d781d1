"""Segments, events and instants as Hypothesis makes them: few names and close times, so that they meet."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from hypothesis import strategies as st

from identity.event import Event
from profiles.segments.literals import written_moment
from profiles.segments.tree import At

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_760_054_400_000
"""A midnight."""


class Vocabulary(msgspec.Struct, frozen=True, kw_only=True):
    """What segments can be about."""

    events: Sequence[str]
    properties: Mapping[str, Sequence[Any]]
    """Values by path."""
    numbers: Sequence[str]
    """Paths of numbers."""
    traits: Mapping[str, Sequence[Any]]
    dates: Sequence[str] = ()
    """Traits that are dates."""
    purposes: Sequence[str] = ()
    identifier_types: Sequence[str] = ()
    scores: Sequence[str] = ()
    computed: Sequence[str] = ()
    """Computed traits that are numbers."""
    start_ms: int = START
    days: int = 90
    """What happens lies in so many days from the start on."""


SHOP = Vocabulary(
    events=["Order Completed", "product viewed", "Login", "$page", "*"],
    properties={
        "products.category": ["vitamins", "pain", "skin"],
        "products.price": [5, 10.5, 20],
        "plan": ["gold", True, 1, "1"],
        "coupon": ["A", "B"],
        "meta.shop": ["x", "y"],
    },
    numbers=["revenue", "products.price", "products.quantity", "score"],
    traits={
        "country": ["IN", "DE"],
        "age": [20, 30.5, "30", True],
        "tags": [["a", "b"], ["b"], []],
    },
    dates=["signed_up"],
    purposes=["ads", "email"],
    identifier_types=["email", "phone"],
    scores=["churn"],
)


def durations(days: int) -> st.SearchStrategy[str]:
    return st.one_of(
        st.integers(1, days).map(lambda n: f"{n}d"),
        st.integers(1, days * 24).map(lambda n: f"{n}h"),
        st.sampled_from(["1s", "90m", "1w"]),
    )


@st.composite
def windows(draw: st.DrawFn, words: Vocabulary, *, by_day: bool = False) -> dict[str, Any]:
    """Keys of a window."""
    days = st.integers(1, words.days)
    if by_day:
        one = days.map(lambda n: f"{n}d")
    else:
        one = durations(words.days)
    step = DAY if by_day else HOUR
    moments = st.integers(0, words.days * DAY // step).map(
        lambda n: written_moment(At(words.start_ms + n * step))
    )
    kind = draw(st.sampled_from(["within", "until", "since", "both", "fixed", "mixed"]))
    if kind == "within":
        return {"within": draw(one)}
    if kind in ("until", "since"):
        return {kind: draw(st.one_of(one, moments))}
    if kind == "both":
        near, far = sorted(draw(st.tuples(days, days).filter(lambda pair: pair[0] != pair[1])))
        return {"within": f"{far}d", "until": f"{near}d ago"}
    if kind == "fixed":
        pair = draw(st.tuples(moments, moments).filter(lambda pair: pair[0] != pair[1]))
        return {"between": sorted(pair)}
    return {"since": draw(moments), "until": draw(one)}


def number_checks(low: int, high: int) -> st.SearchStrategy[Any]:
    numbers = st.integers(low, high)
    return st.one_of(
        numbers.map(lambda n: {"at_least": n}),
        numbers.map(lambda n: {"at_most": n}),
        numbers.map(lambda n: {"more_than": n}),
        numbers.map(lambda n: {"less_than": n + 1}),
        numbers,
        st.tuples(numbers, numbers).map(lambda pair: {"between": sorted(pair)}),
        numbers.map(lambda n: {"not_equal": n}),
        st.lists(numbers, min_size=1, max_size=2),
    )


counts = st.one_of(
    st.integers(1, 4).map(lambda n: {"at_least": n}),
    st.integers(0, 4).map(lambda n: {"at_most": n}),
    st.integers(0, 3).map(lambda n: {"more_than": n}),
    st.integers(0, 3),
    st.tuples(st.integers(1, 3), st.integers(0, 3)).map(
        lambda pair: {"between": [pair[0], pair[0] + pair[1]]}
    ),
    st.integers(0, 3).map(lambda n: {"not_equal": n}),
)


@st.composite
def value_checks(draw: st.DrawFn, values: Sequence[Any]) -> Any:
    """Something to check of one of some values."""
    plain = [each for each in values if not isinstance(each, list)] or ["a", "b"]
    one = draw(st.sampled_from(plain))
    kinds = ["eq", "short", "not_equal", "in", "list", "not_in", "exists", "missing", "contains"]
    if isinstance(one, str):
        kinds += ["starts_with", "ends_with"]
    if isinstance(one, int | float) and not isinstance(one, bool):
        kinds += ["at_least", "less_than"]
    kind = draw(st.sampled_from(kinds))
    if kind == "short":
        return one
    if kind in ("in", "not_in", "list"):
        some = draw(st.lists(st.sampled_from(plain), min_size=1, max_size=3))
        return some if kind == "list" else {kind: some}
    if kind in ("exists", "missing"):
        return {"exists": kind == "exists"}
    if kind in ("starts_with", "ends_with"):
        return {kind: one[:1] if kind == "starts_with" else one[-1:]}
    return {kind: one}


@st.composite
def matches(draw: st.DrawFn, words: Vocabulary) -> dict[str, Any]:
    """`event`, and often `where`."""
    tree: dict[str, Any] = {"event": draw(st.sampled_from(words.events))}
    if words.properties and draw(st.integers(0, 2)) == 0:
        paths = draw(
            st.lists(st.sampled_from(sorted(words.properties)), min_size=1, max_size=2, unique=True)
        )
        tree["where"] = {path: draw(value_checks(words.properties[path])) for path in paths}
    return tree


@st.composite
def event_trees(draw: st.DrawFn, words: Vocabulary, *, by_day: bool = False) -> dict[str, Any]:
    """Conditions on events."""
    tree = draw(matches(words))
    kind = draw(
        st.sampled_from(
            ["plain", "count", "sum", "distinct", "first", "last", "then", "not_within"]
        )
    )
    if kind == "not_within":
        return {**tree, "not_within": f"{draw(st.integers(1, words.days))}d"}
    window = draw(windows(words, by_day=by_day))
    if kind in ("first", "last"):
        return {**tree, kind: window}
    if draw(st.integers(0, 4)):
        tree |= window
    if kind == "count":
        tree["count"] = draw(counts)
    elif kind == "sum":
        measured = {"of": draw(st.sampled_from(words.numbers))}
        if draw(st.booleans()):
            measured["currency"] = draw(st.sampled_from(["INR", "EUR"]))
        tree["sum"] = measured | _mapped(draw(number_checks(-5, 60)))
    elif kind == "distinct":
        path = draw(st.sampled_from(sorted(words.properties)))
        tree["distinct"] = {"of": path} | _mapped(draw(counts))
    elif kind == "then":
        tree |= draw(follows(words, 2))
        if draw(st.booleans()):
            tree["count"] = draw(counts)
    return tree


def _mapped(checks: Any) -> dict[str, Any]:
    if isinstance(checks, dict):
        return checks
    return {"in" if isinstance(checks, list) else "eq": checks}


@st.composite
def follows(draw: st.DrawFn, words: Vocabulary, most: int) -> dict[str, Any]:
    """`then` or `then_not`."""
    tree = draw(matches(words))
    tree["within"] = draw(durations(20))
    if most > 1 and draw(st.integers(0, 3)) == 0:
        tree |= draw(follows(words, most - 1))
    return {draw(st.sampled_from(["then", "then_not"])): tree}


@st.composite
def date_checks(draw: st.DrawFn, words: Vocabulary) -> dict[str, Any]:
    ago = durations(words.days).map(lambda text: f"{text} ago")
    coming = durations(words.days).map(lambda text: f"in {text}")
    moments = st.integers(0, words.days).map(lambda n: written_moment(At(words.start_ms + n * DAY)))
    key = draw(st.sampled_from(["before", "after", "since", "until", "within"]))
    if key == "within":
        return {key: draw(st.one_of(durations(words.days), coming))}
    return {
        key: draw(st.one_of(ago, coming, moments, moments.map(lambda at: at[:10]), st.just("now")))
    }


@st.composite
def leaf_trees(
    draw: st.DrawFn, words: Vocabulary, segments: Sequence[str] = (), *, by_day: bool = False
) -> dict[str, Any]:
    """Single conditions."""
    kinds = ["event"] * 6 + ["seen"]
    kinds += ["trait"] * 2 * bool(words.traits) + ["date"] * bool(words.dates)
    kinds += ["consent"] * bool(words.purposes) + ["has"] * bool(words.identifier_types)
    kinds += ["score"] * bool(words.scores) + ["computed"] * 2 * bool(words.computed)
    kinds += ["segment"] * bool(segments)
    kind = draw(st.sampled_from(kinds))
    if kind == "event":
        tree = draw(event_trees(words, by_day=by_day))
    elif kind == "seen":
        window = draw(windows(words, by_day=by_day))
        tree = {"seen": draw(st.sampled_from(["first", "last"]))} | window
    elif kind == "trait":
        name = draw(st.sampled_from(sorted(words.traits)))
        tree = {"trait": {name: draw(value_checks(words.traits[name]))}}
    elif kind == "date":
        tree = {"trait": draw(st.sampled_from(words.dates))} | draw(date_checks(words))
    elif kind == "computed":
        tree = {"trait": draw(st.sampled_from(words.computed))} | _mapped(draw(number_checks(0, 5)))
    elif kind == "consent":
        tree = {"consent": draw(st.sampled_from(words.purposes)), "granted": draw(st.booleans())}
    elif kind == "has":
        tree = {"has": draw(st.sampled_from(words.identifier_types))}
    elif kind == "score":
        tree = {"score": draw(st.sampled_from(words.scores))}
        tree |= draw(st.sampled_from([{}, {"at_least": 0.5}, {"less_than": 0.5}]))
        tree |= draw(st.sampled_from([{}, {"max_age": "7d"}, {"max_age": "30h"}]))
    else:
        tree = {"segment": draw(st.sampled_from(segments))}
    return tree


def condition_trees(
    words: Vocabulary, segments: Sequence[str] = (), *, by_day: bool = False
) -> st.SearchStrategy[dict[str, Any]]:
    """Conditions with all, any and not."""
    return st.recursive(
        leaf_trees(words, segments, by_day=by_day),
        lambda below: st.one_of(
            st.lists(below, min_size=1, max_size=3).map(lambda some: {"all": some}),
            st.lists(below, min_size=1, max_size=3).map(lambda some: {"any": some}),
            below.map(lambda one: {"not": one}),
        ),
        max_leaves=4,
    )


@st.composite
def segment_trees(
    draw: st.DrawFn, words: Vocabulary, segments: Sequence[str] = ()
) -> dict[str, Any]:
    """Whole definitions, without id."""
    by_day = draw(st.integers(0, 4)) == 0
    tree: dict[str, Any] = {"name": "A segment / made"}
    if by_day:
        tree["granularity"] = "day"
    if draw(st.booleans()):
        tree["sensitive"] = True
    return tree | draw(condition_trees(words, segments, by_day=by_day))


@st.composite
def computed_trees(draw: st.DrawFn, words: Vocabulary, name: str) -> dict[str, Any]:
    """Computed traits."""
    tree = {"trait": name} | draw(matches(words))
    if draw(st.booleans()):
        tree |= draw(windows(words))
    kind = draw(st.sampled_from(["count", "sum", "most_frequent", "first", "last", "unique_list"]))
    if kind == "count":
        return {**tree, "count": True}
    if kind == "sum":
        return {**tree, "sum": draw(st.sampled_from(words.numbers))}
    return {**tree, kind: draw(st.sampled_from(sorted(words.properties)))}


# --- events of SHOP

TIMES = st.one_of(
    st.integers(0, 90 * 6).map(lambda n: START + n * 4 * HOUR),
    st.integers(0, 90 * DAY).map(lambda n: START + n),
)
_PRODUCTS = st.lists(
    st.fixed_dictionaries(
        {"product_id": st.sampled_from("ab")},
        optional={
            "category": st.sampled_from(["vitamins", "pain", "skin"]),
            "price": st.sampled_from([5, 10.5, "20", "much"]),
            "quantity": st.integers(1, 3),
        },
    ),
    max_size=3,
)
_PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "products": _PRODUCTS,
        "plan": st.sampled_from(["gold", True, 1, "1", 1.0, None]),
        "coupon": st.sampled_from(["A", "B", ["A", "B"], ""]),
        "revenue": st.sampled_from([10, "12.50", -3, 0.1, "free"]),
        "currency": st.sampled_from(["INR", "eur"]),
        "order_id": st.sampled_from(["o1", "o2", 3, ""]),
        "meta": st.sampled_from([{"shop": "x"}, [{"shop": "x"}, {"shop": "y"}], {}, "x"]),
        "score": st.sampled_from([1, 2.5, True, "7"]),
    },
)
_TRAITS = st.fixed_dictionaries(
    {},
    optional={
        "country": st.sampled_from(["IN", "DE", None]),
        "age": st.sampled_from([20, 30.5, "30", True, 40]),
        "tags": st.sampled_from([["a", "b"], ["b"], "ab", []]),
        "signed_up": st.one_of(
            TIMES.map(lambda ms: written_moment(At(ms))), st.sampled_from(["2025-10-20", "soon", 5])
        ),
    },
)


@st.composite
def events(draw: st.DrawFn) -> Event:
    """Something that one person did."""
    kind = draw(st.sampled_from(["track"] * 5 + ["page", "identify"]))
    name = draw(st.sampled_from(["Order Completed", "order completed", "Product Viewed", "Login"]))
    at = draw(TIMES)
    return Event(
        type=kind,
        message_id=f"m{draw(st.integers(0, 1 << 40))}",
        received_ms=at,
        time_ms=at,
        key_ms=at,
        source="test",
        name=name if kind == "track" else "",
        traits=draw(_TRAITS) if kind == "identify" else {},
        properties=draw(_PROPERTIES) if kind != "identify" else {},
        consent=tuple(
            draw(
                st.dictionaries(st.sampled_from(["ads", "email"]), st.booleans(), max_size=2)
            ).items()
        )
        if draw(st.integers(0, 4)) == 0
        else (),
    )


histories = st.lists(events(), max_size=14, unique_by=lambda event: event.message_id)
scores = st.dictionaries(
    st.sampled_from(["churn"]), st.tuples(st.sampled_from([0.2, 0.5, 0.9]), TIMES), max_size=1
)
identifiers = st.frozensets(st.sampled_from(["email", "phone"]))


@st.composite
def instants(draw: st.DrawFn, happened: Sequence[Event], most: int = 12) -> list[int]:
    """Moments at which something may change, and just before; sorted."""
    times = [event.time_ms for event in happened] or [START]
    shifts = st.one_of(
        st.just(0),
        st.integers(0, 90).map(lambda n: n * DAY),
        st.integers(0, 90 * 24).map(lambda n: n * HOUR),
    )
    moments = st.one_of(
        st.tuples(st.sampled_from(times), shifts, st.integers(-1, 1)).map(sum),
        st.integers(START - DAY, START + 150 * DAY),
        st.integers(0, 150).map(lambda n: START + n * DAY),
    )
    return sorted(set(draw(st.lists(moments, min_size=2, max_size=most))))

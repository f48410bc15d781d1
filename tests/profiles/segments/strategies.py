"""Segments, events and instants as Hypothesis makes them: few names and close times, so that they meet."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import msgspec
from hypothesis import strategies as st

from identity.event import Event
from profiles.segments.literals import duration_of, written_moment
from profiles.segments.tree import At
from tests.profiles.segments.brute import Person

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
    one = days.map(lambda n: f"{n}d") if by_day else durations(words.days)
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


EVENT_KINDS = ("plain", "count", "sum", "distinct", "first", "last", "then", "chain", "not_within")


@st.composite
def event_trees(
    draw: st.DrawFn,
    words: Vocabulary,
    *,
    by_day: bool = False,
    kinds: Sequence[str] = EVENT_KINDS,
) -> dict[str, Any]:
    """Conditions on events."""
    tree = draw(matches(words))
    kind = draw(st.sampled_from(kinds))
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
    elif kind in ("then", "chain"):
        tree |= draw(follows(words, 1 if kind == "then" else 2))
        if draw(st.booleans()):
            tree["count"] = draw(counts)
    return tree


def _mapped(checks: Any) -> dict[str, Any]:
    if isinstance(checks, dict):
        return checks
    return {"in" if isinstance(checks, list) else "eq": checks}


@st.composite
def follows(draw: st.DrawFn, words: Vocabulary, most: int) -> dict[str, Any]:
    """`then` or `then_not`, and the same again in it."""
    tree = draw(matches(words))
    tree["within"] = draw(durations(20))
    if most > 1:
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
    draw: st.DrawFn,
    words: Vocabulary,
    segments: Sequence[str] = (),
    *,
    by_day: bool = False,
    kinds: Sequence[str] = (),
) -> dict[str, Any]:
    """Single conditions."""
    every = ["event"] * 6 + ["seen"]
    every += ["trait"] * 2 * bool(words.traits) + ["date"] * bool(words.dates)
    every += ["consent"] * bool(words.purposes) + ["has"] * bool(words.identifier_types)
    every += ["score"] * bool(words.scores) + ["computed"] * 2 * bool(words.computed)
    every += ["segment"] * bool(segments)
    kind = draw(st.sampled_from(kinds or every))
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
        checks = st.one_of(
            number_checks(0, 5).map(_mapped), value_checks(["vitamins", "gold", "x", 1, True])
        )
        tree = {"trait": {draw(st.sampled_from(words.computed)): draw(checks)}}
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


# --- what people did in SHOP: by the thousand, hence made by a random of their own


def made_history(random: Random, tree: Any = None, most: int = 20) -> list[Event]:
    """What one person did: alike and close enough that conditions meet; more of what a tree mentions."""
    days = random.choice([1, 10, 40, 90])
    step = random.choice([1, HOUR, DAY])
    at = START + random.randrange(90 - days + 1) * DAY
    every = ["Order Completed", "order completed", "Product Viewed", "Login"]
    mentioned = {text.lower() for text in texts_in(tree)}
    names = [name for name in every if name.lower() in mentioned] * 3 + random.sample(every, 2)
    products = random.random() < 0.7
    return [
        made_event(
            random, n, at + random.randrange(days * DAY // step) * step, names, products=products
        )
        for n in range(random.randrange(most))
    ]


def made_event(
    random: Random, number: int, at: int, names: Sequence[str], *, products: bool = True
) -> Event:
    """One of them."""
    kind = random.choice(["track"] * 6 + ["page", "identify"])
    consent = random.random() < 0.2
    return Event(
        type=kind,
        message_id=f"m{random.getrandbits(40)}-{number}",
        received_ms=at,
        time_ms=at,
        key_ms=at,
        source="test",
        name=random.choice(names) if kind == "track" else "",
        traits=_made_traits(random) if kind == "identify" else {},
        properties=_made_properties(random, products=products) if kind != "identify" else {},
        consent=((random.choice(["ads", "email"]), random.random() < 0.5),) if consent else (),
    )


def _some(random: Random, values: Mapping[str, Sequence[Any]], share: float) -> dict[str, Any]:
    return {key: random.choice(some) for key, some in values.items() if random.random() < share}


def _made_properties(random: Random, *, products: bool) -> dict[str, Any]:
    found = _some(
        random,
        {
            "plan": ["gold", True, 1, "1", 1.0, None],
            "coupon": ["A", "B", ["A", "B"], ""],
            "revenue": [10, "12.50", -3, 0.1, "free"],
            "total": [7, "x"],
            "currency": ["INR", "eur"],
            "order_id": ["o1", "o2", "o3", 3, " o1 ", ""],
            "meta": [{"shop": "x"}, [{"shop": "x"}, {"shop": "y"}], {}, "x"],
            "score": [1, 2.5, True, "7"],
        },
        0.5,
    )
    if products:
        line: dict[str, Sequence[Any]] = {
            "category": ["vitamins", "pain", "skin"],
            "price": [5, 10.5, "20", "much"],
            "quantity": [1, 2, 3],
        }
        found["products"] = [
            {"product_id": random.choice("ab")} | _some(random, line, 0.8)
            for _ in range(random.randrange(4))
        ]
    return found


def _made_traits(random: Random) -> dict[str, Any]:
    at = written_moment(At(START + random.randrange(90 * DAY // HOUR) * HOUR))
    return _some(
        random,
        {
            "country": ["IN", "DE", None],
            "age": [20, 30.5, "30", True, 40],
            "tags": [["a", "b"], ["b"], "ab", []],
            "signed_up": [at, at, "2025-10-20", "soon", 5],
        },
        0.7,
    )


def made_person(random: Random, events: Sequence[Event]) -> Person:
    """Somebody of whom that, and something more, is known."""
    scored = (random.choice([0.2, 0.5, 0.9]), START + random.randrange(90) * DAY)
    return Person(
        events=events,
        identifier_types=frozenset(random.sample(["email", "phone"], random.randrange(3))),
        scores={"churn": scored} if random.random() < 0.7 else {},
    )


def made_moments(random: Random, events: Sequence[Event], tree: Any, most: int = 25) -> list[int]:
    """Moments at which the answer of a tree may change, and just before and after; sorted."""
    times = [event.time_ms for event in events] or [START]
    spans = [0, *durations_in(tree)]
    found = set()
    for _ in range(most):
        at = random.choice(times)
        shift = random.choice(spans)
        if random.random() < 0.3:
            shift += random.choice(spans)
        if random.random() < 0.2:
            at = at // DAY * DAY + random.choice([0, DAY])
        found.add(at + shift + random.choice([-1, 0, 0, 1]))
        found.add(START + random.randrange(-DAY, 180 * DAY))
    return sorted(found)


def durations_in(tree: Any) -> list[int]:
    """Every duration that a plain tree mentions, in milliseconds."""
    found = []
    for text in texts_in(tree):
        ms = duration_of(text.removeprefix("in ").removesuffix(" ago"))
        if ms is not None:
            found += [ms, -ms] if text.startswith("in ") else [ms]
    return found


def texts_in(tree: Any) -> list[str]:
    """Every text that a plain tree holds as a value."""
    if isinstance(tree, dict | list):
        below = tree.values() if isinstance(tree, dict) else tree
        return [text for each in below for text in texts_in(each)]
    return [tree] if isinstance(tree, str) else []

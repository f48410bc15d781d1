"""Trees are read into segments; whatever is wrong is told, all of it, with what was probably meant."""

import time
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiles.segments.literals import duration_of, moment_of, written_duration, written_moment
from profiles.segments.parse import (
    CONDITIONS_MAX,
    DEPTH_MAX,
    TREE_SIZE_MAX,
    parse_computed,
    parse_definition,
    parse_segment,
)
from profiles.segments.problems import PROBLEMS_MAX, BadDefinition
from profiles.segments.tree import (
    DAY_MS,
    Ago,
    AllOf,
    AnyOf,
    At,
    Check,
    ComputedTrait,
    Computes,
    Condition,
    Consents,
    Follow,
    Happened,
    Has,
    InSegment,
    Match,
    Not,
    Of,
    Op,
    Score,
    Seen,
    Segment,
    TraitIs,
    Truth,
    Window,
)
from profiles.segments.write import write
from tests.profiles.segments.strategies import SHOP, computed_trees, segment_trees

LOGIN = Match("login", "Login")
JAN_31 = 1_769_817_600_000


def who(text: str) -> Condition:
    return parse_segment(yaml.safe_load(text), id="s").who


def wrong(text: str) -> list[str]:
    with pytest.raises(BadDefinition) as caught:
        parse_definition(yaml.safe_load(text), id="s")
    return [f"{each.where}: {each.text}" for each in caught.value.errors]


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("event: Login", Happened(LOGIN)),
        ("{event: Login, within: 3d}", Happened(LOGIN, Window(Ago(3 * DAY_MS)))),
        ("{event: Login, within: 2 weeks}", Happened(LOGIN, Window(Ago(14 * DAY_MS)))),
        ("{event: Login, not_within: 3d}", Not(Happened(LOGIN, Window(Ago(3 * DAY_MS))))),
        ("{event: Login, until: 3d ago}", Happened(LOGIN, Window(None, Ago(3 * DAY_MS)))),
        ("{event: Login, since: 2026-01-31}", Happened(LOGIN, Window(At(JAN_31)))),
        ("{event: Login, until: 2026-01-31}", Happened(LOGIN, Window(None, At(JAN_31 + DAY_MS)))),
        (
            "{event: Login, until: '2026-01-31T00:00:00Z'}",
            Happened(LOGIN, Window(None, At(JAN_31))),
        ),
        (
            "{event: Login, between: [2026-01-31, 2026-01-31]}",
            Happened(LOGIN, Window(At(JAN_31), At(JAN_31 + DAY_MS))),
        ),
        ("{event: Login, between: [9d ago, now]}", Happened(LOGIN, Window(Ago(9 * DAY_MS)))),
        ("{event: Login, count: 2}", Happened(LOGIN, checks=(Check(Op.EQ, 2),))),
        ("{event: Login, count: [1, 2]}", Happened(LOGIN, checks=(Check(Op.IN, (1, 2)),))),
        (
            "{event: Login, sum: {of: revenue, currency: inr, more_than: 1.5}}",
            Happened(LOGIN, Window(), Of.SUM, "revenue", "INR", (Check(Op.MORE_THAN, 1.5),)),
        ),
        (
            "{event: Login, distinct: {of: a.b, at_least: 3}}",
            Happened(LOGIN, Window(), Of.DISTINCT, "a.b", "", (Check(Op.AT_LEAST, 3),)),
        ),
        (
            "{event: Login, last: {not_within: 3d}}",
            Happened(LOGIN, Window(None, Ago(3 * DAY_MS)), Of.LAST),
        ),
        (
            "{event: Login, then: {event: Login, within: 1h, then_not: {event: '*', within: 5s}}}",
            Happened(
                LOGIN,
                follow=Follow(LOGIN, 3_600_000, then=Follow(Match("*", "*"), 5_000, negated=True)),
            ),
        ),
        (
            "{event: ' LOGIN ', where: {b: {at_most: 2, at_least: 1}, a: true}}",
            Happened(
                Match(
                    "login",
                    "LOGIN",
                    (
                        ("a", (Check(Op.EQ, Truth.TRUE),)),
                        ("b", (Check(Op.AT_LEAST, 1), Check(Op.AT_MOST, 2))),
                    ),
                )
            ),
        ),
        ("trait: plan", TraitIs("plan", (Check(Op.EXISTS, True),))),
        ("{trait: plan, in: [a, 1]}", TraitIs("plan", (Check(Op.IN, ("a", 1)),))),
        (
            "trait: {plan: [a], age: {between: [1, 2]}}",
            AllOf(
                (
                    TraitIs("age", (Check(Op.BETWEEN, (1, 2)),)),
                    TraitIs("plan", (Check(Op.IN, ("a",)),)),
                )
            ),
        ),
        ("{trait: born, after: 2026-01-30}", TraitIs("born", (Check(Op.AFTER, At(JAN_31)),))),
        ("{trait: born, since: 2026-01-31}", TraitIs("born", (Check(Op.AFTER, At(JAN_31)),))),
        ("{trait: born, until: 2026-01-30}", TraitIs("born", (Check(Op.BEFORE, At(JAN_31)),))),
        ("{trait: born, before: 2026-01-31}", TraitIs("born", (Check(Op.BEFORE, At(JAN_31)),))),
        (
            "{trait: ends, within: in 7d}",
            TraitIs("ends", (Check(Op.BEFORE, Ago(-7 * DAY_MS)), Check(Op.AFTER, Ago(0)))),
        ),
        (
            "{trait: ends, between: [2d ago, in 7d]}",
            TraitIs("ends", (Check(Op.BEFORE, Ago(-7 * DAY_MS)), Check(Op.AFTER, Ago(2 * DAY_MS)))),
        ),
        ("{seen: last, not_within: 800d}", Seen("last", Window(None, Ago(800 * DAY_MS)))),
        ("has: email", Has("email")),
        ("has: [email, phone]", AllOf((Has("email"), Has("phone")))),
        ("consent: ads", Consents("ads")),
        ("{consent: ads, granted: false}", Consents("ads", granted=False)),
        ("{score: churn, max_age: 7d}", Score("churn", (), 7 * DAY_MS)),
        ("{score: churn, at_least: .7}", Score("churn", (Check(Op.AT_LEAST, 0.7),))),
        ("segment: other", InSegment("other")),
        ("any: [{has: a}, {not: {has: b}}]", AnyOf((Has("a"), Not(Has("b"))))),
    ],
)
def test_a_condition_is_read(text: str, condition: Condition) -> None:
    assert who(text) == condition


def test_a_definition_has_a_name_and_marks() -> None:
    text = "{id: a-1, name: ' Big / small ', description: x, sensitive: true, granularity: day, has: a}"
    assert parse_segment(yaml.safe_load(text)) == Segment(
        id="a-1",
        name="Big / small",
        description="x",
        sensitive=True,
        granularity="day",
        who=Has("a"),
    )
    assert parse_segment({"has": "a"}, id="file") == Segment(id="file", name="file", who=Has("a"))


def test_a_trait_and_an_event_define_a_computed_trait() -> None:
    text = "{trait: sums, event: Login, sum: revenue, currency: EUR, within: 3d, description: x}"
    assert parse_definition(yaml.safe_load(text), id="file") == ComputedTrait(
        name="sums",
        description="x",
        computes=Computes.SUM,
        path="revenue",
        currency="EUR",
        match=LOGIN,
        window=Window(Ago(3 * DAY_MS)),
    )
    assert parse_computed({"trait": "n", "event": "Login", "count": True}).path == ""


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("{}", [": the definition is empty"]),
        ("[]", [": a list is no definition: a mapping with a name and conditions is"]),
        ("{1: 2}", [': the key 1 is no text; did you mean "1"?']),
        ("name: x", [": has no condition: nobody would be in it"]),
        ("xyzzy: x", [
            'xyzzy: there is no "xyzzy" here',
            ": has no condition: one of all, any, not, trait, event, seen, has, consent, score, segment"]),
        ("all: []", ["all: is empty: it needs a condition"]),
        ("all: {has: a}", ["all: a mapping is no list of conditions; did you mean a - before each?"]),
        ("all: [{}]", ["all[0]: has no condition: nobody would be in it"]),
        ("all: [x]", ['all[0]: "x" is no condition like {event: …}']),
        ("not: [{has: a}]", ["not: is for one condition; did you mean not: {any: […]}?"]),
        ("{has: a, segment: b}", [
            "segment: has and segment are two conditions; put each into a list of its own under all; "
            "did you mean all: [{…}, {…}]?"]),
        ("{id: A/b, has: a}", [
            'id: "A/b" is no id: small letters, digits, - and _ only; did you mean a-b?']),
        ("{name: 7, has: a}", ['name: 7 is no text, which the name must be; did you mean "7"?']),
        ("{sensitive: 'yes', has: a}", ['sensitive: "yes" is neither true nor false']),
        ("{granularity: daily, has: a}", [
            'granularity: "daily" is neither exact nor day; did you mean day?']),
        ("{sensitve: true, event: a}", ['sensitve: there is no "sensitve" here; did you mean sensitive?']),
        ("{event: a, wihtin: 3d}", ['wihtin: there is no "wihtin" here; did you mean within?']),
        ("{event: a, times: 3}", ['times: there is no "times" here; did you mean count?']),
        ("{event: ''}", ["event: \"\" is no text, which the event's name must be"]),
        ("{event: 3}", ["event: 3 is no text, which the event's name must be; did you mean \"3\"?"]),
        ("{event: a, within: 30 dayz}", ['within: "30 dayz" is no duration; did you mean 30d?']),
        ("{event: a, within: 30}", ["within: 30 is no duration; did you mean 30d?"]),
        ("{event: a, within: 2 months}", ['within: "2 months" is no duration; did you mean 60d?']),
        ("{event: a, within: -3d}", ['within: "-3d" is no duration']),
        ("{event: a, within: 0d}", ['within: "0d" is no duration']),
        ("{event: a, within: 401d}", [
            "within: 401d is more than the 400 days for which events are kept one by one; granularity: day "
            "counts what is known of older ones by days; did you mean 400d?"]),
        ("{granularity: day, event: a, within: 36h}", [
            "within: with granularity: day a time is a date or a whole number of days; did you mean 2d?"]),
        ("{event: a, since: 2026-02-01, until: 2026-01-31}", ["until: ends before it begins"]),
        ("{event: a, between: [3d ago, 5d ago]}", [
            "between: ends before it begins: the longer ago comes first"]),
        ("{event: a, between: [3d ago]}", ["between: a list is no pair of dates, [first, last]"]),
        ("{event: a, since: in 3d}", ["since: nothing is known of the future"]),
        ("{event: a, since: '2026-13-01'}", [
            'since: "2026-13-01" is no date like 2026-01-31, and no 30d ago']),
        ("{event: a, within: 3d, since: 2026-01-01}", ["since: cannot be said together with within"]),
        ("{event: a, within: 3d, not_within: 1d}", ["within: cannot be said together with not_within"]),
        ("{event: a, count: {at_leest: 2}}", [
            'count.at_leest: "at_leest" is no check here; there are at_least, at_most, between, eq, in, '
            "less_than, more_than, not_equal, not_in; did you mean at_least?"]),
        ("{event: a, count: {'>=': '2'}}", [
            'count.>=: ">=" is no check here; there are at_least, at_most, between, eq, in, less_than, '
            "more_than, not_equal, not_in; did you mean at_least?"]),
        ("{event: a, count: {at_least: '2'}}", ['count.at_least: "2" is no number; did you mean 2?']),
        ("{event: a, count: 1.5}", ["count.eq: 1.5 is no whole number from 0 on"]),
        ("{event: a, count: true}", ["count.eq: true is no whole number from 0 on"]),
        ("{event: a, count: {at_least: 501}}", [
            "count.at_least: 500 events are kept one by one; more can be counted by days; "
            "did you mean granularity: day?"]),
        ("{event: a, count: {at_least: 0}}", [
            "count: every number passes, also 0: everybody would be in it; did you mean at_least: 1?"]),
        ("{event: a, count: {less_than: 0}}", ["count: no number passes all of these checks"]),
        ("{event: a, count: {more_than: 1, less_than: 2}}", ["count: no number passes all of these checks"]),
        ("{event: a, count: {}}", ["count: says nothing to check"]),
        ("{event: a, count: 2, distinct: {of: b, eq: 1}}", [
            "distinct: cannot be said together with count: one condition each"]),
        ("{event: a, sum: revenue}", [
            'sum: "revenue" does not say of what, and how much; did you mean {of: revenue, at_least: 1}?']),
        ("{event: a, sum: {at_least: 1}}", ["sum: does not say the sum of what; did you mean of: revenue?"]),
        ("{event: a, sum: {of: b}}", ["sum: does not say how much; did you mean at_least: 1?"]),
        ("{event: a, sum: {of: b, eq: x}}", ["sum.eq: is no number, which a sum is"]),
        ("{event: a, sum: {of: b, eq: 1, currency: rupees}}", [
            'sum.currency: "rupees" is no currency of three letters like INR']),
        ("{event: a, sum: {of: b..c, eq: 1}}", ['sum.of: "b..c" has an empty step; did you mean b.c?']),
        ("{event: a, granularity: day, distinct: {of: b, at_least: 501}}", [
            "distinct.at_least: different values are known of 500 events only"]),
        ("{event: a, first: true}", [
            "first: true says no time: first needs one; did you mean first: {within: 30d}?"]),
        ("{event: a, last: {within: 3d}, within: 3d}", [
            "within: belongs into last; did you mean last: {within: …}?"]),
        ("{event: a, not_within: 3d, count: 2}", [
            "not_within: is for whether it happened at all; did you mean not: {…}?"]),
        ("{event: a, then: {event: b}}", ["then: does not say within what time; did you mean within: 3d?"]),
        ("{event: a, then: b}", [
            'then: "b" is no event that follows; did you mean {event: …, within: 3d}?']),
        ("{event: a, then: {within: 3d}}", ["then: does not say which event; did you mean event: …?"]),
        ("{event: a, where: []}", [
            "where: a list is no mapping of properties, {products.category: …}"]),
        ("{event: a, where: {b: {}}}", ["where.b: says nothing to check"]),
        ("{event: a, where: {b: null}}", [
            "where.b: nothing is there to compare with; did you mean {exists: false}?"]),
        ("{event: a, where: {b: {within: 3d}}}", [
            "where.b.within: an event is looked at once, when it comes: only fixed dates can be compared"]),
        ("{trait: a, in: []}", ["in: the list is empty"]),
        ("{trait: a, in: b}", ['in: "b" is no list of values; did you mean [b]?']),
        ("{trait: a, exists: 'yes'}", ['exists: "yes" is neither true nor false; did you mean true?']),
        ("{trait: a, exists: false, eq: 1}", [": what does not exist passes no other check"]),
        ("{trait: a, between: [3, 1]}", ["between: nothing is between 3 and 1; did you mean [1, 3]?"]),
        ("{trait: a, at_least: 3, less_than: 3}", [": no number passes all of these checks"]),
        ("{trait: a, after: 2026-01-01, before: 2026-01-02}", [
            ": no date is both before the one and after the other"]),
        ("{trait: a, after: 2026-01-01, since: 2026-01-02}", [
            "since: says a second time what must be after"]),
        ("{trait: a, before: soon}", [
            'before: "soon" is no date like 2026-01-31, and no 30d ago, in 7d or now']),
        ("{trait: a, at_least: .inf}", [
            "at_least: inf is not between -1,000,000,000,000 and 1,000,000,000,000"]),
        ("{trait: {}}", ["trait: names no trait"]),
        ("{seen: last}", ["seen: does not say when; did you mean within: 30d?"]),
        ("{seen: never, within: 3d}", ['seen: "never" is neither first nor last']),
        ("{consent: ads, granted: 1}", ["granted: 1 is neither true nor false"]),
        ("{score: churn, at_least: .5, max_age: week}", ['max_age: "week" is no duration']),
        ("{score: churn, eq: high}", ["eq: is no number, which a score is"]),
        ("{trait: n, event: a}", [
            ": needs one of count, sum, most_frequent, first, last, unique_list"]),
        ("{trait: n, event: a, count: 3}", [
            "count: a count says `count: true`; did you mean count: true?"]),
        ("{trait: n, event: a, last: b, currency: EUR}", ["currency: is for a sum"]),
        ("{trait: n, event: a, last: b, segment: c}", ['segment: there is no "segment" here']),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place_and_what_was_meant(
    text: str, errors: list[str]
) -> None:
    assert wrong(text) == errors


def test_all_that_is_wrong_is_told_at_once() -> None:
    text = """
    name: ''
    all:
    - {event: a, within: 3 dayz, count: {at_least: x}}
    - any: [{trait: b, eqq: 1}, {has: 3}]
    """
    assert [each.split(":")[0] for each in wrong(text)] == [
        "name",
        "all[0].within",
        "all[0].count.at_least",
        "all[1].any[0].eqq",
        "all[1].any[1].has",
    ]


@pytest.mark.parametrize("wide", [True, False])
def test_ten_thousand_conditions_are_refused_at_once(wide: bool) -> None:
    tree: dict[str, Any] = {"has": "a"}
    if wide:
        tree = {"all": [{"has": "a"}] * 10_000}
    else:
        for _ in range(10_000):
            tree = {"not": tree}
    begun = time.perf_counter()
    with pytest.raises(BadDefinition) as caught:
        parse_segment(tree, id="s")
    assert time.perf_counter() - begun < 1
    (error,) = caught.value.errors
    assert str(TREE_SIZE_MAX // 1000) in error.text or str(DEPTH_MAX) in error.text


def test_as_many_conditions_as_are_allowed_are_read() -> None:
    wide = {"all": [{"has": "a"}] * (CONDITIONS_MAX - 1)}
    assert parse_segment(wide, id="s")
    wide["all"].append({"has": "a"})
    with pytest.raises(BadDefinition, match=f"more than {CONDITIONS_MAX} conditions"):
        parse_segment(wide, id="s")
    deep: dict[str, Any] = {"has": "a"}
    for _ in range(DEPTH_MAX - 1):
        deep = {"all": [deep]}
    assert parse_segment(deep, id="s")
    with pytest.raises(BadDefinition, match=f"deeper than {DEPTH_MAX} conditions"):
        parse_segment({"not": deep}, id="s")


def test_a_tree_that_holds_itself_is_refused() -> None:
    tree: dict[str, Any] = {"all": []}
    tree["all"].append(tree)
    with pytest.raises(BadDefinition):
        parse_segment(tree, id="s")


def test_of_very_many_mistakes_the_first_are_told() -> None:
    with pytest.raises(BadDefinition) as caught:
        parse_segment({"all": [{"event": "a", f"x{n}": 1} for n in range(200)]}, id="s")
    assert len(caught.value.errors) == PROBLEMS_MAX


WORDS = (
    "all any not trait event seen has consent score segment where count sum distinct first last within "
    "not_within since until between then then_not of at_least eq in exists before max_age granted "
    "currency name id sensitive granularity description most_frequent"
)
texts = st.sampled_from(["3d", "in 2d", "now", "first", "2026-01-01", "EUR"]) | st.text(max_size=5)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS.split()) | st.text(max_size=3), below, max_size=5)
    ),
    max_leaves=20,
)


@given(plain)
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_comes_is_a_definition_or_is_refused(tree: Any) -> None:
    try:
        definition = parse_definition(tree, id="s")
    except BadDefinition as error:
        errors = error.errors
    else:
        assert parse_definition(write(definition)) == definition
        return
    assert errors
    assert all(len(each.text) < 400 for each in errors)


@given(st.one_of(segment_trees(SHOP, ["a", "b"]), computed_trees(SHOP, "made")))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_written_is_read_as_the_same(tree: Any) -> None:
    definition = parse_definition(tree, id="s")
    written = write(definition)
    assert parse_definition(written) == definition
    # Through JSON, and through a format that has no whole numbers and no order of keys.
    assert parse_definition(msgspec.json.decode(msgspec.json.encode(written))) == definition
    assert parse_definition(_as_struct(written)) == definition
    assert write(parse_definition(written)) == written


def _as_struct(tree: Any) -> Any:
    """As google.protobuf.Struct gives it back."""
    if isinstance(tree, dict):
        return {key: _as_struct(tree[key]) for key in sorted(tree, reverse=True)}
    if isinstance(tree, list):
        return [_as_struct(each) for each in tree]
    return float(tree) if isinstance(tree, int) and not isinstance(tree, bool) else tree


@given(st.integers(1, 54_000 * DAY_MS))
def test_durations_are_written_as_they_are_read(ms: int) -> None:
    assert duration_of(written_duration(ms)) == ms
    for sign in (1, -1):
        assert moment_of(written_moment(Ago(sign * ms))) == Ago(sign * ms)


@given(st.integers(-2_208_988_800_000, 7_258_118_400_000), st.booleans())
def test_moments_are_written_as_they_are_read(ms: int, whole_day: bool) -> None:
    assert moment_of(written_moment(At(ms)), whole_day=whole_day) == At(ms)

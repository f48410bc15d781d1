"""Segments that name segments, and what can change who is in one."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiles.segments.affects import Index
from profiles.segments.collect import Collector
from profiles.segments.evaluate import Judges, Subject
from profiles.segments.parse import parse_computed, parse_segment
from profiles.segments.references import CHAIN_MAX, check_references, references, sensitive
from profiles.segments.seen import Known, unseen
from profiles.segments.tree import Segment


def segments(**trees: dict[str, Any]) -> dict[str, Segment]:
    return {key: parse_segment(tree, id=key) for key, tree in trees.items()}


def told(some: dict[str, Segment]) -> list[str]:
    wrong = check_references(some)
    return [f"{key}: {each.where}: {each.text}" for key, all_ in wrong.items() for each in all_]


def test_segments_may_name_others() -> None:
    some = segments(
        a={"all": [{"segment": "b"}, {"not": {"segment": "c"}}]},
        b={"any": [{"segment": "c"}, {"has": "x"}]},
        c={"has": "x"},
    )
    assert list(references(some["a"])) == [
        (("all", 0, "segment"), "b"),
        (("all", 1, "not", "segment"), "c"),
    ]
    assert told(some) == []


def test_an_unknown_segment_is_told_with_what_was_meant() -> None:
    some = segments(a={"all": [{"segment": "big-spender"}]}, **{"big-spenders": {"has": "x"}})
    assert told(some) == [
        'a: all[0].segment: there is no segment "big-spender"; did you mean big-spenders?'
    ]


def test_no_segment_depends_on_itself() -> None:
    some = segments(a={"segment": "b"}, b={"not": {"segment": "c"}}, c={"segment": "a"})
    assert told(some) == ["c: segment: a segment cannot depend on itself: a → b → c → a"]
    assert told(segments(a={"segment": "a"})) == [
        "a: segment: a segment cannot depend on itself: a → a"
    ]


def test_a_chain_has_an_end() -> None:
    def chain(length: int) -> dict[str, Segment]:
        trees: dict[str, dict[str, Any]] = {
            f"s{n}": {"segment": f"s{n + 1}"} for n in range(length - 1)
        }
        return segments(**trees, **{f"s{length - 1}": {"has": "x"}})

    assert told(chain(CHAIN_MAX)) == []
    (error,) = told(chain(CHAIN_MAX + 1))
    assert error == f"s0: segment: more than {CHAIN_MAX} segments name one another in a row"
    assert told(chain(5_000))


def test_what_names_a_sensitive_segment_is_sensitive() -> None:
    some = segments(
        a={"sensitive": True, "has": "x"},
        b={"not": {"segment": "a"}},
        c={"any": [{"segment": "b"}, {"has": "x"}]},
        d={"has": "x"},
    )
    assert sensitive(some) == {"a", "b", "c"}


def test_diamonds_of_segments_are_evaluated_once_each() -> None:
    trees: dict[str, dict[str, Any]] = {
        f"s{n}": {"all": [{"segment": f"s{n + 1}"}] * 30} for n in range(CHAIN_MAX - 1)
    }
    some = segments(**trees, **{f"s{CHAIN_MAX - 1}": {"has": "x"}})
    judges = Judges(some, {})
    assert judges.verdict("s0", Subject(identifier_types=frozenset("x")), 1).member
    assert not judges.verdict("s0", Subject(), 1).member


def test_a_segment_for_which_nothing_is_collected_yet_cannot_be_asked() -> None:
    some = segments(a={"event": "x"}, b={"event": "y"})
    judges = Judges(some, {Collector("x"): 1})
    assert not judges.verdict("a", Subject(), 1).member
    with pytest.raises(KeyError):
        judges.of("b")


SOME = segments(
    events={"event": "Login", "then": {"event": "Order Completed", "within": "3d"}},
    trait={"trait": "address.city", "eq": "Pune"},
    computed={"trait": "made", "at_least": 1},
    consent={"consent": "ads"},
    has={"has": "email"},
    score={"score": "churn"},
    seen={"seen": "last", "within": "3d"},
    outer={"not": {"segment": "trait"}},
    outermost={"all": [{"segment": "outer"}, {"has": "phone"}]},
)
MADE = {"made": parse_computed({"trait": "made", "event": "Search", "count": True})}
INDEX = Index.of(SOME, MADE)


@pytest.mark.parametrize(
    ("happened", "can_change"),
    [
        ({"collectors": [Collector("login")]}, {"events"}),
        ({"collectors": [Collector("order completed")]}, {"events"}),
        ({"collectors": [Collector("search")]}, {"computed"}),
        ({"event": True}, {"seen"}),
        ({"trait_names": ["address", "age"]}, {"trait", "outer", "outermost"}),
        ({"trait_names": ["address.city"]}, {"trait", "outer", "outermost"}),
        ({"trait_names": ["city"]}, set()),
        ({"purposes": ["ads"]}, {"consent"}),
        ({"identifier_types": ["phone"]}, {"outermost"}),
        ({"scores": ["churn"]}, {"score"}),
        ({}, set()),
    ],
)
def test_only_segments_that_an_event_can_change_are_found(
    happened: dict[str, Any], can_change: set[str]
) -> None:
    assert INDEX.by(**happened) == can_change


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdefg"), max_size=3)))
@settings(max_examples=100, suppress_health_check=list(HealthCheck))
def test_whatever_has_neither_cycles_nor_unknown_names_can_be_asked(
    names: dict[str, list[str]],
) -> None:
    some = segments(
        **{
            key: {"any": [{"has": "x"}, *({"segment": each} for each in others)]}
            for key, others in names.items()
        }
    )
    if not check_references(some):
        judges = Judges(some, {})
        for key in some:
            assert judges.verdict(key, Subject(identifier_types=frozenset("x")), 1).member


def test_names_never_seen_are_told_with_what_is_near() -> None:
    segment = parse_segment(
        {
            "all": [
                {"event": "Order Complete", "then": {"event": "login", "within": "1d"}},
                {"event": "*"},
                {"not": {"trait": "contry"}},
                {"trait": "address.city"},
                {"trait": "zzz"},
                {"has": "e-mail"},
                {"consent": "ads"},
            ]
        },
        id="s",
    )
    known = Known(
        events=frozenset({"Order Completed", "Login"}),
        traits=frozenset({"country", "address"}),
        identifier_types=frozenset({"email"}),
    )
    assert [f"{each.where}: {each.text}" for each in unseen(segment, known)] == [
        'all[0].event: no event "Order Complete" was ever seen; did you mean Order Completed?',
        'all[2].not.trait: no trait "contry" was ever seen; did you mean country?',
        'all[4].trait: no trait "zzz" was ever seen',
        'all[5].has: no identifier "e-mail" was ever seen; did you mean email?',
    ]
    assert [each.where for each in unseen(MADE["made"], known)] == ["event"]
    assert unseen(segment, Known()) == []

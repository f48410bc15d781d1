"""Conflicts have short ids, by which operators name them."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from identity.conflicts import (
    ID_DIGITS,
    ID_DIGITS_MAX,
    conflict_id,
    count_by_rule,
    is_by,
    is_conflict_id,
    named,
    of_two,
)
from identity.resolve import Refusal
from tests.identity.strategies import EMAILS, PHONES, USERS, pairs

REFUSAL = Refusal(USERS[0], EMAILS[0], "limit:user_id", "2 of user_id", 5)


def test_an_id_stays_while_the_same_rule_refuses_the_same_two() -> None:
    later = msgspec.structs.replace(REFUSAL, since_ms=9, detail="3 of user_id")
    assert conflict_id(later) == conflict_id(REFUSAL)
    assert len(conflict_id(REFUSAL)) == 1 + ID_DIGITS
    assert conflict_id(REFUSAL, ID_DIGITS_MAX).startswith(conflict_id(REFUSAL))


@given(pairs, pairs, st.sampled_from(["hub", "members_max"]))
def test_other_identifiers_or_another_rule_give_another_id(
    one: tuple[bytes, bytes], other: tuple[bytes, bytes], rule: str
) -> None:
    first = msgspec.structs.replace(REFUSAL, a=one[0], b=one[1])
    second = msgspec.structs.replace(REFUSAL, a=other[0], b=other[1])
    assert (conflict_id(first) == conflict_id(second)) == (one == other)
    assert conflict_id(first) != conflict_id(msgspec.structs.replace(first, rule=rule))


def test_a_conflict_is_found_by_the_beginning_of_its_id() -> None:
    others = [msgspec.structs.replace(REFUSAL, b=node) for node in (*EMAILS[1:], *PHONES)]
    every = [REFUSAL, *others]
    whole = conflict_id(REFUSAL, ID_DIGITS_MAX)
    assert named(whole, every) == [REFUSAL]
    assert named(conflict_id(REFUSAL), every) == [REFUSAL]
    short = whole[:3]
    assert named(short, every) == [
        each for each in every if conflict_id(each, ID_DIGITS_MAX).startswith(short)
    ]
    assert named(whole + "0", every) == []


def test_what_is_no_id_names_nothing() -> None:
    assert not any(map(is_conflict_id, ("", "c", "c8", "81f2", "c81g", "C81F", "c" + "8" * 33)))
    assert all(map(is_conflict_id, ("c81", "c81f20000", "c" + "8" * 32)))
    assert named("", [REFUSAL]) == []


def test_conflicts_are_counted_by_rule_decisions_together() -> None:
    every = [
        REFUSAL,
        msgspec.structs.replace(REFUSAL, rule="kept_apart:d1"),
        msgspec.structs.replace(REFUSAL, rule="kept_apart:d2"),
        Refusal(EMAILS[0], EMAILS[0], "hub", "", 1),
    ]
    assert list(count_by_rule(every).items()) == [
        ("kept_apart", 2),
        ("hub", 1),
        ("limit:user_id", 1),
    ]
    assert [of_two(each) for each in every] == [True, True, True, False]
    assert [is_by(each, "limit") for each in every] == [True, False, False, False]
    assert [is_by(each, "kept_apart:d2") for each in every] == [False, False, True, False]
    assert all(is_by(each, "") for each in every)
    assert not is_by(REFUSAL, "limit:user")

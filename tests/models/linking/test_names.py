"""Names as people in India write them: what is one name, and what only looks like it."""

import numpy as np
import pytest

from models.linking.compare import INITIAL, NAME_OTHER, SAME, SIMILAR, SLIP, SOUND, TURNED, compare
from models.linking.dates import standard_date
from models.linking.names import Name, parse, skeleton, sound
from tests.models.linking.customers import people_of


def full(text: str) -> Name:
    return parse("", "", "", text)


def levels(a: str, b: str) -> tuple[int, int]:
    """How given names and surnames of two full names compare."""
    found = compare(people_of({"name": a}, {"name": b}), np.array([0]), np.array([1]))
    return int(found[0][0]), int(found[0][1])


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("lakshmi", "laxmi"), ("mohammed", "md"), ("mohammed", "muhammad"), ("mohd", "mohamad"),
        ("deepak", "dipak"), ("sudheer", "sudhir"), ("poornima", "purnima"), ("sathish", "satish"),
        ("jyothi", "jyoti"), ("swathi", "swati"), ("sheetal", "shital"), ("meenakshi", "minaxi"),
        ("sharma", "sarma"), ("chaudhary", "chowdhury"), ("mukherjee", "mukhopadhyay"), ("nair", "nayar"),
        ("phadke", "fadke"), ("zakir", "jakir"), ("vijay", "wijay"), ("rama", "ram"), ("shaikh", "sk"),
        ("fatima", "fathima"), ("gowri", "gouri"), ("ravee", "ravi"), ("aggarwal", "agrawal"),
    ],
)  # fmt: skip
def test_spellings_of_one_name_sound_alike(a: str, b: str) -> None:
    assert sound(a) == sound(b) or skeleton(a) == skeleton(b)
    assert levels(f"{a} kulkarni", f"{b} kulkarni") in {(SOUND, SAME), (SLIP, SAME)}


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("anil", "sunil"),
        ("asha", "usha"),
        ("ramesh", "suresh"),
        ("geeta", "sita"),
        ("khan", "rao"),
        ("ram", "raj"),
    ],
)
def test_names_that_only_look_alike_do_not_sound_alike(a: str, b: str) -> None:
    assert sound(a) != sound(b)
    assert levels(f"{a} kulkarni", f"{b} kulkarni")[0] in {SIMILAR, NAME_OTHER}


def test_an_initial_agrees_with_what_it_may_stand_for() -> None:
    assert levels("A. K. Sharma", "Anil Kumar Sharma") == (INITIAL, SAME)
    assert levels("A. K. Sharma", "Sunil Kumar Sharma")[0] == NAME_OTHER


def test_a_name_in_the_other_order_is_seen() -> None:
    assert levels("Anil Sharma", "Sharma Anil") == (SAME, TURNED)
    assert levels("Subramanian Ramesh", "Ramesh S") == (SAME, TURNED)
    assert levels("Anil Sharma", "Verma Sunita")[1] != TURNED


def test_a_comma_turns_a_name_around() -> None:
    assert full("Sharma, Anil Kumar") == Name("anil", "sharma", ("kumar",))


def test_titles_and_relations_name_nobody() -> None:
    assert full("Shri A. K. Sharma S/o Ram Prasad Sharma") == Name("a", "sharma", ("k",))
    assert full("Smt. Sunita Devi") == Name("sunita", "devi", ())
    assert full("Dr. Asha Rao ji") == Name("asha", "rao", ())


def test_kumari_after_a_name_is_a_name() -> None:
    assert full("Sunita Kumari").surname == "kumari"


def test_one_name_alone_is_a_given_name() -> None:
    assert full("Kunal") == Name("kunal", "", ())
    assert full("Dr") == Name("dr", "", ())


def test_short_forms_are_their_full_forms() -> None:
    assert levels("Tom Cruise", "Thomas Cruise") == (SOUND, SAME)
    assert levels("Bill Gates", "William Gates") == (SOUND, SAME)


def test_a_given_name_among_the_others_names_is_no_different_name() -> None:
    assert levels("Kumar Sharma", "Anil Kumar Sharma") == (SIMILAR, SAME)


def test_names_in_other_scripts_are_compared_as_they_are() -> None:
    assert levels("आशा शर्मा", "आशा शर्मा") == (SAME, SAME)
    assert levels("José Núñez", "Jose Nunez") == (SAME, SAME)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("15/04/1990", "19900415"), ("1990-04-15", "19900415"), ("19900415", "19900415"),
        ("15041990", "19900415"),
        ("19041985", "19850419"), ("15 Apr 1990", "19900415"), ("April 15, 1990", "19900415"),
        ("15th April 1990", "19900415"), ("1990-04-15T00:00:00Z", "19900415"), ("04/15/1990", "19900415"),
        ("1990", "19900000"), ("1990-04", "19900400"), ("1856-86-18", "18568618"), ("soon", ""), ("", ""),
        ("15/13/90", ""), ("12 Foo 1990", ""),
    ],
)  # fmt: skip
def test_dates_are_read_as_people_write_them(written: str, meant: str) -> None:
    assert standard_date(written) == meant


def test_whether_the_day_is_first_is_the_users_to_say() -> None:
    assert standard_date("03/04/1980") == "19800403"
    assert standard_date("03/04/1980", day_first=False) == "19800304"


@pytest.mark.parametrize(
    ("a", "b", "level"),
    [
        ("03/04/1980", "03/04/1980", 1), ("03/04/1980", "04/03/1980", 2), ("03/04/1980", "03/04/1981", 2),
        ("03/04/1980", "13/04/1980", 2), ("03/04/1980", "25/04/1980", 3), ("1980", "03/04/1980", 4),
        ("03/04/1980", "25/11/1980", 4), ("03/04/1980", "03/04/1957", 5), ("03/04/1980", "25/11/1957", 6),
        ("03/04/1980", "", 0),
    ],
)  # fmt: skip
def test_dates_differ_by_degrees(a: str, b: str, level: int) -> None:
    found = compare(people_of({"birth_date": a}, {"birth_date": b}), np.array([0]), np.array([1]))
    assert int(found[0][0]) == level


def test_phones_and_mails_are_compared_without_what_varies() -> None:
    people = people_of(
        {"phone": "+91 98765 43210", "email": "Asha.Rao@example.in"},
        {"phone": "098765-43210", "email": "asharao+shop@example.in"},
        {"phone": "98765 43211", "email": "test@test.com"},
    )
    assert compare(people, np.array([0, 0]), np.array([1, 2])).tolist() == [[2, 1], [0, 2]]

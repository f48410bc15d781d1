"""Blocking finds the pairs that are one person, and compares no block that would take for ever."""

import tracemalloc

import numpy as np
import pytest

from models.linking.blocking import PassReport, candidates
from models.linking.people import People
from models.linking.records import gather
from tests.models.linking.customers import NORMALIZER, Row, customers, people_of, sheet, whose


def crm(people: int, seed: int = 0) -> People:
    return gather([sheet(customers(people, seed))], NORMALIZER).people


def found(people: People, **limits: int) -> set[tuple[int, int]]:
    pairs = candidates(people, **limits)
    return set(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))


def report(people: People, name: str, **limits: int) -> PassReport:
    return next(one for one in candidates(people, **limits).passes if one.name == name)


def test_nearly_every_true_pair_is_compared_and_few_others() -> None:
    people = crm(2_000)
    person = whose(people.ids)
    pairs = candidates(people)
    same = sum(person[a] == person[b] for a, b in zip(pairs.left, pairs.right, strict=True))
    true = len(person) - len(set(person))
    every = len(people) * (len(people) - 1) / 2
    assert same / true > 0.99
    assert len(pairs.left) < 0.1 * every


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"name": "Lakshmi Iyer", "birth_date": "3/4/1980"}, {"name": "Laxmi Iyer", "birth_date": "3/4/1980"}),
        ({"name": "Anil Sharma"}, {"name": "Sharma Anil"}),
        ({"email": "asha.rao@example.in"}, {"email": "asha.rao@other.in"}),
        ({"phone": "9876543210"}, {"phone": "9776543210"}),
        ({"name": "Md Khan", "postcode": "560034"}, {"name": "Mohammed Khan", "postcode": "560034"}),
        ({"name": "Zubin Poonawalla"}, {"name": "Zubin Daruwalla"}),
        ({"address": "12 Lake Road Koregaon"}, {"address": "Flat 3 Koregaon Park"}),
    ],
)  # fmt: skip
def test_each_pass_forgives_another_error(a: Row, b: Row) -> None:
    assert found(people_of(a, b)) == {(0, 1)}


def test_two_files_are_compared_with_one_another_only() -> None:
    row = {"name": "Asha Rao", "phone": "9876543210"}
    assert found(people_of(row, row, row, second_from=2)) == {(0, 2), (1, 2)}


def test_a_giant_block_is_compared_with_neighbours_only_and_reported() -> None:
    people = people_of(*({"birth_date": "1/1/1990", "name": f"a{n}"} for n in range(1_000)))
    told = report(people, "birth date", block_max=100)
    assert (told.large_blocks, told.largest) == (1, 1_000)
    assert told.pairs < 1_000 * 13
    assert told.pairs + told.pairs_left_out == 1_000 * 999 // 2


def test_more_pairs_than_allowed_are_left_out_of_the_last_passes() -> None:
    people = crm(300)
    pairs = candidates(people, pairs_max=500)
    assert len(pairs.left) == 500
    assert pairs.passes[0].pairs_left_out == 0
    assert sum(one.new_pairs for one in pairs.passes) == 500
    assert pairs.passes[-1].pairs_left_out > 0


def test_pairs_are_there_once_in_order() -> None:
    pairs = candidates(crm(300))
    keys = pairs.left * 10**6 + pairs.right
    assert (np.diff(keys) > 0).all()
    assert (pairs.left < pairs.right).all()


def test_what_says_nothing_is_compared_with_nothing() -> None:
    assert found(people_of({"phone": "", "city": "Pune"}, {"phone": "", "city": "Pune"})) == set()
    assert found(people_of({"name": "Asha"})) == set()


def test_memory_is_bounded_by_the_limits_not_by_the_blocks() -> None:
    same = [
        {"birth_date": "1/1/1990", "postcode": "560034", "city": "Pune", "name": "Asha Rao"}
    ] * 5_000
    people = people_of(*same)
    tracemalloc.start()
    pairs = candidates(people, pairs_max=100_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(pairs.left) <= 100_000
    # Every pair of 5,000 would be 12.5 million, 100 MB for each pass.
    assert peak < 40e6

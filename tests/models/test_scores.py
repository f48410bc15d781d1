"""The scores that benchmarks report, on examples that can be counted by hand and against their definitions."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.scores import Ints, closure, clustered, paired, true_pairs

RECORDS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=20)
"""(cluster, person) of each record."""


def ints(*numbers: int) -> Ints:
    return np.array(numbers, np.int64)


def columns(records: list[tuple[int, int]]) -> tuple[Ints, Ints]:
    cluster, person = np.array(records, np.int64).T
    return cluster, person


def test_two_people_of_whom_one_lost_a_record_to_the_other() -> None:
    score = clustered(ints(0, 0, 0, 1), truth=ints(5, 5, 6, 6))

    assert score.pairs == pytest.approx((1 / 3, 1 / 2))
    assert score.b3 == pytest.approx(((2 / 3 + 2 / 3 + 1 / 3 + 1) / 4, (1 + 1 + 1 / 2 + 1 / 2) / 4))
    assert (score.largest, score.wrong, score.strangers) == (3, 3 / 4, 1 / 4)
    assert score.pairs.f1 == pytest.approx(0.4)


def test_the_truth_itself_is_perfect() -> None:
    truth = ints(3, 1, 3, 2, 1)

    score = clustered(truth, truth)

    assert score.pairs == score.b3 == (1, 1)
    assert score.wrong == score.strangers == 0


def test_one_hub_ruins_the_precision_of_pairs_and_leaves_that_of_records() -> None:
    truth = np.repeat(np.arange(10_000), 2)

    score = clustered(np.where(truth < 100, 0, truth), truth)

    assert score.pairs.precision == pytest.approx(10_000 / (9_900 + 200 * 199 / 2))
    assert score.b3.precision == pytest.approx((19_800 + 200 * 2 / 200) / 20_000)
    assert score.wrong == pytest.approx(0.01)
    assert score.strangers == pytest.approx(198 / 20_000)


@given(RECORDS)
def test_pairs_are_counted_as_their_definition_says(records: list[tuple[int, int]]) -> None:
    pairs = list(combinations(records, 2))
    found = [(a, b) for a, b in pairs if a[0] == b[0]]
    true = [(a, b) for a, b in pairs if a[1] == b[1]]
    right = [(a, b) for a, b in found if a[1] == b[1]]

    score = clustered(*columns(records))

    assert score.pairs.precision == pytest.approx(len(right) / max(len(found), 1))
    assert score.pairs.recall == pytest.approx(len(right) / max(len(true), 1))


@given(RECORDS)
def test_records_are_counted_as_their_definition_says(records: list[tuple[int, int]]) -> None:
    size = Counter(cluster for cluster, _ in records)
    own = Counter(person for _, person in records)
    both = Counter(records)
    most = {c: max(n for (where, _), n in both.items() if where == c) for c in size}

    score = clustered(*columns(records))

    count = len(records)
    assert score.b3.precision == pytest.approx(sum(both[r] / size[r[0]] for r in records) / count)
    assert score.b3.recall == pytest.approx(sum(both[r] / own[r[1]] for r in records) / count)
    assert score.wrong == pytest.approx(sum(both[r] < size[r[0]] for r in records) / count)
    assert score.strangers == pytest.approx(1 - sum(most.values()) / count)
    assert score.largest == max(size.values())


@given(RECORDS, st.permutations(range(5)), st.integers(1, 1 << 40))
def test_how_people_and_clusters_are_numbered_does_not_matter(
    records: list[tuple[int, int]], other: list[int], factor: int
) -> None:
    cluster, person = columns(records)
    renamed = np.array(other, np.int64)[cluster] * factor

    assert clustered(renamed, person * factor)[:4] == clustered(cluster, person)[:4]


def test_some_records_are_scored_beside_everybody() -> None:
    cluster, truth = ints(0, 0, 1, 1), ints(0, 0, 0, 1)

    score = clustered(cluster, truth, among=np.array([False, False, True, True]))

    assert score.b3 == pytest.approx((1 / 2, (1 / 3 + 1) / 2))
    assert (score.wrong, score.largest) == (1, 2)


def test_chains_of_pairs_are_one_cluster() -> None:
    found = closure(5, ints(0, 1), ints(1, 2))

    assert found[0] == found[1] == found[2]
    assert len(set(found.tolist())) == 3


def test_pairs_across_two_files_count_only_across_them() -> None:
    truth, side = ints(0, 0, 0, 1), np.array([0, 0, 1, 1], np.int8)

    assert true_pairs(truth, side) == 2
    assert true_pairs(truth, np.zeros(4, np.int8)) == 3
    assert paired(ints(0, 1), ints(2, 3), truth, side) == (1 / 2, 1 / 2)

"""From pairs to people: chains are split, limits hold, and of several candidates only one can be right."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.linking import deciding
from models.linking.deciding import (
    MANY_TO_ONE,
    ONE_TO_MANY,
    ONE_TO_ONE,
    Scored,
    constrained,
    people_of,
)
from models.linking.fellegi_sunter import probability

ACCEPT = 4.6


def scored(*pairs: tuple[int, int, float]) -> Scored:
    ordered = sorted(pairs)
    return Scored(
        np.array([p[0] for p in ordered], dtype=np.int64), np.array([p[1] for p in ordered], dtype=np.int64),
        np.array([p[2] for p in ordered], dtype=np.float64),
    )  # fmt: skip


def people(count: int, pairs: Scored, *, otherwise: float = -9.0, size_max: int = 100) -> list[int]:
    def score(left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        return np.full(len(left), otherwise)

    found = people_of(count, pairs, score, accept_odds=ACCEPT, size_max=size_max)
    return [int(each) for each in found]


def test_who_is_in_no_accepted_pair_is_alone() -> None:
    assert people(3, scored((0, 1, 4.0))) == [0, 1, 2]
    assert people(0, scored()) == []


def test_an_accepted_pair_is_one_person() -> None:
    assert people(4, scored((1, 3, 5.0))) == [0, 1, 2, 1]


def test_a_chain_over_one_wrong_pair_is_split() -> None:
    first = [(a, b, 9.0) for a in range(3) for b in range(a + 1, 3)]
    second = [(a, b, 9.0) for a in range(3, 6) for b in range(a + 1, 6)]
    assert people(6, scored(*first, *second, (2, 3, 6.0))) == [0, 0, 0, 3, 3, 3]


def test_a_pair_that_blocking_missed_does_not_split_a_person_that_it_belongs_to() -> None:
    pairs = scored((0, 1, 9.0), (1, 2, 9.0))
    assert people(3, pairs, otherwise=3.0) == [0, 0, 0]
    assert people(3, pairs, otherwise=-30.0) in ([0, 0, 2], [0, 1, 1])


def test_no_person_has_more_records_than_the_limit() -> None:
    every = [(a, b, 9.0 - 0.01 * b) for a in range(10) for b in range(a + 1, 10)]
    found = people(10, scored(*every), size_max=4)
    assert max(np.bincount(found)) <= 4
    assert people(10, scored(*every)) == [0] * 10


def test_records_of_a_person_hang_together_by_accepted_pairs() -> None:
    pairs = scored((0, 1, 9.0), (2, 3, 9.0), (0, 2, 4.7), (0, 3, -1.0), (1, 2, 1.0), (1, 3, 1.0))
    assert people(4, pairs) == [0, 0, 0, 0]
    assert people(4, scored((0, 1, 9.0), (2, 3, 9.0), (0, 2, 4.0), (1, 3, 4.0))) == [0, 0, 2, 2]


def test_a_giant_component_loses_its_weakest_pairs_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "COMPONENT_MAX", 4)
    chain = [(n, n + 1, 20.0 if n % 3 else 5.0) for n in range(11)]
    found = people(12, scored(*chain), otherwise=8.0)
    assert max(np.bincount(found)) <= 4
    assert found[1] == found[2] == found[3]


def test_a_giant_component_that_reviewers_made_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "COMPONENT_MAX", 4)
    assert max(np.bincount(people(12, scored(*((n, n + 1, 1e6) for n in range(11)))))) <= 4


@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.integers(9, 15), st.floats(-20, 20, allow_nan=False)),
        max_size=30, unique_by=lambda p: p[:2],
    ),
    st.permutations(range(16)),
)  # fmt: skip
def test_the_order_of_records_does_not_change_who_is_who(
    pairs: list[tuple[int, int, float]], order: list[int]
) -> None:
    # Distinct odds: exact ties may fall either way.
    spread = [(a, b, odds + 1e-3 * place) for place, (a, b, odds) in enumerate(pairs)]
    moved = [(min(order[a], order[b]), max(order[a], order[b]), odds) for a, b, odds in spread]
    here = people(16, scored(*spread))
    there = people(16, scored(*((a, b, odds) for a, b, odds in moved)))
    groups = {frozenset(n for n in range(16) if here[n] == g) for g in here}
    again = {
        frozenset(n for n in range(16) if there[order[n]] == there[order[m]]) for m in range(16)
    }
    assert groups == again


def chances(pairs: Scored, constraint: str) -> list[float]:
    return [round(float(each), 3) for each in probability(constrained(10, pairs, constraint))]


def test_of_two_equal_candidates_neither_is_certain() -> None:
    twins = scored((0, 5, 12.0), (0, 6, 12.0), (1, 7, 12.0))
    assert chances(twins, ONE_TO_ONE) == [0.5, 0.5, 1.0]


def test_one_to_many_lets_the_first_files_records_have_many() -> None:
    pairs = scored((0, 5, 12.0), (0, 6, 12.0), (1, 7, 12.0), (2, 7, 12.0))
    assert chances(pairs, ONE_TO_MANY) == [1.0, 1.0, 0.5, 0.5]
    assert chances(pairs, MANY_TO_ONE) == [0.5, 0.5, 1.0, 1.0]


def test_a_better_candidate_leaves_little_to_the_others() -> None:
    assert chances(scored((0, 5, 300.0), (0, 6, 8.0), (0, 7, 7.0)), ONE_TO_ONE) == [1.0, 0.0, 0.0]


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(5, 9), st.floats(-50, 800)),
        max_size=25,
        unique_by=lambda p: p[:2],
    )
)
def test_no_record_has_two_that_are_more_likely_than_not(
    pairs: list[tuple[int, int, float]],
) -> None:
    found = scored(*pairs)
    likely = probability(constrained(10, found, ONE_TO_ONE)) > 0.5
    assert len(set(found.left[likely])) == likely.sum() == len(set(found.right[likely]))

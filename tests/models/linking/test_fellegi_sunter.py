"""What the model learns without labels is what the data were made with."""

import numpy as np
import numpy.typing as npt
import pytest

from models.linking.blocking import candidates
from models.linking.compare import SAME, Comparison, compare
from models.linking.fellegi_sunter import (
    Model,
    Scorer,
    comparable,
    fit,
    maximize,
    probability,
    random_levels,
)
from models.linking.people import Floats
from tests.models.linking.customers import people_of
from tests.models.linking.test_blocking import crm

M = (np.array([0.1, 0.7, 0.15, 0.05]), np.array([0.05, 0.9, 0.05]), np.array([0.2, 0.6, 0.1, 0.1]))
U = (
    np.array([0.1, 0.01, 0.04, 0.85]),
    np.array([0.05, 0.15, 0.8]),
    np.array([0.2, 0.05, 0.05, 0.7]),
)


def drawn(count: int, share: float) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    draw = np.random.default_rng(1)
    same = draw.random(count) < share
    levels = [
        np.where(same, draw.choice(len(m), count, p=m), draw.choice(len(u), count, p=u))
        for m, u in zip(M, U, strict=True)
    ]
    return np.stack(levels, axis=1).astype(np.uint8), same


def expectations(share: float) -> tuple[list[Floats], float]:
    levels, _ = drawn(200_000, share)
    patterns, counts = np.unique(levels, axis=0, return_counts=True)
    prior = [np.full(len(m), 1 / len(m)) for m in M]
    return maximize(patterns, counts, U, prior, [0, 1, 2])


@pytest.mark.parametrize("share", [0.05, 0.3, 0.8])
def test_expectation_maximization_recovers_what_pairs_were_drawn_with(share: float) -> None:
    match, found = expectations(share)
    assert found == pytest.approx(share, abs=0.02)
    for m, expected in zip(match, M, strict=True):
        assert m == pytest.approx(expected, abs=0.03)


def test_probabilities_of_pairs_drawn_so_are_true() -> None:
    levels, same = drawn(200_000, 0.2)
    every = tuple(Comparison(str(n), ("",) * len(m), "", False) for n, m in enumerate(M))
    weights = Model(every, M, U).weights()
    odds = np.log(0.2 / 0.8) + sum(w[levels[:, place]] for place, w in enumerate(weights))
    chance = probability(np.asarray(odds))
    for low, high in ((0.0, 0.1), (0.3, 0.7), (0.9, 0.99), (0.99, 1.0)):
        some = (chance >= low) & (chance <= high)
        assert chance[some].mean() == pytest.approx(same[some].mean(), abs=0.03)


def test_to_differ_never_speaks_for_one_person() -> None:
    every = (Comparison("x", ("absent", "same", "different"), "", False),)
    m, u = np.array([0.1, 0.5, 0.4]), np.array([0.98, 0.01, 0.01])
    assert Model(every, (m,), (u,)).weights()[0][-1] == 0


def test_how_often_two_people_agree_is_counted_not_guessed() -> None:
    people = people_of(*({"phone": f"98765432{n // 2:02}"} for n in range(20)))
    (u,) = random_levels(
        people, [Comparison("phone", ("absent", "same", "one slip", "different"), "phone")], 0
    )
    assert comparable(people) == 190
    assert u[SAME] == pytest.approx(10 / 190)
    assert u.sum() == pytest.approx(1)


def test_to_agree_on_a_rare_value_says_more() -> None:
    rows = [{"surname": "Sharma", "given": f"a{n}"} for n in range(50)]
    rows += [{"surname": "Poonawalla", "given": "zubin"}] * 2
    people = people_of(*rows)
    left, right = np.array([0, 50]), np.array([1, 51])
    levels = compare(people, left, right)
    levels[1] = levels[0]
    found = fit(people, left, right, levels, block_max=200)
    common, rare = Scorer(people, found.model).weights(left, levels)
    assert rare > common + 2


def test_the_expected_number_of_pairs_of_one_person_is_about_the_true_one() -> None:
    people = crm(1_500)
    pairs = candidates(people)
    levels = compare(people, pairs.left, pairs.right)
    scorer = Scorer(people, fit(people, pairs.left, pairs.right, levels, block_max=200).model)
    weights = scorer.weights(pairs.left, levels)
    scorer.settle(weights)
    expected = float(probability(weights + scorer.prior_odds).sum())
    true = len(people) - len({each.partition("-")[0] for each in people.ids})
    assert expected == pytest.approx(true, rel=0.05)


def test_a_handful_of_records_is_judged_by_what_we_expect() -> None:
    people = people_of(
        {"name": "Asha Rao", "phone": "9876543210"}, {"name": "Asha Rao", "phone": "9876543210"}
    )
    pairs = candidates(people)
    levels = compare(people, pairs.left, pairs.right)
    found = fit(people, pairs.left, pairs.right, levels, block_max=200)
    assert found.training == []
    assert all(m[SAME] > m[-1] for m in found.model.match)

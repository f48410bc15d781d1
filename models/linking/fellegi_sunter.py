"""Fellegi and Sunter's model of record linkage, learned from the records alone.

Fellegi & Sunter 1969, "A theory for record linkage": each comparison's level is worth log(m/u), where m is its
probability among pairs of one person and u among pairs of two. u is counted in random pairs. m comes from
expectation maximization (Winkler 1988; Dempster, Laird & Rubin 1977) within pairs that agree on one column,
over all the other columns, so that what chose the pairs teaches nothing about itself.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.linking.blocking import RARE_MAX
from models.linking.compare import (
    ABSENT,
    EXHAUSTIVE,
    SAME,
    Comparison,
    Levels,
    compare,
    comparisons,
)
from models.linking.people import GIVEN, SURNAME, Floats, Ints, People

RANDOM_PAIRS: Final = 500_000
"""Random pairs that u is counted in: a level of one in 10,000 is known to 15 %."""
PRIOR_PAIRS: Final = 10.0
"""How many pairs of one person our expectation of m counts for: forty records are no ground for more."""
TRAINING_PAIRS_MIN: Final = 10
"""Pairs that agree on a column, below which nothing is learned from them."""
_PRIOR_SAME, _PRIOR_DIFFERENT = 0.8, 0.06
_ROUNDS_MAX: Final = 200
_CONVERGED: Final = 1e-5
_SHARE_MIN: Final = 1e-12

Probabilities = tuple[Floats, ...]
"""One array for each comparison: the probability of each level."""


class Model(NamedTuple):
    """What each level says."""

    comparisons: tuple[Comparison, ...]
    match: Probabilities
    """m: among pairs of one person."""
    random: Probabilities
    """u: among pairs of two people."""

    def weights(self) -> list[Floats]:
        """log(m/u) of each level of each comparison, in nats.

        To differ never speaks for one person, even where people who gave the field twice are mostly the same.
        """
        found = [np.log(m) - np.log(u) for m, u in zip(self.match, self.random, strict=True)]
        for weight in found:
            weight[-1] = min(weight[-1], 0.0)
        return found


class Fit(NamedTuple):
    """A model, and how it was learned."""

    model: Model
    training: list[tuple[str, int, float]]
    """(what the pairs agree on, pairs, how many of them are one person)."""


def fit(
    people: People, left: Ints, right: Ints, levels: Levels, *, block_max: int, seed: int = 0
) -> Fit:
    """Learn m and u from the records and their candidate pairs, without labels."""
    every = tuple(comparisons(people))
    random = random_levels(people, every, seed)
    prior = [_prior(u) for u in random]
    sums = [np.zeros_like(m) for m in prior]
    told = np.zeros(len(every))
    training = []
    for name, held, rows in _training(people, every, left, right, levels, block_max):
        active = [place for place in range(len(every)) if place not in held]
        patterns, counts = np.unique(levels[rows], axis=0, return_counts=True)
        match, share = maximize(patterns, counts, random, prior, active)
        one_person = share * len(rows)
        training.append((name, len(rows), one_person))
        for place in active:
            sums[place] += one_person * match[place]
            told[place] += one_person
    # Once more with the prior, so that what no pass told, and what few told, is what we expect.
    match = [
        (total + PRIOR_PAIRS * expected) / (count + PRIOR_PAIRS)
        for total, count, expected in zip(sums, told, prior, strict=True)
    ]
    return Fit(Model(every, tuple(match), tuple(random)), training)


def _prior(u: Floats) -> Floats:
    """m before anything is known: mostly the same, and absent as often as among random pairs."""
    prior = np.full(len(u), (1 - _PRIOR_SAME - _PRIOR_DIFFERENT) / max(len(u) - 3, 1))
    prior[SAME], prior[-1], prior[ABSENT] = _PRIOR_SAME, _PRIOR_DIFFERENT, 0.0
    present = 1 - u[ABSENT]
    prior *= present / prior.sum()
    prior[ABSENT] = u[ABSENT]
    return prior


def _training(
    people: People,
    every: Sequence[Comparison],
    left: Ints,
    right: Ints,
    levels: Levels,
    block_max: int,
) -> list[tuple[str, set[int], Ints]]:
    """Pairs that agree on a column which blocking searched whole, with the comparisons to leave out there."""
    found: list[tuple[str, set[int], Ints]] = []
    names = {place for place, each in enumerate(every) if each.column in (GIVEN, SURNAME)}
    for place, each in enumerate(every):
        if each.column in EXHAUSTIVE or each.free:
            column = people.columns[each.column]
            cap = min(block_max, RARE_MAX) if each.free else block_max
            # Of a larger block, blocking took those with similar names only: they would teach that names agree.
            few = np.bincount(column.codes, minlength=len(column.values)) <= cap
            rows = np.flatnonzero((levels[:, place] == SAME) & few[column.codes[left]])
            found.append((each.name, {place}, rows))
    if len(names) == 2:
        found.append(
            ("both names", names, np.flatnonzero((levels[:, sorted(names)] == SAME).all(axis=1)))
        )
    return [each for each in found if len(each[2]) >= TRAINING_PAIRS_MIN]


def maximize(
    patterns: Levels,
    counts: npt.NDArray[Any],
    random: Sequence[Floats],
    prior: Sequence[Floats],
    active: Sequence[int],
) -> tuple[list[Floats], float]:
    """(m, the share of one person) of pairs given as distinct rows of levels and how often each is there.

    Expectation maximization with u held; m starts at `prior`, which counts as one pair.
    """
    match = [m.copy() for m in prior]
    share = 0.5
    total = float(counts.sum())
    for _ in range(_ROUNDS_MAX):
        odds = np.full(len(patterns), np.log(share) - np.log1p(-share))
        for place in active:
            odds += (np.log(match[place]) - np.log(random[place]))[patterns[:, place]]
        one = counts * probability(odds)
        moved = 0.0
        for place in active:
            held = np.bincount(patterns[:, place], weights=one, minlength=len(match[place]))
            new = (held + prior[place]) / (held.sum() + 1)
            moved = max(moved, float(np.abs(new - match[place]).max()))
            match[place] = new
        before, share = share, min(max(float(one.sum()) / total, 1e-9), 1 - 1e-9)
        if max(moved, abs(share - before)) < _CONVERGED:
            break
    return match, share


def probability(odds: Floats) -> Floats:
    """The probability of log-odds in nats."""
    limited: Floats = 1 / (1 + np.exp(-np.clip(odds, -700, 700)))
    return limited


def random_levels(people: People, every: Sequence[Comparison], seed: int) -> list[Floats]:
    """u: how often each level is there among pairs of anybody; never 0.

    How often two records hold the same value is known exactly; the rest is counted in random pairs, or in all
    pairs where there are not many.
    """
    left, right = _random_pairs(people, seed)
    levels = compare(people, left, right)
    found = []
    for place, each in enumerate(every):
        size = len(each.levels)
        counts = np.bincount(levels[:, place], minlength=size) + 0.5
        u = counts / counts.sum()
        if each.column not in (GIVEN, SURNAME):
            # Names are compared in both orders, which their frequencies do not tell.
            least = 0.5 / max(comparable(people), 1.0)
            same = min(max(_agreement(people, each.column), least), 1 - least)
            others = np.arange(size) != SAME
            u[others] *= (1 - same) / u[others].sum()
            u[SAME] = same
        found.append(u)
    return found


def _agreement(people: People, name: str) -> float:
    """The probability that two records hold the same value of a column."""
    column = people.columns[name]
    sides = [
        np.bincount(column.codes[people.side == side], minlength=len(column.values)).astype(float)
        for side in (0, 1)
    ]
    if people.two_sided:
        return float((sides[0] * sides[1])[1:].sum() / comparable(people))
    return float((sides[0] * (sides[0] - 1) / 2)[1:].sum() / max(comparable(people), 1.0))


def comparable(people: People) -> float:
    """How many pairs of records there are."""
    count, second = len(people), int(people.side.sum())
    return float((count - second) * second if people.two_sided else count * (count - 1) / 2)


def _random_pairs(people: People, seed: int) -> tuple[Ints, Ints]:
    count = len(people)
    first, second = (np.flatnonzero(people.side == side) for side in (0, 1))
    if comparable(people) <= RANDOM_PAIRS:
        if people.two_sided:
            return np.repeat(first, len(second)), np.tile(second, len(first))
        left, right = np.triu_indices(count, 1)
        return left.astype(np.int64), right.astype(np.int64)
    draw = np.random.default_rng(seed)
    if people.two_sided:
        return draw.choice(first, RANDOM_PAIRS), draw.choice(second, RANDOM_PAIRS)
    left = draw.integers(0, count, RANDOM_PAIRS)
    right = (left + draw.integers(1, count, RANDOM_PAIRS)) % count
    return left, right


class Scorer:
    """Says how probable it is that two records are one person, given a model and these records."""

    def __init__(self, people: People, model: Model) -> None:
        self._people = people
        self._model = model
        self._weights = model.weights()
        self.prior_odds = -np.log(max(len(people), 2))
        """Log-odds that two records are one person before they are compared; `settle` finds it."""
        self._rarity = [rarity(people, each) for each in model.comparisons]

    def weights(self, left: Ints, levels: Levels) -> Floats:
        """The evidence in pairs, in nats, without the prior."""
        total: Floats = np.zeros(len(levels))
        for place, weight in enumerate(self._weights):
            total += weight[levels[:, place]]
        for place, _, more in self.rare(left, levels):
            total[levels[:, place] == SAME] += more
        return total

    def rare(self, left: Ints, levels: Levels) -> list[tuple[int, str, Floats]]:
        """For each comparison with frequencies: what each equal value adds to the weight of an average one."""
        found = []
        for place, each in enumerate(self._model.comparisons):
            worth = self._rarity[place]
            if worth is not None:
                same = left[levels[:, place] == SAME]
                found.append(
                    (
                        place,
                        each.name,
                        worth[self._people.columns[each.column].codes[same]],
                    )
                )
        return found

    def settle(self, weights: Floats) -> None:
        """Find the prior with which the expected number of pairs of one person is the number it assumes."""
        pairs = comparable(self._people)
        if not len(weights) or pairs <= 0:
            return
        share = 1 / max(len(self._people), 2)
        for _ in range(_ROUNDS_MAX):
            before = share
            odds = np.log(share) - np.log1p(-share)
            share = min(max(float(probability(weights + odds).sum()) / pairs, _SHARE_MIN), 0.5)
            if abs(share - before) <= 1e-4 * before:
                break
        self.prior_odds = float(np.log(share) - np.log1p(-share))


def rarity(people: People, each: Comparison) -> Floats | None:
    """log(average frequency / frequency) of each value: to agree on a rare one says more (Winkler 1989)."""
    if not each.by_frequency:
        return None
    shares = people.columns[each.column].shares()
    average = float((shares**2).sum())
    found: Floats = np.log(max(average, _SHARE_MIN)) - np.log(
        np.maximum(shares, 1 / max(len(people), 1))
    )
    found[0] = 0.0
    return found


Score = Callable[[Ints, Ints], Floats]

"""Deciding: from probabilities of pairs to people, without the chains that one wrong pair would make.

Records that accepted pairs connect are split again wherever the mean log-odds between two groups of them, over
all their pairs, say "two people" (average linkage, Sokal & Michener 1958, on the log-odds of the model).
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.cluster.hierarchy import linkage
from scipy.sparse.csgraph import connected_components

from models.linking.fellegi_sunter import Score, probability
from models.linking.people import Floats, Ints

COMPONENT_MAX: Final = 1_000
"""Records of a component that are all compared: 500,000 pairs. Above it, the weakest pairs go first."""
BATCH_PAIRS: Final = 2_000_000
"""Pairs of components scored at a time."""
_STRICTER: Final = 2.0
"""By how much, in nats, the least accepted log-odds rise until a component is small enough."""


class Scored(NamedTuple):
    """Pairs of rows, `left < right`, and their log-odds in nats."""

    left: Ints
    right: Ints
    odds: Floats

    def where(self, these: Ints) -> "Scored":
        """Some of the pairs."""
        return Scored(self.left[these], self.right[these], self.odds[these])


def people_of(
    count: int, pairs: Scored, score: Score, *, accept_odds: float, size_max: int
) -> Ints:
    """For each of `count` records, the smallest record of the person it belongs to.

    Every record of a person is connected with the others by pairs of at least `accept_odds`; no person has more
    than `size_max` records. The order of records and pairs does not matter, but for exact ties.
    """
    accepted = pairs.where(np.flatnonzero(pairs.odds >= accept_odds))
    label = _label(count, accepted)
    for members, odds in _components(count, pairs, accepted, score, label):
        groups = _split(members, odds, size_max)
        label[members] = members[groups]
    inside = accepted.where(np.flatnonzero(label[accepted.left] == label[accepted.right]))
    return _label(count, inside)


def _label(count: int, pairs: Scored) -> Ints:
    """For each record, the smallest record that pairs connect it with."""
    graph = sp.coo_matrix(
        (np.ones(len(pairs.left), bool), (pairs.left, pairs.right)), (count, count)
    )
    _, component = connected_components(graph, directed=False)
    smallest = np.full(int(component.max(initial=-1)) + 1, count)
    np.minimum.at(smallest, component, np.arange(count))
    label: Ints = smallest[component].astype(np.int64)
    return label


def _components(
    count: int, pairs: Scored, accepted: Scored, score: Score, label: Ints
) -> Iterator[tuple[Ints, Floats]]:
    """(members in order, log-odds of each pair as a square) of what is larger than two; `label` is split on."""
    _cut_large(count, accepted, label)
    order = np.argsort(label, kind="stable")
    starts = np.flatnonzero(
        np.concatenate((np.ones(min(count, 1), bool), np.diff(label[order]) != 0))
    )
    sizes = np.diff(np.append(starts, count))
    inside = pairs.where(np.flatnonzero(label[pairs.left] == label[pairs.right]))
    inside = inside.where(np.argsort(label[inside.left], kind="stable"))
    where = label[inside.left]
    place = np.empty(count, dtype=np.int64)
    place[order] = np.arange(count) - np.repeat(starts, sizes)
    batch: list[Ints] = []
    some = np.flatnonzero(sizes > 2)
    made = 0
    for component in some:
        members = order[starts[component] : starts[component] + sizes[component]]
        batch.append(members)
        made += len(members) ** 2
        if made >= BATCH_PAIRS or component == some[-1]:
            yield from _squares(batch, inside, where, place, score)
            batch, made = [], 0


def _cut_large(count: int, accepted: Scored, label: Ints) -> None:
    """Drop the weakest pairs of components above COMPONENT_MAX, until they fall apart."""
    least = float(accepted.odds.min(initial=0.0))
    kept = accepted
    while True:
        large = np.bincount(label, minlength=count)[label] > COMPONENT_MAX
        if not large.any():
            return
        kept = kept.where(np.flatnonzero(large[kept.left]))
        least = max(least + _STRICTER, float(kept.odds.min(initial=np.inf)))
        kept = kept.where(np.flatnonzero(kept.odds > least))
        label[large] = _label(count, kept)[large]


def _squares(
    batch: list[Ints], inside: Scored, where: Ints, place: Ints, score: Score
) -> Iterator[tuple[Ints, Floats]]:
    """Each component with the log-odds of all its pairs; those that blocking did not find are compared now."""
    squares = []
    lefts, rights = [], []
    for members in batch:
        first, last = np.searchsorted(where, (members[0], members[0] + 1))
        square = np.full((len(members), len(members)), np.nan)
        i, j = place[inside.left[first:last]], place[inside.right[first:last]]
        square[i, j] = square[j, i] = inside.odds[first:last]
        squares.append(square)
        i, j = np.nonzero(np.triu(np.isnan(square), 1))
        lefts.append(members[i])
        rights.append(members[j])
    missing = score(np.concatenate(lefts), np.concatenate(rights))
    used = 0
    for members, square in zip(batch, squares, strict=True):
        i, j = np.nonzero(np.triu(np.isnan(square), 1))
        square[i, j] = square[j, i] = missing[used : used + len(i)]
        used += len(i)
        yield members, square


def _split(members: Ints, odds: Floats, size_max: int) -> Ints:
    """For each member, the place of the first member of its group."""
    size = len(members)
    upper = odds[np.triu_indices(size, 1)]
    if size <= size_max and upper.min() > 0:
        return np.zeros(size, dtype=np.int64)
    top = float(upper.max())
    tree = linkage(top - upper, "average")
    groups = np.arange(size)
    whole = [(size + len(tree) - 1)]
    while whole:
        node = whole.pop()
        if node < size:
            continue
        a, b, height, many = tree[node - size]
        if height < top and many <= size_max:
            leaves = _leaves(tree, node, size)
            groups[leaves] = min(leaves)
        else:
            whole += [int(a), int(b)]
    return groups


def _leaves(tree: Floats, node: int, size: int) -> list[int]:
    found, rest = [], [node]
    while rest:
        each = rest.pop()
        if each < size:
            found.append(each)
        else:
            rest += [int(tree[each - size][0]), int(tree[each - size][1])]
    return found


ONE_TO_ONE: Final = "one-to-one"
ONE_TO_MANY: Final = "one-to-many"
MANY_TO_ONE: Final = "many-to-one"
ANY: Final = "any"
CONSTRAINTS: Final = (ANY, ONE_TO_ONE, ONE_TO_MANY, MANY_TO_ONE)
"""Between two files: how many records of the other one a record may belong to."""


def constrained(count: int, pairs: Scored, constraint: str) -> Floats:
    """Log-odds of pairs where a record of one file belongs to at most one of the other.

    Of several candidates only one can be right, so each counts against the others: p = o / (1 + sum of o), by
    Bayes for exclusive cases. Where p is above 0.5, no two pairs name the same record.
    """
    if constraint == ANY or not len(pairs.odds):
        return pairs.odds
    # One-to-many: a record of the second file has one of the first; a record of the first may have many.
    ends = {
        ONE_TO_ONE: (pairs.left, pairs.right),
        ONE_TO_MANY: (pairs.right,),
        MANY_TO_ONE: (pairs.left,),
    }
    others = np.full(len(pairs.odds), -np.inf)
    for end in ends[constraint]:
        others = np.logaddexp(others, _rivals(count, end, pairs.odds))
    against: Floats = pairs.odds - np.logaddexp(0.0, others)
    return against


def _rivals(count: int, end: Ints, odds: Floats) -> Floats:
    """log(sum of the odds of the other pairs that name the same record)."""
    order = np.lexsort((odds, end))
    arranged, sorted_end = odds[order], end[order]
    # The largest is taken out of the sum, which may be hundreds of nats above the rest.
    last = np.append(np.flatnonzero(np.diff(sorted_end)), len(end) - 1)
    best = np.full(count, -np.inf)
    best[sorted_end[last]] = arranged[last]
    scaled = np.exp(np.clip(arranged - best[sorted_end], -700, 0))
    sums = np.zeros(count)
    np.add.at(sums, sorted_end, scaled)
    rest = sums[sorted_end] - scaled
    # What is left of a sum that held 1 is noise below 1e-15: the second best is at least that.
    top = np.zeros(len(end), bool)
    top[last] = True
    without = np.zeros(count)
    np.add.at(without, sorted_end[~top], scaled[~top])
    rest[top] = without[sorted_end[top]]
    found = np.empty(len(end))
    with np.errstate(divide="ignore"):
        found[order] = np.log(np.maximum(rest, 0)) + best[sorted_end]
    return found


def accepted_pairs(pairs: Scored, label: Ints, accept: float) -> Ints:
    """The pairs that are at least as probable as `accept`, and whose records are one person."""
    good = (probability(pairs.odds) >= accept) & (label[pairs.left] == label[pairs.right])
    return np.flatnonzero(good)

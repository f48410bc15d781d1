"""Linking, from records to pairs that are one person: candidates → comparison → model → people."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import msgspec
import numpy as np

from models.linking import learned as labelled
from models.linking.artefact import Linker, Manifest
from models.linking.blocking import BLOCK_MAX, PAIRS_MAX, PassReport, candidates, distinct
from models.linking.compare import Levels, compare, comparisons
from models.linking.deciding import ANY, Scored, constrained, people_of
from models.linking.errors import BadMapping
from models.linking.fellegi_sunter import Model, Scorer, fit, probability
from models.linking.learned import Learned, Trial
from models.linking.people import Floats, Ints, People

DECIDED_ODDS: Final = 1e6
"""Nats of what a reviewer decided: more than all that other pairs say."""
BINS: Final = 20
"""Of the histogram of probabilities."""
COMPARE_CHUNK: Final = 1 << 20
"""Pairs compared at a time."""

Progress = Callable[[str, int, int], None]
"""Told what is done now, how much of it, and of how much."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What counts as one person. ValueError if it cannot be."""

    accept: float = 0.99
    """The least probability of a pair that is taken for one person without asking."""
    review: float = 0.8
    """The least probability of a pair that somebody should look at."""
    constraint: str = ANY
    people_max: int = 100
    """Records of one person at most: what the rules of identity allow (`members_max`)."""
    block_max: int = BLOCK_MAX
    pairs_max: int = PAIRS_MAX
    seed: int = 0
    """Of random pairs and folds: the same records and seed give the same answer."""

    def __post_init__(self) -> None:
        """Refuse thresholds that would accept what is more probably two people."""
        if not 0.5 <= self.accept <= 1:
            raise ValueError("accept is a probability from 0.5 to 1")
        if not 0 < self.review <= self.accept:
            raise ValueError("review is a probability above 0, and at most accept")
        if self.people_max < 2 or self.block_max < 2 or self.pairs_max < 1:
            raise ValueError("people_max and block_max are 2 or more, pairs_max is 1 or more")


class Known(NamedTuple):
    """Pairs of rows that somebody labelled, `left < right`, in order, and whether each is one person."""

    left: Ints
    right: Ints
    same: labelled.Labels


NOTHING_KNOWN: Final = Known(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int8))


class Linked(NamedTuple):
    """What linking found."""

    people: People
    pairs: Scored
    """Every pair that was compared, with its final log-odds."""
    levels: Levels
    person: Ints
    """For each record, the smallest row of its person."""
    accepted: Ints
    """Places in `pairs` of those taken for one person."""
    uncertain: Ints
    """Places in `pairs` of those to review, the most probable first: one for each two people."""
    linker: Linker
    passes: list[PassReport]

    def histogram(self) -> list[int]:
        """How many pairs have a probability in each of BINS equal parts of 0 … 1."""
        counts, _ = np.histogram(probability(self.pairs.odds), bins=BINS, range=(0, 1))
        return [int(count) for count in counts]


def link(
    people: People, settings: Settings, *, now_ms: int, version: str, linker: Linker | None = None,
    labels: Known = NOTHING_KNOWN, decided: Known = NOTHING_KNOWN, progress: Progress = lambda *_: None,
) -> Linked:  # fmt: skip
    """Find who is who among records.

    Without `linker`, a model is learned from these records, and from `labels` where there are any. What was
    decided stands; where there are enough of it, `decided` pairs are labels, too. NothingToLearn if labels are
    too few; BadMapping if nothing can be compared, or `linker` compares something else.
    """
    every = tuple(comparisons(people))
    if not every:
        raise BadMapping(
            "no column to compare: names, a birth date, an e-mail, a phone, an address …"
        )
    progress("finding candidates", 0, 1)
    found = candidates(people, block_max=settings.block_max, pairs_max=settings.pairs_max)
    left, right = _with(len(people), found.left, found.right, decided)
    levels = _compared(people, left, right, progress)
    progress("learning", 0, 1)
    told = _joined(len(people), labels, decided)
    if not len(labels.same) and labelled.too_few(told.same):
        # A few decisions stand; they are no ground for a model.
        told = NOTHING_KNOWN
    if linker is None:
        linker = _learn(people, left, right, levels, told, settings, now_ms, version)
    elif linker.model.comparisons != every:
        raise BadMapping(
            f"model {linker.manifest.version} compares {_named(linker.model)}; these records have "
            + ", ".join(each.name for each in every)
        )
    rater = _Rater(people, linker, decided)
    rater.settle(left, levels)
    progress("scoring", 0, 1)
    alone = rater.odds(left, right, levels)
    pairs = Scored(
        left, right, constrained(len(people), Scored(left, right, alone), settings.constraint)
    )
    progress("deciding", 0, 1)
    person = _people(people, pairs, rater, settings)
    chance = probability(pairs.odds)
    good = (chance >= settings.accept) & (person[left] == person[right])
    uncertain = _doubtful(pairs, alone, person, settings, decided)
    return Linked(
        people, pairs, levels, person, np.flatnonzero(good), uncertain, linker, found.passes
    )


def _doubtful(
    pairs: Scored, alone: Floats, person: Ints, settings: Settings, decided: Known
) -> Ints:
    """Places of pairs to review, the most probable first: one for each two people nobody decided about."""
    chance = probability(pairs.odds)
    # Likely by itself, and not clearly beaten by another candidate of the same record.
    likely = (probability(alone) >= settings.review) & (chance >= 1 - settings.review)
    places = np.flatnonzero(likely & (person[pairs.left] != person[pairs.right]))
    places = places[np.argsort(-chance[places], kind="stable")]
    both = _both(person, pairs.left[places], pairs.right[places])
    # `return_index` gives the first, which is the most probable.
    asked, first = np.unique(both, return_index=True)
    known = _both(person, decided.left, decided.right)
    found: Ints = places[np.sort(first[~np.isin(asked, known, kind="sort")])]
    return found


def _both(person: Ints, left: Ints, right: Ints) -> Ints:
    """A number for the two people of each pair."""
    one, other = person[left], person[right]
    found: Ints = np.minimum(one, other) * len(person) + np.maximum(one, other)
    return found


def _people(people: People, pairs: Scored, rater: "_Rater", settings: Settings) -> Ints:
    accept_odds = float(np.log(settings.accept) - np.log1p(-min(settings.accept, 1 - 1e-12)))
    if settings.constraint == ANY:
        return people_of(
            len(people),
            pairs,
            rater.compared,
            accept_odds=accept_odds,
            size_max=settings.people_max,
        )
    return people_of(
        len(people),
        pairs,
        lambda left, _: np.zeros(len(left)),
        accept_odds=accept_odds,
        size_max=settings.people_max,
    )


def _with(count: int, left: Ints, right: Ints, more: Known) -> tuple[Ints, Ints]:
    """Candidates and what was decided, each pair once, in order."""
    keys = distinct(np.concatenate((left * count + right, more.left * count + more.right)))
    return keys // max(count, 1), keys % max(count, 1)


def _joined(count: int, labels: Known, decided: Known) -> Known:
    """Labels and decisions together; a decision stands over a label."""
    keys = np.concatenate(
        (decided.left * count + decided.right, labels.left * count + labels.right)
    )
    _, first = np.unique(keys, return_index=True)
    return Known(
        np.concatenate((decided.left, labels.left))[first],
        np.concatenate((decided.right, labels.right))[first],
        np.concatenate((decided.same, labels.same))[first],
    )


def _compared(people: People, left: Ints, right: Ints, progress: Progress) -> Levels:
    chunks = [np.zeros((0, len(comparisons(people))), np.uint8)]
    for start in range(0, len(left), COMPARE_CHUNK):
        progress("comparing pairs", start, len(left))
        some = slice(start, start + COMPARE_CHUNK)
        chunks.append(compare(people, left[some], right[some]))
    return np.concatenate(chunks)


def _learn(
    people: People,
    left: Ints,
    right: Ints,
    levels: Levels,
    told: Known,
    settings: Settings,
    now_ms: int,
    version: str,
) -> Linker:
    found = fit(people, left, right, levels, block_max=settings.block_max, seed=settings.seed)
    made: Learned | None = None
    trials: list[Trial] = []
    if len(told.same):
        scorer = Scorer(people, found.model)
        scorer.settle(scorer.weights(left, levels))
        seen = compare(people, told.left, told.right)
        matrix = labelled.features(scorer, found.model.comparisons, told.left, seen)
        unlabelled = scorer.weights(told.left, seen) + scorer.prior_odds
        made, trials = labelled.learn(
            matrix, told.same, unlabelled, told.left, told.right, settings.seed
        )
        if made:
            # Other records have another share of pairs of one person.
            made = made._replace(arrays={**made.arrays, "prior": np.array([scorer.prior_odds])})
    manifest = Manifest(
        version=version,
        model=made.kind if made else labelled.UNLABELLED,
        trained_ms=now_ms,
        records=len(people),
        candidates=len(left),
        labels=len(told.same),
        comparisons=(),
        training=found.training,
        trials=trials,
    )
    return Linker(manifest, found.model, made)


def _named(model: Model) -> str:
    return ", ".join(each.name for each in model.comparisons)


class _Rater:
    """The log-odds of pairs by everything that is known: the model, labels and what was decided."""

    def __init__(self, people: People, linker: Linker, decided: Known) -> None:
        self._people = people
        self._linker = linker
        self._scorer = Scorer(people, linker.model)
        self._decided: Mapping[int, float] = {
            left * len(people) + right: DECIDED_ODDS if same else -DECIDED_ODDS
            for left, right, same in zip(*(column.tolist() for column in decided), strict=True)
        }
        self._keys = np.array(sorted(self._decided), dtype=np.int64)
        self._odds = np.array([self._decided[int(key)] for key in self._keys])

    def settle(self, left: Ints, levels: Levels) -> None:
        """Find the share of pairs of one person among these records."""
        self._scorer.settle(self._scorer.weights(left, levels))

    def odds(self, left: Ints, right: Ints, levels: Levels) -> Floats:
        """Log-odds of pairs that are compared."""
        odds: Floats
        if (made := self._linker.learned) is None:
            odds = self._scorer.weights(left, levels) + self._scorer.prior_odds
        else:
            odds = np.empty(len(left))
            for start in range(0, len(left), labelled.CHUNK):
                some = slice(start, start + labelled.CHUNK)
                matrix = labelled.features(
                    self._scorer, self._linker.model.comparisons, left[some], levels[some]
                )
                odds[some] = made.odds(matrix)
            odds += self._scorer.prior_odds - float(made.arrays["prior"][0])
        if len(self._keys):
            keys = left * len(self._people) + right
            place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
            odds = np.where(self._keys[place] == keys, self._odds[place], odds)
        return odds

    def compared(self, left: Ints, right: Ints) -> Floats:
        """Log-odds of pairs that are compared now. In either order of a pair."""
        low, high = np.minimum(left, right), np.maximum(left, right)
        return self.odds(low, high, compare(self._people, low, high))

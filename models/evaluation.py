"""The leaderboard: a split by time, full ranking, slices, intervals, and a verdict.

People are judged who were there in training and bought something in the test window. *all*: every item
may be answered. *novel*: items that the person never bought before, which is what recommendations are
for. *cold user*: who was not there before; *cold item*: what nobody had touched before; and the most
bought categories. Tuning sees the validation window (days −60 … −30 from the end) only, never the
test window; so do the weights of blends.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from models import zoo
from models.cases import PEOPLE_MIN, Case, cases_of
from models.errors import ModelError, NotEnoughData
from models.interactions import DAY_MS, Interactions
from models.judging import SLICES, Ground, Judged, K, judge
from models.metrics import Values, interval
from models.protocol import Model

TEST_DAYS: Final = 30

Progress = Callable[[str, int, int], None]
"""Told (what, done, of how many)."""

Difference = tuple[float, float, float]
"""Mean and 95 % interval of a paired difference in nDCG."""


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """How a model does on a slice."""

    ndcg: float
    low: float
    high: float
    recall: float
    hit_rate: float
    mrr: float
    people: int


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One model of the leaderboard."""

    model: str
    parameters: dict[str, Any]
    scores: dict[str, Score]
    coverage: float
    """Share of the items that appear in anybody's first ten."""
    over_baselines: dict[str, Difference]
    """Paired difference in novel nDCG to each baseline."""
    trials: int
    over_parts: dict[str, dict[str, Difference]] = {}
    """Of a blend: paired difference to each other model, by slice."""
    novelty: float = 0.0
    """Bits of surprise of what is listed: models.judging.Judged."""
    gini: float = 0.0
    """How unequally the lists are filled."""


class Leaderboard(msgspec.Struct, frozen=True, kw_only=True):
    """Every model on the same people, best on novel items first."""

    rows: list[Row]
    test_start_ms: int
    test_end_ms: int
    people: int
    cold_people: int
    """Who bought in the test window and were not there before: nobody can be personal to them."""
    repeat_share: float
    """Share of what was bought in the test window that the person had bought before."""

    def row(self, model: str) -> Row:
        """A model's row."""
        return next(row for row in self.rows if row.model == model)

    @property
    def best(self) -> Row:
        """The best on novel items among the candidates; ModelError if none was evaluated."""
        for row in self.rows:
            if zoo.finds_new(row.model):
                return row
        raise ModelError(f"no candidate was evaluated: none of {', '.join(zoo.CANDIDATES)}")

    def refusal(self, model: str) -> str:
        """Why a model must not be promoted; empty if it may.

        It may if, for each baseline, the 95 % interval of the difference in nDCG on novel items lies
        above 0. The difference is paired, person by person, so what makes a person hard for both
        models cancels out. No baseline beside it: refused, for then nothing was shown.
        """
        if not self.row(model).over_baselines:
            return f"{model} was not compared with any baseline ({', '.join(zoo.BASELINES)})"
        for baseline, (mean, low, high) in self.row(model).over_baselines.items():
            if low <= 0:
                return (
                    f"{model} does not beat {baseline} on novel items: nDCG@{K} difference "
                    f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]"
                )
        return ""

    def to_json(self) -> bytes:
        """Everything in it, as JSON."""
        return msgspec.json.encode(self)

    def table(self) -> Any:
        """A table for a terminal or a notebook (rich)."""
        from rich.table import Table

        table = Table("model", f"nDCG@{K} all", f"nDCG@{K} novel", "recall", "coverage", "tried")
        for row in self.rows:
            every, novel = row.scores["all"], row.scores["novel"]
            table.add_row(
                row.model,
                f"{every.ndcg:.3f} [{every.low:.3f}, {every.high:.3f}]",
                f"{novel.ndcg:.3f} [{novel.low:.3f}, {novel.high:.3f}]",
                f"{novel.recall:.3f}",
                f"{row.coverage:.0%}",
                str(row.trials),
            )
        return table

    def plot(self) -> Any:
        """nDCG on novel items with intervals, best on top, as matplotlib axes; ModelError without it."""
        try:
            from matplotlib import pyplot
        except ImportError:
            raise ModelError("plot needs matplotlib: pip install 'onefold[notebook]'") from None
        scores = [row.scores["novel"] for row in self.rows][::-1]
        means = [score.ndcg for score in scores]
        below = [max(0, score.ndcg - score.low) for score in scores]
        above = [max(0, score.high - score.ndcg) for score in scores]
        _, axes = pyplot.subplots()
        axes.barh([row.model for row in self.rows][::-1], means, xerr=[below, above])
        axes.set_xlabel(f"nDCG@{K} on novel items, 95 % interval")
        return axes


def tune(
    interactions: Interactions,
    grid: Sequence[Model],
    start_ms: int,
    end_ms: int,
    progress: Callable[[], None] = lambda: None,
) -> Model:
    """The setting that does best on what people took from `start_ms` to `end_ms`, not fitted for later."""
    cases, _ = cases_of(interactions.until(end_ms), start_ms, end_ms)
    return _tuned(interactions, grid, start_ms, cases, progress)


def _tuned(
    interactions: Interactions,
    grid: Sequence[Model],
    start_ms: int,
    cases: Sequence[Case],
    progress: Callable[[], None],
) -> Model:
    chosen, best = grid[0], -1.0
    for model in grid if len(grid) > 1 and cases else ():
        model.fit(interactions, start_ms)
        quality = quality_of(model, cases, len(interactions.items))
        if quality > best:
            chosen, best = model, quality
        progress()
    return chosen


def quality_of(model: Model, cases: Sequence[Case], items: int) -> float:
    """What tuning makes most of: nDCG on repeats for what knows only repeats, else on new items."""
    aim = "all" if model.name in zoo.REPEATING else "novel"
    return _mean(judge(model, cases, Ground(items)).ndcg[aim])


def fitted(
    chosen: Sequence[Model],
    interactions: Interactions,
    now_ms: int,
    progress: Callable[[str], None] = lambda what: None,
) -> dict[str, Model]:
    """Each model, fitted on all before `now_ms`; blends join the others and are fitted with them."""
    models = {model.name: model for model in chosen}
    ready: set[str] = set()
    for name, model in models.items():
        if hasattr(model, "joined"):
            progress(name)
            parts = [models[part] for part in models if zoo.blended(part)]
            models[name] = model.joined(parts).fit(interactions, now_ms)
            ready |= {name, *(part.name for part in parts)}
    for name, model in models.items():
        if name not in ready:
            progress(name)
            model.fit(interactions, now_ms)
    return models


def leaderboard(
    interactions: Interactions,
    models: Sequence[Sequence[Model]] | None = None,
    *,
    test_days: int = TEST_DAYS,
    end_ms: int | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Leaderboard:
    """Tune each model on the validation window, fit it on all before the test window, judge it there."""
    if not len(interactions):
        raise NotEnoughData("there are no interactions to evaluate on")
    asked = zoo.default() if models is None else [list(grid) for grid in models]
    grids = zoo.fitting(asked, interactions)
    end = interactions.window[1] + 1 if end_ms is None else end_ms
    test_start = end - test_days * DAY_MS
    cases, strangers = cases_of(interactions.until(end), test_start, end)
    people = sum(len(case.truth) > 0 for case in cases)
    if people < PEOPLE_MIN:
        raise NotEnoughData(
            f"{people} people were there before the last {test_days} days and bought in them; "
            f"{PEOPLE_MIN} are needed to tell models apart"
        )
    steps = _Steps(sum(len(grid) for grid in grids if len(grid) > 1) + 2 * len(grids), progress)
    start = test_start - test_days * DAY_MS
    validation, _ = cases_of(interactions.until(test_start), start, test_start)
    chosen = []
    for grid in grids:
        steps.say(f"tuning {grid[0].name}")
        chosen.append(_tuned(interactions, grid, start, validation, steps.done))
    ready = fitted(chosen, interactions, test_start, lambda name: steps.next(f"learning {name}"))
    ground = Ground.of(interactions, test_start)
    judged: dict[str, Judged] = {}
    for name, model in ready.items():
        steps.next(f"evaluating {name}")
        judged[name] = judge(model, cases, ground, strangers)
    steps.end()
    trials = {grid[0].name: len(grid) for grid in grids}
    rows = [_row(model, judged, trials[model.name]) for model in ready.values()]
    rows.sort(key=lambda row: -row.scores["novel"].ndcg)
    repeats = sum(len(np.intersect1d(case.truth, case.seen)) for case in cases)
    return Leaderboard(
        rows=rows,
        test_start_ms=test_start,
        test_end_ms=end,
        people=people,
        cold_people=len(strangers),
        repeat_share=repeats / sum(len(case.truth) for case in cases),
    )


class _Steps:
    """How far it is."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._count, self._total, self._progress, self._what = 0, total, progress, ""

    def say(self, what: str) -> None:
        self._what = what
        self._progress(what, self._count, self._total)

    def done(self) -> None:
        self._count += 1
        self._progress(self._what, min(self._count, self._total), self._total)

    def next(self, what: str) -> None:
        self.say(what)
        self._count += 1

    def end(self) -> None:
        self._progress("done", self._total, self._total)


def _mean(values: Values) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0


def _over(one: Judged, other: Judged, name: str) -> Difference:
    paired = one.ndcg[name] - other.ndcg[name]
    paired = paired[~np.isnan(paired)]
    return (_mean(paired), *interval(paired))


def _row(model: Model, judged: dict[str, Judged], trials: int) -> Row:
    result = judged[model.name]
    others = [name for name in judged if name != model.name]
    return Row(
        model=model.name,
        parameters=dict(model.parameters()),
        scores={name: _score(result, name) for name in result.ndcg},
        coverage=result.coverage,
        novelty=result.novelty,
        gini=result.gini,
        over_baselines={
            name: _over(result, judged[name], "novel") for name in others if name in zoo.BASELINES
        },
        over_parts={
            slice_name: {name: _over(result, judged[name], slice_name) for name in others}
            for slice_name in (SLICES if hasattr(model, "joined") else ())
        },
        trials=trials,
    )


def _score(result: Judged, name: str) -> Score:
    values = result.ndcg[name][~np.isnan(result.ndcg[name])]
    low, high = interval(values)
    return Score(
        ndcg=_mean(result.ndcg[name]),
        low=low,
        high=high,
        recall=_mean(result.recall[name]),
        hit_rate=_mean(result.hit[name]),
        mrr=_mean(result.mrr[name]),
        people=len(values),
    )

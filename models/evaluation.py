"""The leaderboard: a split by time, full ranking, slices, intervals, and a verdict.

People are judged who were there in training and bought something in the test window. *all*: every item
may be answered. *novel*: items that the person never bought before, which is what recommendations are
for. Tuning sees the validation window (days −60 … −30 from the end) only, never the test window.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from models import zoo
from models.errors import ModelError, NotEnoughData
from models.interactions import DAY_MS, Interactions
from models.metrics import Values, interval, ndcg, recall, reciprocal_rank, top
from models.protocol import History, Model
from profiles.facts import Kind

K: Final = 10
TEST_DAYS: Final = 30
PEOPLE_MIN: Final = 20
"""With fewer people to judge by, an interval says nothing."""
SLICES: Final = ("all", "novel")

Progress = Callable[[str, int, int], None]
"""Told (what, done, of how many)."""


class Case(msgspec.Struct, frozen=True):
    """One person to be judged by: what they did before the cut, and what they bought after it."""

    history: History
    seen: npt.NDArray[np.int32]
    """Items bought before."""
    truth: npt.NDArray[np.int32]


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
    over_baselines: dict[str, tuple[float, float, float]]
    """Paired difference in novel nDCG to each baseline: mean and 95 % interval."""
    trials: int


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
            if row.model in zoo.CANDIDATES:
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


def cases_of(interactions: Interactions, start_ms: int, end_ms: int) -> tuple[list[Case], int]:
    """The people to judge by, and how many more bought in the window but were not there before."""
    before = interactions.until(start_ms)
    after = interactions.between(start_ms, end_ms)
    bought = after.purchases()
    target = bought if len(bought) else after
    order = np.argsort(before.user, kind="stable")
    bounds = np.searchsorted(before.user[order], np.arange(len(interactions.users) + 1))
    known_items = set(np.unique(before.item).tolist())
    cases, cold = [], 0
    by_user = np.argsort(target.user, kind="stable")
    buyers, starts = np.unique(target.user[by_user], return_index=True)
    for user, wanted in zip(buyers, np.split(target.item[by_user], starts[1:]), strict=True):
        mine = order[bounds[user] : bounds[user + 1]]
        if not len(mine):
            cold += 1
            continue
        truth = np.unique(wanted)
        truth = truth[[item in known_items for item in truth.tolist()]]
        if len(truth):
            cases.append(Case(_history(before, mine, start_ms), _bought(before, mine), truth))
    return cases, cold


def _history(before: Interactions, rows: npt.NDArray[Any], now_ms: int) -> History:
    return History(
        before.item[rows], before.kind[rows], before.time_ms[rows], before.quantity[rows], now_ms
    )


def _bought(before: Interactions, rows: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    items = before.item[rows]
    bought = items[before.kind[rows] == Kind.BOUGHT]
    return np.asarray(np.unique(bought))


class Judged(msgspec.Struct, frozen=True):
    """A model's figures, a value per person; NaN where the person is not in the slice."""

    ndcg: dict[str, Values]
    recall: dict[str, Values]
    hit: dict[str, Values]
    mrr: dict[str, Values]
    coverage: float


def judge(model: Model, cases: Sequence[Case], items: int, k: int = K) -> Judged:
    """Rank every item for every person, as serving would."""
    names = ("ndcg", "recall", "hit", "mrr")
    values = {name: {s: np.full(len(cases), np.nan) for s in SLICES} for name in names}
    shown: set[int] = set()
    for n, case in enumerate(cases):
        scores = model.scores(case.history)
        # Seen once more below, so never change what a model handed out.
        scores = np.zeros(items, np.float32) if scores is None else scores.astype(np.float32)
        for slice_name in SLICES:
            truth = case.truth
            if slice_name == "novel":
                truth = np.setdiff1d(truth, case.seen)
                if not len(truth):
                    continue
                scores[case.seen] = 0
            best = top(scores, k)
            hits = np.isin(best, truth)
            values["ndcg"][slice_name][n] = ndcg(hits, len(truth), k)
            values["recall"][slice_name][n] = recall(hits, len(truth))
            values["hit"][slice_name][n] = float(hits.any())
            values["mrr"][slice_name][n] = reciprocal_rank(hits)
            shown.update(best.tolist())
    return Judged(
        values["ndcg"], values["recall"], values["hit"], values["mrr"], len(shown) / max(1, items)
    )


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
    grids = zoo.fitting(asked, len(interactions.items))
    end = interactions.window[1] + 1 if end_ms is None else end_ms
    test_start = end - test_days * DAY_MS
    cases, cold = cases_of(interactions, test_start, end)
    if len(cases) < PEOPLE_MIN:
        raise NotEnoughData(
            f"{len(cases)} people were there before the last {test_days} days and bought in them; "
            f"{PEOPLE_MIN} are needed to tell models apart"
        )
    total = sum(len(grid) if len(grid) > 1 else 0 for grid in grids) + len(grids)
    done = 0
    judged: dict[str, tuple[Model, Judged, int]] = {}
    validation, _ = cases_of(interactions, test_start - test_days * DAY_MS, test_start)
    for grid in grids:
        chosen, best = grid[0], -1.0
        for model in grid if len(grid) > 1 and validation else ():
            progress(f"tuning {model.name}", done, total)
            model.fit(interactions, test_start - test_days * DAY_MS)
            result = judge(model, validation, len(interactions.items))
            quality = _mean(result.ndcg[_aim(model)])
            if quality > best:
                chosen, best = model, quality
            done += 1
        progress(f"evaluating {chosen.name}", done, total)
        chosen.fit(interactions, test_start)
        judged[chosen.name] = (chosen, judge(chosen, cases, len(interactions.items)), len(grid))
        done += 1
    progress("done", total, total)
    rows = [_row(model, result, judged, trials) for model, result, trials in judged.values()]
    rows.sort(key=lambda row: -row.scores["novel"].ndcg)
    repeats = [len(np.intersect1d(case.truth, case.seen)) for case in cases]
    return Leaderboard(
        rows=rows,
        test_start_ms=test_start,
        test_end_ms=end,
        people=len(cases),
        cold_people=cold,
        repeat_share=sum(repeats) / sum(len(case.truth) for case in cases),
    )


def _aim(model: Model) -> str:
    """The slice that a model is tuned for: repeats for what knows only repeats, else new items."""
    return "all" if model.name in ("buy_again", "recently_viewed") else "novel"


def _mean(values: Values) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0


def _row(
    model: Model, result: Judged, judged: dict[str, tuple[Model, Judged, int]], trials: int
) -> Row:
    differences: dict[str, tuple[float, float, float]] = {}
    for baseline in zoo.BASELINES:
        if baseline in judged and baseline != model.name:
            paired = result.ndcg["novel"] - judged[baseline][1].ndcg["novel"]
            paired = paired[~np.isnan(paired)]
            differences[baseline] = (_mean(paired), *interval(paired))
    return Row(
        model=model.name,
        parameters=dict(model.parameters()),
        scores={name: _score(result, name) for name in SLICES},
        coverage=result.coverage,
        over_baselines=differences,
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

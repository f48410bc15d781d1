"""RetailRocket: what a visitor clicks next, from the visit so far. Settings are tuned on training sessions.

*all*: every item may be answered; *novel*: items that the visit did not hold yet. The file has the order
of sessions and of clicks, but no times: sessions are spread evenly over the 130 days of the data set, and
clicks lie a minute apart.
"""

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.interactions import DAY_MS, Interactions
from models.protocol import History, Model
from models.zoo.linear import ItemKNN
from models.zoo.sessions import SessionKNN
from profiles.facts import Kind
from tests.bench.quality_data import DATA
from tests.bench.report import goal

DAYS: Final = 130
STEP_MS: Final = 60_000
K: Final = 20
VALIDATION: Final = 3_000
"""The newest training sessions of at least two clicks; their last click is what is to be told."""


class Told(NamedTuple):
    """How well next clicks were told."""

    hit_rate: float
    mrr: float
    novel_hit_rate: float


def interactions(sessions: Sequence[npt.NDArray[np.int64]], items: int, most: int) -> Interactions:
    """Sessions as views, one visitor each."""
    lengths = np.array([len(session) for session in sessions])
    item = np.concatenate(sessions).astype(np.int32)
    visitor = np.repeat(np.arange(len(sessions), dtype=np.int32), lengths)
    place = np.arange(len(item)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    times = visitor.astype(np.int64) * (DAYS * DAY_MS // most) + place * STEP_MS
    return Interactions(
        visitor, item, np.full(len(item), Kind.VIEWED, np.int8), times,
        np.ones(len(item), np.float32), np.arange(len(sessions)).astype(str),
        np.arange(items).astype(str),
    )  # fmt: skip


def told(
    model: Model,
    asked: Sequence[tuple[npt.NDArray[np.int64], int]],
    now_ms: int,
) -> Told:
    """HR@20 and MRR@20 of the next click, over all items, and HR@20 where it was new to the visit."""
    hits, ranks, novel = [], [], []
    for visit, following in asked:
        count = len(visit)
        times = now_ms - (count - np.arange(count)) * STEP_MS
        scores = model.scores(
            History(visit.astype(np.int32), np.full(count, Kind.VIEWED, np.int8), times,
                    np.ones(count, np.float32), now_ms)
        )  # fmt: skip
        assert scores is not None
        rank = _rank(scores, following)
        hits.append(rank < K)
        ranks.append(1 / (rank + 1) if rank < K else 0.0)
        if following not in visit:
            scores[visit] = 0
            novel.append(_rank(scores, following) < K)
    return Told(float(np.mean(hits)), float(np.mean(ranks)), float(np.mean(novel)))


def _rank(scores: npt.NDArray[np.float32], item: int) -> float:
    """How many items come before it; ties by the smaller code; infinite for one without a score."""
    if scores[item] <= 0:
        return float("inf")
    return int((scores > scores[item]).sum() + (scores[:item] == scores[item]).sum())


def session_figures() -> None:
    """Print them."""
    started = time.perf_counter()
    train = pd.read_parquet(DATA / "retailrocket_sessions_train.parquet")["seq"].to_list()
    test = pd.read_parquet(DATA / "retailrocket_sessions_test.parquet")
    asked = list(zip(test["prefix"], test["label"].astype(int), strict=True))
    items = 1 + max(int(test["label"].max()), *map(max, train), *map(max, test["prefix"]))
    everything = interactions(train, items, len(train))
    tail = [n for n, session in enumerate(train) if len(session) > 1][-VALIDATION:]
    cut = tail[0]
    before = interactions(train[:cut], items, len(train))
    later = [(train[n][:-1], int(train[n][-1])) for n in tail]
    print(f"\nRetailRocket: {len(train):,} sessions, {items:,} items, {len(asked):,} next clicks")
    session_grid = [SessionKNN(fade=fade, near=near, half_life_days=days)
                    for fade in (1.5, 3) for near in (2, 4) for days in (60, 120)]  # fmt: skip
    knn_grid = [ItemKNN(b=b, fade=fade, half_life_days=None)
                for b in (0.2, 0.75) for fade in (0.6, 0.8)]  # fmt: skip
    found = {}
    for grid, aim in ((session_grid, "hit_rate"), (knn_grid, "novel_hit_rate")):
        values = [
            getattr(told(model.fit(before, before.window[1] + 1), later, before.window[1] + 1), aim)
            for model in grid
        ]
        model = grid[int(np.argmax(values))]
        end = everything.window[1] + 1
        found[model.name] = told(model.fit(everything, end), asked, end)
        print(
            f"  {model.name:<12} HR@20 {found[model.name].hit_rate:.4f}  MRR@20 "
            f"{found[model.name].mrr:.4f}  novel HR@20 {found[model.name].novel_hit_rate:.4f}  of "
            f"{len(grid)} settings {dict(model.parameters())}"
        )
    print(f"tuned, fitted and judged in {time.perf_counter() - started:.0f} s")
    print(goal("session model, HR@20 all", found["session_knn"].hit_rate, ">=", 0.56))
    print(goal("session model, MRR@20 all", found["session_knn"].mrr, ">=", 0.27))
    print(goal("decayed item-kNN, HR@20 novel", found["item_knn"].novel_hit_rate, ">=", 0.34))

"""Who models are judged by: people who were there before a cut, and what they took after it."""

from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from models.interactions import Interactions
from models.protocol import History
from profiles.facts import Kind

PEOPLE_MIN: Final = 20
"""With fewer people to judge by, an interval says nothing."""
PEOPLE_MAX: Final = 5_000
"""More make no interval narrower that anybody would act on; a fixed sample of them is judged by."""
SEED: Final = 11


class Case(msgspec.Struct, frozen=True):
    """One person to be judged by: what they did before the cut, and what they bought after it."""

    history: History
    seen: npt.NDArray[np.int32]
    """Items bought before; where nobody ever buys, items that anything was done with."""
    truth: npt.NDArray[np.int32]
    """What they took of the items that somebody had touched before."""
    fresh: npt.NDArray[np.int32] = np.empty(0, np.int32)
    """What they took of the others, which nobody knew anything of but what the catalogue says."""


def wanted(interactions: Interactions) -> Interactions:
    """What is to be predicted: purchases; where nobody ever buys, everything."""
    bought = interactions.purchases()
    return bought if len(bought) else interactions


def seen_of(history: History, buying: bool) -> npt.NDArray[np.int32]:
    """Items that are nothing new to a person: bought, or touched where nobody ever buys."""
    items = history.items[history.kinds == Kind.BOUGHT] if buying else history.items
    return np.asarray(np.unique(items))


def buying(interactions: Interactions) -> bool:
    """Whether anybody ever buys."""
    return bool((interactions.kind == Kind.BOUGHT).any())


def cases_of(
    interactions: Interactions, start_ms: int, end_ms: int
) -> tuple[list[Case], list[Case]]:
    """The people to judge by, and strangers: who took something in the window but were not there before."""
    before = interactions.until(start_ms)
    target = wanted(interactions.between(start_ms, end_ms))
    buys = buying(interactions)
    order = np.argsort(before.user, kind="stable")
    bounds = np.searchsorted(before.user[order], np.arange(len(interactions.users) + 1))
    known = np.zeros(len(interactions.items), bool)
    known[before.item] = True
    cases: list[Case] = []
    strangers: list[Case] = []
    by_user = np.argsort(target.user, kind="stable")
    takers, starts = np.unique(target.user[by_user], return_index=True)
    # Of nothing, np.split makes one piece.
    taken_by = np.split(target.item[by_user], starts[1:]) if len(takers) else []
    for user, items in zip(takers, taken_by, strict=True):
        history = _history(before, order[bounds[user] : bounds[user + 1]], start_ms)
        taken = np.unique(items)
        case = Case(history, seen_of(history, buys), taken[known[taken]], taken[~known[taken]])
        (cases if len(history) else strangers).append(case)
    return _sample(cases), _sample(strangers)


def _history(before: Interactions, rows: npt.NDArray[Any], now_ms: int) -> History:
    return History(
        before.item[rows], before.kind[rows], before.time_ms[rows], before.quantity[rows], now_ms
    )


def _sample(cases: list[Case]) -> list[Case]:
    if len(cases) <= PEOPLE_MAX:
        return cases
    chosen = np.random.default_rng(SEED).choice(len(cases), PEOPLE_MAX, replace=False)
    return [cases[n] for n in np.sort(chosen)]

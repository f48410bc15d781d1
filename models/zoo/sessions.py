"""Session nearest neighbours: what came next in visits like this one."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt

from models.errors import NotEnoughData
from models.interactions import Codes, Interactions, decay, weights_of
from models.protocol import Few, History, Scores
from models.zoo.linear import strongest_causes

LATEST_MAX: Final = 50
"""Items of the history that are asked with, the newest: older ones hardly count, by their step."""
SESSION_EVENTS_MAX: Final = 200
"""A longer session is a robot or a wholesaler; its newest events stand for it."""


class SessionKNN:
    """Neighbours are past sessions that share items with the newest steps of a history.

    likeness(session) = Σ over shared items idf × e^(−steps back / fade) / √(events) × 0.5^(age / half-life);
    an item of one of the likest sessions scores likeness × idf × e^(−steps from the last match / near).
    After VSKNN and STAN (Ludewig et al., UMUAI 2021; Garg et al., SIGIR 2019). A step is a distinct
    time, so that the items of one order are one step.
    """

    name: ClassVar[str] = "session_knn"
    personal: ClassVar[bool] = True

    def __init__(
        self, neighbours: int = 500, recent: int = 2000, fade: float = 2, near: float = 3,
        half_life_days: float | None = 90, gap_minutes: float = 30,
    ) -> None:  # fmt: skip
        if not (neighbours > 0 and recent > 0 and fade > 0 and near > 0 and gap_minutes > 0):
            raise ValueError("session_knn: every setting must be above 0")
        self.neighbours, self.recent, self.fade, self.near = neighbours, recent, fade, near
        self.half_life_days, self.gap_minutes = half_life_days, gap_minutes
        self._arrays: dict[str, npt.NDArray[Any]] = {}

    def fit(self, interactions: Interactions, now_ms: int) -> Self:
        """Index the sessions before `now_ms`, both ways."""
        known = interactions.until(now_ms)
        if not len(known):
            raise NotEnoughData("session_knn: no interactions to learn from")
        known = known.where(weights_of(known.kind) > 0)
        order = np.lexsort((known.time_ms, known.user))
        user, item, time = known.user[order], known.item[order], known.time_ms[order]
        new = np.ones(len(user), bool)
        new[1:] = (user[1:] != user[:-1]) | (np.diff(time) > self.gap_minutes * 60_000)
        later = np.ones(len(user), bool)
        later[1:] = new[1:] | (np.diff(time) > 0)
        step, session = np.cumsum(later), np.cumsum(new) - 1
        ends = np.append(np.flatnonzero(new), len(user))[1:]
        kept = np.arange(len(user)) >= ends[session] - SESSION_EVENTS_MAX
        # Sessions in order of their ends, so that the newest have the largest numbers.
        number = np.empty(len(ends), np.int64)
        number[np.argsort(time[ends - 1], kind="stable")] = np.arange(len(ends))
        self._index(
            number[session][kept], item[kept], step[kept], len(ends), len(interactions.items)
        )
        last_ms = np.empty(len(ends), np.int64)
        last_ms[number] = time[ends - 1]
        value = 1 / np.sqrt(np.maximum(np.diff(self._arrays["session_starts"]), 1))
        if self.half_life_days is not None:
            value *= decay(now_ms - last_ms, self.half_life_days)
        self._arrays["value"] = value.astype(np.float32)
        return self

    def _index(
        self, session: npt.NDArray[Any], item: Codes, step: npt.NDArray[Any], sessions: int,
        items: int,
    ) -> None:  # fmt: skip
        forth = np.lexsort((step, session))
        back = np.lexsort((-session, item))
        # A session counts once for the idf of an item that it holds twice.
        pairs = np.unique(np.stack((item, session)), axis=1)
        holding = np.bincount(pairs[0], minlength=items)
        first = step[forth][np.searchsorted(session[forth], np.arange(sessions))]
        self._arrays = {
            "session_starts": np.searchsorted(session[forth], np.arange(sessions + 1)),
            "session_items": item[forth].astype(np.int32),
            "session_steps": (step[forth] - first[session[forth]]).astype(np.int32),
            "item_starts": np.searchsorted(item[back], np.arange(items + 1)),
            "item_sessions": session[back].astype(np.int32),
            "item_steps": (step[back] - first[session[back]]).astype(np.int32),
            "idf": np.log1p(sessions / np.maximum(holding, 1)).astype(np.float32),
        }

    def _asked(self, history: History) -> tuple[Codes, npt.NDArray[np.float32]]:
        """The newest distinct items of a history, and how much each counts."""
        counted = weights_of(history.kinds) > 0
        items, times = history.items[counted], history.times_ms[counted]
        order = np.argsort(-times, kind="stable")
        items, times = items[order], times[order]
        _, first = np.unique(items, return_index=True)
        first = np.sort(first)[:LATEST_MAX]
        steps = np.cumsum(np.append(0, np.diff(times) != 0))[first] if len(times) else first
        weights = self._arrays["idf"][items[first]] * np.exp(-steps / self.fade)
        return items[first], weights.astype(np.float32)

    def _matches(
        self, items: Codes, weights: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
        """Of the likest sessions: (their numbers, likeness, last step that matched, share by item)."""
        at, place = _spans(self._arrays["item_starts"], items, self.recent)
        found, inverse = np.unique(self._arrays["item_sessions"][at], return_inverse=True)
        likeness = np.bincount(inverse, weights[place], len(found)) * self._arrays["value"][found]
        steps = self._arrays["item_steps"][at]
        # Of one type: else numpy takes twenty times as long.
        last = np.zeros(len(found), steps.dtype)
        np.maximum.at(last, inverse, steps)
        if len(found) > self.neighbours:
            kept = np.argpartition(-likeness, self.neighbours)[: self.neighbours]
            found, likeness, last = found[kept], likeness[kept], last[kept]
        return found, likeness, last, place

    def _spread(
        self, found: npt.NDArray[Any], likeness: npt.NDArray[Any], last: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """(item, its share of a score) of each event of these sessions."""
        at, place = _spans(self._arrays["session_starts"], found, None)
        items = self._arrays["session_items"][at]
        far = np.abs(self._arrays["session_steps"][at] - last[place])
        return items, likeness[place] * np.exp(-far / self.near) * self._arrays["idf"][items]

    def scores(self, history: History) -> Scores | None:
        """Of items in sessions like the newest steps."""
        few = self.few(history)
        return None if few is None else few.spread(len(self._arrays["idf"]))

    def few(self, history: History) -> Few | None:
        """`scores` of the items of such sessions; all other items have none."""
        items, weights = self._asked(history)
        if not len(items):
            return None
        found, likeness, last, _ = self._matches(items, weights)
        return Few.summed(*self._spread(found, likeness, last))

    def because(self, history: History, items: Codes) -> Codes | None:
        """The history's item whose sessions speak for each most."""
        known, weights = self._asked(history)
        if not len(known):
            return None
        shares = np.stack(
            [
                self._alone(known[n : n + 1], weights[n : n + 1])[items]
                for n in range(min(len(known), 10))
            ]
        )
        return strongest_causes(shares, known)

    def _alone(self, item: Codes, weight: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """What each item scores for one item of a history."""
        found, likeness, last, _ = self._matches(item, weight)
        return np.bincount(*self._spread(found, likeness, last), len(self._arrays["idf"]))

    def similar(self, item: int) -> Scores | None:
        """What sessions with the item hold beside it."""
        scores = self._alone(np.array([item], np.int32), np.ones(1, np.float32))
        scores[item] = 0
        return scores.astype(np.float32)

    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """Sessions by item, items by session, what each counts."""
        return self._arrays

    def parameters(self) -> Mapping[str, float | int | str | None]:
        """Neighbours, sessions an item, fading by steps, half-life, gap between sessions."""
        return {
            "neighbours": self.neighbours, "recent": self.recent, "fade": self.fade,
            "near": self.near, "half_life_days": self.half_life_days,
            "gap_minutes": self.gap_minutes,
        }  # fmt: skip

    @classmethod
    def restore(cls, parameters: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """From saved sessions; ValueError for indexes that point outside."""
        made = cls(**parameters)
        made._arrays = dict(arrays)
        for starts, items, codes in (
            ("session_starts", "session_items", "idf"),
            ("item_starts", "item_sessions", "value"),
        ):
            bounds, inside = arrays[starts], arrays[items]
            if bounds[0] != 0 or bounds[-1] != len(inside) or (np.diff(bounds) < 0).any():
                raise ValueError(f"{starts} does not divide {items}")
            if len(inside) and not 0 <= inside.min() <= inside.max() < len(arrays[codes]):
                raise ValueError(f"{items} points outside {codes}")
        return made


def _spans(
    starts: npt.NDArray[Any], rows: npt.NDArray[Any], most: int | None
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """(places of the values of some rows, `most` of each; number of the row of each)."""
    first, counts = starts[rows], starts[rows + 1] - starts[rows]
    if most is not None:
        counts = np.minimum(counts, most)
    row = np.repeat(np.arange(len(rows)), counts)
    return np.arange(len(row)) + np.repeat(first - np.cumsum(counts) + counts, counts), row

"""Interactions: who did what with which item, when. Columns, immutable."""

import hashlib
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from profiles.facts import CANONICAL, Kind

DAY_MS: Final = 86_400_000

EVENT_WEIGHTS: Final[Mapping[int, float]] = {
    # How much one event says beside a purchase. Chosen by hand; models tune their own decay.
    Kind.BOUGHT: 1.0, Kind.ADDED: 0.3, Kind.WISHED: 0.3, Kind.REVIEWED: 0.3,
    Kind.VIEWED: 0.1, Kind.CLICKED: 0.1, Kind.SHARED: 0.1,
}  # fmt: skip

_WEIGHT: Final = np.array([EVENT_WEIGHTS.get(kind, 0.0) for kind in range(16)], dtype=np.float32)
KIND_NAMES: Final = {kind.value: name for kind, name in CANONICAL.items()}
_KINDS: Final = {name.lower(): kind.value for kind, name in CANONICAL.items()}

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Row = tuple[str, str, str | int, int, float]


def weights_of(kinds: npt.NDArray[Any]) -> Floats:
    """What events of these kinds say, beside a purchase's 1."""
    weights: Floats = np.take(_WEIGHT, kinds)
    return weights


def decay(ages_ms: npt.NDArray[Any], half_life_days: float) -> Floats:
    """0.5 for each half-life passed; 1 for what lies in the future."""
    ages = np.maximum(ages_ms, 0) / (half_life_days * DAY_MS)
    decayed: Floats = np.exp2(-ages).astype(np.float32)
    return decayed


class Interactions:
    """Parallel columns; `users` and `items` name the codes. Sorted by time, ties as they came."""

    def __init__(
        self, user: Codes, item: Codes, kind: npt.NDArray[np.int8], time_ms: Ints, quantity: Floats,
        users: npt.NDArray[Any], items: npt.NDArray[Any],
    ) -> None:  # fmt: skip
        order = np.argsort(time_ms, kind="stable")
        self.user, self.item, self.kind = user[order], item[order], kind[order]
        self.time_ms, self.quantity = time_ms[order], quantity[order]
        self.users, self.items = users, items

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Interactions":
        """From `(user, item, event name or kind, time_ms, quantity)`; unknown events are left out."""
        kept = []
        for user, item, event, time_ms, quantity in rows:
            kind = _KINDS.get(event.lower(), 0) if isinstance(event, str) else int(event)
            if kind:
                amount = quantity if 0 < quantity < float("inf") else 1.0  # NaN compares false
                kept.append((user, item, kind, time_ms, amount))
        users, user_codes = _coded([row[0] for row in kept])
        items, item_codes = _coded([row[1] for row in kept])
        return cls(
            user_codes,
            item_codes,
            np.array([row[2] for row in kept], dtype=np.int8),
            np.array([row[3] for row in kept], dtype=np.int64),
            np.array([row[4] for row in kept], dtype=np.float32),
            users,
            items,
        )

    @classmethod
    def from_table(
        cls, table: Any, user: str = "user", item: str = "item", time: str = "time_ms",
        event: str | None = None, quantity: str | None = None,
    ) -> "Interactions":  # fmt: skip
        """From a pandas or Arrow table; without an event column every row is a purchase."""
        frame = table.to_pandas() if hasattr(table, "to_pandas") else table
        times = frame[time]
        if times.dtype.kind == "M":
            times = times.astype("datetime64[ms]").astype("int64")
        events = frame[event] if event else [Kind.BOUGHT.value] * len(frame)
        amounts = frame[quantity] if quantity else [1.0] * len(frame)
        return cls.of(
            (str(u), str(i), e, int(t), float(q))
            for u, i, e, t, q in zip(frame[user], frame[item], events, times, amounts, strict=True)
        )

    def __len__(self) -> int:
        return len(self.user)

    def where(self, mask: npt.NDArray[np.bool_]) -> "Interactions":
        """The rows of a mask, with the same codes."""
        return Interactions(
            self.user[mask], self.item[mask], self.kind[mask], self.time_ms[mask],
            self.quantity[mask], self.users, self.items,
        )  # fmt: skip

    def between(self, start_ms: int, end_ms: int) -> "Interactions":
        """Rows from `start_ms` on and before `end_ms`."""
        return self.where((self.time_ms >= start_ms) & (self.time_ms < end_ms))

    def until(self, end_ms: int) -> "Interactions":
        """Rows before `end_ms`."""
        return self.where(self.time_ms < end_ms)

    def purchases(self) -> "Interactions":
        """Rows that are purchases."""
        return self.where(self.kind == Kind.BOUGHT)

    @property
    def window(self) -> tuple[int, int]:
        """The times of the first and last row; (0, 0) if there is none."""
        return (int(self.time_ms[0]), int(self.time_ms[-1])) if len(self) else (0, 0)

    @cached_property
    def item_code(self) -> dict[str, int]:
        """Codes by item id."""
        return {str(item): code for code, item in enumerate(self.items)}

    def matrix(self, now_ms: int, half_life_days: float | None) -> sp.csr_matrix:
        """Users × items: for each pair its strongest event, decayed by age. float32."""
        values = weights_of(self.kind)
        if half_life_days is not None:
            values = values * decay(now_ms - self.time_ms, half_life_days)
        order = np.lexsort((values, self.item, self.user))
        user, item, values = self.user[order], self.item[order], values[order]
        last = np.ones(len(user), dtype=bool)
        last[:-1] = (user[1:] != user[:-1]) | (item[1:] != item[:-1])
        keep = last & (values > 0)
        return sp.csr_matrix(
            (values[keep], (user[keep], item[keep])), shape=(len(self.users), len(self.items))
        )

    def content_hash(self) -> str:
        """Equal for equal rows."""
        digest = hashlib.sha256()
        for column in (self.user, self.item, self.kind, self.time_ms, self.quantity):
            digest.update(np.ascontiguousarray(column).tobytes())
        for names in (self.users, self.items):
            digest.update("\0".join(map(str, names)).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


def _coded(names: list[str]) -> tuple[npt.NDArray[Any], Codes]:
    """Distinct names in order, and the code of each name."""
    column: npt.NDArray[Any] = np.array(names) if names else np.empty(0, "U1")
    distinct, codes = np.unique(column, return_inverse=True)
    return distinct, codes.astype(np.int32)

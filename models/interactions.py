"""Interactions: who did what with which item, when. Columns, immutable."""

import hashlib
from array import array
from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from models.errors import ModelError
from profiles.facts import CANONICAL, Kind

DAY_MS: Final = 86_400_000

LOOKS: Final = 0.1
"""What looking at an item says beside buying it, unless a model is tuned to another share."""

_LOOKED: Final = (Kind.VIEWED, Kind.CLICKED, Kind.SHARED)
_MEANT: Final = (Kind.ADDED, Kind.WISHED, Kind.REVIEWED)
"""Between looking and buying: they count for the geometric mean of both."""
KIND_NAMES: Final = {kind.value: name for kind, name in CANONICAL.items()}
_KINDS: Final = {name.lower(): kind.value for kind, name in CANONICAL.items()}

QUANTITY_MAX: Final = 1e9
"""More than anybody sells at once; a larger one is a mistake that must not overflow a float32."""

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Row = tuple[str, str, str | int, int, float]


class About(NamedTuple):
    """What a catalogue says of an item."""

    text: str = ""
    category: str = ""


@cache
def _table(looks: float) -> Floats:
    weights = np.zeros(16, np.float32)
    weights[Kind.BOUGHT], weights[list(_MEANT)], weights[list(_LOOKED)] = 1, looks**0.5, looks
    return weights


def weights_of(kinds: npt.NDArray[Any], looks: float = LOOKS) -> Floats:
    """What events of these kinds say, beside a purchase's 1; removing says nothing."""
    weights: Floats = _table(looks)[kinds]
    return weights


def decay(ages_ms: npt.NDArray[Any], half_life_days: float) -> Floats:
    """0.5 for each half-life passed; 1 for what lies in the future."""
    decayed = np.exp2(np.maximum(ages_ms, 0) / (-half_life_days * DAY_MS))
    return np.asarray(decayed, dtype=np.float32)


class Interactions:
    """Parallel columns; `users` and `items` name the codes. Sorted by time, ties as they came."""

    def __init__(
        self, user: Codes, item: Codes, kind: npt.NDArray[np.int8], time_ms: Ints, quantity: Floats,
        users: npt.NDArray[Any], items: npt.NDArray[Any], about: Mapping[str, About] | None = None,
    ) -> None:  # fmt: skip
        order = np.argsort(time_ms, kind="stable")
        self.user, self.item, self.kind = user[order], item[order], kind[order]
        self.time_ms, self.quantity = time_ms[order], quantity[order]
        self.users, self.items = users, items
        self.about: Mapping[str, About] = about or {}

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Interactions":
        """From `(user, item, event name or kind, time_ms, quantity)`; unknown events are left out."""
        # Columns of machine numbers while reading: a list of a million tuples takes 200 MB.
        users: dict[str, int] = {}
        items: dict[str, int] = {}
        user_codes, item_codes, kinds = array("i"), array("i"), array("b")
        times, amounts = array("q"), array("f")
        for user, item, event, time_ms, quantity in rows:
            kind = _KINDS.get(event.lower(), 0) if isinstance(event, str) else int(event)
            if kind in KIND_NAMES:
                user_codes.append(users.setdefault(user, len(users)))
                item_codes.append(items.setdefault(item, len(items)))
                kinds.append(kind)
                times.append(time_ms)
                # NaN compares false.
                amounts.append(quantity if 0 < quantity <= QUANTITY_MAX else 1.0)
        user_names, user_order = _sorted(users)
        item_names, item_order = _sorted(items)
        return cls(
            user_order[np.frombuffer(user_codes, np.int32)],
            item_order[np.frombuffer(item_codes, np.int32)],
            np.frombuffer(kinds, np.int8),
            np.frombuffer(times, np.int64),
            np.frombuffer(amounts, np.float32),
            user_names,
            item_names,
        )

    @classmethod
    def from_table(
        cls, table: Any, user: str = "user", item: str = "item", time: str = "time_ms",
        event: str | None = None, quantity: str | None = None,
    ) -> "Interactions":  # fmt: skip
        """From a pandas or Arrow table; without an event column every row is a purchase.

        Rows without a user, an item or a time are left out: "nan" would be one person with all of them.
        Times are dates (UTC if they have no zone) or milliseconds since 1970. ModelError says which
        column is missing or unreadable.
        """
        frame = table.to_pandas() if hasattr(table, "to_pandas") else table
        named = [column for column in (user, item, time, event, quantity) if column]
        if missing := [column for column in named if column not in frame.columns]:
            raise ModelError(f"no column {missing[0]!r}; there are {', '.join(map(str, frame))}")
        needed = [user, item, time, *([event] if event else [])]
        frame = frame[frame[needed].notna().all(axis=1)]
        times = _milliseconds(frame[time], time)
        events = frame[event] if event else [Kind.BOUGHT.value] * len(frame)
        amounts = frame[quantity] if quantity else [1.0] * len(frame)
        return cls.of(
            (str(u), str(i), e, int(t), float(q))
            for u, i, e, t, q in zip(frame[user], frame[item], events, times, amounts, strict=True)
        )

    def __len__(self) -> int:
        return len(self.user)

    def to_arrow(self) -> Any:
        """An Arrow table of user, item, event, time (UTC, milliseconds) and quantity; needs pyarrow."""
        try:
            import pyarrow as pa
        except ImportError:
            raise ModelError("tables need pyarrow: pip install 'onefold[notebook]'") from None
        kinds = sorted(KIND_NAMES)
        place = np.searchsorted(kinds, self.kind).astype(np.int32)

        def named(codes: npt.NDArray[Any], names: Iterable[Any]) -> Any:
            return pa.DictionaryArray.from_arrays(
                codes.astype(np.int32), pa.array([str(name) for name in names], pa.string())
            )

        return pa.table(
            {
                "user": named(self.user, self.users),
                "item": named(self.item, self.items),
                "event": named(place, (KIND_NAMES[kind] for kind in kinds)),
                "time": pa.array(self.time_ms, pa.timestamp("ms", tz="UTC")),
                "quantity": pa.array(self.quantity),
            }
        )

    def to_pandas(self) -> Any:
        """The same as a pandas DataFrame."""
        return self.to_arrow().to_pandas()

    def in_one_order(self) -> "Interactions":
        """The same rows with ties by user, item, kind and quantity, whatever order they came in."""
        return self.where(
            np.lexsort((self.quantity, self.kind, self.item, self.user, self.time_ms))
        )

    def where(self, mask: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> "Interactions":
        """The rows of a mask, or those with some numbers, with the same codes."""
        return Interactions(
            self.user[mask], self.item[mask], self.kind[mask], self.time_ms[mask],
            self.quantity[mask], self.users, self.items, self.about,
        )  # fmt: skip

    def described(self, about: Mapping[str, About]) -> "Interactions":
        """The same rows with what a catalogue says of items; items that nobody touched yet are added."""
        names = {str(item): n for n, item in enumerate(self.items)}
        for item in about:
            names.setdefault(item, len(names))
        items, place = _sorted(names)
        return Interactions(
            self.user, place[self.item], self.kind, self.time_ms, self.quantity, self.users,
            items, dict(about),
        )  # fmt: skip

    @cached_property
    def texts(self) -> list[str]:
        """The text of each item; empty: nothing is said of it."""
        return [about.text if (about := self.about.get(item)) else "" for item in self.items]

    @cached_property
    def categories(self) -> list[str]:
        """The category of each item; empty: nothing is said of it."""
        return [about.category if (about := self.about.get(item)) else "" for item in self.items]

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

    def matrix(
        self, now_ms: int, half_life_days: float | None, looks: float = LOOKS
    ) -> sp.csr_matrix:
        """Users × items: for each pair its strongest event, decayed by age. float32."""
        values = weights_of(self.kind, looks)
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
            for name in names:
                encoded = str(name).encode("utf-8", "surrogatepass")
                digest.update(len(encoded).to_bytes(8, "little") + encoded)
        return digest.hexdigest()


def _sorted(codes: Mapping[str, int]) -> tuple[npt.NDArray[Any], Codes]:
    """The names in order, and for each code as read its place in that order.

    Names are Python strings: a fixed-width array takes the length of the longest name for each (one id
    of 5,000 characters: 11 GB), and drops NUL characters at their ends.
    """
    names: npt.NDArray[Any] = np.empty(len(codes), dtype=object)
    order = np.empty(len(codes), np.int32)
    for place, name in enumerate(sorted(codes)):
        names[place] = name
        order[codes[name]] = place
    return names, order


def _milliseconds(times: Any, column: str) -> Any:
    """A pandas column of dates or numbers as milliseconds since 1970."""
    if times.dtype.kind == "M":
        if getattr(times.dt, "tz", None) is not None:
            times = times.dt.tz_convert("UTC").dt.tz_localize(None)
        return times.astype("datetime64[ms]").astype("int64")
    if len(times) and times.dtype.kind not in "iuf":
        raise ModelError(f"column {column!r} holds neither dates nor milliseconds ({times.dtype})")
    return times

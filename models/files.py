"""Interactions from a CSV or Parquet file that nobody prepared; what cannot be read is named by its line.

Rows without a user, an item or a time, repeated rows, and rows of events that say nothing of an item are
left out and counted. Everything else that does not fit is an error.
"""

from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.errors import ModelError, NotEnoughData
from models.interactions import DAY_MS, QUANTITY_MAX, Interactions
from profiles.facts import CANONICAL, Kind

WORDS: Final = {
    # What event columns of data sets and shops hold, besides the names of the RudderStack spec.
    "view": Kind.VIEWED, "viewed": Kind.VIEWED, "detail": Kind.VIEWED, "pv": Kind.VIEWED,
    "click": Kind.CLICKED, "clicks": Kind.CLICKED, "clicked": Kind.CLICKED,
    "cart": Kind.ADDED, "carts": Kind.ADDED, "addtocart": Kind.ADDED, "add_to_cart": Kind.ADDED,
    "wish": Kind.WISHED, "wishlist": Kind.WISHED, "fav": Kind.WISHED, "favorite": Kind.WISHED,
    "review": Kind.REVIEWED, "rating": Kind.REVIEWED, "share": Kind.SHARED,
    "buy": Kind.BOUGHT, "bought": Kind.BOUGHT, "purchase": Kind.BOUGHT, "order": Kind.BOUGHT,
    "orders": Kind.BOUGHT, "transaction": Kind.BOUGHT, "sale": Kind.BOUGHT,
    **{name.lower(): kind for kind, name in CANONICAL.items()},
}  # fmt: skip
SECONDS_BELOW: Final = 100_000_000_000
"""A number below it is seconds: as milliseconds it would lie before March 1973."""
YEAR_MAX_MS: Final = 4_102_444_800_000
"""2100: a later time is a mistake (microseconds, or a placeholder like 9999-12-31)."""
RANDOM_DAYS: Final = 150
"""Over which rows without times are spread: of five test windows of 30 days, the last is a fifth."""
SEED: Final = 5


class Columns(NamedTuple):
    """What the columns of a file are called."""

    user: str = "user"
    item: str = "item"
    time: str | None = "time_ms"
    """None: the file has no times; rows are split at random."""
    event: str | None = None
    """None: every row is a purchase."""
    quantity: str | None = None


class Read(NamedTuple):
    """What a file held."""

    interactions: Interactions
    rows: int
    left_out: dict[str, int]
    """How many rows were not used, by the reason."""


def read(file: Path, columns: Columns = Columns()) -> Read:  # noqa: B008 (immutable)
    """Interactions of a file; ModelError names the file and, where there is one, line and column."""
    frame = _frame(file, columns)
    rows = len(frame)
    if not rows:
        raise NotEnoughData(f"{file}: there are no rows in it")
    left_out: dict[str, int] = {}

    def keep(mask: Any, why: str) -> None:
        nonlocal frame
        if dropped := int((~mask).sum()):
            left_out[why] = left_out.get(why, 0) + dropped
            frame = frame[mask]

    for column in (columns.user, columns.item, columns.time):
        if column is not None:
            keep(frame[column].notna() & (frame[column] != ""), f"no {column}")
    if not len(frame):
        raise NotEnoughData(f"{file}: no row has {_listed(left_out)}")
    kinds = np.full(len(frame), Kind.BOUGHT, np.int8)
    if columns.event is not None:
        found = frame[columns.event].astype(str).str.strip().str.lower().map(WORDS)
        known = sorted({word for word in WORDS if " " not in word})
        if found.isna().all():
            raise ModelError(
                f"{file}, column {columns.event!r}: no event is known, for example "
                f"{str(frame[columns.event].iloc[0])[:40]!r}; known are {', '.join(known)}"
            )
        frame = frame.assign(**{_KIND: found})
        keep(found.notna(), "another event")
        kinds = frame[_KIND].to_numpy().astype(np.int8)
    times = _times(file, frame, columns.time)
    ids = [_ids(frame[column]) for column in (columns.user, columns.item)]
    amounts = _amounts(file, frame, columns.quantity)
    fresh = _distinct(ids[0][0], ids[1][0], kinds, times if columns.time else None)
    if dropped := len(fresh) - int(fresh.sum()):
        left_out["said before"] = dropped
    interactions = Interactions(
        ids[0][0][fresh], ids[1][0][fresh], kinds[fresh], times[fresh], amounts[fresh],
        ids[0][1], ids[1][1],
    )  # fmt: skip
    return Read(interactions, rows, left_out)


_KIND: Final = "\0kind"
_LINE: Final = "\0line"


def _listed(left_out: dict[str, int]) -> str:
    return " and ".join(why.removeprefix("no ") for why in left_out)


def _frame(file: Path, columns: Columns) -> Any:
    try:
        import pandas as pd
        import pyarrow
    except ImportError:
        raise ModelError(
            f"{file}: reading a file needs pandas and pyarrow: pip install 'onefold[notebook]'"
        ) from None
    ids = {columns.user: str, columns.item: str}
    parquet = file.suffix.lower() in (".parquet", ".pq")
    try:
        # Ids as they are written: 007 is not 7, and one empty cell must not make 7 of it 7.0.
        frame = pd.read_parquet(file) if parquet else pd.read_csv(file, dtype=ids)
    except pd.errors.EmptyDataError:
        raise NotEnoughData(f"{file}: there is nothing in it") from None
    except (ValueError, OSError, pyarrow.ArrowException) as error:
        what = "Parquet" if parquet else "CSV"
        raise ModelError(f"{file}: cannot be read as {what}: {str(error).strip()}") from None
    for column in columns:
        if column is not None and column not in frame.columns:
            raise ModelError(f"{file}: no column {column!r}; it has {', '.join(map(str, frame))}")
    kept = frame[[*dict.fromkeys(column for column in columns if column)]]
    # A CSV's first line names the columns.
    return kept.assign(**{_LINE: np.arange(len(kept)) + (1 if parquet else 2)})


def _where(file: Path, frame: Any, bad: npt.NDArray[np.bool_], column: str) -> str:
    line = int(frame[_LINE].to_numpy()[int(np.argmax(bad))])
    place = "row" if file.suffix.lower() in (".parquet", ".pq") else "line"
    return f"{file}, {place} {line}, column {column!r}"


def _times(file: Path, frame: Any, column: str | None) -> npt.NDArray[np.int64]:
    """Milliseconds since 1970, of dates or of numbers of seconds or milliseconds."""
    import pandas as pd

    if column is None:
        # Spread at random, so that a split by time is a random split.
        drawn = np.random.default_rng(SEED).integers(0, RANDOM_DAYS * DAY_MS, len(frame))
        return np.asarray(drawn, dtype=np.int64)
    said = frame[column]
    if said.dtype.kind not in "iufM":
        numbers = pd.to_numeric(said, errors="coerce")
        if numbers.notna().mean() >= 0.5:
            said = numbers
    if said.dtype.kind in "iuf":
        values = said.to_numpy(dtype=np.float64, na_value=np.nan)
        values = np.where(np.abs(values) < SECONDS_BELOW, values * 1000, values)
    else:
        dates = pd.to_datetime(said, errors="coerce", utc=True, format="mixed")
        values = dates.astype("datetime64[ms, UTC]").astype("int64").to_numpy().astype(np.float64)
        values[dates.isna().to_numpy()] = np.nan
    bad = ~np.isfinite(values)
    if bad.any():
        raise ModelError(f"{_where(file, frame, bad, column)}: neither a date nor a number of time")
    bad = (values > YEAR_MAX_MS) | (values < 0)
    if bad.any():
        raise ModelError(
            f"{_where(file, frame, bad, column)}: a time before 1970 or after 2100; numbers are "
            "seconds or milliseconds since 1970"
        )
    return np.asarray(values, dtype=np.int64)


def _amounts(file: Path, frame: Any, column: str | None) -> npt.NDArray[np.float32]:
    import pandas as pd

    if column is None:
        return np.ones(len(frame), np.float32)
    said = pd.to_numeric(frame[column], errors="coerce")
    bad = (said.isna() & frame[column].notna()).to_numpy()
    if bad.any():
        raise ModelError(f"{_where(file, frame, bad, column)}: not a number")
    values = said.to_numpy(dtype=np.float64, na_value=1)
    return np.where((values > 0) & (values <= QUANTITY_MAX), values, 1).astype(np.float32)


def _ids(column: Any) -> tuple[npt.NDArray[np.int32], npt.NDArray[Any]]:
    """Codes, and the ids they stand for, in order. Whole numbers are written without a point."""
    import pandas as pd

    if column.dtype.kind == "f" and (column == column.round()).all():
        column = column.astype("int64")
    codes, names = pd.factorize(column.astype(str), sort=True)
    return codes.astype(np.int32), np.array(names, dtype=object)


def _distinct(
    user: npt.NDArray[Any], item: npt.NDArray[Any], kind: npt.NDArray[Any],
    times: npt.NDArray[Any] | None,
) -> npt.NDArray[np.bool_]:  # fmt: skip
    """The first of rows that say the same."""
    columns = [kind, item, user] if times is None else [times, kind, item, user]
    order = np.lexsort(columns)
    same = np.ones(max(0, len(order) - 1), bool)
    for column in columns:
        same &= np.diff(column[order]) == 0
    first = np.ones(len(order), bool)
    first[order[1:][same]] = False
    return first

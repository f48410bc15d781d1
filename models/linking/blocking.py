"""Blocking: which pairs of records are compared at all, by several passes that each forgive another error.

Records with one key are a block. A block above the cap is not compared whole: its records are put in the order
of names and birth dates, and each is compared with the next few; the report says what was left out.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from models.linking import names
from models.linking.people import (
    ADDRESS,
    BORN,
    CITY,
    GIVEN,
    MAIL,
    MIDDLE,
    OTHER,
    POSTCODE,
    SURNAME,
    TELEPHONE,
    Column,
    Ints,
    People,
)

BLOCK_MAX: Final = 200
"""Records of one block that are all compared: 20,000 pairs. A family, a street or a rare name has fewer."""
RARE_MAX: Final = 50
"""Records that share a word for it to be a key."""
WINDOW: Final = 12
"""Neighbours compared where a block is too large, and in the order of names."""
PAIRS_MAX: Final = 20_000_000
"""Pairs compared in one run: 16 bytes each, and as many again for what is found: under 1 GB."""
_PHONE_TAIL: Final = 6


class Pass(NamedTuple):
    """Keys of records: a record may have several, and is in no block where it has none."""

    name: str
    rows: Ints
    keys: Ints
    block_max: int = BLOCK_MAX
    window: int = WINDOW
    """Neighbours compared in a block above the cap; 0 to leave it out whole."""


class PassReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one pass found, and what it did not look at."""

    name: str
    blocks: int
    pairs: int
    new_pairs: int
    """That no pass before it found."""
    large_blocks: int
    """Above the cap: compared with neighbours only, or not at all."""
    largest: int
    pairs_left_out: int
    """Of records with the same key, before anybody asks whether another pass finds them."""


class Candidates(NamedTuple):
    """Pairs to compare, as rows of the records, `left < right`, in order."""

    left: Ints
    right: Ints
    passes: list[PassReport]


def candidates(
    people: People, *, block_max: int = BLOCK_MAX, pairs_max: int = PAIRS_MAX
) -> Candidates:
    """The pairs that any pass finds; the passes that come first are the most precise.

    Where there are more than `pairs_max`, what the last passes would add is left out and reported.
    """
    count = max(len(people), 1)
    order = _order(people)
    found: Ints = np.empty(0, dtype=np.int64)
    reports = []
    for some in passes(people):
        limited = some._replace(block_max=min(some.block_max, block_max))
        pairs, report = _pairs(limited, people, order, pairs_max)
        fresh = pairs[~_among(pairs, found)]
        kept = fresh[: pairs_max - len(found)]
        # Two sorted runs: merging them is linear.
        found = np.sort(np.concatenate((found, kept)), kind="stable")
        left_out = report.pairs_left_out + len(fresh) - len(kept)
        reports.append(
            msgspec.structs.replace(report, new_pairs=len(kept), pairs_left_out=left_out)
        )
    return Candidates(found // count, found % count, reports)


def distinct(keys: Ints) -> Ints:
    """Each key once, in order. (`np.unique` hashes, which takes 30 times as long on keys like these.)"""
    arranged = np.sort(keys)
    return arranged[_first(arranged)]


def _first(arranged: Ints) -> npt.NDArray[np.bool_]:
    return np.concatenate((np.ones(min(len(arranged), 1), bool), arranged[1:] != arranged[:-1]))


def _among(keys: Ints, known: Ints) -> npt.NDArray[np.bool_]:
    """Which of `keys` are in `known`, which is in order."""
    if not len(known):
        return np.zeros(len(keys), dtype=bool)
    place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    held: npt.NDArray[np.bool_] = known[place] == keys
    return held


def _pairs(some: Pass, people: People, order: Ints, pairs_max: int) -> tuple[Ints, PassReport]:
    """Pairs of a pass, as `left * count + right`, each once; the nearest neighbours first, up to a limit."""
    arranged = np.lexsort((order[some.rows], some.keys))
    rows, keys = some.rows[arranged], some.keys[arranged]
    starts = np.flatnonzero(_first(keys))
    sizes = np.diff(np.append(starts, len(keys)))
    large = sizes > some.block_max
    # How many of those after it in its block each record is compared with.
    after = np.repeat(starts + sizes, sizes) - np.arange(len(keys)) - 1
    reach = np.minimum(after, np.repeat(np.where(large, some.window, sizes), sizes))
    here, step, made = np.flatnonzero(reach > 0), 0, 0
    parts: list[Ints] = [np.empty(0, dtype=np.int64)]
    while len(here) and made < pairs_max:
        step += 1
        here = here[reach[here] >= step]
        made += len(here)
        left, right = rows[here], rows[here + step]
        good = left != right
        if people.two_sided:
            good &= people.side[left] != people.side[right]
        left, right = left[good], right[good]
        parts.append(np.minimum(left, right) * len(people) + np.maximum(left, right))
    pairs = distinct(np.concatenate(parts))
    return pairs, PassReport(
        name=some.name, blocks=int((sizes > 1).sum()), pairs=len(pairs), new_pairs=0,
        large_blocks=int(large.sum()), largest=int(sizes.max(initial=0)),
        pairs_left_out=int(after.sum()) - made,
    )  # fmt: skip


def passes(people: People) -> Iterator[Pass]:
    """The passes that the columns allow, the most precise first."""
    columns = people.columns
    keys = _keys(people)
    for label, parts in _COMBINATIONS:
        if all(part in keys for part in parts):
            yield _pass(label, *(keys[part] for part in parts))
    for role, column in columns.items():
        if role.startswith(OTHER):
            some = _pass(role.removeprefix(OTHER), column.codes)
            yield some._replace(name=f"same {some.name}", block_max=RARE_MAX, window=0)
    if people.has(ADDRESS):
        yield _rare("rare word of the address", [columns[ADDRESS]])
    if people.has(GIVEN):
        yield _rare("rare word of the name", [columns[role] for role in (GIVEN, MIDDLE, SURNAME)])
        everybody = np.arange(len(people))
        in_order = np.zeros(len(people), np.int64)
        yield Pass("neighbours in the order of names", everybody, in_order, block_max=1)


_COMBINATIONS: Final = (
    ("same e-mail", (MAIL,)),
    ("same phone", (TELEPHONE,)),
    ("same mailbox", ("mailbox",)),
    ("same end of the phone", ("tail",)),
    ("birth date, sound of surname", (BORN, "surname skeleton")),
    ("birth date, sound of given name", (BORN, "given skeleton")),
    ("postcode, sound of surname", (POSTCODE, "surname skeleton")),
    ("postcode, sound of given name", (POSTCODE, "given skeleton")),
    ("sound of both names", ("both skeletons",)),
    ("birth date, first letter", (BORN, "initial")),
    ("birth date", (BORN,)),
    ("postcode, birth year", (POSTCODE, "year")),
    ("same address", (ADDRESS,)),
    ("city, sound of surname, birth year", (CITY, "surname skeleton", "year")),
    ("sound of surname, day and month", ("surname skeleton", "day")),
    ("sound of given name, day and month", ("given skeleton", "day")),
    ("city, birth year, first letter", (CITY, "year", "initial")),
    ("city, sound of given name", (CITY, "given skeleton")),
    ("city, sound of surname", (CITY, "surname skeleton")),
    ("sound of surname, birth year", ("surname skeleton", "year")),
    ("postcode", (POSTCODE,)),
)
"""Columns and what is derived of them, the same in both records of a pair."""


def _keys(people: People) -> dict[str, npt.NDArray[Any]]:
    columns = people.columns
    found: dict[str, npt.NDArray[Any]] = {
        role: columns[role].codes
        for role in (MAIL, TELEPHONE, BORN, POSTCODE, ADDRESS, CITY)
        if people.has(role)
    }
    if people.has(MAIL):
        found["mailbox"] = columns[MAIL].mapped(lambda text: text.partition("@")[0]).codes
    if people.has(TELEPHONE):
        found["tail"] = columns[TELEPHONE].mapped(lambda text: text[-_PHONE_TAIL:]).codes
    if people.has(BORN):
        found["year"] = columns[BORN].mapped(lambda text: text[:4]).codes
        found["day"] = columns[BORN].mapped(_day).codes
    if people.has(GIVEN):
        sounds = columns[GIVEN].mapped(names.skeleton)
        found["given skeleton"] = sounds.codes
        found["surname skeleton"] = columns[SURNAME].mapped(names.skeleton).codes
        found["initial"] = columns[GIVEN].mapped(lambda text: names.formal(text)[0]).codes
        found["both skeletons"] = _unordered(columns)
    return found


def _day(text: str) -> str:
    return "" if text[4:] in ("0000", "0101") else text[4:]


def _unordered(columns: dict[str, Column]) -> npt.NDArray[Any]:
    values = [names.skeleton(value) if value else "" for value in columns[GIVEN].values]
    pairs = [
        " ".join(sorted((values[given], values[surname]))) if given and surname else ""
        for given, surname in zip(columns[GIVEN].codes, columns[SURNAME].codes, strict=True)
    ]
    return Column(pairs).codes


def _pass(name: str, *parts: npt.NDArray[Any]) -> Pass:
    rows = np.flatnonzero(np.logical_and.reduce([part != 0 for part in parts]))
    keys = np.zeros(len(rows), dtype=np.int64)
    for part in parts:
        keys = keys * (int(part.max(initial=0)) + 1) + part[rows]
        keys = np.unique(keys, return_inverse=True)[1].astype(np.int64)
    return Pass(name, rows, keys)


def _rare(name: str, columns: Sequence[Column]) -> Pass:
    """Each word of the columns that few records have, as a key."""
    every = sorted(
        {word for column in columns for value in column.values for word in value.split()}
    )
    known = {word: place for place, word in enumerate(every)}
    rows: list[Ints] = []
    keys: list[Ints] = []
    for column in columns:
        words = column.tokens()
        codes = np.array([known[word] for word in words.words], dtype=np.int64)
        held = words.matrix[column.codes]
        rows.append(np.repeat(np.arange(len(column.codes)), np.diff(held.indptr)))
        keys.append(codes[held.indices] if len(codes) else np.empty(0, dtype=np.int64))
    return Pass(name, np.concatenate(rows), np.concatenate(keys), RARE_MAX, 0)


def _order(people: People) -> Ints:
    """A place for each record, by the sounds of names, then birth date; ties as they are in the file."""
    columns = people.columns
    parts: list[npt.NDArray[Any]] = [
        columns[role].codes for role in (BORN, POSTCODE) if role in columns
    ]
    if people.has(GIVEN):
        parts += [
            columns[GIVEN].mapped(names.sound).codes,
            columns[SURNAME].mapped(names.sound).codes,
        ]
    place = np.empty(len(people), dtype=np.int64)
    place[np.lexsort(parts) if parts else np.arange(len(people))] = np.arange(len(people))
    return place

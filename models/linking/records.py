"""From sheets to `People`, and from ids that users wrote back to rows."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from identity.normalize import Normalizer
from models.linking.errors import BadMapping, BadReview
from models.linking.learned import LABELS_MAX
from models.linking.linking import NOTHING_KNOWN, Known
from models.linking.people import FULL, GIVEN, MIDDLE, SURNAME, People, standardize
from models.linking.reading import Sheet

SAME_WORDS: Final = frozenset({"1", "y", "yes", "same", "match", "true"})
APART_WORDS: Final = frozenset({"0", "n", "no", "different", "apart", "false"})
A, B = (
    ("a", "id_a", "left", "id_l", "id1", "record_a"),
    ("b", "id_b", "right", "id_r", "id2", "record_b"),
)
DECISION: Final = ("decision", "match", "label", "same", "is_match")
"""Usual names of the three columns of a file of labels."""

_NAMES: Final = (GIVEN, MIDDLE, SURNAME, FULL)


class Records(NamedTuple):
    """One file, or two that are linked with one another."""

    people: People
    sheets: tuple[Sheet, ...]

    def sheet_of(self, row: int) -> tuple[Sheet, int]:
        """The sheet that a row is from, and its place there."""
        first = len(self.sheets[0])
        return (self.sheets[0], row) if row < first else (self.sheets[1], row - first)


def gather(sheets: Sequence[Sheet], normalizer: Normalizer, *, day_first: bool = True) -> Records:
    """Standardized records. Of two sheets only what both have is compared; BadMapping if that is nothing."""
    roles = set(sheets[0].texts)
    if len(sheets) > 1:
        both = roles & set(sheets[1].texts)
        if all(any(role in sheet.texts for role in _NAMES) for sheet in sheets):
            # A full name on one side is compared with given name and surname on the other.
            both |= {role for sheet in sheets for role in sheet.texts if role in _NAMES}
        if not both:
            raise BadMapping(
                f"{sheets[0].name} has {_list(sheets[0])}, {sheets[1].name} has {_list(sheets[1])}: "
                "nothing in common"
            )
        roles = both
    raw = {
        role: [text for sheet in sheets for text in sheet.texts.get(role, [""] * len(sheet))]
        for role in sorted(roles)
    }
    ids = [name for sheet in sheets for name in sheet.ids]
    side = np.repeat(np.arange(len(sheets), dtype=np.int8), [len(sheet) for sheet in sheets])
    return Records(standardize(ids, side, raw, normalizer, day_first=day_first), tuple(sheets))


def _list(sheet: Sheet) -> str:
    return ", ".join(sheet.texts) or "nothing"


def read_known(path: Path, records: Records) -> Known:
    """Labelled pairs of a CSV: two ids, and whether they are one person. An empty decision is none.

    BadReview names the line of an unknown id or word, and of a pair that is labelled both ways.
    """
    rows = [{name: row for row, name in enumerate(sheet.ids)} for sheet in records.sheets]
    first = len(records.sheets[0])
    found: dict[tuple[int, int], tuple[bool, int]] = {}
    for line, a, b, word in _lines(path):
        if not word:
            continue
        if word not in SAME_WORDS | APART_WORDS:
            raise BadReview(f"{path}:{line}: the decision is neither same nor different, nor empty")
        left = rows[0].get(a)
        right = rows[-1].get(b)
        if left is None or right is None:
            raise BadReview(
                f"{path}:{line}: no record has the id in column {'a' if left is None else 'b'}"
            )
        right += first if len(rows) > 1 else 0
        if left == right:
            raise BadReview(f"{path}:{line}: a record beside itself")
        key, same = (min(left, right), max(left, right)), word in SAME_WORDS
        if found.setdefault(key, (same, line))[0] != same:
            raise BadReview(f"{path}:{line}: line {found[key][1]} decides otherwise")
        if len(found) > LABELS_MAX:
            raise BadReview(f"{path}:{line}: more than {LABELS_MAX:,} decisions")
    if not found:
        return NOTHING_KNOWN
    keys = sorted(found)
    return Known(
        np.array([key[0] for key in keys]), np.array([key[1] for key in keys]),
        np.array([found[key][0] for key in keys], dtype=np.int8),
    )  # fmt: skip


def _lines(path: Path) -> Iterator[tuple[int, str, str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            header = {(name or "").strip().lower(): name for name in rows.fieldnames or ()}
            if not header:
                raise BadReview(f"{path}: empty")
            columns = [_column(path, header, names) for names in (A, B, DECISION)]
            for row in rows:
                a, b, word = ((row[column] or "").strip() for column in columns)
                yield rows.line_num, a, b, word.lower()
    except OSError as error:
        raise BadReview(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadReview(f"{path}: not a CSV file in UTF-8 ({type(error).__name__})") from None


def _column(path: Path, header: Mapping[str, str], names: Sequence[str]) -> str:
    for name in names:
        if name in header:
            return header[name]
    raise BadReview(f"{path}:1: no column {names[0]!r}; a file of labels has a, b and decision")

"""Records of people as columns of numbers: each distinct value is standardized once, and compared once."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from identity.nodes import EMAIL, PHONE
from identity.normalize import Normalizer
from models.linking import names
from models.linking.dates import standard_date
from models.linking.strings import LENGTH_MAX, Texts

Codes = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

GIVEN: Final = "given"
MIDDLE: Final = "middle"
SURNAME: Final = "surname"
FULL: Final = "name"
BORN: Final = "birth_date"
MAIL: Final = "email"
TELEPHONE: Final = "phone"
ADDRESS: Final = "address"
POSTCODE: Final = "postcode"
CITY: Final = "city"
STATE: Final = "state"
SEX: Final = "sex"
OTHER: Final = "other:"
"""Before the name of any other column: it is compared as a text."""

ROLES: Final = (
    GIVEN, MIDDLE, SURNAME, FULL, BORN, MAIL, TELEPHONE, ADDRESS, POSTCODE, CITY, STATE, SEX,
)  # fmt: skip

_PHONE_DIGITS: Final = 10
_PHONE_DIGITS_MIN: Final = 6
_SEXES: Final = {
    "m": "m", "male": "m", "man": "m", "1": "m", "f": "f", "female": "f", "woman": "f", "2": "f",
    "w": "f", "o": "o", "other": "o", "t": "o", "transgender": "o",
}  # fmt: skip
_STREETS: Final = {
    "st": "street", "str": "street", "rd": "road", "ave": "avenue", "av": "avenue", "ln": "lane",
    "dr": "drive", "ct": "court", "crt": "court", "pl": "place", "cres": "crescent", "cct": "circuit",
    "sq": "square", "blk": "block", "bldg": "building", "apt": "flat", "apartment": "flat", "appt": "flat",
    "flr": "floor", "opp": "opposite", "nr": "near", "ngr": "nagar", "ngar": "nagar", "clny": "colony",
    "sec": "sector", "ph": "phase", "mg": "mahatma gandhi", "hno": "house", "vill": "village", "po": "post",
    "dist": "district", "distt": "district",
}  # fmt: skip
_DIGITS: Final = re.compile(r"\D+")
_WIDE: Final = re.compile(r"[\W_]+")


class Column:
    """One value a record: `values` in order, of which the first is "": absent."""

    def __init__(self, values: Sequence[str]) -> None:
        distinct = sorted({"", *values})
        code = {value: place for place, value in enumerate(distinct)}
        self.values = distinct
        self.codes: Codes = np.fromiter((code[value] for value in values), np.int32, len(values))
        self._texts: Texts | None = None

    @classmethod
    def over(cls, values: list[str], codes: Codes) -> "Column":
        """A column of codes of values that several columns share."""
        made = cls.__new__(cls)
        made.values, made.codes, made._texts = values, codes, None
        return made

    @property
    def texts(self) -> Texts:
        """The values for comparing, each at most LENGTH_MAX characters."""
        if self._texts is None:
            self._texts = Texts(self.values)
        return self._texts

    def shares(self) -> Floats:
        """How much of all that is there has each value; 0 for what is absent."""
        counts = np.bincount(self.codes, minlength=len(self.values)).astype(np.float64)
        counts[0] = 0
        shares: Floats = counts / max(counts.sum(), 1.0)
        return shares

    def mapped(self, change: Callable[[str], str]) -> "Column":
        """The column of what `change` makes of each value."""
        distinct = self.derived(change)
        return Column.over(distinct.values, distinct.codes[self.codes])

    def derived(self, change: Callable[[str], str]) -> "Column":
        """What `change` makes of each value, as a column whose rows are this one's values."""
        return Column([change(value) if value else "" for value in self.values])

    def tokens(self) -> "Tokens":
        """The words of each value."""
        return Tokens.of(self.values)


class Tokens(NamedTuple):
    """Sets of words: a row for each value of a column."""

    matrix: sp.csr_matrix
    """Values × words, 1 where a value has the word."""
    words: list[str]

    @classmethod
    def of(cls, values: Sequence[str]) -> "Tokens":
        """The words of values, which are put apart by spaces."""
        sets = [sorted(set(value.split())) for value in values]
        known = sorted({word for some in sets for word in some})
        code = {word: place for place, word in enumerate(known)}
        starts = np.zeros(len(sets) + 1, dtype=np.int64)
        np.cumsum([len(some) for some in sets], out=starts[1:])
        flat = np.fromiter((code[w] for some in sets for w in some), np.int32, int(starts[-1]))
        ones = np.ones(len(flat), dtype=np.float32)
        return cls(sp.csr_matrix((ones, flat, starts), (len(sets), max(len(known), 1))), known)


class People:
    """Records, standardized. Two files are one `People`, told apart by `side`."""

    def __init__(
        self, ids: Sequence[str], side: npt.NDArray[np.int8], columns: Mapping[str, Column]
    ) -> None:
        self.ids = list(ids)
        self.side = side
        self.columns = dict(columns)

    def __len__(self) -> int:
        """How many records there are."""
        return len(self.ids)

    @property
    def two_sided(self) -> bool:
        """Whether records of one side are compared with those of the other only."""
        return bool(self.side.any())

    def has(self, *columns: str) -> bool:
        """Whether any record has a value in each of the columns."""
        return all(name in self.columns and len(self.columns[name].values) > 1 for name in columns)


def standardize(
    ids: Sequence[str], side: npt.NDArray[np.int8], raw: Mapping[str, Sequence[str]], normalizer: Normalizer,
    *, day_first: bool = True,
) -> People:  # fmt: skip
    """Records from the texts of their columns, by role; what names nobody is absent."""
    changes: dict[str, Callable[[str], str]] = {
        BORN: lambda text: standard_date(text, day_first=day_first),
        MAIL: lambda text: _mail(text, normalizer),
        TELEPHONE: lambda text: _phone(text, normalizer),
        ADDRESS: _address,
        POSTCODE: lambda text: _WIDE.sub("", names.fold(text)),
        SEX: lambda text: _SEXES.get(names.fold(text), ""),
    }
    columns: dict[str, Column] = _names(len(ids), raw)
    for role, texts in raw.items():
        if role in (GIVEN, MIDDLE, SURNAME, FULL):
            continue
        change = changes.get(role, _plain)
        known: dict[str, str] = {}
        columns[role] = Column(
            [
                known[text] if text in known else known.setdefault(text, change(text))
                for text in texts
            ]
        )
    return People(ids, side, columns)


def _names(count: int, raw: Mapping[str, Sequence[str]]) -> dict[str, Column]:
    """Given name, surname and the other tokens, in one list of values that all three share."""
    parts = [raw.get(role) or [""] * count for role in (GIVEN, MIDDLE, SURNAME, FULL)]
    if not any(role in raw for role in (GIVEN, MIDDLE, SURNAME, FULL)):
        return {}
    parsed = [names.parse(*texts) for texts in zip(*parts, strict=True)]
    both = Column([name.given for name in parsed] + [name.surname for name in parsed])
    return {
        GIVEN: Column.over(both.values, both.codes[:count]),
        SURNAME: Column.over(both.values, both.codes[count:]),
        MIDDLE: Column([" ".join(name.others) for name in parsed]),
    }


def _plain(text: str) -> str:
    return " ".join(names.words(text))[:LENGTH_MAX]


def _address(text: str) -> str:
    return " ".join(_STREETS.get(word, word) for word in names.words(text))


def _mail(text: str, normalizer: Normalizer) -> str:
    value, why = normalizer.normalize(EMAIL, text)
    return value or ("" if why in ("blocked", "too long") else names.fold(text)[:LENGTH_MAX])


def _phone(text: str, normalizer: Normalizer) -> str:
    value, why = normalizer.normalize(PHONE, text)
    if why == "blocked":
        return ""
    digits = _DIGITS.sub("", value or text)[-_PHONE_DIGITS:]
    return digits if len(digits) >= _PHONE_DIGITS_MIN else ""

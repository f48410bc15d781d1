"""Comparison: how two records agree, field by field, as levels. Level 0 is "one of them does not say".

Each distinct pair of values is compared once, whatever the number of records that hold it.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

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
    SEX,
    STATE,
    SURNAME,
    TELEPHONE,
    Column,
    Floats,
    Ints,
    People,
)

Levels = npt.NDArray[np.uint8]

ABSENT: Final = 0
SAME: Final = 1
"""In every comparison: the values are equal."""

EXHAUSTIVE: Final = (MAIL, TELEPHONE, BORN, ADDRESS, POSTCODE)
"""Columns of which blocking finds every pair that agrees, up to its cap; free columns too."""


class Comparison(NamedTuple):
    """One way in which two records are compared."""

    name: str
    levels: tuple[str, ...]
    """What each level means, from 0: absent, and 1: the same, to the last: different."""
    column: str
    by_frequency: bool = True
    """Whether to agree on a rare value says more than on a frequent one."""

    @property
    def free(self) -> bool:
        """Whether the column is none of those that we know."""
        return self.column.startswith(OTHER)


_NAME_LEVELS: Final = (
    "absent", "same", "same sound or short form", "one slip", "initial", "similar or elsewhere", "other order",
    "different",
)  # fmt: skip
SOUND, SLIP, INITIAL, SIMILAR, TURNED, NAME_OTHER = 2, 3, 4, 5, 6, 7

_SLIP_FROM: Final = 0.92
_SIMILAR_FROM: Final = 0.82
"""Jaro-Winkler similarities for "almost the same" and "similar", about the field's own (Splink: .92, .8)."""


def comparisons(people: People) -> list[Comparison]:
    """The comparisons that the columns allow."""
    found = []
    if people.has(GIVEN):
        found.append(Comparison("given name", _NAME_LEVELS, GIVEN))
        found.append(Comparison("surname", _NAME_LEVELS, SURNAME))
    for role, (label, levels, _) in _FIELDS.items():
        if people.has(role):
            found.append(Comparison(label, levels, role, role not in (ADDRESS, MIDDLE, SEX, STATE)))
    found += [
        Comparison(role.removeprefix(OTHER), _TEXT_LEVELS, role)
        for role in people.columns
        if role.startswith(OTHER) and people.has(role)
    ]
    return found


def compare(people: People, left: Ints, right: Ints) -> Levels:
    """The levels of each pair: rows are pairs, columns are `comparisons(people)`."""
    columns: list[Levels] = []
    if people.has(GIVEN):
        columns += _names(people, left, right)
    for role, (_, _, function) in _FIELDS.items():
        if people.has(role):
            columns.append(_by_value(people.columns[role], left, right, function))
    columns += [
        _by_value(column, left, right, _text)
        for role, column in people.columns.items()
        if role.startswith(OTHER) and people.has(role)
    ]
    return np.stack(columns, axis=1) if columns else np.zeros((len(left), 0), np.uint8)


def _by_value(
    column: Column, left: Ints, right: Ints, function: Callable[[Column, Ints, Ints], Levels]
) -> Levels:
    """What `function` says of each distinct pair of values, for every pair of records."""
    return _of_codes(column, column.codes[left], column.codes[right], function)


def _of_codes(
    column: Column,
    a: npt.NDArray[Any],
    b: npt.NDArray[Any],
    function: Callable[[Column, Ints, Ints], Levels],
) -> Levels:
    levels = np.where((a == b) & (a != 0), SAME, ABSENT).astype(np.uint8)
    both = np.flatnonzero((a != b) & (a != 0) & (b != 0))
    if len(both):
        low, high = np.minimum(a[both], b[both]).astype(np.int64), np.maximum(a[both], b[both])
        keys, back = np.unique(low * len(column.values) + high, return_inverse=True)
        levels[both] = function(column, keys // len(column.values), keys % len(column.values))[back]
    return levels


def _names(people: People, left: Ints, right: Ints) -> list[Levels]:
    """Given name and surname, also in the other order, and elsewhere in the name."""
    given, surname = people.columns[GIVEN], people.columns[SURNAME]
    first_a, first_b, last_a, last_b = (
        column.codes[side] for column in (given, surname) for side in (left, right)
    )
    first = _of_codes(given, first_a, first_b, _name)
    last = _of_codes(given, last_a, last_b, _name)
    apart = np.flatnonzero(
        (first >= SIMILAR) & ((last >= SIMILAR) | (last == ABSENT)) | (last >= SIMILAR)
    )
    crossed = _of_codes(given, first_a[apart], last_b[apart], _name)
    other = _of_codes(given, last_a[apart], first_b[apart], _name)
    good = (crossed >= SAME) & (crossed <= INITIAL) & (other >= SAME) & (other <= INITIAL)
    # An initial that fits an initial's place says nothing of the order.
    good &= (crossed <= SLIP) | (other <= SLIP)
    turned = apart[good]
    first[turned], last[turned] = np.minimum(crossed[good], other[good]), TURNED
    if people.has(MIDDLE):
        _elsewhere(people, left, right, first, first_a, first_b)
        _elsewhere(people, left, right, last, last_a, last_b)
    return [first, last]


def _elsewhere(
    people: People,
    left: Ints,
    right: Ints,
    levels: Levels,
    a: npt.NDArray[Any],
    b: npt.NDArray[Any],
) -> None:
    """A name that stands among the other's further names is no different name."""
    apart = np.flatnonzero(levels == NAME_OTHER)
    if not len(apart):
        return
    words = people.columns[MIDDLE].tokens()
    code = {word: place for place, word in enumerate(words.words)}
    values = people.columns[GIVEN].values
    word_of = np.array([code.get(value, -1) for value in values])
    rows = people.columns[MIDDLE].codes
    found = np.zeros(len(apart), dtype=bool)
    for names_of, others_of in ((a, right), (b, left)):
        word = word_of[names_of[apart]]
        known = np.flatnonzero(word >= 0)
        if len(known):
            held = words.matrix[rows[others_of[apart[known]]], word[known]]
            found[known] |= np.asarray(held).ravel() > 0
    levels[apart[found]] = SIMILAR


def _name(column: Column, a: Ints, b: Ints) -> Levels:
    """Two tokens of names that are not equal."""
    values = column.values
    similarity, edits = column.texts.compare(a, b)
    lengths = column.texts.lengths
    shortest = np.minimum(lengths[a], lengths[b])
    levels = np.full(len(a), NAME_OTHER, dtype=np.uint8)
    levels[similarity >= _SIMILAR_FROM] = SIMILAR
    initials = np.array([value[:1] for value in values])
    levels[(shortest == 1) & (initials[a] == initials[b])] = INITIAL
    levels[(shortest > 2) & ((similarity >= _SLIP_FROM) | ((edits == 1) & (shortest > 4)))] = SLIP
    sounds = column.derived(names.sound).codes
    formal = column.derived(names.formal).codes
    levels[(shortest > 1) & ((sounds[a] == sounds[b]) | (formal[a] == formal[b]))] = SOUND
    return levels


_TEXT_LEVELS: Final = ("absent", "same", "one slip", "shares words", "different")


def _text(column: Column, a: Ints, b: Ints) -> Levels:
    """Two texts: one slip apart, sharing rare words, or different."""
    similarity, edits = column.texts.compare(a, b)
    shortest = np.minimum(column.texts.lengths[a], column.texts.lengths[b])
    share = _shared(column, a, b)
    levels = np.full(len(a), 4, dtype=np.uint8)
    levels[(share >= 0.3) | (similarity >= _SIMILAR_FROM) & (shortest > 3)] = 3
    levels[(similarity >= _SLIP_FROM) & (shortest > 3) | (edits == 1) & (shortest > 4)] = 2
    return levels


def _shared(column: Column, a: Ints, b: Ints) -> Floats:
    """How much of two texts' words is common: Jaccard, words weighing log(1/frequency)."""
    words = column.tokens().matrix
    held = np.asarray(words.sum(axis=0)).ravel()
    weights = np.log(words.shape[0] / np.maximum(held, 1))
    total = np.asarray(words @ weights).ravel()
    common = np.zeros(len(a))
    for start in range(0, len(a), 1 << 17):
        some = slice(start, start + (1 << 17))
        common[some] = np.asarray(words[a[some]].multiply(words[b[some]]) @ weights).ravel()
    shared: Floats = common / np.maximum(total[a] + total[b] - common, 1e-9)
    return shared


_ADDRESS_LEVELS: Final = (
    "absent",
    "same",
    "almost the same",
    "half the words",
    "some words",
    "different",
)


def _address(column: Column, a: Ints, b: Ints) -> Levels:
    edits = column.texts.distances(a, b)
    share = _shared(column, a, b)
    longest = np.maximum(column.texts.lengths[a], column.texts.lengths[b])
    levels = np.full(len(a), 5, dtype=np.uint8)
    levels[(share >= 0.15) | (edits * 3 <= longest)] = 4
    levels[(share >= 0.4) | (edits * 5 <= longest)] = 3
    levels[(share >= 0.75) | (edits * 10 <= longest)] = 2
    return levels


_OTHERS_LEVELS: Final = ("absent", "same", "half of them", "some of them", "different")


def _others(column: Column, a: Ints, b: Ints) -> Levels:
    share = _shared(column, a, b)
    levels = np.full(len(a), 4, dtype=np.uint8)
    levels[share > 0] = 3
    levels[share >= 0.5] = 2
    return levels


_DATE_LEVELS: Final = (
    "absent",
    "same",
    "day and month swapped or one slip",
    "year and month or day",
    "same year",
    "day and month",
    "different",
)


def _date(column: Column, a: Ints, b: Ints) -> Levels:
    edits = column.texts.distances(a, b)
    digits = column.texts.codes[:, :8]
    x, y = digits[a], digits[b]
    year = (x[:, :4] == y[:, :4]).all(axis=1)
    month, day = (x[:, 4:6] == y[:, 4:6]).all(axis=1), (x[:, 6:8] == y[:, 6:8]).all(axis=1)
    swapped = year & (x[:, 4:6] == y[:, 6:8]).all(axis=1) & (x[:, 6:8] == y[:, 4:6]).all(axis=1)
    untold = ((x[:, 4:8] == ord("0")).all(axis=1)) | ((y[:, 4:8] == ord("0")).all(axis=1))
    levels = np.full(len(a), 6, dtype=np.uint8)
    levels[month & day] = 5
    levels[year] = 4
    levels[year & (month | day) & ~untold] = 3
    levels[(swapped | (edits == 1)) & ~untold] = 2
    return levels


_CODE_LEVELS: Final = ("absent", "same", "one slip", "same area", "different")


def _postcode(column: Column, a: Ints, b: Ints) -> Levels:
    """Indian PIN 560034, UK SW1A 2AA, Australian 2602: the area is all but the last three characters."""
    edits = column.texts.distances(a, b)
    areas = column.derived(lambda text: text[: max(len(text) - 3, 1)]).codes
    levels = np.full(len(a), 4, dtype=np.uint8)
    levels[areas[a] == areas[b]] = 3
    levels[edits == 1] = 2
    return levels


_MAIL_LEVELS: Final = ("absent", "same", "same mailbox", "one slip", "similar mailbox", "different")


def _mail(column: Column, a: Ints, b: Ints) -> Levels:
    boxes = column.derived(lambda text: text.partition("@")[0].partition("+")[0].replace(".", ""))
    box = boxes.codes.astype(np.int64)
    edits = column.texts.distances(a, b)
    similarity, _ = boxes.texts.compare(box[a], box[b])
    levels = np.full(len(a), 5, dtype=np.uint8)
    levels[similarity >= 0.9] = 4
    levels[edits == 1] = 3
    levels[box[a] == box[b]] = 2
    return levels


_PHONE_LEVELS: Final = ("absent", "same", "one slip", "different")


def _phone(column: Column, a: Ints, b: Ints) -> Levels:
    edits = column.texts.distances(a, b)
    return np.where(edits == 1, 2, 3).astype(np.uint8)


def _sex(column: Column, a: Ints, b: Ints) -> Levels:
    return np.full(len(a), 2, dtype=np.uint8)


_FIELDS: Final[dict[str, tuple[str, tuple[str, ...], Callable[[Column, Ints, Ints], Levels]]]] = {
    MIDDLE: ("other names", _OTHERS_LEVELS, _others),
    BORN: ("birth date", _DATE_LEVELS, _date),
    MAIL: ("e-mail", _MAIL_LEVELS, _mail),
    TELEPHONE: ("phone", _PHONE_LEVELS, _phone),
    ADDRESS: ("address", _ADDRESS_LEVELS, _address),
    POSTCODE: ("postcode", _CODE_LEVELS, _postcode),
    CITY: ("city", _TEXT_LEVELS, _text),
    STATE: ("state", _TEXT_LEVELS, _text),
    SEX: ("sex", ("absent", "same", "different"), _sex),
}

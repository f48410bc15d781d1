"""What linking writes: scored pairs, people, and a file in which a reviewer decides."""

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from models.linking.compare import ABSENT, SAME
from models.linking.fellegi_sunter import probability
from models.linking.linking import Linked
from models.linking.matches import AcceptedPair
from models.linking.people import ROLES
from models.linking.reading import Sheet
from models.linking.records import Records

PAIRS: Final = "pairs.csv"
PEOPLE: Final = "people.csv"
REVIEW: Final = "review.csv"
REVIEW_MAX: Final = 10_000
"""Pairs to review that are written: more than anybody reads."""
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for a formula (OWASP, "CSV injection")."""


def accepted_pairs(linked: Linked) -> list[AcceptedPair]:
    """The pairs that are one person, by the ids of their records."""
    ids = linked.people.ids
    some = linked.pairs.where(linked.accepted)
    chances = probability(some.odds).tolist()
    return [
        AcceptedPair(ids[left], ids[right], chance)
        for left, right, chance in zip(
            some.left.tolist(), some.right.tolist(), chances, strict=True
        )
    ]


def write(folder: Path, linked: Linked, records: Records) -> list[Path]:
    """Write the three files, readable by their owner only; they hold what the records hold."""
    folder.mkdir(parents=True, exist_ok=True)
    accepted = ((one.a, one.b, f"{one.probability:.6f}") for one in accepted_pairs(linked))
    return [
        _write(folder / PAIRS, ("a", "b", "probability"), accepted),
        _write(folder / PEOPLE, _people_head(records), _people(linked, records)),
        _write(folder / REVIEW, _review_head(records), _review(linked, records)),
    ]


def _write(path: Path, head: Sequence[str], rows: Iterator[Sequence[str]]) -> Path:
    work = path.with_name(f".{path.name}.writing")
    descriptor = os.open(work, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(rows)
    return work.replace(path)


def _people_head(records: Records) -> Sequence[str]:
    return ("record", "file", "person") if len(records.sheets) > 1 else ("record", "person")


def _people(linked: Linked, records: Records) -> Iterator[Sequence[str]]:
    """Each record and its person, who is named by their first record; of two files, `a:` or `b:` before it."""
    ids, first = linked.people.ids, len(records.sheets[0])
    for row, person in enumerate(linked.person.tolist()):
        if len(records.sheets) > 1:
            yield (ids[row], "ab"[row >= first], f"{'ab'[person >= first]}:{ids[person]}")
        else:
            yield (ids[row], ids[person])


def _shown(records: Records) -> list[str]:
    """Roles that a reviewer sees, in our order, then free columns."""
    every = {role for sheet in records.sheets for role in sheet.texts}
    return [role for role in ROLES if role in every] + sorted(every - set(ROLES))


def _review_head(records: Records) -> Sequence[str]:
    sides = [f"{role} {side}" for role in _shown(records) for side in ("a", "b")]
    return ("decision", "probability", "a", "b", "agrees", "differs", *sides)


def _review(linked: Linked, records: Records) -> Iterator[Sequence[str]]:
    roles = _shown(records)
    every = linked.linker.model.comparisons
    for place in linked.uncertain[:REVIEW_MAX].tolist():
        left, right = int(linked.pairs.left[place]), int(linked.pairs.right[place])
        levels = linked.levels[place].tolist()
        agrees = [each.name for each, level in zip(every, levels, strict=True) if level == SAME]
        differs = [
            f"{each.name}: {each.levels[level]}"
            for each, level in zip(every, levels, strict=True)
            if level not in (ABSENT, SAME)
        ]
        sides = [_text(records.sheet_of(row), role) for role in roles for row in (left, right)]
        yield (
            "", f"{probability(linked.pairs.odds[place : place + 1])[0]:.3f}", linked.people.ids[left],
            linked.people.ids[right], ", ".join(agrees), "; ".join(differs), *sides,
        )  # fmt: skip


def _text(where: tuple[Sheet, int], role: str) -> str:
    sheet, place = where
    texts = sheet.texts.get(role)
    text = texts[place] if texts else ""
    return f"'{text}" if text.startswith(_FORMULA) else text

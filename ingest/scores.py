"""Scores of batch models from CSV files: an identifier and a number a row."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path

import msgspec

from identity.nodes import NodeHasher
from identity.normalize import Normalizer
from ingest.errors import IngestError
from profiles.segments.values import time_of
from storage.segment_ports import ScoreRow

VALUE = "value"
AT = "computed_at"


class BadScores(IngestError):
    """The file has no columns that scores need."""


class RefusedScore(msgspec.Struct, frozen=True):
    """A line that is no score."""

    line: int
    detail: str


def read_scores(
    path: Path,
    name: str,
    hasher: NodeHasher,
    normalizer: Normalizer,
    types: tuple[str, ...],
    now_ms: int,
) -> Iterator[ScoreRow | RefusedScore]:
    """The scores of a CSV file with a header: a column named as an identifier type, `value`, `computed_at`.

    `computed_at` is a time as ISO 8601 writes it; without it scores are computed now.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        columns = rows.fieldnames or []
        known = [column for column in columns if column in types]
        if not known or VALUE not in columns:
            raise BadScores(
                f"{path}:1: needs a column {VALUE} and one of {', '.join(types)}; it has "
                f"{', '.join(columns) or 'none'}"
            )
        for line, row in enumerate(rows, start=2):
            yield _read(line, row, known[0], name, hasher, normalizer, now_ms)


def _read(
    line: int, row: dict[str, str], type_name: str, name: str, hasher: NodeHasher,
    normalizer: Normalizer, now_ms: int,
) -> ScoreRow | RefusedScore:  # fmt: skip
    identifier = normalizer.value(type_name, row.get(type_name) or "")
    if not identifier:
        return RefusedScore(line, f"{type_name}: names nobody")
    try:
        value = float(row.get(VALUE) or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        return RefusedScore(line, f"{VALUE}: is no finite number")
    at_ms = now_ms
    if stated := row.get(AT):
        read = time_of(stated)
        if read is None:
            return RefusedScore(line, f"{AT}: is no time; write for example 2026-11-27T12:00:00Z")
        at_ms = min(read, now_ms)
    return ScoreRow(hasher.node(type_name, identifier), name, value, at_ms)

"""Which traits people have, of which types, and which values are not of the declared one (DESIGN §4)."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import islice
from typing import Any, Final

import msgspec

from identity.nodes import Node
from profiles.part import Body, decode
from profiles.segments.values import is_number, time_of
from storage.ports import Store

LEAVES_MAX: Final = 20_000
"""Leaves that are looked at unless all are. They are hashes: the first are as good as any."""
CHUNK: Final = 400
SHAPES_MAX: Final = 5
"""Shapes that are shown of values that do not fit."""
SHAPE_CHARACTERS: Final = 24


class TraitType(StrEnum):
    """What a value of a trait can be."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    """A text that ISO 8601 reads as a date or time."""
    LIST = "list"
    MAPPING = "mapping"


class Observed(msgspec.Struct):
    """A trait as it is stored: `"42"` is a text, and no number."""

    name: str
    declared: TraitType | None = None
    count: int = 0
    types: Counter[str] = msgspec.field(default_factory=Counter)
    misfits: int = 0
    """Values that are not of the declared type."""
    shapes: Counter[str] = msgspec.field(default_factory=Counter)
    """How those look, by `shape`: nothing of a person is in it."""


class Survey(msgspec.Struct, frozen=True):
    """What was found."""

    traits: Sequence[Observed]
    """By name; declared ones that nobody has, too."""
    looked_at: int
    of: int
    """Identifiers with activity: how many were looked at, of how many."""


def survey(
    store: Store,
    declared: Mapping[str, TraitType],
    *,
    most: int = LEAVES_MAX,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Survey:
    """Look at the traits of some leaves; of all of them if `most` is 0."""
    total, _ = store.parts.about(max(most, 1)) if most else (store.parts.count(), 0.0)
    most = min(most or total, total)
    found = {name: Observed(name, kind) for name, kind in declared.items()}
    looked_at, after = 0, None
    while looked_at < most:
        leaves = store.parts.leaves(after, min(CHUNK, most - looked_at))
        if not leaves:
            break
        for name, value in _values(store, leaves):
            _count(found.setdefault(name, Observed(name)), value)
        looked_at, after = looked_at + len(leaves), leaves[-1]
        progress(looked_at, most)
    return Survey([found[name] for name in sorted(found)], looked_at, total)


def _values(store: Store, leaves: Sequence[Node]) -> Iterator[tuple[str, Any]]:
    for blob in store.parts.read(leaves).values():
        part = decode(blob)
        bodies: list[Body] = [part.body] if part.body else []
        for body in (*bodies, *(visit.body for visit in part.visits)):
            for name, trait in body.traits.items():
                if trait.value is not None:
                    yield name, trait.value


def _count(trait: Observed, value: Any) -> None:
    trait.count += 1
    trait.types[type_of(value)] += 1
    if trait.declared and not fits(value, trait.declared):
        trait.misfits += 1
        how = shape(value)
        if how in trait.shapes or len(trait.shapes) < SHAPES_MAX:
            trait.shapes[how] += 1


def type_of(value: Any) -> TraitType:
    """The narrowest type that a value is of."""
    if isinstance(value, bool):
        return TraitType.BOOLEAN
    if is_number(value):
        return TraitType.NUMBER
    if isinstance(value, list | tuple):
        return TraitType.LIST
    if isinstance(value, dict):
        return TraitType.MAPPING
    return TraitType.TEXT if time_of(value) is None else TraitType.DATE


def fits(value: Any, declared: TraitType) -> bool:
    """Whether a value is of a type; a date is a text, too."""
    found = type_of(value)
    return found is declared or (declared is TraitType.TEXT and found is TraitType.DATE)


def shape(value: Any) -> str:
    """How a value looks: letters are `a`, digits `9`, other signs `-`; what is no text is named by its type."""
    if isinstance(value, bool | list | tuple | dict):
        return f"<{type_of(value)}>"
    text = str(value)
    masked = "".join(
        "9" if each.isdigit() else "a" if each.isalpha() else " " if each.isspace() else "-"
        for each in islice(text, SHAPE_CHARACTERS)
    )
    masked += "…" if len(text) > SHAPE_CHARACTERS else ""
    return masked if is_number(value) else f'"{masked}"'

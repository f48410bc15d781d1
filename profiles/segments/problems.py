"""What is wrong with a definition, where in it, and what was probably meant."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from profiles.segments.tree import Truth

Path = tuple[str | int, ...]
"""Keys and places in lists, from the top of the tree."""

QUOTED_MAX: Final = 40
"""Characters of what the author wrote that an error repeats."""
PROBLEMS_MAX: Final = 100
"""Problems told at once: nobody reads more, and a tree of 10,000 mistakes is one mistake."""


class SegmentError(msgspec.Struct, frozen=True):
    """One thing that is wrong."""

    path: Path
    message: str
    suggestion: str = ""
    """What was probably meant, ready to be written instead."""

    @property
    def where(self) -> str:
        """The path as text: `all[0].within`."""
        return path_text(self.path)

    @property
    def text(self) -> str:
        """Message and suggestion."""
        return (
            f"{self.message}; did you mean {self.suggestion}?" if self.suggestion else self.message
        )


class BadDefinition(ValueError):
    """A tree is no segment and no computed trait; `errors` says everything that is wrong with it."""

    def __init__(self, errors: Iterable[SegmentError]) -> None:
        self.errors = tuple(errors)
        super().__init__(
            "\n".join(
                f"{each.where}: {each.text}" if each.path else each.text for each in self.errors
            )
        )


class Problems:
    """Everything that is wrong, so that one run shows all of it."""

    def __init__(self) -> None:
        self.errors: list[SegmentError] = []

    def add(self, path: Path, message: str, suggestion: str = "") -> None:
        """One more, told once; beyond PROBLEMS_MAX they are not kept."""
        error = SegmentError(path, message, suggestion)
        if len(self.errors) < PROBLEMS_MAX and error not in self.errors:
            self.errors.append(error)

    def check(self) -> None:
        """Raise BadDefinition if there is any."""
        if self.errors:
            raise BadDefinition(self.errors)


def path_text(path: Path) -> str:
    """`all[0].within`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def near(name: str, known: Iterable[str], aliases: Mapping[str, str] | None = None) -> str:
    """What of `known` was probably meant by `name`; "" if nothing comes near."""
    folded = name.strip().lower().replace("-", "_")
    names = sorted(known)
    if aliases and aliases.get(folded) in names:
        return aliases[folded]
    by_key = {each.lower().replace("-", "_"): each for each in reversed(names)}
    if folded in by_key:
        return by_key[folded]
    found = difflib.get_close_matches(folded[:200], by_key, n=1, cutoff=0.7)
    return by_key[found[0]] if found else ""


def shown(value: Any) -> str:
    """What the author wrote, short enough for a message."""
    match value:
        case None:
            text = "nothing"
        case bool():
            text = "true" if value else "false"
        case Truth():
            text = "true" if value.value else "false"
        case str():
            text = f'"{value[:QUOTED_MAX]}…"' if len(value) > QUOTED_MAX else f'"{value}"'
        case list() | tuple():
            text = "a list"
        case dict():
            text = "a mapping"
        case int() if value.bit_length() > 100:
            text = "a very large number"
        case _:
            text = str(value)[:QUOTED_MAX]
    return text

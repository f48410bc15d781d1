"""The table of every setting, for the documentation: made from the schema, so that it cannot be out of date."""

import ast
import inspect
import textwrap
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec

from service.config import Schema, choices_of, section_of, table_of
from service.config_file import ENV_LEVEL, ENV_PREFIX

TABLE_NAME: Final = "NAME"
"""Stands for the name of an entry of a table, for example of a source."""

_WORDS: Final[Mapping[Any, str]] = {
    str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null",
}  # fmt: skip
_UNDOCUMENTED: Final = {
    # Fields of `identity.rules.Rules` whose names say it all there.
    "version": "Version of these rules; a change of what is recorded needs a replay.",
    "person_priority": "Types of identifiers that name a person, highest priority first.",
    "device_priority": "Types of identifiers that name a device, highest priority first.",
    "blocked_patterns": "Regular expressions of more blocked values, as `blocked`.",
    "limit_default": "Most identifiers of a type in one person where `limits` does not name the type.",
    "limit_user_id": "Most user ids in one person.",
    "members_max": "Most identifiers in one person.",
    "visit_gap_min": "Minutes without an event after which a new visit begins.",
    "login_after_visit_min": "Minutes after a visit in which a login still makes the visit the person's.",
    "owner_idle_max_days": "Days after the last login for which a device is still that person's.",
}


class Row(msgspec.Struct, frozen=True):
    """One setting."""

    path: str
    type: str
    default: str
    """As it would be written in the file."""
    env: str
    doc: str


def describe() -> list[Row]:
    """Every setting, in the order of the schema."""
    return list(rows_of(Schema, ""))


def rows_of(kind: type[msgspec.Struct], prefix: str) -> Iterator[Row]:
    """Every field below a struct."""
    docs = field_docs(kind)
    for field in msgspec.structs.fields(kind):
        path = prefix + field.encode_name
        if section := section_of(field.type):
            yield from rows_of(section, path + ".")
        elif table := table_of(field.type):
            yield from rows_of(table, f"{path}.{TABLE_NAME}.")
        else:
            default = field.default if field.default is not msgspec.NODEFAULT else {}
            yield Row(
                path,
                type_in_words(field.type),
                msgspec.json.encode(default).decode(),
                ENV_PREFIX + path.upper().replace(".", ENV_LEVEL),
                docs.get(field.name, "").replace("None:", "Null:")
                or _UNDOCUMENTED.get(field.name, ""),
            )


def field_docs(kind: type[msgspec.Struct]) -> dict[str, str]:
    """The text that stands below each field in the source."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    docs: dict[str, str] = {}
    previous: ast.stmt | None = None
    for statement in body.body if isinstance(body, ast.ClassDef) else ():
        if (
            isinstance(statement, ast.Expr)
            and isinstance(statement.value, ast.Constant)
            and isinstance(statement.value.value, str)
            and isinstance(previous, ast.AnnAssign)
            and isinstance(previous.target, ast.Name)
        ):
            docs[previous.target.id] = " ".join(statement.value.value.split())
        previous = statement
    return docs


def type_in_words(kind: Any) -> str:
    """A type as people say it, with its bounds."""
    if choices := choices_of(kind):
        return " or ".join(f"`{each}`" for each in choices)
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return type_in_words(parts[0]) + "".join(
            _bounds(note) for note in parts[1:] if isinstance(note, msgspec.Meta)
        )
    if origin in (Union, types.UnionType):
        return " or ".join(type_in_words(part) for part in parts)
    if origin is tuple:
        return f"list of {type_in_words(parts[0])}"
    if origin is dict:
        return f"mapping of {type_in_words(parts[0])} to {type_in_words(parts[1])}"
    return _WORDS.get(kind, getattr(kind, "__name__", str(kind)))


def _bounds(note: msgspec.Meta) -> str:
    low = note.ge if note.ge is not None else note.gt
    if low is None:
        return ""
    if note.le is not None:
        return f", {low} to {note.le}" if note.ge is not None else f", above {low}, to {note.le}"
    return f", from {low}" if note.ge is not None else f", above {low}"

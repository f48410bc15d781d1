"""Reads a YAML document as a struct: everything that is wrong is said at once, with file, line and field."""

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from service.config import ConfigError, choices_of, is_secret, section_of, table_of

SECRET_LENGTH_MIN: Final = 8
"""Characters of a secret in a file: a shorter one is a place holder or a mistake."""
_FILE_SUFFIX: Final = "_file"
_TYPES: Final = {
    "str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false",
    "array": "a list", "object": "a mapping", "null": "null",
}  # fmt: skip


class Given(msgspec.Struct, frozen=True):
    """A value that somebody wrote, and where."""

    value: Any
    origin: str


ENTRY: Final = object()
"""Marks the name of an entry of a table."""


class Problems:
    """Everything that is wrong, so that one run shows all of it."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, origin: str, path: str, text: str) -> None:
        """One more."""
        self.lines.append(f"{origin}: {path}: {text}" if path else f"{origin}: {text}")

    def check(self) -> None:
        """ConfigError if there are any."""
        if self.lines:
            raise ConfigError("\n".join(self.lines))


def compose(path: Path) -> yaml.Node | None:
    """The document, each node with its place; None: an empty one. ConfigError if it is no YAML."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text") from None
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}:{line}: not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from None


class Walk:
    """Compares a YAML document with the schema, field by field."""

    def __init__(self, path: Path, problems: Problems) -> None:
        self._path = path
        self._problems = problems

    def fields(
        self, node: yaml.Node, kind: type[msgspec.Struct], prefix: str
    ) -> Iterator[tuple[str, Given]]:
        """Every value under `node`, by its path."""
        known = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        for name, value, line in self._entries(node, prefix):
            path = prefix + name
            field = known.get(name)
            if field is None:
                self._problems.add(line, path, "no such field" + suggestion(name, known))
            else:
                yield from self._field(value, field.type, path, line)

    def _field(
        self, node: yaml.Node, kind: Any, path: str, line: str
    ) -> Iterator[tuple[str, Given]]:
        if section := section_of(kind):
            yield from self.fields(node, section, path + ".")
        elif table := table_of(kind):
            for name, value, _ in self._entries(node, path + "."):
                yield path + "." + name, Given(ENTRY, line)
                yield from self.fields(value, table, f"{path}.{name}.")
        else:
            plain = _plain(node, path, line, self._problems)
            value = converted(plain, kind, path, line, self._problems)
            if value is not msgspec.UNSET:
                yield path, Given(value, line)

    def _entries(self, node: yaml.Node, prefix: str) -> Iterator[tuple[str, yaml.Node, str]]:
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
            return
        if not isinstance(node, yaml.MappingNode):
            self._problems.add(self._line(node), prefix.rstrip("."), "must be a mapping")
            return
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                self._problems.add(self._line(key), prefix + name, "is there twice")
            seen.add(name)
            yield name, value, self._line(key)

    def _line(self, node: yaml.Node) -> str:
        return f"{self._path}:{node.start_mark.line + 1}"


def _plain(node: yaml.Node, path: str, line: str, problems: Problems) -> Any:
    constructor = yaml.SafeLoader("")
    try:
        return constructor.construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        problems.add(line, path, "cannot be read")
        return msgspec.UNSET
    finally:
        constructor.dispose()


def converted(value: Any, kind: Any, path: str, origin: str, problems: Problems) -> Any:
    """`value` as a `kind`, or UNSET where that is a problem."""
    if value is msgspec.UNSET:
        return value
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        shown = "" if is_secret(kind) else f", not {_shown(value)}"
        if choices := choices_of(kind):
            text = "must be one of " + ", ".join(choices)
        else:
            text = _explained(str(error), value)
        problems.add(origin, path, text + shown)
        return msgspec.UNSET


def _explained(message: str, value: Any) -> str:
    """msgspec's message in the words of the documentation."""
    where = ""
    if (at := re.search(r" - at `\$(.*)`", message)) is not None:
        where = f"{at[1]} " if at[1] not in ("", "[...]") else "each "
        message = message[: at.start()]
    if (typed := re.fullmatch(r"Expected `([^`]+)`, got `([^`]+)`", message)) is not None:
        expected = " or ".join(_TYPES.get(name, name) for name in typed[1].split(" | "))
        quoted = isinstance(value, bool | int | float) and "str" in typed[1]
        return f"{where}must be {expected}" + (" (put it in quotes)" if quoted else "")
    return where + message[:1].lower() + message[1:].replace("`", "")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"


def suggestion(name: str, known: Mapping[str, Any]) -> str:
    """What may be meant by a name that is not known."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]}?"
    return "; there are " + ", ".join(known)


def read_secret_files(given: dict[str, Given], folder: Path, problems: Problems) -> None:
    """Put what `…_file` names beside it, for fields that are secrets."""
    for path, each in list(given.items()):
        target = path.removesuffix(_FILE_SUFFIX)
        if target == path or each.value is ENTRY or not each.value:
            continue
        if target in given:
            problems.add(each.origin, path, f"{target} is given too; which one?")
            continue
        try:
            text = (folder / each.value).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "not UTF-8 text"
            problems.add(each.origin, path, f"{folder / each.value}: {why}")
            continue
        given[target] = Given(text, each.origin)
        if len(text) < SECRET_LENGTH_MIN:
            problems.add(
                each.origin, path, f"the file holds fewer than {SECRET_LENGTH_MIN} characters"
            )


def build(
    kind: type[msgspec.Struct], prefix: str, given: Mapping[str, Given], problems: Problems
) -> dict[str, Any]:
    """Keyword arguments of `kind` from the values by path."""
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        path = prefix + field.encode_name
        if section := section_of(field.type):
            values[field.name] = _made(section, path + ".", given, problems)
        elif table := table_of(field.type):
            names = [
                each.removeprefix(path + ".")
                for each, held in given.items()
                if held.value is ENTRY and each.startswith(path + ".")
            ]
            values[field.name] = {
                name: _made(table, f"{path}.{name}.", given, problems) for name in names
            }
        elif path in given:
            values[field.name] = given[path].value
    return values


def _made(
    kind: type[msgspec.Struct], prefix: str, given: Mapping[str, Given], problems: Problems
) -> msgspec.Struct:
    """A section; what it refuses as a whole is said at the field that its message names first."""
    try:
        return kind(**build(kind, prefix, given, problems))
    except ValueError as error:
        field, _, text = str(error).partition(": ")
        path = prefix + field
        while path and path not in given:
            path = path.rpartition(".")[0]
        origin = given[path].origin if path else "configuration"
        problems.add(origin, prefix + field, text or str(error))
        return kind()

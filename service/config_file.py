"""Reads the configuration: YAML with the line of every field, environment variables typed the same way."""

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from service.config import (
    FILE_NAME,
    Config,
    ConfigError,
    Schema,
    choices_of,
    is_secret,
    section_of,
    table_of,
)
from service.config_checks import contradictions

ENV_PREFIX: Final = "ONEFOLD_"
ENV_LEVEL: Final = "__"
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


class _Problems:
    """Everything that is wrong, so that one run shows all of it."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, origin: str, path: str, text: str) -> None:
        self.lines.append(f"{origin}: {path}: {text}" if path else f"{origin}: {text}")

    def check(self) -> None:
        if self.lines:
            raise ConfigError("\n".join(self.lines))


def read_config(path: Path | None, environ: Mapping[str, str], *, data: Path | None) -> Config:
    """See `service.config.load_config`."""
    problems = _Problems()
    given: dict[str, Given] = {}
    folder = Path()
    if path is None and Path(FILE_NAME).exists():
        path = Path(FILE_NAME)
    if path is not None:
        folder = path.parent
        root = _compose(path)
        if root is not None:
            given.update(_Walk(path, problems).fields(root, Schema, ""))
    given.update(_from_environment(environ, problems))
    if data is not None:
        given["data"] = Given(str(data), "--data")
    _read_secret_files(given, folder, problems)
    origins = {path: each.origin for path, each in given.items() if each.value is not ENTRY}
    values = _build(Schema, "", given, problems)
    problems.check()
    schema = Schema(**values)
    for where, text in contradictions(schema):
        problems.add(origins.get(where, "configuration"), where, text)
    problems.check()
    return _placed(schema, origins, folder)


def _compose(path: Path) -> yaml.Node | None:
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


class _Walk:
    """Compares a YAML document with the schema, field by field."""

    def __init__(self, path: Path, problems: _Problems) -> None:
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
                self._problems.add(line, path, "no such field" + _suggestion(name, known))
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
            value = _converted(plain, kind, path, line, self._problems)
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


def _plain(node: yaml.Node, path: str, line: str, problems: _Problems) -> Any:
    constructor = yaml.SafeLoader("")
    try:
        return constructor.construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        problems.add(line, path, "cannot be read")
        return msgspec.UNSET
    finally:
        constructor.dispose()


def _converted(value: Any, kind: Any, path: str, origin: str, problems: _Problems) -> Any:
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


def _suggestion(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]}?"
    return "; there are " + ", ".join(known)


def _from_environment(environ: Mapping[str, str], problems: _Problems) -> dict[str, Given]:
    given: dict[str, Given] = {}
    leaves = dict(_env_names(Schema, ""))
    fixed = {path for path, _ in leaves.values()}
    for variable, text in sorted(environ.items()):
        if not variable.startswith(ENV_PREFIX):
            continue
        name = variable.removeprefix(ENV_PREFIX)
        found = _env_field(name, leaves)
        if found is None:
            # Variables of other tools may begin alike; those with two underscores are meant for us.
            if ENV_LEVEL in name:
                problems.add(variable, "", "no such setting" + _env_suggestion(name, leaves))
            continue
        path, kind = found
        plain = _env_value(text, kind, variable, problems)
        value = _converted(plain, kind, path, variable, problems)
        if value is not msgspec.UNSET:
            if path not in fixed:
                given[path.rpartition(".")[0]] = Given(ENTRY, variable)
            given[path] = Given(value, variable)
    return given


def _env_names(
    kind: type[msgspec.Struct], prefix: str
) -> Iterator[tuple[tuple[str, ...], tuple[str, Any]]]:
    """((part of the variable's name, …), (path, type)) of every leaf; `*` is any name of a table."""
    for field in msgspec.structs.fields(kind):
        path = prefix + field.encode_name
        if section := section_of(field.type):
            yield from _env_names(section, path + ".")
        elif table := table_of(field.type):
            yield from _env_names(table, path + ".*.")
        else:
            yield tuple(path.upper().split(".")), (path, field.type)


def _env_field(
    name: str, leaves: Mapping[tuple[str, ...], tuple[str, Any]]
) -> tuple[str, Any] | None:
    parts = tuple(name.split(ENV_LEVEL))
    if parts in leaves:
        return leaves[parts]
    for pattern, (path, kind) in leaves.items():
        if len(pattern) == len(parts) and all(
            want in ("*", part) for want, part in zip(pattern, parts, strict=True)
        ):
            # Names in tables are written in small letters where they come from variables.
            return path.replace("*", parts[pattern.index("*")].lower()), kind
    return None


def _env_suggestion(name: str, leaves: Mapping[tuple[str, ...], tuple[str, Any]]) -> str:
    names = [ENV_LEVEL.join(parts) for parts in leaves]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"; did you mean {ENV_PREFIX}{close[0]}?" if close else ""


def _env_value(text: str, kind: Any, variable: str, problems: _Problems) -> Any:
    if _takes_text(kind):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        problems.add(variable, "", "cannot be read; write it as in the file, for example [a, b]")
        return msgspec.UNSET


def _takes_text(kind: Any) -> bool:
    try:
        msgspec.convert("x" * 8, kind)
    except msgspec.ValidationError as error:
        return str(error).startswith("Expected `str`") and "got" not in str(error)
    return True


def _read_secret_files(given: dict[str, Given], folder: Path, problems: _Problems) -> None:
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


def _build(
    kind: type[msgspec.Struct], prefix: str, given: Mapping[str, Given], problems: _Problems
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
    kind: type[msgspec.Struct], prefix: str, given: Mapping[str, Given], problems: _Problems
) -> msgspec.Struct:
    """A section; what it refuses as a whole is said at the field that its message names first."""
    try:
        return kind(**_build(kind, prefix, given, problems))
    except ValueError as error:
        field, _, text = str(error).partition(": ")
        path = prefix + field
        while path and path not in given:
            path = path.rpartition(".")[0]
        origin = given[path].origin if path else "configuration"
        problems.add(origin, prefix + field, text or str(error))
        return kind()


def _placed(schema: Schema, origins: dict[str, str], folder: Path) -> Config:
    """`schema` with every path in place."""
    from_file = {path for path, origin in origins.items() if not _outside_file(origin)}

    def place(path: str, value: str) -> Path:
        return folder / value if path in from_file or path not in origins else Path(value)

    data = place("data", schema.data)
    store = msgspec.structs.replace(
        schema.store,
        path=str(
            place("store.path", schema.store.path) if schema.store.path else data / "onefold.sqlite"
        ),
        keys=str(
            place("store.keys", schema.store.keys) if schema.store.keys else data / "onefold.keys"
        ),
    )
    registry, rules = schema.models.registry, schema.models.rules
    models = msgspec.structs.replace(
        schema.models,
        registry=str(place("models.registry", registry) if registry else data / "models"),
        rules=str(place("models.rules", rules) if rules else data / "merchandising"),
    )
    placed = {"data": str(data), "store": store, "models": models}
    for section in ("cassandra", "kafka"):
        held = getattr(schema, section)
        files = {
            name: str(place(f"{section}.{name}", getattr(held, name)))
            for name in ("password_file", "tls_ca")
            if getattr(held, name) is not None
        }
        placed[section] = msgspec.structs.replace(held, **files)
    fields = {field.name: getattr(schema, field.name) for field in msgspec.structs.fields(Schema)}
    return Config(**fields | placed, origins=origins)


def _outside_file(origin: str) -> bool:
    return origin.startswith((ENV_PREFIX, "--"))

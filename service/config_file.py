"""Reads the configuration: YAML with the line of every field, environment variables typed the same way."""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from service.config import FILE_NAME, Config, Schema, section_of, table_of
from service.config_checks import contradictions
from service.yaml_fields import (
    ENTRY,
    Given,
    Problems,
    Walk,
    build,
    compose,
    converted,
    read_secret_files,
)

ENV_PREFIX: Final = "ONEFOLD_"
ENV_LEVEL: Final = "__"


def read_config(path: Path | None, environ: Mapping[str, str], *, data: Path | None) -> Config:
    """See `service.config.load_config`."""
    problems = Problems()
    given: dict[str, Given] = {}
    folder = Path()
    if path is None and Path(FILE_NAME).exists():
        path = Path(FILE_NAME)
    if path is not None:
        folder = path.parent
        root = compose(path)
        if root is not None:
            given.update(Walk(path, problems).fields(root, Schema, ""))
    given.update(_from_environment(environ, problems))
    if data is not None:
        given["data"] = Given(str(data), "--data")
    read_secret_files(given, folder, problems)
    origins = {path: each.origin for path, each in given.items() if each.value is not ENTRY}
    values = build(Schema, "", given, problems)
    problems.check()
    schema = Schema(**values)
    for where, text in contradictions(schema):
        problems.add(origins.get(where, "configuration"), where, text)
    problems.check()
    return _placed(schema, origins, folder)


def _from_environment(environ: Mapping[str, str], problems: Problems) -> dict[str, Given]:
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
        value = converted(plain, kind, path, variable, problems)
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


def _env_value(text: str, kind: Any, variable: str, problems: Problems) -> Any:
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
    exports = str(place("exports", schema.exports))
    placed = {"data": str(data), "exports": exports, "store": store, "models": models}
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

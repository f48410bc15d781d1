"""Reads destinations, `exports/<name>.yaml` each; all that is wrong is said with file and line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from destinations.checking import problems as contradictions
from destinations.settings import KINDS, NAME, RESERVED, Common
from service.config import ConfigError
from service.yaml_fields import (
    ENTRY,
    Given,
    Problems,
    Walk,
    build,
    compose,
    read_secret_files,
    suggestion,
)

SUFFIX: Final = ".yaml"
_KIND: Final = "kind"
FORMATS: Final = ("csv", "parquet")
"""Which tables may have, and people take for kinds."""


class DestinationFile(msgspec.Struct, frozen=True):
    """One destination as its file describes it."""

    name: str
    path: Path
    settings: Common

    @property
    def kind(self) -> str:
        """Which kind it is."""
        return str(getattr(self.settings, _KIND))


def read_destinations(folder: Path) -> dict[str, DestinationFile]:
    """Every destination of a folder by name; ConfigError says all that is wrong in all of them."""
    found, wrong = {}, []
    for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else ():
        try:
            found[path.stem] = read_destination(path)
        except ConfigError as error:
            wrong.append(str(error))
    if wrong:
        raise ConfigError("\n".join(wrong))
    return found


def find_destination(folder: Path, name: str) -> DestinationFile:
    """The destination of that name; ConfigError says which there are."""
    path = folder / f"{name}{SUFFIX}"
    if NAME.fullmatch(name) and path.is_file():
        return read_destination(path)
    names = sorted(each.stem for each in folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    if not names:
        raise ConfigError(f"{path}: there is no such file (docs/destinations.md shows one)")
    raise ConfigError(f"{path}: there is no such file{suggestion(name, dict.fromkeys(names))}")


def read_destination(path: Path) -> DestinationFile:
    """One destination."""
    problems = Problems()
    if not NAME.fullmatch(path.stem) or path.stem in RESERVED:
        problems.add(
            str(path), "", "a destination is called by its file: small letters, digits, - and _, and not "
            + ", ".join(RESERVED),
        )  # fmt: skip
    root = compose(path)
    kind = _kind(path, root, problems)
    problems.check()
    assert root is not None  # noqa: S101  # it has a kind
    given: dict[str, Given] = dict(Walk(path, problems).fields(root, kind, ""))
    read_secret_files(given, path.parent, problems)
    values = build(kind, "", given, problems)
    problems.check()
    settings = kind(**values)
    lines = {field: each.origin for field, each in given.items() if each.value is not ENTRY}
    for field, text in contradictions(settings):
        problems.add(_line(lines, field, str(path)), field, text)
    problems.check()
    return DestinationFile(path.stem, path, _placed(settings, path.parent, given))


def _kind(path: Path, root: yaml.Node | None, problems: Problems) -> type[Common]:
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value == _KIND:
            if isinstance(value, yaml.ScalarNode) and value.value in KINDS:
                return KINDS[value.value]
            text = "must be one of " + ", ".join(KINDS)
            if isinstance(value, yaml.ScalarNode) and value.value in FORMATS:
                text += f"; `kind: table` with `format: {value.value}` writes such files"
            problems.add(f"{path}:{key.start_mark.line + 1}", _KIND, text)
            return Common
    problems.add(f"{path}:1", _KIND, "is missing: one of " + ", ".join(KINDS))
    return Common


def _line(lines: Mapping[str, str], field: str, path: str) -> str:
    """Where a field stands, or the one that holds it; else the beginning of the file."""
    while field:
        if field in lines:
            return lines[field]
        field = field.rpartition(".")[0]
    return f"{path}:1"


def _placed(settings: Common, folder: Path, given: Mapping[str, Given]) -> Common:
    """`settings` with its paths relative to the file's folder."""
    target = getattr(settings, "target", None)
    if target is None:
        return settings
    fields: dict[str, Any] = {
        name: str(folder / value)
        for name in ("private_key", "known_hosts")
        if (value := getattr(target, name)) is not None
    }
    if "://" not in target.url:
        fields["url"] = str(folder / target.url)
    return msgspec.structs.replace(settings, target=msgspec.structs.replace(target, **fields))

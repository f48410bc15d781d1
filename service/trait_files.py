"""`traits.yaml`: the type that each trait is meant to have; what is wrong with it is said with its line."""

from pathlib import Path
from typing import Final

from ingest.segments.traits import TraitType
from profiles.segments.problems import near, shown
from service.config import ConfigError
from service.segment_files import BadYaml, read_yaml

TRAITS_MAX: Final = 1_000
FILE_BYTES_MAX: Final = 1_000_000
"""People write it."""
_MEANT: Final = {
    "string": "text", "str": "text", "int": "number", "integer": "number", "float": "number",
    "bool": "boolean", "datetime": "date", "time": "date", "timestamp": "date", "array": "list",
    "object": "mapping", "dict": "mapping",
}  # fmt: skip


def read_traits(path: Path) -> dict[str, TraitType]:
    """The declared types by trait; ConfigError says all that is wrong."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigError(f"{path}: larger than {FILE_BYTES_MAX:,} bytes")
        tree, marks = read_yaml(path.read_text(encoding="utf-8"))
    except BadYaml as error:
        raise ConfigError(f"{path}:{error.line}: {error.field} {error.text}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}:1: is no mapping of traits to types like `age: number`")
    if len(tree) > TRAITS_MAX:
        raise ConfigError(f"{path}: more than {TRAITS_MAX:,} traits")
    known = [each.value for each in TraitType]
    wrong = []
    for name, kind in tree.items():
        if kind not in known or not isinstance(name, str):
            meant = near(kind, known, _MEANT) if isinstance(kind, str) else ""
            hint = f"did you mean {meant}?" if meant else f"one of {', '.join(known)}"
            line = marks.line((name,))
            wrong.append(f"{path}:{line}: {name}: {shown(kind)} is no type; {hint}")
    if wrong:
        raise ConfigError("\n".join(wrong))
    return {name: TraitType(kind) for name, kind in tree.items()}

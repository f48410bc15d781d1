"""Files of segments: YAML with the line of every field, and what is wrong with them by file and line."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from profiles.segments.parse import TREE_DEPTH_MAX, TREE_SIZE_MAX, parse_definition
from profiles.segments.problems import BadDefinition, SegmentError
from profiles.segments.problems import Path as TreePath
from profiles.segments.references import check_references
from profiles.segments.tree import Definition, Segment

SUFFIXES: Final = (".yaml", ".yml", ".json")
FILE_BYTES_MAX: Final = 1_000_000
"""A definition is read by people."""

_INT: Final = re.compile(r"[-+]?[0-9]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: Final[Mapping[str, Any]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
"""As YAML 1.2 has it: `no` is Norway."""


class Finding(msgspec.Struct, frozen=True):
    """Something to say about a line of a file."""

    file: Path
    line: int
    field: str
    text: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: "
        return f"{where}{self.field}: {self.text}" if self.field else where + self.text


class SegmentFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file that was read."""

    file: Path
    tree: Any
    definition: Definition
    lines: Mapping[TreePath, int] = {}
    """By path in the tree, counted from 1."""

    @property
    def id(self) -> str:
        """Of the segment, or the name of the computed trait."""
        each = self.definition
        return each.id if isinstance(each, Segment) else each.name

    def line_of(self, path: TreePath) -> int:
        """The line of a path, else of what it is in."""
        return _line(self.lines, path)

    def findings(self, errors: Iterable[SegmentError]) -> list[Finding]:
        """What is wrong with its definition, by line."""
        return _findings(self.file, self.lines, errors)


class BadFiles(ValueError):
    """Files of segments are not what they should be; `findings` says all that is wrong with them."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(map(str, self.findings)))


def read_segment_files(paths: Iterable[Path]) -> list[SegmentFile]:
    """What the files, and those in the folders, define. BadFiles says everything that is wrong."""
    wrong: list[Finding] = []
    files = []
    for path in _files(paths, wrong):
        file = _read(path, wrong)
        if file is not None:
            files.append(file)
    wrong.extend(_twice(files))
    if wrong:
        raise BadFiles(wrong)
    return files


def wrong_references(
    files: Iterable[SegmentFile], segments: Mapping[str, Segment] | None = None
) -> list[Finding]:
    """Unknown segments, cycles and chains among files, and `segments` that are defined elsewhere."""
    by_id = {file.id: file for file in files if isinstance(file.definition, Segment)}
    found: list[Finding] = []
    new = {
        key: each.definition for key, each in by_id.items() if isinstance(each.definition, Segment)
    }
    for key, errors in check_references({**(segments or {}), **new}).items():
        if key in by_id:
            found.extend(by_id[key].findings(errors))
        else:
            found.extend(Finding(Path(key), 1, each.where, each.text) for each in errors)
    return found


def _files(paths: Iterable[Path], wrong: list[Finding]) -> list[Path]:
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(each for each in path.rglob("*") if each.suffix in SUFFIXES)
            found.update(dict.fromkeys(each for each in inside if each.is_file()))
            if not inside:
                wrong.append(Finding(path, 1, "", "the folder has no .yaml files"))
        elif path.exists():
            found[path] = None
        else:
            wrong.append(Finding(path, 1, "", "there is no such file or folder"))
    return list(found)


def _twice(files: Iterable[SegmentFile]) -> Iterator[Finding]:
    first: dict[tuple[type, str], Path] = {}
    for file in files:
        held = first.setdefault((type(file.definition), file.id), file.file)
        if held != file.file:
            key = "id" if isinstance(file.definition, Segment) else "trait"
            text = f'"{file.id}" is defined in {held} too'
            yield Finding(file.file, file.line_of((key,)), key, text)


def _read(path: Path, wrong: list[Finding]) -> SegmentFile | None:
    """The file; None if something is wrong with it."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            wrong.append(Finding(path, 1, "", f"larger than {FILE_BYTES_MAX:,} bytes"))
            return None
        tree, lines = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        wrong.append(Finding(path, 1, "", error.strerror or "cannot be read"))
    except UnicodeDecodeError:
        wrong.append(Finding(path, 1, "", "not UTF-8 text"))
    except BadYaml as error:
        wrong.append(Finding(path, error.line, error.field, error.text))
    else:
        try:
            definition = parse_definition(tree, id=path.stem)
            return SegmentFile(file=path, tree=tree, definition=definition, lines=lines)
        except BadDefinition as error:
            wrong.extend(_findings(path, lines, error.errors))
    return None


def _findings(
    file: Path, lines: Mapping[TreePath, int], errors: Iterable[SegmentError]
) -> list[Finding]:
    return [
        Finding(file, _line(lines, error.path), _field(error.path), error.text) for error in errors
    ]


def _line(lines: Mapping[TreePath, int], path: TreePath) -> int:
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _field(path: TreePath) -> str:
    return next((step for step in reversed(path) if isinstance(step, str)), "")


class BadYaml(ValueError):
    """A text is no YAML that a definition can be."""

    def __init__(self, line: int, text: str, field: str = "") -> None:
        self.line, self.text, self.field = line, text, field
        super().__init__(f"line {line}: {text}")


def read_yaml(text: str) -> tuple[Any, dict[TreePath, int]]:
    """The tree of a YAML (1.2) or JSON text, and its lines. Dates stay texts. BadYaml says what is wrong."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadYaml(line, f"not YAML: {error.problem}") from None
    except yaml.YAMLError:
        raise BadYaml(1, "not YAML: it has characters that cannot be printed") from None
    except RecursionError:
        raise BadYaml(1, "its mappings and lists are too deep") from None
    if root is None:
        return {}, {}
    lines: dict[TreePath, int] = {(): root.start_mark.line + 1}
    return _plain(root, (), lines), lines


def _plain(node: yaml.Node, path: TreePath, lines: dict[TreePath, int]) -> Any:
    line = node.start_mark.line + 1
    # An alias may stand for what it is in, or for a million copies of it.
    if len(lines) > 2 * TREE_SIZE_MAX:
        raise BadYaml(line, f"more than {TREE_SIZE_MAX:,} keys and values; split it into segments")
    if len(path) > TREE_DEPTH_MAX + 1:
        raise BadYaml(line, "its mappings and lists are too deep")
    if isinstance(node, yaml.SequenceNode):
        found = []
        for place, each in enumerate(node.value):
            lines[(*path, place)] = each.start_mark.line + 1
            found.append(_plain(each, (*path, place), lines))
        return found
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, lines)
    return _scalar(node) if isinstance(node, yaml.ScalarNode) else None


def _mapping(node: yaml.MappingNode, path: TreePath, lines: dict[TreePath, int]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise BadYaml(line, "a key is a list or mapping; a { } too many?")
        key = _scalar(key_node)
        if key in found:
            raise BadYaml(line, "stands there twice", str(key))
        lines[(*path, key)] = line
        found[key] = _plain(value_node, (*path, key), lines)
    return found


def _scalar(node: yaml.ScalarNode) -> Any:
    text = node.value
    if node.style is not None or node.tag == "tag:yaml.org,2002:str":
        return text
    if text in _WORDS:
        return _WORDS[text]
    if len(text) < 400:
        if _INT.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text

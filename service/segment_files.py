"""Files of segments: YAML with the line of every field, and what is wrong with them by file and line."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from profiles.segments.parse import TREE_DEPTH_MAX, TREE_SIZE_MAX, parse_definition
from profiles.segments.problems import BadDefinition, SegmentError
from profiles.segments.problems import Path as TreePath
from profiles.segments.references import check_references
from profiles.segments.seen import Known, unseen
from profiles.segments.tree import ComputedTrait, Definition, Has, Segment

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


class Marks(msgspec.Struct, frozen=True):
    """Lines of a file by path in its tree, counted from 1."""

    lines: Mapping[TreePath, int] = {}

    def line(self, path: TreePath) -> int:
        """The line of a path, else of what it is in."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


class SegmentFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file that was read."""

    path: Path
    tree: Any
    marks: Marks
    definition: Definition | None
    """None: something is wrong with it."""

    @property
    def id(self) -> str:
        """Of the segment; else the name of the computed trait, else of the file."""
        match self.definition:
            case Segment(id=segment_id):
                return segment_id
            case ComputedTrait(name=name):
                return name
        return self.path.stem


class Finding(msgspec.Struct, frozen=True):
    """Something to say about a line of a file."""

    path: Path
    line: int
    field: str
    text: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}: "
        return f"{where}{self.field}: {self.text}" if self.field else where + self.text


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """What some files define, and all that is wrong with them."""

    files: list[SegmentFile] = []
    errors: list[Finding] = []
    warnings: list[Finding] = []

    @property
    def segments(self) -> dict[str, Segment]:
        """The segments by id."""
        found = (each.definition for each in self.files)
        return {each.id: each for each in found if isinstance(each, Segment)}

    @property
    def computed(self) -> dict[str, ComputedTrait]:
        """The computed traits by name."""
        found = (each.definition for each in self.files)
        return {each.name: each for each in found if isinstance(each, ComputedTrait)}


def read_segments(
    paths: Iterable[Path],
    *,
    known: Known | None = None,
    segments: Mapping[str, Segment] | None = None,
    computed: Mapping[str, ComputedTrait] | None = None,
) -> Read:
    """What the files, and those in folders, define.

    `known`: names that were ever seen; others are warned of. `segments` and `computed`: what is defined
    elsewhere already and may be named; what files define anew takes its place.
    """
    read = Read()
    for path in _files(paths, read.errors):
        file = _read(path, read.errors)
        if file is not None:
            read.files.append(file)
    _refuse_twice(read)
    # A file with mistakes is there all the same: whoever names it is told nothing more.
    broken = {
        file.id: Segment(id=file.id, name=file.id, who=Has(""))
        for file in read.files
        if file.definition is None
    }
    together = {**(segments or {}), **broken, **read.segments}
    wrong = check_references(together)
    by_id = {file.id: file for file in read.files if isinstance(file.definition, Segment)}
    for key, errors in wrong.items():
        if key in by_id:
            read.errors.extend(_findings(by_id[key], errors))
        else:
            read.errors.extend(Finding(Path(key), 1, each.where, each.text) for each in errors)
    if known is not None:
        names = msgspec.structs.replace(
            known, traits=known.traits | {*(computed or {}), *read.computed}
        )
        for file in read.files:
            if file.definition is not None:
                read.warnings.extend(_findings(file, unseen(file.definition, names)))
    return read


def _files(paths: Iterable[Path], errors: list[Finding]) -> list[Path]:
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(each for each in path.rglob("*") if each.suffix in SUFFIXES)
            found.update(dict.fromkeys(each for each in inside if each.is_file()))
            if not inside:
                errors.append(Finding(path, 1, "", "the folder has no .yaml files"))
        elif path.exists():
            found[path] = None
        else:
            errors.append(Finding(path, 1, "", "there is no such file or folder"))
    return list(found)


def _refuse_twice(read: Read) -> None:
    first: dict[tuple[type, str], Path] = {}
    for file in read.files:
        if file.definition is not None:
            held = first.setdefault((type(file.definition), file.id), file.path)
            if held != file.path:
                key = "trait" if isinstance(file.definition, ComputedTrait) else "id"
                text = f'"{file.id}" is defined in {held} too'
                read.errors.append(Finding(file.path, file.marks.line((key,)), key, text))


def _read(path: Path, errors: list[Finding]) -> SegmentFile | None:
    """The file; None if it is no YAML at all."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            errors.append(Finding(path, 1, "", f"larger than {FILE_BYTES_MAX:,} bytes"))
            return None
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        errors.append(Finding(path, 1, "", error.strerror or "cannot be read"))
        return None
    except UnicodeDecodeError:
        errors.append(Finding(path, 1, "", "not UTF-8 text"))
        return None
    try:
        tree, marks = read_yaml(text)
    except BadYaml as error:
        errors.append(Finding(path, error.line, error.field, error.text))
        return None
    try:
        definition = parse_definition(tree, id=path.stem)
    except BadDefinition as error:
        file = SegmentFile(path=path, tree=tree, marks=marks, definition=None)
        errors.extend(_findings(file, error.errors))
        return file
    return SegmentFile(path=path, tree=tree, marks=marks, definition=definition)


def _findings(file: SegmentFile, errors: Iterable[SegmentError]) -> list[Finding]:
    return [
        Finding(file.path, file.marks.line(error.path), _field(error.path), error.text)
        for error in errors
    ]


def _field(path: TreePath) -> str:
    return next((step for step in reversed(path) if isinstance(step, str)), "")


class BadYaml(ValueError):
    """A text is no YAML that a definition can be."""

    def __init__(self, line: int, text: str, field: str = "") -> None:
        self.line, self.text, self.field = line, text, field
        super().__init__(f"line {line}: {text}")


def read_yaml(text: str) -> tuple[Any, Marks]:
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
        return {}, Marks()
    lines: dict[TreePath, int] = {(): root.start_mark.line + 1}
    return _plain(root, (), lines), Marks(lines)


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

"""Files of segments are read with the line of every field."""

from pathlib import Path

import pytest

from profiles.segments.seen import Known
from profiles.segments.tree import AnyOf, Has, Segment
from service.segment_files import BadYaml, read_segments, read_yaml

LAPSED = """name: Lapsed
sensitive: true
all:
  - event: Order Completed
    where: {products.category: diabetes-care}
    count: {at_least: 2}
    within: 30 dayz
  - not: {event: Order Completed, within: 45d}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    segments = Path("segments")
    segments.mkdir()
    return segments


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def told(*paths: Path) -> list[str]:
    return [str(each) for each in read_segments(paths).errors]


def test_a_mistake_is_told_with_file_line_field_and_what_was_meant(folder: Path) -> None:
    write(folder, "lapsed.yaml", LAPSED)
    assert told(folder) == [
        'segments/lapsed.yaml:7: within: "30 dayz" is no duration; did you mean 30d?'
    ]


def test_all_mistakes_of_all_files_are_told(folder: Path) -> None:
    write(folder, "a.yaml", "name: A\nall:\n  - segment: b\n  - segment: nowhere\n")
    write(folder, "b.yaml", "event: x\ncout: 3\n")
    write(folder, "c.yaml", "has: [a\n")
    write(folder, "d.json", '{"id": "a",\n "has": "email"}')
    assert told(folder, Path("none.yaml")) == [
        "none.yaml:1: there is no such file or folder",
        'segments/b.yaml:2: cout: there is no "cout" here; did you mean count?',
        "segments/c.yaml:2: not YAML: expected ',' or ']', but got '<stream end>'",
        'segments/d.json:1: id: "a" is defined in segments/a.yaml too',
    ]


def test_segments_may_name_those_of_other_files_and_of_elsewhere(folder: Path) -> None:
    write(folder, "a.yaml", "all: [{segment: b}, {segment: c}]\n")
    write(folder, "b.yaml", "segment: a\n")
    assert told(folder) == [
        'segments/a.yaml:1: segment: there is no segment "c"',
        "segments/b.yaml:1: segment: a segment cannot depend on itself: a → b → a",
    ]
    write(folder, "b.yaml", "has: email\n")
    elsewhere = {"c": Segment(id="c", name="c", who=Has("email"))}
    assert not read_segments([folder], segments=elsewhere).errors


def test_a_file_gives_its_tree_and_its_name_is_the_id(folder: Path) -> None:
    write(
        folder, "norway.yaml", "trait: country\nin: [NO, off, 2026-01-01, .5, 007, '1', true, ~x]\n"
    )
    write(folder, "made.yml", "trait: orders\nevent: Order Completed\ncount: true\n")
    read = read_segments([folder])
    assert not read.errors
    assert [file.id for file in read.files] == ["orders", "norway"]
    assert list(read.segments) == ["norway"]
    assert list(read.computed) == ["orders"]
    assert read.files[1].tree == {
        "trait": "country",
        "in": ["NO", "off", "2026-01-01", 0.5, 7, "1", True, "~x"],
    }


def test_names_never_seen_are_warned_of(folder: Path) -> None:
    write(folder, "a.yaml", "name: A\nall:\n  - event: Logn\n  - trait: made\n  - trait: contry\n")
    write(folder, "made.yaml", "trait: made\nevent: Login\ncount: true\n")
    known = Known(events=frozenset({"Login"}), traits=frozenset({"country"}))
    read = read_segments([folder], known=known)
    assert not read.errors
    assert [str(each) for each in read.warnings] == [
        'segments/a.yaml:3: event: no event "Logn" was ever seen; did you mean Login?',
        'segments/a.yaml:5: trait: no trait "contry" was ever seen; did you mean country?',
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "line 2: stands there twice"),
        ("a: {{b: 1}: 2}\n", "line 1: a key is a list or mapping; a { } too many?"),
        ("a: &x [*x]\n", "line 1: its mappings and lists are too deep"),
        ("a: \x01\n", "line 1: not YAML: it has characters that cannot be printed"),
        ("[" * 500, "line 1: its mappings and lists are too deep"),
    ],
)
def test_what_is_no_definition_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(BadYaml) as caught:
        read_yaml(text)
    assert str(caught.value) == message


def test_a_bomb_of_aliases_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(BadYaml, match="more than"):
        read_yaml("\n".join(lines))


def test_other_bytes_than_text_and_large_files_are_refused(folder: Path) -> None:
    (folder / "a.yaml").write_bytes(b"\xff\xfe")
    write(folder, "b.yaml", "#" * 1_000_001)
    assert told(folder) == [
        "segments/a.yaml:1: not UTF-8 text",
        "segments/b.yaml:1: larger than 1,000,000 bytes",
    ]


def test_an_empty_folder_is_told(folder: Path) -> None:
    assert told(folder) == ["segments:1: the folder has no .yaml files"]


def test_an_empty_file_is_an_empty_definition(folder: Path) -> None:
    write(folder, "a.yaml", "# nothing\n")
    assert told(folder) == ["segments/a.yaml:1: the definition is empty"]
    write(folder, "a.yaml", "any:\n- {has: email}\n- trait: x\n  in: [1]\n")
    who = read_segments([folder]).segments["a"].who
    assert isinstance(who, AnyOf)

"""`onefold segments traits`: what traits are, without saying whose."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingest.segments.traits import TraitType, fits, shape, type_of
from tests.path.conftest import Run

AGES = [41, "42", "forty", 43.5, None, True]


@pytest.fixture
def loaded(taking: Callable[..., Run]) -> Run:
    return taking(
        [
            {"type": "identify", "userId": f"u{number}", "traits": {"age": age, "city": "Pune"},
             "timestamp": "2026-11-01T10:00:00Z"}
            for number, age in enumerate(AGES)
        ]
    )  # fmt: skip


def test_traits_are_listed_with_types_and_what_does_not_fit_is_masked(
    loaded: Run, tmp_path: Path
) -> None:
    file = tmp_path / "traits.yaml"
    file.write_text("age: number\nplan: text\n")
    told = json.loads(loaded("segments", "traits", "--declare-file", str(file), "--json").stdout)
    age, city, plan = told["traits"]
    assert (age["name"], age["declared"], age["count"], age["misfits"]) == ("age", "number", 5, 3)
    assert age["types"] == {"number": 2, "text": 2, "boolean": 1}
    assert age["shapes"] == {'"99"': 1, '"aaaaa"': 1, "<boolean>": 1}
    assert (city["declared"], city["types"], city["misfits"]) == (None, {"text": 6}, 0)
    assert (plan["name"], plan["count"]) == ("plan", 0)
    assert (told["looked_at"], told["of"]) == (6, 6)
    shown = loaded("segments", "traits", "--declare-file", str(file), "--sample", "2").stdout
    assert "2 of 6 identifiers" in shown
    assert "forty" not in shown


def test_a_wrong_declaration_is_said_by_line(loaded: Run, tmp_path: Path) -> None:
    file = tmp_path / "traits.yaml"
    for text, says in {
        "age: number\ncity: string\n": f'{file}:2: city: "string" is no type; did you mean text?',
        "age: 3\n": f"{file}:1: age: 3 is no type; one of text, number",
        "- age\n": f"{file}:1: is no mapping",
        "age: [\n": f"{file}:2:",
        "age: text\nage: date\n": f"{file}:2: age stands there twice",
    }.items():
        file.write_text(text)
        said = loaded("segments", "traits", "--declare-file", str(file), ok=False).stderr
        assert says in said


@pytest.mark.parametrize(
    ("value", "kind", "looks"),
    [
        ("2026-11-01", TraitType.DATE, '"9999-99-99"'),
        ("Zoë 7", TraitType.TEXT, '"aaa 9"'),
        ("a@b.com", TraitType.TEXT, '"a-a-aaa"'),
        (-4.5, TraitType.NUMBER, "-9-9"),
        (False, TraitType.BOOLEAN, "<boolean>"),
        ([1], TraitType.LIST, "<list>"),
        ({"a": 1}, TraitType.MAPPING, "<mapping>"),
        ("x" * 30, TraitType.TEXT, f'"{"a" * 24}…"'),
    ],
    ids=str,
)
def test_a_value_is_shown_by_its_shape(value: Any, kind: TraitType, looks: str) -> None:
    assert (type_of(value), shape(value)) == (kind, looks)
    assert fits(value, kind)
    assert fits("2026-11-01", TraitType.TEXT)
    assert not fits("42", TraitType.NUMBER)

"""Rules for items: how files are read, and when a rule holds."""

from pathlib import Path

import pytest

from models import rules
from models.errors import RulesError
from models.rules import Rule, read_rules, stamp_of

GOOD = """
- name: diwali
  pin: [gift-box, lamp, gift-box]
  surfaces: [FOR_YOU]
  from: 2026-11-01
  until: 2026-11-15 12:00:00+05:30
  reason: our gift
- {name: lux, promote: all, where: "brand = 'Lux'", boost: 3, segments: [vip, new]}
- {name: recalled, hide: ["0007"]}
"""
NOV_1 = 1_793_491_200_000
HOUR = 3_600_000


def write(folder: Path, text: str, name: str = "rules.yaml") -> Path:
    (folder / name).write_text(text)
    return folder


def said(folder: Path, text: str) -> str:
    with pytest.raises(RulesError) as caught:
        read_rules(write(folder, text))
    return str(caught.value).replace(f"{folder}/", "")


def test_a_file_is_read_as_it_says(tmp_path: Path) -> None:
    diwali, lux, recalled = read_rules(write(tmp_path, GOOD))

    assert (diwali.action, diwali.items) == ("pin", ("gift-box", "lamp"))
    assert (diwali.start_ms, diwali.end_ms) == (NOV_1, NOV_1 + (14 * 24 + 6) * HOUR + HOUR // 2)
    assert (diwali.reason, diwali.surfaces) == ("our gift", frozenset({"FOR_YOU"}))
    assert (lux.action, str(lux.where), lux.boost) == ("promote", "brand = 'Lux'", 3.0)
    assert (recalled.action, recalled.items) == ("hide", ("0007",))


def test_several_files_are_one_set_and_none_is_none(tmp_path: Path) -> None:
    assert read_rules(tmp_path / "nowhere") == read_rules(write(tmp_path, "")) == ()
    write(tmp_path, "- {name: a, hide: [x]}", "b.yml")
    write(tmp_path, "- {name: b, hide: [y]}", "a.yaml")
    assert [rule.name for rule in read_rules(tmp_path)] == ["b", "a"]
    write(tmp_path, "- {name: a, hide: [z]}", "c.yaml")
    with pytest.raises(RulesError, match=r"c.yaml:1: name: a is the rule at .*b.yml:1 too"):
        read_rules(tmp_path)


def test_a_rule_holds_in_its_time_and_place_and_for_its_people() -> None:
    rule = Rule(
        name="x", action="hide", start_ms=10, end_ms=20,
        surfaces=frozenset({"FOR_YOU"}), segments=frozenset({"vip"}),
    )  # fmt: skip
    assert rule.holds("FOR_YOU", ["vip", "new"], 10)
    assert not rule.holds("FOR_YOU", ["vip"], 9)
    assert not rule.holds("FOR_YOU", ["vip"], 20)
    assert not rule.holds("TRENDING", ["vip"], 10)
    assert not rule.holds("FOR_YOU", ["new"], 10)
    assert Rule(name="x", action="hide").holds("ANY", (), 0)


def test_what_a_person_did_has_no_pins_unless_a_rule_says_so() -> None:
    pin = Rule(name="x", action="pin", items=("a",))
    assert pin.holds("FOR_YOU", (), 0)
    assert not pin.holds("BUY_AGAIN", (), 0)
    named = Rule(name="x", action="pin", surfaces=frozenset({"BUY_AGAIN"}))
    assert named.holds("BUY_AGAIN", (), 0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("hide: [a]", "rules.yaml:1: must be a list of rules"),
        ("- a", "rules.yaml:1: a rule is a mapping"),
        ("- {hide: [a]}", "rules.yaml:1: name: each rule needs a name"),
        ("- {name: '', hide: [a]}", "rules.yaml:1: name: must have 1 to 200 characters"),
        ("- name: x\n  hyde: [a]", "rules.yaml:2: hyde: no such field; did you mean hide?"),
        ("- {name: x, colour: red}", "there are name, pin, promote, hide"),
        ("- {name: x}", "a rule has one of pin, promote and hide"),
        ("- {name: x, pin: [a], hide: [b]}", "a rule has one of pin, promote and hide"),
        ("- {name: x, hide: []}", "hide: must list 1 to 10,000 items"),
        ("- {name: x, hide: [0007]}", "put it in quotes"),
        ("- {name: x, hide: all}", "hide: `all` needs `where` beside it"),
        (
            "- {name: x, hide: [a], where: in_stock}",
            "where: goes with `promote: all` or `hide: all`",
        ),
        ("- {name: x, pin: all, where: in_stock}", "where: goes with"),
        (
            "- name: x\n  hide: all\n  where: price <",
            "rules.yaml:3: where: at character 8: a value",
        ),
        ("- {name: x, hide: [a], boost: 2}", "boost: is for promote"),
        ("- {name: x, promote: [a], boost: -1}", "boost: must be above 0"),
        ("- {name: x, promote: [a], boost: .nan}", "boost: must be above 0"),
        ("- {name: x, promote: [a], reason: r}", "reason: is for pin"),
        (
            "- {name: x, hide: [a], surfaces: [HOME]}",
            "surfaces: HOME is no surface; there are FOR_YOU",
        ),
        ("- {name: x, hide: [a], segments: []}", "segments: names none"),
        ("- {name: x, hide: [a], from: soon}", "from: "),
        ("- {name: x, hide: [a], from: 5}", "from: must be a date or a time"),
        ("- {name: x, hide: [a], from: 2026-01-02, until: 2026-01-02}", "until: must be later"),
        ("- {name: x, name: y, hide: [a]}", "name: is there twice"),
        ("- {name: x, hide: [a]", "not YAML"),
        ("- {name: x, hide: !!python/object:os.system [a]}", "hide: "),
    ],
)
def test_a_mistake_is_said_with_file_line_and_field(
    tmp_path: Path, text: str, problem: str
) -> None:
    assert problem in said(tmp_path, text)


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    assert said(tmp_path, "- {name: x}\n- {name: y, hide: []}\n- 5").count("\n") == 2


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "RULES_MAX", 1)
    assert "2 rules; at most 1" in said(tmp_path, "- {name: x, hide: [a]}\n- {name: y, hide: [a]}")
    monkeypatch.setattr(rules, "FILE_BYTES_MAX", 10)
    assert "larger than 10 bytes" in said(tmp_path, GOOD)


def test_the_stamp_tells_that_files_changed(tmp_path: Path) -> None:
    seen = {stamp_of(tmp_path)}
    for text in ("- {name: x, hide: [a]}", "- {name: x, hide: [ab]}"):
        seen.add(stamp_of(write(tmp_path, text)))
    seen.add(stamp_of(write(tmp_path, "", "other.yml")))
    assert len(seen) == 4

"""`onefold segments` as people use it: files, plans, what they come to, and every mistake."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.cli import main
from service.config import load_config
from service.workspace import Workspace
from tests.path.conftest import Run

EVENTS: list[dict[str, Any]] = [
    {"type": "identify", "userId": "asha", "traits": {"email": "a@b.com", "country": "IN"}},
    {"type": "track", "event": "Order Completed", "userId": "asha", "properties": {"category": "tea"}},
    {"type": "track", "event": "Order Completed", "userId": "asha", "properties": {"category": "tea"}},
    {"type": "track", "event": "Order Completed", "userId": "ravi"},
    {"type": "track", "event": "Product Viewed", "anonymousId": "b1"},
]  # fmt: skip
BUYERS = "name: Buyers\nevent: Order Completed\n"
LOYAL = "sensitive: true\nall:\n  - event: Order Completed\n    count: {at_least: 2}\n  - segment: buyers\n"
TASTE = "trait: favourite\nevent: Order Completed\nmost_frequent: category\n"


@pytest.fixture
def loaded(taking: Callable[..., Run]) -> Run:
    times = (f"2026-11-01T10:00:{second:02}Z" for second in range(60))
    return taking([{**each, "timestamp": time} for each, time in zip(EVENTS, times, strict=False)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "segments"
    made.mkdir()
    for name, text in (("buyers", BUYERS), ("loyal", LOYAL), ("favourite", TASTE)):
        (made / f"{name}.yaml").write_text(text)
    return made


@pytest.fixture
def applied(loaded: Run, folder: Path) -> Path:
    loaded("segments", "apply", str(folder), "--yes", "--author", "meera", "--note", "autumn")
    return folder


def test_a_plan_is_shown_first_and_nothing_done_without_a_yes(loaded: Run, folder: Path) -> None:
    assert "3 to add, 0 to change, 0 to remove" in loaded("segments", "check", str(folder)).stdout
    dry = loaded("segments", "apply", str(folder), "--dry-run").stdout
    assert "+ buyers\n+ favourite\n+ loyal" in dry
    refused = loaded("segments", "apply", str(folder), text="n\n", ok=False)
    assert "Put this into force?" in refused.stdout
    assert "no segments yet" in loaded("segments", "list").stdout


def test_what_is_applied_is_filled_listed_and_the_same_again_changes_nothing(
    onefold: Run, applied: Path, as_json: Callable[..., Any]
) -> None:
    listed = as_json("segments", "list")
    assert {each["id"]: (each["people"], each["devices"]) for each in listed["segments"]} == {
        "buyers": (2, 0),
        "loyal": (1, 0),
    }
    assert listed["computed_traits"] == ["favourite"]
    assert (listed["revision"], listed["broken"]) == (1, {})
    assert listed["filled"] == {"buyers": 1.0, "loyal": 1.0}
    shown = onefold("segments", "list").stdout
    assert "sensitive" in shown
    assert "computed trait favourite" in shown
    again = as_json("segments", "apply", str(applied), "--yes")
    assert (again["unchanged"], again["applied"]) == (["buyers", "favourite", "loyal"], None)
    assert as_json("segments", "fill") == {"profiles": 0}


def test_a_diff_shows_lines_and_prune_what_no_file_defines(
    onefold: Run, applied: Path, as_json: Callable[..., Any]
) -> None:
    (applied / "buyers.yaml").write_text(BUYERS + "within: 30d\n")
    (applied / "loyal.yaml").unlink()
    lines = onefold("segments", "diff", str(applied)).stdout
    assert "+within: 30d" in lines
    assert "0 to add, 1 to change, 0 to remove" in lines
    assert "-sensitive: true" in onefold("segments", "diff", str(applied), "--prune").stdout
    told = as_json("segments", "diff", str(applied), "--prune")
    assert told["loyal"]["wanted"] is None
    assert told["buyers"]["wanted"]["within"] == "30d"
    done = as_json("segments", "apply", str(applied), "--prune", "--yes")
    assert (done["changed"], done["removed"], done["applied"]) == (["buyers"], ["loyal"], 2)


def test_a_draft_is_previewed_from_its_file(
    onefold: Run, applied: Path, tmp_path: Path, as_json: Callable[..., Any]
) -> None:
    draft = tmp_path / "indian-buyers.yaml"
    draft.write_text("all:\n  - trait: country\n    eq: IN\n  - segment: buyers\n")
    told = as_json("segments", "preview", str(draft))
    assert (told["size"]["people"], told["size"]["exact"]) == (1, True)
    assert (told["identifiers"], told["overlap"]["buyers"]) == ({"email": 1, "user_id": 1}, 1)
    shown = onefold("segments", "preview", str(draft), "--sample", "0").stdout
    assert "1 people · 0 anonymous devices" in shown
    assert "known by email 1 · user_id 1" in shown
    assert "overlap with loyal: 1" in shown
    assert (
        "no members"
        in onefold("segments", "preview", str(applied / "favourite.yaml"), ok=False).stderr
    )
    assert [each["id"] for each in as_json("segments", "list")["segments"]] == ["buyers", "loyal"]


def test_members_history_overlap_and_edits(
    onefold: Run, applied: Path, as_json: Callable[..., Any]
) -> None:
    lines = onefold("segments", "members", "buyers", "--json").stdout.splitlines()
    assert len({json.loads(line)["profile_id"] for line in lines}) == 2
    assert (
        len(onefold("segments", "members", "buyers", "--json", "--limit", "1").stdout.splitlines())
        == 1
    )
    (day,) = as_json("segments", "history", "buyers")
    assert (day["entered"], day["entered_by_definition"]) == (0, 2)
    assert "+2" in onefold("segments", "history", "buyers", "--hourly").stdout
    assert as_json("segments", "overlap", "buyers", "loyal")["both"] == 1
    assert "1 are in both: 50% of buyers (2), 100% of loyal (1)" in (
        onefold("segments", "overlap", "buyers", "loyal").stdout
    )
    (edit,) = as_json("segments", "edits", "buyers")
    assert (edit[2], edit[3]) == ("meera", "autumn")
    assert "meera" in onefold("segments", "edits").stdout


def test_one_segment_is_shown_with_who_can_be_reached(
    onefold: Run, applied: Path, as_json: Callable[..., Any]
) -> None:
    told = as_json("segments", "show", "loyal")
    assert told["definition"]["sensitive"] is True
    assert told["reach"]["identifiers"] == {"email": 1, "user_id": 1}
    assert "1 people · 0 devices" in onefold("segments", "show", "loyal").stdout
    assert as_json("segments", "show", "favourite")["most_frequent"] == "category"


def test_a_profile_shows_its_segments_and_computed_traits(
    onefold: Run, applied: Path, as_json: Callable[..., Any]
) -> None:
    told = as_json("profile", "show", "--email", "a@b.com")
    assert told["computed_traits"] == {"favourite": "tea"}
    assert list(told["segments"]) == ["buyers", "loyal"]
    shown = onefold("profile", "show", "--user", "asha").stdout
    assert "computed favourite" in shown
    assert "segment loyal" in shown
    assert list(as_json("segments", "of", "--user", "ravi")["segments"]) == ["buyers"]
    assert "in no segment" in onefold("segments", "of", "--anonymous", "b1").stdout


def test_a_removed_segment_lets_everybody_go(
    onefold: Run, applied: Path, as_json: Callable[..., Any]
) -> None:
    named = onefold("segments", "remove", "buyers", "--yes", ok=False).stderr
    assert 'loyal: there is no segment "buyers"' in named
    assert as_json("segments", "remove", "loyal", "buyers", "--yes")["applied"] == 2
    assert as_json("segments", "of", "--user", "asha")["segments"] == {}
    assert "did you mean favourite?" in (
        onefold("segments", "remove", "favorite", "--yes", ok=False).stderr
    )


def test_a_name_that_was_never_seen_is_warned_of_by_line(loaded: Run, folder: Path) -> None:
    (folder / "buyers.yaml").write_text("name: Buyers\nevent: Order Complete\n")
    done = loaded("segments", "apply", str(folder), "--yes")
    said = done.stderr
    assert 'buyers.yaml:2: event: no event "Order Complete" was ever seen' in said
    assert "did you mean Order Completed?" in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("event: Order Completed\nwitin: 30d\n", ":2: witin: "),
        ("event: Order Completed\nwithin: 30 dayz\n", ":2: within: "),
        ("all: []\n", ":1: all: is empty"),
        ("segment: broken\n", ":1: segment: a segment cannot depend on itself"),
        ("id: a/b\nevent: X\n", ":1: id: "),
        ("event: [\n", "not YAML"),
        ("trait: buyers\nevent: Order Completed\ncount: true\n", "buyers is defined in"),
    ],
    ids=["field", "window", "empty", "cycle", "slash", "yaml", "twice"],
)
def test_a_mistake_names_file_and_line(loaded: Run, folder: Path, text: str, says: str) -> None:
    file = folder / "broken.yaml"
    file.write_text(text)
    for command in (("check",), ("diff",), ("apply", "--yes")):
        done = loaded("segments", *command, str(folder), ok=False)
        assert f"{file}" in done.stderr
        assert says in done.stderr
        assert "Traceback" not in done.stderr
    assert "no segments yet" in loaded("segments", "list").stdout


def test_one_name_for_two_things_is_refused_by_file_and_line(
    onefold: Run, applied: Path, tmp_path: Path
) -> None:
    file = tmp_path / "favourite.yaml"
    file.write_text("name: Favourite\nevent: Order Completed\n")
    said = onefold("segments", "check", str(file), ok=False).stderr
    assert f"{file}:1: id: is the name of a computed trait" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["show", "buyer"], "did you mean buyers?"),
        (["members", "favourite"], "is a computed trait: it has no members"),
        (["overlap", "buyers", "none"], "no segment 'none' is in force"),
        (["of", "--user", "nobody"], "nobody is known by that"),
        (["check"], "no folder segments/ here"),
        (["check", "none.yaml"], "does not exist"),
        (["history", "buyers", "--days", "0"], "--days"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_there_is_said(
    onefold: Run, applied: Path, arguments: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(applied.parent / "data")
    done = onefold("segments", *arguments, ok=False)
    assert says in done.stderr
    assert "Traceback" not in done.stderr


class Slow(io.RawIOBase):
    """Somebody who says yes, but only after something else has happened."""

    def __init__(self, first: Callable[[], None]) -> None:
        self._first = first
        self._said = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._said:
            return 0
        self._said = True
        self._first()
        buffer[:2] = b"y\n"
        return 2


def test_an_edit_of_somebody_else_meanwhile_is_not_overwritten(
    applied: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    as_json: Callable[..., Any],
) -> None:
    def meanwhile() -> None:
        from ingest.segments import defining

        workspace = Workspace(load_config(data=tmp_path / "data"))
        made = defining.plan(workspace.catalogues.now(), {}, removed=["favourite"])
        defining.apply(workspace.store.definitions, made, author="ravi", note="", now_ms=1)
        workspace.close()

    (applied / "buyers.yaml").write_text(BUYERS + "within: 30d\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(Slow(meanwhile))))
    with pytest.raises(SystemExit) as stopped:
        main(["--data", str(tmp_path / "data"), "segments", "apply", str(applied)])

    assert stopped.value.code == 1
    assert "somebody else changed the segments meanwhile" in capsys.readouterr().err
    assert [edit[2] for edit in as_json("segments", "edits")] == ["ravi", "meera"]


def test_what_this_version_cannot_read_is_listed_and_doctor_says_what_to_do(
    tmp_path: Path, onefold: Run, applied: Path, as_json: Callable[..., Any]
) -> None:
    from profiles.segments.catalogue import Edit, Put

    workspace = Workspace(load_config(data=tmp_path / "data"))
    tree = {"event": "Order Completed", "near": "Pune"}
    edit = Edit(revision=2, time_ms=1, author="v2", put=(Put("tomorrow", tree),))
    assert workspace.store.definitions.append(edit)
    workspace.close()

    assert "tomorrow" in as_json("segments", "list")["broken"]
    assert "left out tomorrow: near:" in onefold("segments", "list").stderr
    assert "tomorrow is left out" in onefold("segments", "show", "tomorrow", ok=False).stderr
    said = " ".join(onefold("doctor", ok=False).stdout.split())
    assert "segment tomorrow" in said
    onefold("segments", "remove", "tomorrow", "--yes")
    assert as_json("segments", "list")["broken"] == {}
    onefold("doctor")

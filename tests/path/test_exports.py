"""Audiences go out, as a marketer walks it: look first, export, see what went."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from service.workspace import Workspace
from tests.destinations.lotame_reader import memberships, read_day
from tests.destinations.people import some_people, uuid_of
from tests.path.conftest import Run


@pytest.fixture
def exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two destinations, and people."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("service.commands.export.LOOK_S", 0.3)
    audience = some_people()

    def open_audience(workspace: Workspace, types: object, traits: object) -> object:
        return audience

    monkeypatch.setattr("service.commands.export.open_audience", open_audience)
    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / "lotame.yaml").write_text(
        "kind: lotame\npurpose: [ads]\nsegments: [regulars, diabetes-care]\ntarget: {url: ../out}\n"
        "schedule: {every: 6h}\n"
    )
    (folder / "crm.yaml").write_text(
        "kind: table\npurpose: [ads]\nsegments: ['*']\ntarget: {url: ../crm}\nmode: delta\n"
    )
    return folder


def test_a_sensitive_segment_is_refused_with_what_to_do(exports: Path, onefold: Run) -> None:
    done = onefold("export", "lotame", "--segment", "diabetes-care", "--dry-run", ok=False)
    says = "segment diabetes-care is marked sensitive; allow it by name in exports/lotame.yaml"
    assert done.stderr.strip() == f"onefold: {says} (allow_sensitive)"


def test_a_dry_run_says_who_would_go_and_sends_nothing(
    exports: Path, onefold: Run, tmp_path: Path
) -> None:
    said = onefold("export", "lotame", "--segment", "regulars", "--dry-run").stdout
    assert "2 people of 1 segment would go to" in said
    assert "1 consent refused or withdrawn" in said
    assert "1 no consent stated" in said
    assert "asha" not in said
    assert not (tmp_path / "out").exists()


def test_an_export_is_read_by_lotame_and_stands_in_the_history(
    exports: Path, onefold: Run, as_json: Callable[..., Any], tmp_path: Path
) -> None:
    allowed = "allow_sensitive: [diabetes-care]\naliases: {diabetes-care: s7}\n"
    with (exports / "lotame.yaml").open("a") as file:
        file.write(allowed)
    done = as_json("export", "lotame", "--who", "meera")
    (day,) = (tmp_path / "out").iterdir()
    assert memberships(read_day(day))["TPID", uuid_of("asha")] == {"regulars", "s7"}
    (row,) = as_json("export", "history")
    assert row == done["delivery"]
    assert (row["who"], row["result"], row["people"]) == ("meera", "delivered", 2)
    assert "meera" in onefold("export", "history", "--destination", "lotame").stdout
    listed = {each["name"]: each for each in as_json("export", "list")}
    assert listed["lotame"]["last"]["id"] == row["id"]
    assert listed["lotame"]["next_ms"] == row["started_ms"] + 6 * 3_600_000
    assert listed["crm"]["next_ms"] is None
    assert "every 6h" in onefold("export", "list").stdout
    assert not list((tmp_path / "data" / "staging").glob("*/*"))


def test_what_is_due_is_exported_and_then_no_more(
    exports: Path, onefold: Run, as_json: Callable[..., Any]
) -> None:
    (exports / "lotame.yaml").write_text(
        "kind: lotame\npurpose: [ads]\nsegments: [regulars]\ntarget: {url: ../out}\nschedule: {every: 6h}\n"
    )
    assert [each["destination"] for each in as_json("export", "run")] == ["lotame"]
    assert "nothing is due" in onefold("export", "run").stdout
    assert len(as_json("export", "history")) == 1


def test_one_that_fails_does_not_keep_the_others_waiting(
    exports: Path, onefold: Run, as_json: Callable[..., Any]
) -> None:
    with (exports / "crm.yaml").open("a") as file:
        file.write("schedule: {every: 1h}\n")
    done = onefold("export", "run", ok=False)
    assert "lotame: segment diabetes-care is marked sensitive" in done.stderr
    results = {each["destination"]: each["result"] for each in as_json("export", "history")}
    assert results == {"crm": "delivered", "lotame": "refused"}
    assert "nothing is due" in onefold("export", "run").stdout


def test_a_watch_exports_what_is_due_until_it_is_told_to_stop(
    exports: Path, onefold: Run, as_json: Callable[..., Any]
) -> None:
    (exports / "lotame.yaml").unlink()
    (exports / "broken.yaml").write_text("kind: nothing\n")
    with (exports / "crm.yaml").open("a") as file:
        file.write("schedule: {every: 1h}\n")

    def mend() -> None:
        (exports / "broken.yaml").unlink()
        time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    helper = threading.Timer(0.5, mend)
    helper.start()
    said = onefold("export", "run", "--watch")
    helper.join()
    assert "broken.yaml:1: kind: must be one of" in said.stderr
    assert [each["result"] for each in as_json("export", "history")] == ["delivered"]


def test_two_exports_of_one_destination_do_not_run_at_once(
    exports: Path, onefold: Run, tmp_path: Path
) -> None:
    onefold("export", "crm")
    with (tmp_path / "data" / "staging" / "crm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another export of crm is under way" in onefold("export", "crm", ok=False).stderr
    onefold("export", "crm")


def test_what_a_destination_refuses_is_no_event_to_try_again(
    exports: Path, onefold: Run, as_json: Callable[..., Any]
) -> None:
    from tests.destinations.receiver import receiving

    with receiving() as receiver:
        receiver.behaviour = lambda number, body: 422 if b'"ravi"' in body else 200
        (exports / "hook.yaml").write_text(
            f"kind: webhook\npurpose: [ads]\nsegments: [regulars]\nurl: {receiver.url}\nsecret: hush\n"
        )
        done = as_json("export", "hook")
    assert done["delivery"]["withheld"]["refused_by_destination"] == 1
    assert [each["userId"] for each in receiver.events()] == ["asha"]
    (letter,) = as_json("deadletters", "list")["letters"]
    assert (letter["source"], letter["reason"]) == ("export:hook", "refused_by_destination")
    assert as_json("deadletters", "replay") == {"accepted": 0, "refused": 0}
    assert len(as_json("deadletters", "list")["letters"]) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["export", "nowhere"], "nowhere.yaml: there is no such file; there are crm, lotame"),
        (["export", "lotme"], "did you mean lotame?"),
        (["export", "crm", "--segment", "nowhere"], "there is no segment nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_clear_line(
    exports: Path, arguments: list[str], says: str, onefold: Run
) -> None:
    done = onefold(*arguments, ok=False)
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_without_destinations_the_list_says_where_they_would_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, onefold: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no destinations" in onefold("export", "list").stdout
    assert json.loads(onefold("export", "list", "--json").stdout) == []


def test_from_events_to_lotames_files_with_nothing_but_commands(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    taking: Callable[[Sequence[dict[str, Any]]], Run],
    as_json: Callable[..., Any],
) -> None:
    monkeypatch.chdir(tmp_path)
    agreed = {"consentManagement": {"allowedConsentIds": ["ads"]}}
    onefold = taking(
        [
            {"type": "identify", "userId": "asha", "anonymousId": "b1", "context": agreed},
            {"type": "track", "event": "Order Completed", "userId": "asha"},
            {"type": "track", "event": "Order Completed", "userId": "ravi", "anonymousId": "b2"},
        ]
    )
    (tmp_path / "segments").mkdir()
    (tmp_path / "segments" / "buyers.yaml").write_text("name: Buyers\nevent: Order Completed\n")
    onefold("segments", "apply", "segments", "--yes")
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / "lotame.yaml").write_text(
        "kind: lotame\npurpose: [ads]\nsegments: [buyers]\ntarget: {url: ../out}\n"
    )
    done = as_json("export", "lotame")["delivery"]
    assert (done["people"], done["withheld"]) == (1, {"no_consent": 1})
    (day,) = (tmp_path / "out").iterdir()
    assert memberships(read_day(day)) == {("TPID", "b1"): {"buyers"}}

"""`onefold identity rebuild`, as an operator uses it: is it right, what would other rules do, load it."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.path.conftest import Run

EVENTS = [
    {"type": "identify", "messageId": f"evt{n}", "userId": user, "traits": {"email": "home@x.in"},
     "timestamp": f"2026-11-0{n}T10:00:00Z"}
    for n, user in enumerate(("asha", "ravi"), start=1)
]  # fmt: skip


@pytest.fixture
def couple(taking: Callable[[Sequence[dict[str, Any]]], Run]) -> Run:
    return taking(EVENTS)


def test_what_is_stored_is_what_follows(couple: Run, as_json: Callable[..., Any]) -> None:
    report = as_json("identity", "rebuild")
    assert (report["links"], report["differences"], report["written"]) == (2, 0, False)
    assert report["before"] == report["after"]
    assert report["after"]["people"] == 1
    assert report["after"]["refusals"] == {"limit:user_id": 1}
    assert "0 differences" in couple("identity", "rebuild").stdout


def test_other_rules_are_looked_at_then_loaded(
    couple: Run, as_json: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = tmp_path / "family.yaml"
    rules.write_text("identity:\n  limit_user_id: 2\n")
    shown = couple("identity", "rebuild", "--rules", str(rules)).stdout
    assert "nothing is written" in shown
    assert "merged 1" in shown
    assert "home@x.in" in shown
    assert as_json("identity", "rebuild")["differences"] == 0

    refused = couple("identity", "rebuild", "--rules", str(rules), "--load", ok=False).stderr
    assert "--rules only looks" in refused

    monkeypatch.setenv("ONEFOLD_IDENTITY__LIMIT_USER_ID", "2")
    assert "nothing is written" in couple("identity", "rebuild", ok=False).stdout
    report = as_json("identity", "rebuild", "--load")
    assert report["written"]
    assert report["changes"] == {"merged": 1}
    assert as_json("identity", "rebuild")["differences"] == 0
    assert as_json("identity", "changes", "--user", "ravi")[0]["kind"] == "merged"
    explained = as_json("identity", "explain", "--user", "asha", "--user", "ravi")
    assert explained["verdict"] == "one_person"


def test_what_was_broken_is_named_and_mended(
    couple: Run, as_json: Callable[..., Any], tmp_path: Path
) -> None:
    with sqlite3.connect(tmp_path / "data" / "onefold.sqlite") as database:
        database.execute("DELETE FROM clusters")
    broken = couple("identity", "rebuild", "--json", ok=False).stdout
    assert json.loads(broken)["differences"] == 1
    couple("identity", "rebuild", "--load")
    assert as_json("verify")["differences"] == 0


def test_whose_devices_are_is_compared_shown_and_mended(
    taking: Callable[[Sequence[dict[str, Any]]], Run], as_json: Callable[..., Any], tmp_path: Path
) -> None:
    onefold = taking([{**each, "anonymousId": "b1"} for each in EVENTS])
    assert as_json("identity", "rebuild")["differences"] == 0
    alone = tmp_path / "alone.yaml"
    alone.write_text("identity:\n  owners_max: 1\n")
    shown = onefold("identity", "rebuild", "--rules", str(alone)).stdout
    assert "ownership 1" in shown

    with sqlite3.connect(tmp_path / "data" / "onefold.sqlite") as database:
        database.execute("DELETE FROM device_owners")
    broken = json.loads(onefold("identity", "rebuild", "--json", ok=False).stdout)
    assert (broken["differences"], broken["changes"]) == (1, {"ownership": 1})
    (found,) = json.loads(onefold("verify", "--json", ok=False).stdout)["examples"]
    assert (found["what"], found["detail"]) == ("device", "missing")
    assert as_json("identity", "rebuild", "--load")["changes"] == {"ownership": 1}
    assert as_json("verify")["differences"] == 0

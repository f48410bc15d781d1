"""The notebooks run top to bottom: on the demo's orders, on a shop of their own, on somebody's workspace."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

from identity.changes import Kind
from service.config import load_config
from service.workspace import Workspace
from simulator.slice import EVENTS
from tests.path.conftest import Run

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
PROMOTE = FOLDER / "01_compare_and_promote.ipynb"
IDENTITY = FOLDER / "identity.ipynb"

COUPLE = [
    {"type": "identify", "userId": "asha", "traits": {"email": "home@shared.in"},
     "timestamp": "2026-11-01T10:00:00Z"},
    {"type": "identify", "userId": "ravi", "traits": {"email": "home@shared.in"},
     "timestamp": "2026-11-02T10:00:00Z"},
    {"type": "identify", "userId": "ravi", "traits": {"phone": "+919876543210"},
     "timestamp": "2026-11-03T10:00:00Z"},
]  # fmt: skip
LABELS = [
    {"type": "user_id", "value": "asha", "people": ["p1"]},
    {"type": "user_id", "value": "ravi", "people": ["p2"]},
    {"type": "email", "value": "Home@shared.in", "people": ["p2"]},
    {"type": "phone", "value": "+919876543210", "people": ["p2"]},
]


@pytest.fixture(autouse=True)
def _nobody_looks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("ONEFOLD_DATA", raising=False)
    monkeypatch.delenv("ONEFOLD_LABELS", raising=False)
    plt.switch_backend("Agg")
    yield
    plt.close("all")


def run(notebook: Path) -> dict[str, Any]:
    """Run all cells; what they leave behind."""
    namespace: dict[str, Any] = {}
    for cell in json.loads(notebook.read_text())["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], "notebooks are kept without outputs"
            exec(compile("".join(cell["source"]), notebook.name, "exec"), namespace)
    return namespace


def test_every_notebook_is_run_here() -> None:
    assert sorted(FOLDER.glob("*.ipynb")) == [PROMOTE, IDENTITY]


def test_models_are_compared_and_one_promoted(
    tmp_path: Path, onefold: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    onefold("ingest", str(EVENTS))
    monkeypatch.setenv("ONEFOLD_DATA", str(tmp_path / "data"))

    manifest = run(PROMOTE)["manifest"]

    workspace = Workspace(load_config(data=tmp_path / "data"))
    assert workspace.registry.resolve("champion") == manifest.version


def test_people_are_drawn_measured_and_decided_about(capsys: pytest.CaptureFixture[str]) -> None:
    left = run(IDENTITY)

    said = capsys.readouterr().out
    assert "hub: email counter@shop.example, linked to 60 others" in said
    assert "in the way: a person has one user_id" in said
    assert len(plt.get_fignums()) == 4
    assert all(figure.axes for figure in map(plt.figure, plt.get_fignums()))
    scores = left["today"].set_index("rules")
    assert scores.loc["today's rules: who has a user id", "pair P"] == 1
    assert scores.loc["true links only", "pair P"] == 1
    assert (
        scores.loc["everything together", "B³ P"] < scores.loc["today's rules: everybody", "B³ P"]
    )
    tried = left["table"].set_index("rules")
    few, many = (tried.loc[f"at most {limit} of a type"] for limit in (1, 5))
    assert few["pair P"] > many["pair P"]
    assert few["pair R"] < many["pair R"]
    assert left["merged"].kind is Kind.MERGED
    assert said.count("people are as before: True") == 2
    assert "taken back: 0 decisions stand" in said
    assert not left["folder"].exists()


def test_a_workspace_of_somebody_is_shown_masked_and_left_as_it_was(
    tmp_path: Path,
    onefold: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    events, labels = tmp_path / "events.jsonl", tmp_path / "labels.jsonl"
    events.write_text("\n".join(map(json.dumps, COUPLE)))
    labels.write_text("\n".join(map(json.dumps, LABELS)))
    onefold("ingest", str(events))
    monkeypatch.setenv("ONEFOLD_DATA", str(tmp_path / "data"))

    run(IDENTITY)
    assert "no labels: set ONEFOLD_LABELS to a file of them" in capsys.readouterr().out
    monkeypatch.setenv("ONEFOLD_LABELS", str(labels))
    scores = run(IDENTITY)["today"].set_index("rules")

    said = capsys.readouterr().out
    assert "a merge of h…@shared.in and … would do this" in said.replace(
        "… and h…@shared.in", "h…@shared.in and …"
    )
    assert not any(value in said for value in ("asha", "ravi", "home@", "9876543210"))
    # The e-mail went to Asha, who named it first: one wrong pair, and one of three true ones.
    assert scores.loc["today's rules: everybody", "pair P"] == 0.5
    assert scores.loc["today's rules: everybody", "pair R"] == pytest.approx(1 / 3, abs=0.001)
    assert json.loads(onefold("identity", "decisions", "--json").stdout) == []
    assert (tmp_path / "data" / "onefold.sqlite").exists()


def test_a_folder_that_is_not_there_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEFOLD_DATA", str(tmp_path / "typo"))

    with pytest.raises(FileNotFoundError, match=r"there is no folder .*typo"):
        run(IDENTITY)
    assert not (tmp_path / "typo").exists()

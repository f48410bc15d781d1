"""The notebooks run top to bottom: on the demo's orders, on a shop of their own, on somebody's workspace."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

from identity.changes import Kind
from service.cli import main
from service.config import load_config
from service.workspace import Workspace
from simulator.slice import EVENTS
from tests.path.conftest import Run

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
MODELS = [FOLDER / f"{name}.ipynb" for name in
          ("01_load_and_explore", "02_train_and_compare", "03_tune", "04_promote_and_roll_back")]  # fmt: skip
IDENTITY = FOLDER / "identity.ipynb"
SEGMENTS = FOLDER / "segments.ipynb"

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
    assert sorted(FOLDER.glob("*.ipynb")) == [*MODELS, IDENTITY, SEGMENTS]


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the demo's orders."""
    folder = tmp_path_factory.mktemp("orders") / "data"
    main(["--data", str(folder), "ingest", str(EVENTS)])
    return folder


def test_interactions_come_as_tables_from_a_store_and_a_file(
    orders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ONEFOLD_DATA", str(orders))
    left = run(MODELS[0])
    assert len(left["frame"]) == len(left["table"]) == len(left["interactions"])
    assert left["found"].interactions.users.tolist() == left["interactions"].users.tolist()
    assert "repeats" in capsys.readouterr().out


def test_models_are_compared_and_one_of_ones_own_beside_them(
    orders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ONEFOLD_DATA", str(orders))
    board = run(MODELS[1])["board"]
    assert {"blend", "session_knn", "bought_together"} <= {row.model for row in board.rows}
    assert "8 promises are kept" in capsys.readouterr().out


def test_settings_are_searched_without_the_test_window(
    orders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEFOLD_DATA", str(orders))
    left = run(MODELS[2])
    assert left["tuned"].trials == 6
    assert left["after"].row("session_knn").parameters == left["found"].parameters


def test_a_version_is_promoted_and_rolled_back(
    orders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEFOLD_DATA", str(orders))
    left = run(MODELS[3])
    assert left["back"].version == left["first"].version != left["second"].version
    workspace = Workspace(load_config(data=orders))
    assert workspace.registry.resolve("champion") == left["first"].version


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


def test_segments_are_sized_compared_and_drawn() -> None:
    left = run(SEGMENTS)

    assert len(plt.get_fignums()) == 4
    both, members, drafts = left["both"], left["members"], left["drafts"]
    assert both.loc["lapsing", "lapsing"] == len(members) > 0
    assert both.loc["regulars", "buyers"] <= both.loc["regulars", "regulars"]
    assert both.loc["lookers", "buyers"] == 0
    assert not members["device"].any()
    exact = drafts.iloc[-1]
    assert exact["low"] == exact["people"] == exact["high"]
    history = left["history"]
    assert history["size"].iloc[-1] == history["entered"].sum() - history["left"].sum()
    assert not Path(left["temporary"].name).exists()

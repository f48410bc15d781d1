"""The notebook runs top to bottom on a workspace with the demo's orders."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.config import load_config
from service.workspace import Workspace
from simulator.slice import EVENTS
from tests.path.conftest import Run

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_promotes(
    notebook: Path, tmp_path: Path, onefold: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    onefold("ingest", str(EVENTS))
    monkeypatch.setenv("ONEFOLD_DATA", str(tmp_path / "data"))
    namespace: dict[str, Any] = {}
    for cell in json.loads(notebook.read_text())["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], "notebooks are kept without outputs"
            exec(compile("".join(cell["source"]), notebook.name, "exec"), namespace)
    workspace = Workspace(load_config(data=tmp_path / "data"))
    assert workspace.registry.resolve("champion") == namespace["manifest"].version

"""The whole path, as its users walk it: the command line, a served workspace, real files."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.commands.serve import Running
from service.config import load_config
from service.workspace import Workspace

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def onefold(tmp_path: Path) -> Run:
    """Runs `onefold` in a process of its own, on a data folder of the test's own."""

    def run(
        *arguments: str, ok: bool = True, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "service.cli", "--data", str(tmp_path / "data"), *arguments],
            capture_output=True, text=True, input=text, timeout=300, check=False,
        )  # fmt: skip
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def as_json(onefold: Run) -> Callable[..., Any]:
    """Runs a command with --json and reads what it printed."""

    def run(*arguments: str) -> Any:
        return json.loads(onefold(*arguments, "--json").stdout)

    return run


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Workspace, Running]]:
    """A served workspace with two sources, on free ports."""
    environ = {
        "ONEFOLD_GRPC__PORT": "0",
        "ONEFOLD_COLLECTOR__PORT": "0",
        "ONEFOLD_MODELS__REFRESH_S": "0.01",
    }
    workspace = Workspace(load_config(None, environ, data=tmp_path / "data"))
    running = Running(workspace)
    running.start()
    yield workspace, running
    running.stop()
    workspace.close()

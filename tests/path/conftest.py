"""The whole path, as its users walk it: the command line, a served workspace, real files."""

import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from service.cli import main
from service.commands.serve import Running
from service.config import load_config
from service.workspace import Workspace


class Done(NamedTuple):
    """What a command printed."""

    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def onefold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `onefold` on a data folder of the test's own, in this process: starting one takes a second."""

    def run(*arguments: str, ok: bool = True, text: str = "") -> Done:
        stdout, stderr = io.StringIO(), io.StringIO()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        status: object = 0
        with redirect_stdout(stdout), redirect_stderr(stderr):
            try:
                main(["--data", str(tmp_path / "data"), *arguments])
            except SystemExit as stop:
                status = stop.code or 0
        done = Done(stdout.getvalue(), stderr.getvalue())
        assert (status == 0) == ok, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def taking(tmp_path: Path, onefold: Run) -> Callable[[Sequence[dict[str, Any]]], Run]:
    """Runs `onefold` on a data folder that has taken these events."""

    def take(events: Sequence[dict[str, Any]]) -> Run:
        file = tmp_path / "events.jsonl"
        file.write_text("\n".join(map(json.dumps, events)))
        onefold("ingest", str(file))
        return onefold

    return take


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

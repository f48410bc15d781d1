"""What the documentation says is what the code does."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from identity.event import Event, Source
from ingest.decode import decode
from service.cli import COMMANDS
from service.commands.serve import Running
from service.docs import README, TABLES, filled
from service.pb.onefold.v1 import decision_service_pb2 as pb
from service.workspace import Workspace
from tests.servers import Cassandra, Kafka

ROOT = README.parent
TEXT = README.read_text()


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.name)
def test_the_tables_of_the_documents_are_those_of_the_code(path: Path) -> None:
    assert filled(path) == path.read_text(), "run `python -m service.docs`"


def blocks() -> list[str]:
    return re.findall(r"```\n(.*?)```", TEXT, re.DOTALL)


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def documented_commands() -> list[list[str]]:
    lines = [
        line.partition("  #")[0].rstrip(" &") for block in blocks() for line in block.splitlines()
    ]
    return [shlex.split(line) for line in lines if line.startswith("onefold ")]


@pytest.mark.parametrize("arguments", documented_commands(), ids=" ".join)
def test_every_command_of_the_readme_takes_its_arguments(arguments: list[str]) -> None:
    import click

    from service.cli import cli

    context = cli.make_context("onefold", arguments[1:], resilient_parsing=True)
    command: click.Command | None = cli
    rest = arguments[1:]
    while isinstance(command, click.Group):
        command = command.get_command(context, rest.pop(0))
    assert command is not None
    # Paths that the README makes up need not be there.
    known = {option for parameter in command.params for option in parameter.opts}
    assert {each for each in rest if each.startswith("-")} <= known


def test_the_python_of_the_readme_runs(
    served: tuple[Workspace, Running], capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, running = served
    event = {"type": "identify", "userId": "u42", "traits": {"email": "asha@example.com"}}
    source = workspace.sources.named("web")
    workspace.pipeline.process([decoded(event, source)])
    for block in python_blocks():
        code = block.replace("localhost:50051", f"127.0.0.1:{running.rpc.port}")
        if "WatchChanges" not in code:
            exec(code, {})
            continue
        # It never ends by itself.
        threading.Timer(1.5, running.fall_silent).start()
        with pytest.raises(grpc.RpcError):
            exec(code, {})
    assert f"{pb.PERSON_CHANGE_KIND_CREATED} [" in capsys.readouterr().out


def decoded(event: dict[str, Any], source: Source) -> Event:
    made = decode(json.dumps(event).encode(), 1_790_000_000_000, source)
    assert isinstance(made, Event)
    return made


def section(title: str) -> str:
    return TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.slow
def test_the_walk_on_kafka_and_cassandra_works_as_it_is_written(
    tmp_path: Path, cassandra: Cassandra, kafka: Kafka, cassandra_keyspace: str, topic_prefix: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    environ = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "ONEFOLD_COLLECTOR__PORT": port, "ONEFOLD_GRPC__PORT": "0", "ONEFOLD_WORKER__METRICS_PORT": "0",
    }  # fmt: skip
    walk = re.findall(r"```\n(.*?)```", section("On Kafka and Cassandra"), re.DOTALL)
    lines = [line.partition("  #")[0].strip() for line in (walk[0] + walk[1]).splitlines()]
    assert lines[0] == "make -s servers > onefold.yaml"
    # What that command prints, but for servers and names of this test.
    (tmp_path / "onefold.yaml").write_text(
        f"store: {{kind: cassandra}}\n"
        f"cassandra: {{hosts: {json.dumps(list(cassandra.hosts))}, port: {cassandra.port}, replication: 1,"
        f" keyspace: {cassandra_keyspace}}}\n"
        f'kafka: {{brokers: "{kafka.brokers}", replication: 1, prefix: {topic_prefix}}}\n'
    )
    running: list[subprocess.Popen[bytes]] = []
    try:
        for line in filter(None, lines[1:]):
            words = shlex.split(line.removesuffix("&").replace("8080", port))
            if line.endswith("&"):
                log = (tmp_path / f"{len(running)}.log").open("wb")
                with log:
                    running.append(
                        subprocess.Popen(words, cwd=tmp_path, env=environ, stdout=log, stderr=log)
                    )
            else:
                answered(words, tmp_path, environ)
        for process in running:
            process.terminate()
        ends = [process.wait(60) for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert ends == [0] * 5, [each.read_text() for each in tmp_path.glob("*.log")]


def answered(words: list[str], folder: Path, environ: dict[str, str]) -> None:
    """A command works, if not at once: processes start, and stages take a moment."""
    give_up = time.monotonic() + 60
    while True:
        done = subprocess.run(
            words, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode == 0:
            return
        assert time.monotonic() < give_up, f"{words}: {done.stdout}{done.stderr}"
        time.sleep(0.2)


def test_every_make_target_of_the_documents_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"):
        text = (ROOT / name).read_text()
        wanted = set(
            re.findall(r"^make (?:-s )?([a-z-]+)|`make ([a-z-]+[a-z])`", text, re.MULTILINE)
        )
        assert {one or other for one, other in wanted} <= targets, name


def test_every_file_that_the_architecture_names_is_there() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for path in re.findall(r"`([a-z]+(?:/[a-z_]+)+\.py)", text):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("name", list(COMMANDS))
def test_help_says_what_a_command_does(name: str) -> None:
    from click.testing import CliRunner

    from service.cli import cli

    done = CliRunner().invoke(cli, [name, "--help"])
    assert done.exit_code == 0, done.output
    assert "Usage:" in done.output


def test_the_lock_file_has_hashes_and_no_index() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "--hash=sha256:" in lock
    assert "://" not in lock
    assert "--index" not in lock


def test_nothing_that_is_kept_names_a_machine_path() -> None:
    pattern = re.compile(r"/(?:work|root|home)/[a-z]")
    for path in ROOT.rglob("*.md"):
        if ".venv" not in path.parts:
            assert not pattern.search(path.read_text()), path
    assert Path(ROOT / "LICENSE").read_text().lstrip().startswith("Apache License")

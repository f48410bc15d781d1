"""What the documentation says is what the code does."""

import re
import shlex
from pathlib import Path

import pytest

from service.cli import COMMANDS
from service.docs import README, TABLES, filled

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

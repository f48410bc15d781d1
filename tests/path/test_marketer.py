"""docs/marketer.md is run as it is written, and says what it says there."""

import re
import shlex
from pathlib import Path

import pytest

from tests.path.conftest import Run

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "marketer.md").read_text()


def plain(text: str) -> str:
    return " ".join(text.split())


def test_the_walk_of_a_marketer_prints_what_it_says(
    tmp_path: Path, onefold: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = 0
    for kind, block in re.findall(r"```(\w*)\n(.*?)```", TEXT, re.DOTALL):
        if kind:
            first, _, rest = block.partition("\n")
            file = tmp_path / first.removeprefix("# ")
            file.parent.mkdir(exist_ok=True)
            file.write_text(block if kind == "yaml" else rest)
            continue
        said = ""
        for line in block.splitlines():
            if line.startswith("$ onefold "):
                done = onefold(*shlex.split(line)[2:])
                said = plain(done.stdout + done.stderr)
                commands += 1
            else:
                assert plain(line) in said
    assert commands == 16

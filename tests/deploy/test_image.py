"""The image's recipe: linted, installing what the lock file says, copying what there is."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from deploy.locked import closure, direct, main, needs, normal, read_blocks
from tests.deploy.manifests import DEPLOY, REPOSITORY

DOCKERFILE = DEPLOY / "Dockerfile"
LOCK = REPOSITORY / "requirements.lock"
PROJECT = REPOSITORY / "pyproject.toml"


def lint(text: str) -> str:
    program = Path(sys.executable).with_name("hadolint")
    told = subprocess.run(
        [program, "--no-color", "-"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return told.stdout + told.stderr


def test_the_recipe_is_clean() -> None:
    assert lint(DOCKERFILE.read_text()) == ""


@pytest.mark.parametrize(
    ("right", "wrong", "rule"),
    [
        ("python:3.11-slim-bookworm", "python", "DL3006"),
        ('ENTRYPOINT ["onefold"]', "ENTRYPOINT onefold", "DL3025"),
        ("USER 10001:10001", "USER root", "DL3002"),
        ("WORKDIR /build", "WORKDIR build", "DL3000"),
    ],
)
def test_a_broken_recipe_is_noticed(right: str, wrong: str, rule: str) -> None:
    text = DOCKERFILE.read_text()
    assert right in text
    assert rule in lint(text.replace(right, wrong))


def test_everything_that_is_copied_is_there_and_sent_to_the_engine() -> None:
    sent = {
        line.removeprefix("!")
        for line in (REPOSITORY / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied: set[str] = set()
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE.read_text(), re.M):
        copied |= {*line.split()[:-1]}
    assert copied == sent
    assert [each for each in copied if not (REPOSITORY / each).exists()] == []


def test_every_package_of_the_wheel_is_copied() -> None:
    wheel = tomllib.loads(PROJECT.read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for package in wheel["packages"]:
        assert f"\nCOPY {package} {package}\n" in DOCKERFILE.read_text()


def test_only_what_a_process_needs_is_installed() -> None:
    pinned = main([str(LOCK), f"{PROJECT}:cassandra,kafka"])
    names = {name for name, _ in read_blocks(pinned)}

    assert {"grpcio", "msgspec", "cassandra-driver", "confluent-kafka", "numpy"} <= names
    assert not names & {"pytest", "mypy", "ruff", "pandas", "kubernetes-validate"}
    assert {*direct(PROJECT, ["cassandra", "kafka"])} <= names
    for _, block in read_blocks(pinned):
        assert "--hash=sha256:" in block


def test_what_needs_what_is_read_from_the_lock_file() -> None:
    blocks = read_blocks(
        "a==1 \\\n    --hash=sha256:00\n    # via onefold (pyproject.toml)\n"
        "b==2 ; python_version < '3.12' \\\n    --hash=sha256:01\n    # via\n    #   A\n    #   c_c\n"
        "b==3 ; python_version >= '3.12' \\\n    --hash=sha256:02\n    # via\n    #   a\n    #   c-c\n"
        "c-c==1 \\\n    --hash=sha256:03\n    # via onefold (pyproject.toml)\n"
        "d==1 \\\n    --hash=sha256:04\n    # via c-c\n"
    )
    assert closure(["a"], needs(blocks)) == {"a", "b"}
    assert closure(["c-c"], needs(blocks)) == {"b", "c-c", "d"}
    assert [name for name, _ in blocks].count("b") == 2


def test_a_package_that_is_not_locked_is_refused() -> None:
    with pytest.raises(KeyError, match="left-pad"):
        main([str(LOCK), "left-pad"])
    assert normal("Types_PyYAML") == "types-pyyaml"

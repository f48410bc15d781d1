"""Prints the part of the lock file that some packages need: an image holds no development tools.

    python deploy/locked.py requirements.lock hatchling
    python deploy/locked.py requirements.lock pyproject.toml:cassandra,kafka

The second form starts from a project's dependencies and those of its extras. Standard library only: it runs
before anything is installed.
"""

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
VIA: Final = re.compile(r"# via|#\s+")


def main(arguments: list[str]) -> str:
    """The lock file's lines for what `arguments` name; KeyError if one of them is not in it."""
    lock, *wanted = arguments
    blocks = read_blocks(Path(lock).read_text())
    names: list[str] = []
    for each in wanted:
        project, colon, extras = each.partition(":")
        names += direct(Path(project), extras.split(",")) if colon else [normal(each)]
    kept = closure(names, needs(blocks))
    return "".join(text for name, text in blocks if name in kept)


def direct(project: Path, extras: Iterable[str]) -> list[str]:
    """What a `pyproject.toml` names itself, with these of its extras."""
    table = tomllib.loads(project.read_text())["project"]
    named: list[str] = [*table["dependencies"]]
    for extra in filter(None, extras):
        named += table["optional-dependencies"][extra]
    return [normal(name.group()) for each in named if (name := NAME.match(each))]


def read_blocks(lock: str) -> list[tuple[str, str]]:
    """Each pinned package's name with its lines: version, hashes, and who needs it."""
    blocks: list[tuple[str, str]] = []
    for line in lock.splitlines(keepends=True):
        if "==" in line and (name := NAME.match(line)):
            blocks.append((normal(name.group()), line))
        elif blocks:
            name_before, text = blocks[-1]
            blocks[-1] = name_before, text + line
    return blocks


def needs(blocks: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """What each package needs: the lock file says it the other way round, below "via"."""
    found: dict[str, set[str]] = {}
    for name, text in blocks:
        found.setdefault(name, set())
        for line in text.splitlines():
            if not line.lstrip().startswith("#"):
                continue
            if user := NAME.match(VIA.sub("", line.strip(), count=1).strip()):
                found.setdefault(normal(user.group()), set()).add(name)
    return found


def closure(names: Iterable[str], edges: dict[str, set[str]]) -> set[str]:
    """`names` and everything that they need, directly or not."""
    kept: set[str] = set()
    waiting = [*names]
    while waiting:
        name = waiting.pop()
        if name not in kept:
            kept.add(name)
            waiting += edges[name]
    return kept


def normal(name: str) -> str:
    """A package's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1:]))

"""`onefold serve` as a child of a benchmark."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.faults.workers import ROOT
from tests.faults.world import World

START_S_MAX: Final = 60.0


COLLECTOR: Final = r"collector +http://127\.0\.0\.1:(\d+)"
"""What it prints of the collector's port."""
_GRPC: Final = r"gRPC +127\.0\.0\.1:(\d+)"


@contextmanager
def serving(world: World) -> Iterator[int]:
    """The port on which gRPC answers."""
    with started(["--config", str(world.config)], world.folder / "serve.log") as (_, port_of):
        yield port_of(_GRPC)


@contextmanager
def started(where: Sequence[str], output: Path) -> Iterator[tuple[int, Callable[[str], int]]]:
    """The process's id, and what tells a port by the words that `onefold serve` prints before it."""
    free = {"ONEFOLD_GRPC__PORT": "0", "ONEFOLD_COLLECTOR__PORT": "0"}
    with output.open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "service.cli", *where, "serve"],
            cwd=ROOT, env=os.environ | free, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield child.pid, lambda words: _port(child, output, words)
    finally:
        child.terminate()
        child.wait(30)


def _port(child: "subprocess.Popen[bytes]", output: Path, words: str) -> int:
    deadline = time.monotonic() + START_S_MAX
    while time.monotonic() < deadline and child.poll() is None:
        if found := re.search(words, output.read_text()):
            return int(found[1])
        time.sleep(0.1)
    raise AssertionError(f"onefold serve did not start:\n{output.read_text()}")

"""`onefold serve` as a child of a benchmark, on a workspace of real servers."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.faults.workers import ROOT
from tests.faults.world import World

START_S_MAX: Final = 60.0


@contextmanager
def serving(world: World) -> Iterator[int]:
    """The port on which gRPC answers."""
    output = world.folder / "serve.log"
    free = {"ONEFOLD_GRPC__PORT": "0", "ONEFOLD_COLLECTOR__PORT": "0"}
    with output.open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "--config", str(world.config), "serve"],
            cwd=ROOT, env=os.environ | free, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield _port(child, output)
    finally:
        child.terminate()
        child.wait(30)


def _port(child: "subprocess.Popen[bytes]", output: Path) -> int:
    deadline = time.monotonic() + START_S_MAX
    while time.monotonic() < deadline and child.poll() is None:
        if found := re.search(r"gRPC +127\.0\.0\.1:(\d+)", output.read_text()):
            return int(found[1])
        time.sleep(0.1)
    raise AssertionError(f"onefold serve did not start:\n{output.read_text()}")

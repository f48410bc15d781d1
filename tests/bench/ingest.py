"""Events per second and core, from a file to current profiles. `make bench-ingest`.

A child process loads a simulated stream (gzip JSON lines) into a new store, exactly as `onefold ingest`
does. CPU time counts (user and system, all threads), since the machine is shared; memory is the child's.
"""

import argparse
import gzip
import json
import resource
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import psutil

from ingest.files import Batch, FoundFile, find_files
from ingest.loading import Loaded, load
from simulator.shop import Shop, people_for
from tests.bench.report import goal, machine
from tests.workspace import NOON, Workspace

RATE_GOAL = 10_000
FLAT_GOAL = 0.8
"""The rate of the last fifth of the large load, as a share of that of the first 200,000 events."""
MEMORY_GOAL_MB = 1_000
STEP = 100_000


def write_stream(path: Path, events: int) -> None:
    """A simulated stream of `events` deliveries."""
    days = 30
    shop = Shop(seed=11, people=people_for(events, days), days=days)
    encode = msgspec.json.encode
    with gzip.open(path, "wb", compresslevel=1) as file:
        for event, _ in islice(shop, events):
            file.write(encode(event) + b"\n")


def child(path: Path, folder: Path) -> None:
    """Load the file; a JSON line of (events, CPU seconds, resident MB) every STEP events."""
    world = Workspace(folder)
    process = psutil.Process()
    next_step = STEP

    def report(file: FoundFile, batch: Batch | None, so_far: Loaded) -> None:
        nonlocal next_step
        if so_far.events >= next_step:
            next_step += STEP
            tell(so_far.events)

    def tell(events: int) -> None:
        memory = process.memory_info().rss / 1e6
        print(json.dumps([events, time.process_time(), memory]), flush=True)

    tell(0)
    done = load(
        find_files([str(path)]), world.store, world.pipeline, world.sources, NOON, progress=report
    )
    tell(done.events)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    world.close()
    print(json.dumps({"loaded": msgspec.to_builtins(done), "peak_mb": usage.ru_maxrss / 1e3}))


def measure(path: Path) -> tuple[list[list[float]], dict[str, Any], int]:
    """Steps and totals of one load, and the size of the store."""
    with tempfile.TemporaryDirectory() as folder:
        ran = subprocess.run(
            [sys.executable, "-m", "tests.bench.ingest", "--child", str(path), folder],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    *steps, totals = map(json.loads, ran.stdout.splitlines())
    return steps, totals, size


def rate(steps: list[list[float]], low: int, high: int) -> float:
    """Events per CPU second between two steps."""
    return (steps[high][0] - steps[low][0]) / (steps[high][1] - steps[low][1])


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ingest")
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--child", nargs=2, metavar=("FILE", "FOLDER"))
    options = parser.parse_args()
    if options.child:
        child(Path(options.child[0]), Path(options.child[1]))
        return
    print(machine("msgspec", "isal"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stream.jsonl.gz"
        write_stream(path, options.events)
        print(f"stream: {options.events:,} events, {path.stat().st_size / 1e6:,.0f} MB gzip")
        steps, totals, size = measure(path)
    print(f"{'events':>12}{'events/CPU s':>16}{'resident MB':>14}")
    for low in range(len(steps) - 1):
        if steps[low + 1][0] > steps[low][0]:
            print(
                f"{steps[low + 1][0]:>12,}{rate(steps, low, low + 1):>16,.0f}{steps[low + 1][2]:>14,.0f}"
            )
    print(f"store: {size / 1e6:,.0f} MB; loaded: {totals['loaded']}")
    first = rate(steps, 0, min(2, len(steps) - 1))
    fifth = max(1, (len(steps) - 1) // 5)
    last = rate(steps, len(steps) - 1 - fifth, len(steps) - 1)
    print(
        goal("events per CPU second, whole load", rate(steps, 0, len(steps) - 1), ">=", RATE_GOAL)
    )
    print(
        goal("rate of the last fifth / of the first 200,000 events", last / first, ">=", FLAT_GOAL)
    )
    print(goal("peak resident memory, MB", totals["peak_mb"], "<=", MEMORY_GOAL_MB))


if __name__ == "__main__":
    main()

"""Killed with −9 at 50 random points and started again: the same people, ids and profiles."""

import gzip
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from ingest.verify import verify
from simulator.shop import Shop
from tests.workspace import Workspace

KILLS = 50


def start(stream: Path, folder: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.ingest.crash_child", str(stream), str(folder)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    child.stdout.readline()
    return child


def test_a_load_that_is_killed_fifty_times_ends_as_one_that_was_not(tmp_path: Path) -> None:
    events = [event for event, _ in Shop(seed=5, people=130, days=20)]
    stream = tmp_path / "stream.jsonl.gz"
    with gzip.open(stream, "wb") as file:
        file.writelines(msgspec.json.encode(event) + b"\n" for event in events)
    dice = random.Random(9)
    killed, unfinished = 0, 0
    folder = tmp_path / "killed"
    while killed < KILLS:
        child = start(stream, folder)
        time.sleep(dice.random() * 0.04)
        child.send_signal(signal.SIGKILL)
        unfinished += child.wait() == -signal.SIGKILL
        assert child.stdout is not None
        child.stdout.close()
        killed += 1
    # Most kills must have hit a load that was under way, or this would prove nothing.
    assert unfinished >= KILLS * 0.8
    last = start(stream, folder)
    assert last.wait(timeout=120) == 0
    assert last.stdout is not None
    last.stdout.close()

    crashed, straight = Workspace(folder), Workspace(tmp_path / "straight")
    straight.take(events)
    expected, got = straight.everything(), crashed.everything()
    for what in expected:
        assert got[what] == expected[what], what
    assert crashed.store.timeline.count() == straight.store.timeline.count()
    assert verify(crashed.store, crashed.keys, crashed.rules, crashed.sources.named).right
    crashed.close()
    straight.close()

"""A workspace of so many members, made in bulk, and `onefold export lotame` on it as a user runs it.

People are copies of simulated ones (`segments_people`), with the browsers and phones that they used and their
consents. The backfill that `onefold segments apply` starts puts them into segments.
"""

import json
import os
import resource
import subprocess
import sys
import threading
import time
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from identity.nodes import Node
from identity.owning import Ownership
from ingest.owning import told_otherwise
from storage.gathering import people_of
from tests.bench.segments_data import Trees
from tests.bench.segments_people import many
from tests.workspace import Workspace

TREES: Final[Trees] = {
    # None of them ends as time goes by, so that a kept store has as many members tomorrow.
    "everybody": {"not": {"event": "Nobody Does This"}},
    "buyers": {"event": "Order Completed"},
    "readers": {"event": "Product Viewed", "count": {"at_least": 3}},
}
"""Everybody, and some of them in two or three."""
LOOK_S: Final = 0.05
"""How often memory is looked at."""
OWNERS_AT_ONCE: Final = 20_000
_MADE: Final = "made"
_CONFIG: Final = """store: {kind: sqlite, path: onefold.sqlite, keys: onefold.keys}
exports: exports
"""
_LOTAME: Final = """kind: lotame
purpose: [ads]
segments: [everybody, buyers, readers]
target: {url: ../out}
replace: true
"""


class Exported(msgspec.Struct):
    """What an export took."""

    people: int
    rows: int
    withheld: dict[str, int]
    checksum: str
    wall_s: float
    cpu_s: float
    """Of all processes."""
    own_mb: float
    """The most memory that all processes had for themselves: neither files nor what they share."""
    processes: int

    @property
    def members(self) -> int:
        """All that were looked at."""
        return self.people + sum(
            count for why, count in self.withheld.items() if why != "identifier_sent_before"
        )

    @property
    def us(self) -> float:
        """CPU microseconds a member."""
        return self.cpu_s / self.members * 1e6


def make(folder: Path, profiles: int) -> None:
    """A workspace of so many profiles, unless it is there."""
    told = folder / _MADE
    if told.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    world, _ = many(folder, profiles, TREES)
    _tell_owners(world)
    world.segments.fill()
    world.segments.settle()
    world.close()
    (folder / "onefold.yaml").write_text(_CONFIG)
    (folder / "exports").mkdir(exist_ok=True)
    (folder / "exports" / "lotame.yaml").write_text(_LOTAME)
    told.write_text(str(profiles))


def _tell_owners(world: Workspace) -> None:
    """What is told of devices, as their uses say: the stream's own pipeline would have told it."""
    store = world.store

    def profiles_of(nodes: Any) -> dict[Node, Node]:
        return people_of(store, nodes)

    others = told_otherwise(store, world.rules, profiles_of, lambda what, done, of: None)
    while some := list(islice(others, OWNERS_AT_ONCE)):
        owners: dict[Node, Ownership] = {each.device: each.right for each in some}
        store.owners.put(owners)


def export(folder: Path) -> Exported:
    """`onefold export lotame`, with what it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    # As a user's Python does, it keeps compiled modules: the second run does not compile them.
    kept = {name: each for name, each in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    running = subprocess.Popen(
        [sys.executable, "-m", "service.cli", "export", "lotame", "--json"],
        cwd=folder, stdout=subprocess.PIPE, env=kept | {"PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    watch = _Watch(running.pid)
    watch.start()
    said, _ = running.communicate()
    wall_s = time.perf_counter() - began
    watch.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if running.returncode:
        raise SystemExit(f"the export failed: {running.returncode}")
    done = json.loads(said)["delivery"]
    return Exported(
        people=done["people"], rows=done["rows"], withheld=done["withheld"], checksum=done["checksum"],
        wall_s=wall_s,
        cpu_s=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        own_mb=watch.most_bytes / 1e6, processes=watch.most_processes,
    )  # fmt: skip


class _Watch(threading.Thread):
    """Looks at the memory of a process and of all that it started, until it ends."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self.most_bytes = 0
        self.most_processes = 0

    def run(self) -> None:
        while self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE:
            try:
                every = [self._process, *self._process.children(recursive=True)]
                bytes_ = sum(_own_bytes(each.pid) for each in every)
            except (psutil.NoSuchProcess, OSError):
                continue
            self.most_bytes = max(self.most_bytes, bytes_)
            self.most_processes = max(self.most_processes, len(every))
            time.sleep(LOOK_S)


def _own_bytes(pid: int) -> int:
    """Memory that is not a file's: SQLite sees much of its file as memory, which costs nobody any."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0

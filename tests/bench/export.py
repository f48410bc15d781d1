"""A full export of a million members to Lotame's files: `make bench-export`.

Part `memory`: a child process exports from an audience that makes members as fast as it can; what that costs by
itself is measured in the same process and taken off, so that what remains is the gate, the rows and the files.
Part `store`: `onefold export lotame` on an embedded store with as many profiles, as a user waits for it; with
`--keep` the store is made once. CPU time counts (user and system), since the machine is shared.
In memory a member has a person's and two devices' identifiers, every tenth refused, half are in two segments.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from destinations.audience import MemoryAudience, Recipient, SegmentInfo
from destinations.folders import LocalFolder
from destinations.gate import Gate, Permission
from destinations.lotame import Lotame
from destinations.running import Exporter, Order
from destinations.settings import LotameSettings
from identity.nodes import Identifier, Node
from storage.sqlite import SqliteStore
from tests.bench.export_store import export, make
from tests.bench.report import goal, machine
from tests.workspace import KEYS, NOON

MEMBERS = 1_000_000
COST_GOAL_US = 4.0
RATIO_GOAL = 3.0
"""On a machine that others use, what a member costs is compared with what Python takes for a small object."""
TIME_GOAL_S = 10.0
STORE_COST_GOAL_US = 20.0
"""On two cores, that is."""
MEMORY_GOAL_BYTES = 64
"""Of memory for each further member: the hash of each id that is in the file."""
BATCH = 1_000
SEGMENTS = ("regulars", "lapsed")
PARTS = ("memory", "store")


class Quick(MemoryAudience):
    """Members out of thin air."""

    def __init__(self, count: int) -> None:
        super().__init__([SegmentInfo(each) for each in SEGMENTS])
        self.count = count

    def members(
        self, segments: Collection[str], purposes: Collection[str] = ()
    ) -> Iterator[list[Recipient]]:
        yes, no = {"ads": True}, {"ads": False}
        one, two = {"regulars": NOON}, {"regulars": NOON, "lapsed": NOON - 5}
        for start in range(0, self.count, BATCH):
            yield [
                Recipient(
                    profile_id=Node(number.to_bytes(16)),
                    identifiers=(
                        Identifier("user_id", f"u{number}"),
                        Identifier("anonymous_id", f"{number:08x}-2d1f-4b7e-9d0c-{number * 7919:012x}"),
                        Identifier("advertising_id", f"{number:08x}-5a3e-4c1b-8f7d-{number * 104729:012x}"),
                    ),
                    consent=no if number % 10 == 0 else yes,
                    segments=two if number % 2 else one,
                )
                for number in range(start, min(start + BATCH, self.count))
            ]  # fmt: skip


def child(members: int) -> None:
    """Export; one JSON line of what it took."""
    audience = Quick(members)
    began = time.process_time()
    for _ in audience.members(SEGMENTS):
        pass
    alone_s = time.process_time() - began
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "staging").mkdir()
        store = SqliteStore(folder / "onefold.sqlite", KEYS)
        exporter = Exporter(
            Lotame(LotameSettings(), LocalFolder(folder / "out")), audience, store.deliveries,
            lambda: NOON, folder / "staging",
        )  # fmt: skip
        order = Order(
            name="lotame", permission=Permission(segments=SEGMENTS), gate=Gate(("ads",)), mode="full",
            who="bench",
        )  # fmt: skip
        began, clock = time.process_time(), time.perf_counter()
        done = exporter.run(order).delivery
        used_s, wall_s = time.process_time() - began, time.perf_counter() - clock
        size = sum(file.stat().st_size for file in (folder / "out").rglob("*.gz"))
        store.close()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(
        json.dumps(
            {
                "people": done.people, "rows": done.rows, "withheld": done.withheld, "mb": size / 1e6,
                "us": (used_s - alone_s) / members * 1e6, "audience_us": alone_s / members * 1e6,
                "wall_s": wall_s, "peak_mb": peak_mb, "reference_us": reference_us(),
            }
        )
    )  # fmt: skip


def _growth(members: int, some: dict[str, float], every: dict[str, float]) -> float:
    return (every["peak_mb"] - some["peak_mb"]) * 1e6 / (members * 0.9)


def reference_us() -> float:
    """What json.dumps of an object of three fields costs: the machine's speed now."""
    began = time.process_time()
    for start in range(0, 200_000, BATCH):
        rows = [{"userid": str(start + n), "idtype": "GAID", "consent": True} for n in range(BATCH)]
        "\n".join(json.dumps(row) for row in rows).encode()
    return (time.process_time() - began) / 200_000 * 1e6


def from_memory(members: int) -> None:
    """The gate, the rows and the files."""
    print(
        f"{'members':>10}{'rows':>11}{'us/member':>11}{'audience us':>13}"
        f"{'members/s':>12}{'peak MB':>9}"
    )
    found = []
    for count in (members // 10, members):
        ran = subprocess.run(
            [sys.executable, "-m", "tests.bench.export", "--child", str(count)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        each = json.loads(ran.stdout)
        found.append(each)
        print(
            f"{count:>10,}{each['rows']:>11,}{each['us']:>11.2f}{each['audience_us']:>13.2f}"
            f"{count / each['wall_s']:>12,.0f}{each['peak_mb']:>9.0f}"
        )
    some, every = found
    print(f"withheld: {every['withheld']}; files of {every['mb']:,.0f} MB")
    print(f"beside it: json.dumps of an object of three fields, {every['reference_us']:.2f} us")
    ratio = every["us"] / every["reference_us"]
    print(goal("CPU microseconds a member, without the audience", every["us"], "<=", COST_GOAL_US))
    print(goal("the same / json.dumps of three fields", ratio, "<=", RATIO_GOAL))
    print(goal("seconds for all members, audience included", every["wall_s"], "<=", TIME_GOAL_S))
    growth = _growth(members, some, every)
    print(goal("bytes of peak memory a further member", growth, "<=", MEMORY_GOAL_BYTES))


def from_store(profiles: int, kept: Path | None) -> None:
    """As a user waits: the command, its reading processes, all that it does."""
    with tempfile.TemporaryDirectory() as made:
        folder = kept or Path(made)
        found = []
        print(
            f"{'members':>10}{'rows':>11}{'seconds':>9}{'us/member':>11}{'own MB':>8}{'processes':>11}"
        )
        for count in (profiles // 10, profiles):
            make(folder / str(count), count)
            each = export(folder / str(count))
            found.append(each)
            print(
                f"{each.members:>10,}{each.rows:>11,}{each.wall_s:>9.1f}{each.us:>11.1f}"
                f"{each.own_mb:>8.0f}{each.processes:>11}",
                flush=True,
            )
    some, every = found
    print(f"withheld: {every.withheld}; json.dumps of three fields: {reference_us():.2f} us")
    million_s = every.wall_s / every.members * MEMBERS
    growth = (every.own_mb - some.own_mb) * 1e6 / (every.members - some.members)
    print(goal("seconds for 1 M members from a store", million_s, "<=", TIME_GOAL_S))
    print(goal("CPU us a member from a store, all processes", every.us, "<=", STORE_COST_GOAL_US))
    print(goal("bytes of own memory a further member", growth, "<=", MEMORY_GOAL_BYTES))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.export")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all by default")
    parser.add_argument("--members", type=int, default=MEMBERS, help="made in memory")
    parser.add_argument("--profiles", type=int, default=MEMBERS, help="of the store")
    parser.add_argument("--keep", type=Path, help="make stores in this folder, or use those there")
    parser.add_argument("--child", type=int)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    print(machine("msgspec", "isal", "numpy"), f"load {os.getloadavg()[0]:.1f}", flush=True)
    for part in options.parts or PARTS:
        if part == "memory":
            from_memory(options.members)
        else:
            from_store(options.profiles, options.keep)


if __name__ == "__main__":
    main()

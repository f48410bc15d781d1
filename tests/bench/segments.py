"""What segments cost: live, filled, previewed, and how soon they are right. `make bench-segments`.

CPU time counts where two stores are compared, since the machine is shared; what has a limit in seconds
is shown in both. Parts: live, http, fill (and preview), timeline, fresh.
"""

import argparse
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

from ingest.segments.sampling import Sampler
from profiles.segments.parse import parse_segment
from service.keeping import KeepingCurrent
from tests.bench.report import goal, machine
from tests.bench.segments_data import define, mixed
from tests.bench.segments_http import compare_served
from tests.bench.segments_live import compare
from tests.bench.segments_people import many_again, simulate
from tests.workspace import NOON, Workspace

LIVE_GOAL = 2.0
FILL_GOAL_S = 60
PREVIEW_GOAL_S = 5
LEFT_GOAL_S = 1.0
PARTS = ("live", "http", "fill", "timeline", "fresh")


def live(options: argparse.Namespace) -> None:
    """The same stream into two stores."""
    events, small = options.events, options.events // 10
    for batch, count in ((1_000, events), (20, small)):
        none, some, leaves, members = compare(count, options.segments, batch, options.days)
        print(
            f"batches of {batch}: {count:,} events, {leaves:,} leaves; CPU us/event without segments "
            f"{1e6 * none.whole_s / count:.0f}, with {options.segments} "
            f"{1e6 * some.process_s / count:.0f} and {1e6 * some.settle_s / count:.0f} to settle; "
            f"{members:,} memberships"
        )
        name = f"CPU with {options.segments} segments / without, batches of {batch}"
        print(goal(name, some.whole_s / none.whole_s, "<=", LIVE_GOAL), flush=True)


def http(options: argparse.Namespace) -> None:
    """The same requests to two servers, as fast as they are answered."""
    for at_once in (False, True):
        order = "everybody at once" if at_once else "in the order of the shop"
        pair = compare_served(
            options.history, options.sent, options.segments, options.days, at_once=at_once
        )
        for each in pair:
            print(
                f"served {each.name} segments, {order}: {each.events / each.cpu_s:,.0f} events a CPU second "
                f"({1e6 * each.cpu_s / each.events:.0f} us each), {each.events / each.wall_s:,.0f} a second, "
                f"p50 {each.latency_ms(0.5):.0f} ms, p99 {each.latency_ms(0.99):.0f} ms; "
                f"{each.requests:,} requests, {each.batches}"
            )
        none, some = (each.cpu_s / each.events for each in pair)
        name = f"CPU of a server with {options.segments} segments / without, {order}"
        print(goal(name, some / none, "<=", LIVE_GOAL), flush=True)


def cpu_s() -> float:
    """CPU seconds of this process and of those it started that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def fill(options: argparse.Namespace) -> None:
    """Twenty segments over everybody, three times with other thresholds; then previews."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        world, newest = many_again(options.keep, Path(folder), options.profiles, mixed(20))
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
        print(
            f"{options.profiles:,} profiles ({world.store.parts.count():,} leaves, {size / 1e6:,.0f} MB) made "
            f"in {time.monotonic() - started:.0f} s",
            flush=True,
        )
        for step, what in enumerate(("new", "other thresholds")):
            if step:
                define(world.store.definitions, mixed(20, step), step + 1, newest)
            wall, cpu = time.monotonic(), cpu_s()
            world.segments.fill()
            wall, cpu = time.monotonic() - wall, cpu_s() - cpu
            print(f"20 segments, {what}: {wall:.1f} s, CPU {cpu:.1f} s", flush=True)
            print(goal(f"fill 20 segments ({what}), s", wall, "<=", FILL_GOAL_S), flush=True)
        preview(world, newest)
        world.close()


def preview(world: Workspace, now_ms: int) -> None:
    """Drafts of which parts hold what is needed."""
    sampler = Sampler(world.store, world.rules, {})
    for key, tree in list(mixed(10, 3).items()):
        started, cpu = time.monotonic(), time.process_time()
        seen = sampler.preview(
            world.segments.catalogue(), parse_segment(tree, id=f"draft-{key}"), now_ms
        )
        took = time.monotonic() - started
        print(
            f"preview {key}: {took:.1f} s (CPU {time.process_time() - cpu:.1f}), "
            f"{seen.looked_at:,} of {seen.of:,} leaves"
        )
        print(goal(f"preview {key}, s", took, "<=", PREVIEW_GOAL_S), flush=True)


def timeline(options: argparse.Namespace) -> None:
    """Segments of which nothing was collected: timelines are read."""
    with tempfile.TemporaryDirectory() as folder:
        world = Workspace(Path(folder))
        events = simulate(world, {}, options.visits)
        define(world.store.definitions, mixed(20), 1, NOON)
        wall, cpu = time.monotonic(), cpu_s()
        profiles = world.segments.fill()
        wall, cpu = time.monotonic() - wall, cpu_s() - cpu
        print(
            f"timelines read: {profiles:,} profiles, {events:,} events in {wall:.1f} s (CPU {cpu:.1f}): "
            f"{profiles / cpu:,.0f} profiles and {events / cpu:,.0f} events a CPU second"
        )
        world.close()


def fresh(options: argparse.Namespace) -> None:
    """From an event to the call that knows, and from the end of a window to who left."""
    with tempfile.TemporaryDirectory() as folder:
        world = Workspace(Path(folder))
        simulate(world, mixed(20))
        trees = {
            "now": {"event": "Fresh", "within": "2s"},
            "ever": {"event": "Fresh"},
        }
        define(world.store.definitions, trees, 2, NOON)
        world.segments.fill()
        world.segments.settle()
        took = []
        for n in range(300):
            started = time.perf_counter()
            world.see(user=f"fresh{n}", event="Fresh", at=world.now)
            node = world.keys.hasher().node("user_id", f"fresh{n}")
            held = world.store.memberships.get([node])
            took.append(time.perf_counter() - started)
            if "ever" not in held[node].segments:
                raise AssertionError("the next call did not know")
        print(
            f"event to the call that knows: median {1e3 * statistics.median(took):.1f} ms, "
            f"p99 {1e3 * sorted(took)[int(0.99 * len(took))]:.1f} ms"
        )
        world.segments._now_ms = lambda: int(time.time() * 1000)
        keeping = KeepingCurrent(world.segments)
        keeping.start()
        late = []
        for n in range(5):
            at = time.time()
            world.see(user=f"left{n}", event="Fresh", at=int(at * 1000))
            node = world.keys.hasher().node("user_id", f"left{n}")
            while "now" in world.store.memberships.get([node])[node].segments:
                time.sleep(0.01)
            late.append(time.time() - at - 2)
        keeping.stop()
        print(f"left after a window of 2 s: {min(late):+.2f} to {max(late):+.2f} s")
        print(goal("left when its time came, s off", max(map(abs, late)), "<=", LEFT_GOAL_S))
        world.close()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.segments")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all by default")
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument(
        "--history", type=int, default=60_000, help="events that servers have before"
    )
    parser.add_argument("--sent", type=int, default=16_000, help="events that servers are sent")
    parser.add_argument("--segments", type=int, default=200)
    parser.add_argument("--profiles", type=int, default=1_000_000)
    parser.add_argument(
        "--keep", type=Path, help="make the store to fill here, or fill a copy of what is here"
    )
    parser.add_argument("--visits", type=float, default=1.0, help="visits a day, for timelines")
    options = parser.parse_args()
    print(machine("msgspec"), f"load {os.getloadavg()[0]:.1f}", flush=True)
    for part in options.parts or PARTS:
        {"live": live, "http": http, "fill": fill, "timeline": timeline, "fresh": fresh}[part](
            options
        )


if __name__ == "__main__":
    main()

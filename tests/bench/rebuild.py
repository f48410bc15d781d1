"""Everybody resolved again from all links: speed, memory, live people equal to it. `make bench-rebuild`.

1. A simulated stream goes through the pipeline; then live people are compared with all evidence resolved.
2. A store of a million links, one in a hundred of them junk, and hubs: read, resolved on all cores, compared.
   The same links through `identity.resolve` in one piece, on one core, are beside it.
3. A new link beside a hub of 80,000 links, and one anywhere else.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np

from identity.evidence import NEVER, Link, pair
from identity.nodes import Node, code_of
from identity.resolve import resolve
from identity.rules import Rules
from ingest.comparing import History, compare
from ingest.identify import Statements, identify_here
from simulator.shop import Shop, people_for
from storage.evidence import evidence_of
from storage.ports import Store
from storage.processes import cores
from tests.bench.report import goal, machine
from tests.workspace import KEYS, NOON, Workspace

DAYS: Final = 30
HUB_LINKS: Final = 80_000
RATE_GOAL: Final = 200_000
LINKS_A_PERSON: Final = 1.7
HUBS: Final = 20
HUB_SIZE: Final = 500
JUNK: Final = 100
"""One link in so many names two people who have nothing to do with each other."""
RULES: Final = Rules()
hasher = KEYS.hasher()


def main() -> None:
    """Measure, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000, help="of the simulated stream")
    parser.add_argument("--links", type=int, default=1_000_000, help="of the store of links")
    options = parser.parse_args()
    print(machine("numpy", "scipy"), flush=True)
    goals = in_child(live, options.events)
    with tempfile.TemporaryDirectory(prefix="onefold-bench-") as folder:
        in_child(fill, Path(folder), options.links)
        goals += in_child(speed, Path(folder))
    goals += in_child(hub)
    print(*goals, sep="\n")


def in_child(measure: Any, *arguments: Any) -> list[str]:
    """Goals of a measurement in a process of its own: its memory is its own too."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        goals: list[str] = pool.submit(measure, *arguments).result()
    return goals


def live(events: int) -> list[str]:
    """A stream, and everybody resolved again beside what it left."""
    with tempfile.TemporaryDirectory(prefix="onefold-bench-") as folder:
        world = Workspace(Path(folder))
        begun = time.perf_counter()
        stream = (event for event, _ in Shop(seed=11, people=people_for(events, DAYS), days=DAYS))
        world.take(islice(stream, events))
        fed_s = time.perf_counter() - begun
        begun = time.perf_counter()
        comparison = compare(world.store, RULES)
        took_s = time.perf_counter() - begun
        differences = sum(1 for _ in comparison.differences())
        print(
            f"stream: {events:,} events in {fed_s:.0f} s made {comparison.links:,} links and "
            f"{comparison.after().people:,} people; compared in {took_s:.1f} s",
            flush=True,
        )
        world.close()
    return [goal(f"live people unlike rebuilt ones after {events:,} events", differences, "==", 0)]


def fill(folder: Path, count: int) -> list[str]:
    """A store of links, nobody of whom is decided."""
    world = Workspace(folder)
    rows = sorted(set(links(count)))
    world.store.database.write_many("INSERT INTO links VALUES (?,?,?,?,?,?,?)", rows)
    world.close()
    return []


def speed(folder: Path) -> list[str]:
    """Read, resolve and compare; once to load, once more to find no difference."""
    world = Workspace(folder)
    empty_mb = resident_mb()
    first_s, comparison = timed(world.store)
    peak_mb = resident_mb()
    total, after = comparison.links, comparison.after()
    begun = time.perf_counter()
    with world.store.transaction():
        comparison.load(world.store, NOON, History(world.store))
    load_s = time.perf_counter() - begun
    again_s, comparison = timed(world.store)
    equal = not comparison
    begun = time.perf_counter()
    plain = resolve(evidence_of(world.store), RULES)
    plain_s = time.perf_counter() - begun
    same = plain.clusters == frozenset(world.store.people.scan())
    world.close()
    print(
        f"store: {total:,} links, {cores()} cores; {after.people:,} people; refused {after.refusals}\n"
        f"  read, resolved, compared with nothing  {first_s:6.1f} s  {total / first_s:9,.0f} links/s\n"
        f"  the same beside all people             {again_s:6.1f} s  {total / again_s:9,.0f} links/s\n"
        f"  everybody written, followers told      {load_s:6.1f} s  {total / load_s:9,.0f} links/s\n"
        f"  `resolve` of objects on one core       {plain_s:6.1f} s  {total / plain_s:9,.0f} links/s\n"
        f"  memory {peak_mb - empty_mb:,.0f} MB above {empty_mb:,.0f} MB",
        flush=True,
    )
    return [
        goal("links read and resolved a second", total / first_s, ">=", RATE_GOAL),
        goal("people loaded, unlike those resolved again", int(not equal), "==", 0),
        goal("in bulk unlike `resolve`", int(not same), "==", 0),
    ]


def timed(store: Store) -> tuple[float, Any]:
    """Seconds of a comparison, and what it found."""
    begun = time.perf_counter()
    comparison = compare(store, RULES)
    return time.perf_counter() - begun, comparison


def resident_mb() -> float:
    """The most that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def links(count: int) -> Iterator[tuple[bytes, bytes, int, str, str, int, int]]:
    """Rows of links: people of a few identifiers, junk between them, and hubs."""
    dice = np.random.default_rng(1)
    people = int(count / LINKS_A_PERSON)
    size = np.minimum(1 + np.floor(dice.lognormal(-0.3, 0.8, people)), 20).astype(int).clip(1)
    users = nodes("user_id", people, dice)
    others = int(size.sum())
    values = np.where(
        (dice.random(others) < 0.6)[:, None],
        nodes("email", others, dice),
        nodes("phone", others, dice),
    )
    junk = others // JUNK
    left = [np.repeat(users, size, axis=0), users[dice.integers(0, people, junk)]]
    right = [values, values[dice.integers(0, others, junk)]]
    left.append(users[dice.integers(0, people, HUBS * HUB_SIZE)])
    right.append(np.repeat(nodes("email", HUBS, dice), HUB_SIZE, axis=0))
    a, b = np.concatenate(left), np.concatenate(right)
    first_ms = dice.integers(NOON - 10**10, NOON, len(a)).tolist()
    trusted = (dice.random(len(a)) < 0.2).tolist()
    found: dict[tuple[Node, Node], tuple[bytes, bytes, int, str, str, int, int]] = {}
    for one, other, at, sure in zip(a, b, first_ms, trusted, strict=True):
        ends = pair(Node(one.tobytes()), Node(other.tobytes()))
        found[ends] = (*ends, at, "e", "web", at if sure else NEVER, at)
    yield from found.values()


def nodes(kind: str, count: int, dice: np.random.Generator) -> Any:
    """Nodes of a type, as rows of 16 bytes."""
    made = dice.integers(0, 256, (count, 16), np.uint8)
    code = code_of(kind)
    made[:, 6] = 0x80 | code >> 8
    made[:, 7] = code & 0xFF
    made[:, 8] = 0x80 | made[:, 8] & 0x3F
    return made


def hub() -> list[str]:
    """New links beside a hub, and new links anywhere else, in turns."""
    with tempfile.TemporaryDirectory(prefix="onefold-bench-") as folder:
        world = Workspace(Path(folder))
        cashier = hasher.node("email", "cashier@store.in")
        say(world, [link(hasher.node("user_id", f"u{n}"), cashier) for n in range(HUB_LINKS)])
        say(world, [own(n) for n in range(HUB_LINKS)])
        beside, elsewhere = [], []
        for n in range(300):
            here, there = hasher.node("user_id", f"n{n}"), hasher.node("user_id", f"m{n}")
            beside.append(seconds_of(world, link(here, cashier)))
            elsewhere.append(seconds_of(world, link(there, hasher.node("email", f"m{n}@x.in"))))
        hubs = [each for each in world.store.people.refusals(10**6) if each.a == each.b]
        assert [each.a for each in hubs] == [cashier]
        world.close()
    ours, theirs = float(np.median(beside)), float(np.median(elsewhere))
    print(
        f"hub of {HUB_LINKS:,} links: a new link beside it {ours * 1000:.2f} ms, anywhere else "
        f"{theirs * 1000:.2f} ms (medians)",
        flush=True,
    )
    return [goal("a link beside the hub costs times one elsewhere", ours / theirs, "<=", 1.5)]


def own(n: int) -> Link:
    """Somebody's own e-mail."""
    return link(hasher.node("user_id", f"u{n}"), hasher.node("email", f"u{n}@x.in"))


def link(one: Node, other: Node) -> Link:
    """What one event says."""
    a, b = pair(one, other)
    return Link(a=a, b=b, first_ms=NOON, first_event="e", source="web", last_ms=NOON)


def say(world: Workspace, said: list[Link]) -> None:
    """Have links decided, a batch at a time."""
    for start in range(0, len(said), 2_000):
        with world.store.transaction():
            identify_here(world.store, Statements(said[start : start + 2_000]), RULES)


def seconds_of(world: Workspace, one: Link) -> float:
    """How long one link takes to be decided and durable."""
    begun = time.perf_counter()
    say(world, [one])
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()

"""Two identity writers at once: what a former one still writes changes nothing."""

import random
import time
from typing import Any

import pytest

from tests.faults.conftest import Make
from tests.faults.embedded import Expected
from tests.faults.log import until
from tests.faults.servers import rows_written
from tests.faults.workers import Worker
from tests.faults.world import World
from tests.servers import Cassandra

LEASE = "identity"
WRITTEN_BY_IDENTIFY = ("nodes", "links", "must_links", "conflicts", "changes", "changes_announced")
UNDER_WAY_S = 0.15
"""What was sent before a pause is applied within this."""
LATE_S, LATE_S_MAX = 2.0, 15.0
"""How long writers that go on have for what they still mean to write, once they began and in all."""


def writer_of(world: World) -> Worker | None:
    """The worker that holds the lease of identity."""
    facts, _ = world.cassandra.keyspaces(1)
    rows = world.store.connection.execute_serial(
        f"SELECT holder FROM {facts}.leases WHERE name = ?", (LEASE,)
    )
    pid = int(str(rows[0][0]).rpartition(":")[2]) if rows else 0
    return next((each for each in world.of("identify") if each.pid == pid), None)


def decided(world: World) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that identify wrote, with the timestamps it wrote it at."""
    facts, derived = world.cassandra.keyspaces(1)
    connection = world.store.connection
    found = {}
    for table, cql in {
        "nodes": f"SELECT node, state, writetime(state) FROM {derived}.nodes",
        "conflicts": f"SELECT bucket, since_ms, a, b FROM {derived}.conflicts",
        "links": f"SELECT node, other, link, writetime(link) FROM {facts}.links",
        "must_links": f"SELECT node, other, link, writetime(link) FROM {facts}.must_links",
        "announced": f"SELECT key, changes, writetime(changes) FROM {facts}.changes_announced",
    }.items():
        found[table] = sorted(connection.execute(cql), key=repr)
    return found


def pause_in_mid_batch(world: World, dice: random.Random) -> Worker:
    """Stop the writer between what it announced and what it wrote; it does not know that time passes."""
    before = world.done("identify")
    until(lambda: world.done("identify") > before, "identify commits a batch")
    writer: Worker = until(lambda: writer_of(world), "somebody holds the lease")
    while world.lag("identify"):
        time.sleep(dice.random() * 0.05)
        writer.pause()
        time.sleep(UNDER_WAY_S)
        if means_to_write(world):
            return writer
        writer.resume()
    raise AssertionError("the backlog was too short to catch the writer in it")


def means_to_write(world: World) -> bool:
    """Whether people were announced whom nobody has written yet."""
    after = {cluster for change in world.store.changes.announced(100) for cluster in change.after}
    nodes = {node for cluster in after for node in cluster.members}
    stored = set(world.store.people.clusters_of(nodes).values()) if nodes else set()
    return any(len(cluster.members) > 1 and cluster not in stored for cluster in after)


def run_zombies(world: World, cassandra: Cassandra, zombies: int, seed: int) -> int:
    """Pause one writer after another in mid-batch, let the last one finish, and wake the others.

    How many rows they wrote then; none of them may change anything.
    """
    dice = random.Random(seed)
    paused = []
    for _ in range(zombies):
        epoch = world.store.leases.epoch(LEASE)
        paused.append(pause_in_mid_batch(world, dice))
        until(lambda: world.store.leases.epoch(LEASE) > epoch, "a stand-by takes over")  # noqa: B023
    world.finish("identify")
    right = decided(world)
    written = written_by_identify(world, cassandra)
    for zombie in paused:
        zombie.resume()
    deadline = time.monotonic() + LATE_S_MAX
    while written_by_identify(world, cassandra) == written and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(LATE_S)
    assert decided(world) == right, "a zombie changed what its successor had decided"
    return written_by_identify(world, cassandra) - written


def written_by_identify(world: World, cassandra: Cassandra) -> int:
    """Rows that the node has written to the tables of people."""
    written = rows_written(cassandra, world.cassandra.keyspaces(1))
    return sum(written[table] for table in WRITTEN_BY_IDENTIFY)


def test_a_writer_that_was_paused_and_goes_on_changes_nothing(
    make_world: Make, logins: Expected, cassandra: Cassandra
) -> None:
    world = make_world()
    prepare_links(world, logins, batch=1)
    late = run_zombies(world, cassandra, zombies=2, seed=3)
    assert late, "the zombie had nothing left to write: this proves nothing"
    finish(world, logins)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(8))
def test_several_zombies_at_once_change_nothing(
    make_world: Make, logins: Expected, cassandra: Cassandra, seed: int
) -> None:
    world = make_world()
    prepare_links(world, logins, batch=1)
    late = run_zombies(world, cassandra, zombies=3, seed=seed)
    print(f"{late} rows written by zombies")
    assert late
    finish(world, logins)


def prepare_links(world: World, expected: Expected, batch: int) -> None:
    """A backlog of links, and workers to decide them: one, and others that stand by."""
    (record,) = world.start("record", batch=10)
    world.send(expected.stream.messages)
    world.finish("record")
    world.stop(record)
    # With the usual time-out a writer that wakes up finds its last request failed, and asks before it goes on.
    patient = world.config_with(
        "patient.yaml", cassandra={"timeout_s": 120.0}, worker={"batch_events": batch}
    )
    world.start("identify", "identify", "identify", "identify", config=patient)


def finish(world: World, expected: Expected) -> None:
    """Fold what is left, and compare."""
    world.start("record", "fold")
    world.settle()
    world.compare(expected)

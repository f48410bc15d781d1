"""One of three Cassandra nodes is killed, paused, restarted, or has no room left, while events come.

The nodes write their commit log before they acknowledge (`commit_log="batch"`), so that one that is killed
has what it acknowledged. A quorum of two goes on; what the third missed comes to it later.
"""

import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.servers.cluster import CassandraCluster
from deploy.servers.process import Process
from tests.faults.embedded import Expected
from tests.faults.log import Background, until
from tests.faults.workers import STAGES
from tests.faults.world import World
from tests.servers import Kafka, require

AWAY_S = 20.0
"""How long a node is away: longer than any time-out."""
BETWEEN_S = 15.0
"""So long all nodes are there: hints reach the one that was away, before another one goes."""
RATE = 120.0
SLOW_RATE = 50.0
"""Events a second, about half of what three nodes and everything else bear on two cores."""


@pytest.fixture(scope="module")
def medium(tmp_path_factory: pytest.TempPathFactory) -> Expected:
    """Some 20,000 messages."""
    from simulator.shop import Shop
    from tests.faults.embedded import expect
    from tests.faults.stream import disordered

    stream = disordered(Shop(seed=26, people=220, days=30), 9, poison=False)
    return expect(stream, tmp_path_factory.mktemp("medium"))


def world_on(cluster: CassandraCluster, kafka: Kafka, folder: Path, name: str) -> World:
    """A workspace with three copies of every row."""
    return World(
        folder,
        hosts=cluster.hosts,
        brokers=kafka.brokers,
        keyspace=name,
        prefix=name,
        replication=3,
        worker={"batch_events": 200},
    ).make()


def done(world: World) -> int:
    """What all stages have committed."""
    return sum(world.done(stage) for stage in STAGES)


def away(world: World, seconds: float) -> None:
    """Let time pass while a node is away; work must go on all the same."""
    before = done(world)
    time.sleep(seconds)
    world.check()
    assert world.lag("record") or done(world) > before, "nothing was there to be done"
    assert done(world) > before, f"nothing was done while a node was away for {seconds:.0f} s"


def back(cluster: CassandraCluster) -> None:
    """Wait until all nodes are there, and know what they missed."""
    cluster.wait_until_whole()
    time.sleep(BETWEEN_S)


@pytest.mark.faults
def test_work_goes_on_while_one_node_of_three_is_killed_or_paused(
    kafka: Kafka, medium: Expected, tmp_path: Path, topic_prefix: str
) -> None:
    messages = medium.stream.messages
    with (
        require(lambda: CassandraCluster(tmp_path / "three", 3, commit_log="batch")) as cluster,
        world_on(cluster, kafka, tmp_path / "world", topic_prefix) as world,
    ):
        world.start(*STAGES, "identify")
        for stage in STAGES[:2]:
            world.joined(stage, 1)
        sending = Background(lambda: world.send(messages, rate=SLOW_RATE))
        time.sleep(5)
        first, second, third = cluster.nodes
        for node in (third, first, second):
            assert sending.running, "the stream was too short"
            node.kill()
            away(world, AWAY_S)
            node.start()
            back(cluster)
        for node in (first, third):
            assert sending.running or world.lag("fold"), "the stream was too short"
            node.pause()
            away(world, AWAY_S)
            node.resume()
            back(cluster)
        sending.wait()
        world.settle(600)
        world.compare(medium)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Where the third node's disk is: a file system in memory, of half a gigabyte."""
    folder = tmp_path / "three" / "node3"
    folder.mkdir(parents=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512m", "tmpfs", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"a small file system can only be made by root: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Leave no room on a disk; the file that takes it."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                file.write(random.randbytes(1 << 20))
                file.flush()
        except OSError:
            pass
    return filler


def fails(node: Process) -> bool:
    """Whether a node has ended, or said that it stops."""
    told = node.log.read_text(errors="replace")
    return not node.running or "No space left on device" in told or "Stopping" in told


@pytest.mark.faults
def test_a_node_without_room_on_its_disk_stops_nobody(
    kafka: Kafka, medium: Expected, small_disk: Path, tmp_path: Path, topic_prefix: str
) -> None:
    """Simulated: the node's data is on a small tmpfs, which another file fills."""
    messages = medium.stream.messages
    with (
        require(lambda: CassandraCluster(tmp_path / "three", 3, commit_log="batch")) as cluster,
        world_on(cluster, kafka, tmp_path / "world", topic_prefix) as world,
    ):
        node = cluster.nodes[2]
        world.start(*STAGES)
        world.joined("record", 1)
        sending = Background(lambda: world.send(messages, rate=RATE))
        time.sleep(5)
        filler = fill(small_disk)
        until(lambda: fails(node), "the node notices that its disk is full", 180)
        assert sending.running, "the stream was too short"
        away(world, AWAY_S)
        filler.unlink()
        node.kill()
        node.start()
        back(cluster)
        sending.wait()
        world.settle(600)
        world.compare(medium)

"""Writes that time out and are applied all the same: Cassandra's answers are lost on the way."""

import time
from collections.abc import Iterator

import pytest

from deploy.servers.proxy import FaultProxy
from tests.faults.conftest import Make
from tests.faults.embedded import Expected
from tests.faults.log import Background, until
from tests.faults.servers import rows_written
from tests.faults.workers import STAGES
from tests.faults.world import World
from tests.servers import Cassandra

TIMEOUT_S = 1.0


@pytest.fixture
def proxy(cassandra: Cassandra) -> Iterator[FaultProxy]:
    with FaultProxy((cassandra.hosts[0], cassandra.port)) as made:
        yield made


def run(
    world: World, expected: Expected, proxy: FaultProxy, cassandra: Cassandra, faults: int
) -> None:
    """Lose answers, delay and reset connections while workers write; everything is as without."""
    through_proxy = world.config_with(
        "proxied.yaml",
        cassandra={"hosts": [proxy.host], "port": proxy.port, "timeout_s": TIMEOUT_S},
    )
    messages = expected.stream.messages
    world.start(*STAGES, config=through_proxy)
    until(lambda: world.of("identify") and proxy.counts.connections, "workers are connected")
    sending = Background(lambda: world.send(messages, rate=len(messages) / (faults * 8)))
    applied = 0
    for number in range(faults):
        time.sleep(3)
        world.check()
        assert sending.running, "the stream was too short"
        before = sum(rows_written(cassandra, world.cassandra.keyspaces(1)).values())
        dropped = proxy.counts.dropped_bytes
        proxy.drop_answers()
        time.sleep(2 * TIMEOUT_S)
        # Nobody was told of any of these.
        applied += sum(rows_written(cassandra, world.cassandra.keyspaces(1)).values()) - before
        assert proxy.counts.dropped_bytes > dropped
        if number % 2 == 0:
            proxy.reset()
            time.sleep(0.5)
        proxy.pass_all()
    print(f"{applied} rows were written while no answer came back")
    assert applied, "nothing was written without an answer: this proves nothing"
    sending.wait()
    world.settle()
    told = "".join(worker.output.read_text() for worker in world.workers)
    assert f"no answer within {TIMEOUT_S:g} s" in told, told[-2000:]
    world.compare(expected)


def test_writes_that_timed_out_and_were_applied_count_once(
    make_world: Make, small: Expected, proxy: FaultProxy, cassandra: Cassandra
) -> None:
    run(make_world(worker={"batch_events": 50}), small, proxy, cassandra, faults=1)


@pytest.mark.faults
def test_answers_that_are_lost_again_and_again_change_nothing(
    make_world: Make, large: Expected, proxy: FaultProxy, cassandra: Cassandra
) -> None:
    run(make_world(worker={"batch_events": 100}), large, proxy, cassandra, faults=20)

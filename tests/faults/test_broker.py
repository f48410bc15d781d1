"""The Kafka broker goes away in the middle of everything, and comes back."""

import time

import pytest

from deploy.servers.cluster import KafkaBroker
from tests.faults.conftest import Make
from tests.faults.embedded import Expected
from tests.faults.log import Background
from tests.faults.workers import STAGES
from tests.faults.world import World
from tests.servers import Kafka

AWAY_S = 3.0


def restart(broker: KafkaBroker, *, kill: bool) -> None:
    """Kill or pause the broker, and bring it back on its data after a while."""
    if kill:
        broker.kill()
    else:
        broker.pause()
    time.sleep(AWAY_S)
    if kill:
        broker.start()
    else:
        broker.resume()


def under_load(world: World, expected: Expected, kafka: Kafka, faults: int) -> None:
    """Restart the broker again and again while messages come and are worked on."""
    broker = kafka.broker
    if broker is None:
        pytest.skip("the broker is not ours to kill")
    messages = expected.stream.messages
    world.start(*STAGES, *STAGES)
    world.joined("record", 2)
    sending = Background(lambda: world.send(messages, rate=len(messages) / (faults * 12)))
    for number in range(faults):
        time.sleep(4)
        world.check()
        assert sending.running, "the stream was too short"
        restart(broker, kill=number % 2 == 0)
    sending.wait()
    world.settle()
    told = "".join(worker.output.read_text() for worker in world.workers)
    assert "kafka" in told.lower(), "no worker noticed that the broker was away"
    world.compare(expected)


def test_a_broker_that_is_killed_and_comes_back_costs_nothing(
    make_world: Make, small: Expected, kafka: Kafka
) -> None:
    under_load(make_world(worker={"batch_events": 100}), small, kafka, faults=1)


@pytest.mark.faults
def test_a_broker_that_goes_away_again_and_again_costs_nothing(
    make_world: Make, large: Expected, kafka: Kafka
) -> None:
    under_load(make_world(worker={"batch_events": 200}), large, kafka, faults=10)

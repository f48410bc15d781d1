"""The same topics again from their start: everything is known, and nothing counts again."""

import pytest

from tests.faults.conftest import Make
from tests.faults.embedded import Expected
from tests.faults.workers import STAGES
from tests.faults.world import World


def replay(world: World, *stages: str) -> dict[str, int]:
    """Send stages back to the start of their topics; how many messages they read again."""
    world.stop()
    for stage in stages:
        world.log.back_to_the_start(world.group(stage), world.topics_of(stage))
    again = {stage: world.lag(stage) for stage in stages}
    world.start(*STAGES)
    world.settle()
    return again


@pytest.mark.faults
def test_topics_read_again_from_the_start_change_nothing(world: World, small: Expected) -> None:
    messages = small.stream.messages
    world.start(*STAGES)
    world.send(messages)
    world.settle()
    before = sum(world.log.ends(world.topics_of("fold")).values())
    again = replay(world, "record")
    assert again == {"record": len(messages)}
    # Record keeps nothing of what it saw, so all of it came to fold once more.
    assert sum(world.log.ends(world.topics_of("fold")).values()) == 2 * before
    again = replay(world, "fold", "identify")
    assert again["fold"] == 2 * before
    assert again["identify"]
    world.compare(small)


@pytest.mark.faults
def test_a_replay_beside_live_traffic_changes_nothing(make_world: Make, large: Expected) -> None:
    world = make_world(worker={"batch_events": 500})
    messages = large.stream.messages
    half = len(messages) // 2
    world.start(*STAGES, *STAGES)
    world.send(messages[:half])
    world.settle()
    world.stop()
    for stage in STAGES:
        world.log.back_to_the_start(world.group(stage), world.topics_of(stage))
        assert world.lag(stage)
    world.start(*STAGES, *STAGES)
    world.send(messages[half:])
    world.settle()
    world.compare(large)

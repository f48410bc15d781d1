"""Workers are killed with −9 in mid-batch; who comes after them does the rest, and nothing twice."""

import random
import time

import pytest

from tests.faults.conftest import Make
from tests.faults.embedded import Expected
from tests.faults.hits import Killer
from tests.faults.log import until
from tests.faults.workers import STAGES

QUICK_KILLS = 2
BATCH = {"record": 40, "fold": 40, "identify": 1}
"""Small, so that each stage is often in the middle of one, and the next one has a backlog."""
KILLS = 50


def test_whoever_follows_a_killed_worker_counts_everything_once(
    make_world: Make, small: Expected
) -> None:
    world = make_world()
    dice, killer = random.Random(1), Killer(world)
    world.send(small.stream.messages)
    # Stage by stage, so that each has a backlog to be killed in.
    for stage in STAGES:
        for _ in range(QUICK_KILLS):
            before = world.done(stage)
            world.start(stage, batch=BATCH[stage])
            until(lambda: world.done(stage) > before, f"{stage} commits a batch")  # noqa: B023
            time.sleep(dice.random() * 0.1)
            killer.kill(stage)
            assert world.lag(stage), f"the backlog of {stage} was too short for the kills"
        assert killer.hits[stage], f"no kill fell into a batch of {stage}: this proves nothing"
        world.start(stage, batch=50)
        world.finish(stage)
    world.settle()
    world.compare(small)


@pytest.mark.faults
def test_workers_killed_at_fifty_random_moments_end_as_those_that_were_not(
    make_world: Make, large: Expected
) -> None:
    world = make_world(worker={"batch_events": 200})
    dice, killer = random.Random(2), Killer(world)
    world.start(*STAGES, *STAGES)
    world.send(large.stream.messages)
    kills = 0
    while kills < KILLS and (busy := [stage for stage in STAGES if world.lag(stage)]):
        stage = dice.choice(busy)
        time.sleep(dice.random())
        killer.kill(stage)
        kills += 1
        world.look()
        world.start(stage, stage)
    print(f"{kills} kills; with work half done: {killer.hits}")
    assert kills == KILLS, "the stream was too short"
    assert all(hits >= 3 for hits in killer.hits.values()), killer.hits
    world.settle()
    world.compare(large)

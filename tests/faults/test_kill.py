"""Workers are killed with −9 in mid-batch; who comes after them does the rest, and nothing twice."""

import random
import time

import pytest

from tests.faults.conftest import Make
from tests.faults.embedded import Expected
from tests.faults.hits import Killer
from tests.faults.log import Background, until
from tests.faults.workers import STAGES

ROUNDS = 2
QUICK_S = 25
"""How long the quick test's stream takes: so long there is something to die in."""
BATCH = 20
"""Small, so that each stage is often in the middle of one."""
KILLS = 50
SIZES = {"record": 200, "fold": 200, "identify": 1}
"""Batches of the long test: identify has little to do, and is to be in the middle of it all the same."""


def test_whoever_follows_a_killed_worker_counts_everything_once(
    make_world: Make, small: Expected
) -> None:
    world = make_world(worker={"batch_events": BATCH})
    dice, killer = random.Random(1), Killer(world)
    messages = small.stream.messages
    sending = Background(lambda: world.send(messages, rate=len(messages) / QUICK_S))
    for _ in range(ROUNDS):
        before = {stage: world.done(stage) for stage in STAGES}
        for worker in reversed(world.start(*STAGES)):
            stage = worker.stage
            until(lambda: world.done(stage) > before[stage], f"{stage} commits a batch")  # noqa: B023
            killer.kill_in_mid_batch(worker, dice)
    assert killer.hits == dict.fromkeys(STAGES, ROUNDS)
    world.start(*STAGES, batch=500)
    sending.wait()
    world.settle()
    world.compare(small)


@pytest.mark.faults
def test_workers_killed_at_fifty_random_moments_end_as_those_that_were_not(
    make_world: Make, large: Expected
) -> None:
    world = make_world(worker={"batch_events": 200})
    dice, killer = random.Random(2), Killer(world)
    for stage in (*STAGES, *STAGES):
        world.start(stage, batch=SIZES[stage])
    world.send(large.stream.messages)
    kills, done = 0, dict.fromkeys(STAGES, 0)
    killed = dict.fromkeys(STAGES, 0)
    while kills < KILLS:
        busy = [stage for stage in STAGES if world.lag(stage)]
        assert busy, "the stream was too short"
        # Not before it works again: a worker that has just started has nothing to lose.
        working = [stage for stage in busy if world.done(stage) > done[stage]]
        if not working:
            time.sleep(0.2)
            continue
        # Record is done with everything in half a minute, and is to be hit as often as the others.
        stage = "record" if "record" in working else dice.choice(working)
        time.sleep(dice.random() / 2)
        killer.kill(stage)
        kills += 1
        killed[stage] += 1
        done[stage] = world.done(stage)
        world.look()
        for _ in range(2):
            world.start(stage, batch=SIZES[stage])
    print(f"kills: {killed}; with work half done: {killer.hits}")
    assert killer.hits["record"] >= 3, killer.hits
    assert killer.hits["fold"] >= 3, killer.hits
    assert killer.hits["identify"], killer.hits
    world.settle(600)
    world.compare(large)

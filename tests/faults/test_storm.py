"""Workers join and leave all the time: partitions change hands, and nothing is lost or counted twice."""

import random
import time

import pytest

from tests.faults.conftest import Make
from tests.faults.embedded import Expected
from tests.faults.log import Background
from tests.faults.workers import STAGES
from tests.faults.world import World

WORKERS_MAX = 4
"""Of one stage: as many as there are partitions."""


def storm(world: World, rounds: int, dice: random.Random, pause_s: float) -> dict[str, int]:
    """Let workers join, drain and die at random; how often partitions went from one to another."""
    moved = dict.fromkeys(STAGES, 0)
    owners: dict[tuple[str, int], str] = {}
    for _ in range(rounds):
        stage = dice.choice(STAGES[:2])
        # One that says nothing yet has not come as far as to hear that it should end.
        mine = [worker for worker in world.of(stage) if worker.tail()]
        if len(mine) < 2 or (len(mine) < WORKERS_MAX and dice.random() < 0.5):
            world.start(stage)
        elif dice.random() < 0.5:
            world.kill(dice.choice(mine))
        else:
            world.stop(dice.choice(mine))
        time.sleep(pause_s * dice.random())
        for each in STAGES:
            for member, places in world.log.members(world.group(each)).items():
                for place in places:
                    moved[each] += owners.get(place, member) != member
                    owners[place] = member
    return moved


@pytest.mark.faults
def test_a_storm_of_rebalances_loses_and_repeats_nothing(make_world: Make, large: Expected) -> None:
    world = make_world(worker={"batch_events": 100})
    messages = large.stream.messages
    world.start(*STAGES, *STAGES)
    # Slow enough that there is work in every round.
    sending = Background(lambda: world.send(messages, rate=len(messages) / 240))
    moved = storm(world, 60, random.Random(31), pause_s=5)
    assert sending.running or world.lag("record") or world.lag("fold"), "the stream was too short"
    sending.wait()
    print(f"partitions that changed hands: {moved}")
    assert moved["record"] > 20
    assert moved["fold"] > 20
    world.settle()
    world.compare(large)

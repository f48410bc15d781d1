"""Crashes, zombies, rebalances, outages and replays: the workers end where one process would (DESIGN §3.5)."""

from pathlib import Path
from typing import Any

import pytest

from profiles.part import decode
from simulator.shop import Shop
from tests.ingest.workers.world import World
from tests.workspace import Workspace

HISTORIES = 60


@pytest.fixture(scope="module")
def stream() -> list[dict[str, Any]]:
    events = [event for event, _ in Shop(seed=11, people=14, days=6)]
    return events[:260]


@pytest.fixture(scope="module")
def expected(
    stream: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    straight = Workspace(tmp_path_factory.mktemp("straight"))
    straight.take(stream)
    found = straight.everything()
    straight.close()
    return found


def test_a_stream_without_trouble(
    stream: list[dict[str, Any]], expected: dict[str, Any], tmp_path: Path
) -> None:
    world = World(0, trouble=0.0)
    world.run(stream)
    world.settle()
    got = world.everything(tmp_path)
    for what in expected:
        assert got[what] == expected[what], what
    assert world.followed() == world.durable.clusters()


@pytest.mark.parametrize("start", range(0, HISTORIES, 20))
def test_no_history_changes_who_is_who_or_what_they_did(
    stream: list[dict[str, Any]], expected: dict[str, Any], tmp_path: Path, start: int
) -> None:
    seen: dict[str, int] = {}
    for seed in range(start, start + 20):
        world = World(seed)
        world.run(stream)
        world.settle()
        got = world.everything(tmp_path / str(seed))
        for what in expected:
            assert got[what] == expected[what], (seed, what)
        assert world.followed() == world.durable.clusters(), seed
        for _, blob in world.durable.parts.values():
            decode(blob)
        for what, count in world.seen.items():
            seen[what] = seen.get(what, 0) + count
    print(seen)
    assert min(seen[what] for what in ("killed", "store failed", "evicted in a batch")) > 100

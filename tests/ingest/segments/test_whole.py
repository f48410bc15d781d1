"""A backfill looks at all profiles of some leaves at once; what it finds is what `Evaluator` finds for each."""

from itertools import count
from pathlib import Path

import pytest

from identity.nodes import code_of
from identity.rules import Rules
from ingest.segments.filling import Filled, Filler
from ingest.segments.whole import Whole
from profiles.segments.membership import Standing
from simulator.shop import Shop
from tests.bench.segments_data import Trees, define, mixed
from tests.workspace import DAY, NOON, Workspace

_SAME_CODE = next(f"t{n}" for n in count() if code_of(f"t{n}") == code_of("crm_id"))
NAMING: Trees = {
    "known-to-sales": {"has": "crm_id"},
    "known-to-nobody": {"has": _SAME_CODE},
    "on-a-browser": {"has": "anonymous_id"},
    "either": {"any": [{"in_segment": "s000"}, {"event": "Product Added", "within": "7d"}]},
    "never": {"not": {"event": "Order Completed"}},
    "no-more-than": {"event": "Product Viewed", "within": "9d", "count": {"at_most": 2}},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """People who share devices, a kiosk among them, while segments were in force."""
    rules = Rules(external_ids=("crm_id",))
    world = Workspace(Path(tmp_path_factory.mktemp("whole")), rules)
    define(world.store.definitions, mixed(20) | NAMING, 1, NOON)
    shop = Shop(seed=11, people=60, days=20, visits_per_day=0.2)
    world.take([event for event, _ in shop])
    sales = {"externalId": [{"type": "crm_id", "id": "4711"}]}
    world.see(browser="b1", user="asha", view="i1", at=NOON, context=sales)
    for n in range(world.rules.owners_max + 2):
        world.see(browser="kiosk", user=f"guest{n}", view="i1", at=NOON + n * DAY // 10)
    world.now = max(row.received_ms for row in world.store.timeline.scan())
    return world


def found(filled: Filled) -> tuple[object, ...]:
    """What was found, whatever its order."""
    standings = {each.profile_id: each for each in filled.standings}
    return filled.profiles, standings, sorted(filled.told, key=lambda t: (t.profile_id, t.sequence))


def test_all_at_once_and_one_by_one_find_the_same(world: Workspace) -> None:
    filler, leaves = Filler(world.store, world.rules), world.store.parts.leaves(None, 10_000)
    catalogue = world.segments.catalogue()
    forgotten = [Standing(profile_id=node) for node in leaves]
    world.store.memberships.write(forgotten, [])
    assert Whole(world.store, world.rules).look(leaves, catalogue, world.now) is not None

    once = filler.look(leaves, catalogue, world.now)
    assert len(once.standings) > 20
    everywhere = [segment for each in once.standings for segment in each.segments]
    assert everywhere.count("known-to-sales") == 1
    assert "known-to-nobody" not in everywhere
    assert found(once) == found(filler.look_one_by_one(leaves, catalogue, world.now))

    world.store.memberships.write(once.standings, once.told)
    later = world.now + 5 * DAY
    again = filler.look(leaves, catalogue, later)
    assert found(again) == found(filler.look_one_by_one(leaves, catalogue, later))
    assert any(not each.entered for each in again.told)


def test_parts_that_lack_something_are_looked_at_one_by_one(world: Workspace) -> None:
    define(world.store.definitions, {"new": {"event": "Cart Viewed"}}, 2, world.now)
    leaves = world.store.parts.leaves(None, 10_000)

    looked = Whole(world.store, world.rules).look(leaves, world.segments.catalogue(), world.now)

    assert looked is None

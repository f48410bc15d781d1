"""A grown store is taken along into another one, whole, however often it is interrupted."""

from pathlib import Path

import pytest

from identity.nodes import Node
from profiles.segments.catalogue import Edit, Put
from storage.copying import STEPS, copy, differences
from storage.errors import Misconfigured
from storage.ports import CatalogItem, DeadLetter, Store, StoredPosition
from storage.profiles import Lookup
from storage.segment_ports import Delivery
from storage.sqlite import SqliteStore
from tests.workspace import KEYS, NOON, Workspace

FILES = ["file:///events.jsonl"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A shop with people, shared browsers, companions, conflicts, refusals, items and files."""
    made = Workspace(tmp_path_factory.mktemp("grown"))
    for n in range(300):
        made.see(browser=f"b{n % 120}", view=f"item{n % 7}", at=NOON + n * 60_000)
        if n % 3 == 0:
            made.see(
                type="identify", browser=f"b{n % 120}", user=f"u{n % 60}", at=NOON + n * 60_000,
                traits={"email": f"e{n % 50}@example.com"},
                context={"device": {"id": f"d{n % 40}", "advertisingId": f"ad{n % 40}"}},
            )  # fmt: skip
    made.store.definitions.append(
        Edit(revision=1, time_ms=NOON, author="asha", put=(Put("lookers", {"event": "x"}),))
    )
    made.store.catalog.upsert([CatalogItem(id=f"item{n}", name=f"Item {n}") for n in range(7)])
    made.store.dead_letters.add(
        [DeadLetter(received_ms=NOON, source="web", reason="no_type", detail="", raw=b"{}")]
    )
    made.store.deliveries.put(
        [
            Delivery(
                id=f"run{n}", destination=("lotame", "crm")[n % 2], kind="table", mode="full",
                who="meera", started_ms=NOON + n // 3, ended_ms=NOON + 9, result="delivered",
            )
            for n in range(90)
        ]
    )  # fmt: skip
    made.store.deliveries.acknowledge("crm", {"lookers": "7"}, NOON)
    made.store.positions.put([StoredPosition(uri=FILES[0], fingerprint="7", line=3, finished=True)])
    return made


class Stopped(Exception):
    """Somebody pulled the plug."""


def fresh(folder: Path) -> SqliteStore:
    return SqliteStore(folder / "copy.sqlite", KEYS)


def profiles(shop: Workspace, store: Store) -> list[object]:
    from storage.profiles import ProfileReader

    reader = ProfileReader(store, shop.rules, KEYS.hasher(), KEYS.vault())
    leaves = shop.store.parts.leaves(None, 10_000)
    return list(reader.get_many([Lookup(profile_id=leaf) for leaf in leaves], NOON))


def test_what_is_copied_answers_as_before(shop: Workspace, tmp_path: Path) -> None:
    target = fresh(tmp_path)

    copied = copy(shop.store, target, uris=FILES)

    assert shop.store.people.counts()[1] > 0
    assert list(copied.rows) == list(STEPS)
    assert copied.rows["events"] == shop.store.timeline.count() > 300
    assert differences(shop.store, target, 500, FILES) == []
    assert profiles(shop, target) == profiles(shop, shop.store)
    assert target.positions.get(FILES) == shop.store.positions.get(FILES)
    assert target.deliveries.list(1000) == shop.store.deliveries.list(1000)
    # Nothing was told from there yet: everybody is told by the first export.
    assert target.deliveries.positions("crm") == {}


def test_copying_twice_is_the_same_as_once(shop: Workspace, tmp_path: Path) -> None:
    target = fresh(tmp_path)
    copy(shop.store, target)

    assert copy(shop.store, target).resumed == ""
    assert differences(shop.store, target) == []


@pytest.mark.parametrize("step", [*STEPS[:8], "exports"])
def test_an_interrupted_copy_goes_on(
    shop: Workspace, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.copying.BATCH", 40)
    target = fresh(tmp_path)

    def pull_the_plug(at: str, done: int, total: int) -> None:
        if at == step:
            raise Stopped

    with pytest.raises(Stopped):
        copy(shop.store, target, pull_the_plug)
    began: list[str] = []
    copied = copy(shop.store, target, lambda at, done, total: began.append(at), uris=FILES)

    assert STEPS.index(began[0]) >= STEPS.index(step)
    assert copied.rows["events"] == shop.store.timeline.count()
    assert differences(shop.store, target, 500, FILES) == []


def test_a_difference_is_named(shop: Workspace, tmp_path: Path) -> None:
    target = fresh(tmp_path)
    copy(shop.store, target)
    leaf = shop.store.parts.leaves(None, 1)[0]
    target.parts.write({leaf: (10**6, b"other bytes")})
    target.identifiers.put({Node(b"n" * 16): ("email", b"sealed")})

    found = differences(shop.store, target)

    assert f"parts of {leaf.hex()} differ" in found
    assert any(each.startswith("identifiers: ") for each in found)


def test_nothing_is_copied_onto_people_that_workers_decided(
    shop: Workspace, tmp_path: Path
) -> None:
    target = fresh(tmp_path)
    target.leases.take("identify", "a worker")

    with pytest.raises(Misconfigured, match="onefold migrate"):
        copy(shop.store, target, lease="identify")

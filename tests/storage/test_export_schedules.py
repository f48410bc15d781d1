"""Schedules of one workspace on several machines: one of them exports, and it is done once (real Cassandra)."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import yaml

from service.config import load_config
from service.exporting import Exports, UnderWay
from service.exports_file import DestinationFile, read_destinations
from service.holding import HeldElsewhere, Hold
from service.workspace import Workspace
from storage.cassandra.settings import CassandraSettings
from storage.cassandra.store import CassandraStore
from tests.destinations.people import some_people
from tests.faults.embedded import keys_file

Machine = Callable[[str], tuple[Exports, DestinationFile]]


@pytest.fixture
def machine(
    cassandra_store: CassandraStore, cassandra_settings: CassandraSettings, tmp_path: Path
) -> Iterator[Machine]:
    """A machine of its own folder, and a destination that is due."""
    opened: list[Workspace] = []
    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / "crm.yaml").write_text(
        "kind: table\npurpose: [ads]\nsegments: [regulars]\ntarget: {url: ../crm}\nschedule: {every: 1h}\n"
    )

    def make(name: str) -> tuple[Exports, DestinationFile]:
        config = tmp_path / f"{name}.yaml"
        content = {
            "data": str(tmp_path / name), "exports": str(folder),
            "store": {"kind": "cassandra", "keys": str(keys_file(tmp_path))},
            "cassandra": msgspec.to_builtins(cassandra_settings),
        }  # fmt: skip
        config.write_text(yaml.safe_dump(content))
        workspace = Workspace(load_config(config, {}))
        opened.append(workspace)
        exports = Exports(workspace, lambda workspace, types, traits: some_people())
        return exports, read_destinations(folder)["crm"]

    yield make
    for each in opened:
        each.close()


def test_of_two_machines_with_one_schedule_one_exports(
    machine: Machine, cassandra_store: CassandraStore
) -> None:
    (first, file), (second, _) = machine("first"), machine("second")
    sending, go_on = threading.Event(), threading.Event()

    def slowly(people: int) -> None:
        sending.set()
        assert go_on.wait(30)

    running = threading.Thread(target=lambda: first.run_due(file, who="one", progress=slowly))
    running.start()
    assert sending.wait(30)
    assert second.is_due(file)
    with pytest.raises(UnderWay, match="another export of crm is under way"):
        second.run_due(file, who="two")
    go_on.set()
    running.join()
    # Whoever waited for it finds that it is done.
    assert second.run_due(file, who="two") is None
    assert [each.who for each in cassandra_store.deliveries.list(10)] == ["one"]
    outcome = second.run(file, who="two")
    assert outcome.delivery.result == "delivered"


def test_a_hold_ends_with_its_holder_and_not_before(cassandra_store: CassandraStore) -> None:
    holds = cassandra_store.holds
    kept = Hold(holds, "export:crm", "one", hold_s=2, keep_s=0.3)
    with pytest.raises(HeldElsewhere, match="one"):
        Hold(holds, "export:crm", "two")
    time.sleep(2.5)
    kept.check()
    assert holds.holder("export:crm") == "one"
    kept.end()
    # One that dies keeps it no longer; coming back, it learns that it lost it.
    dead = holds.take("export:crm", "dead", 1)
    assert dead is not None
    assert holds.take("export:crm", "two", 1) is None
    time.sleep(1.5)
    late = Hold(holds, "export:crm", "two", hold_s=30)
    assert not holds.keep("export:crm", "dead", dead, 30)
    holds.end("export:crm", dead)
    assert holds.holder("export:crm") == "two"
    late.end()
    assert holds.holder("export:crm") is None
    # Nobody who takes workers' leases is in the way.
    assert cassandra_store.leases.epoch("export:crm") == 0


def test_who_lost_its_hold_stops(cassandra_store: CassandraStore) -> None:
    holds = cassandra_store.holds
    slow = Hold(holds, "export:crm", "slow", hold_s=1, keep_s=60)
    time.sleep(1.2)
    with pytest.raises(HeldElsewhere):
        slow.check()
    slow.end()

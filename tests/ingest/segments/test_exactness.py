"""At any moment, whatever came in whatever order, segments hold whom brute force over all events says."""

import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from ingest import folding
from storage.cassandra.schema import migrate
from storage.cassandra.settings import CassandraSettings
from tests.ingest.segments.exactness import check
from tests.ingest.segments.shop import Shop
from tests.ingest.segments.workers import STAGES, Workers
from tests.servers import Cassandra


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.close()


@pytest.fixture
def workers(cassandra: Cassandra, cassandra_keyspace: str) -> Iterator[Workers]:
    settings = CassandraSettings(
        hosts=cassandra.hosts, port=cassandra.port, keyspace=cassandra_keyspace, replication=1
    )
    migrate(settings)
    made = Workers(settings)
    yield made
    made.close()


def test_segments_hold_whom_brute_force_says(shop: Shop) -> None:
    check(shop, 1, people=20, trees=80, instants=5)


def test_who_waits_is_looked_at_for_all_that_happened_meanwhile(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if every browser were one of a shop, beside live events: each waits for whoever asks.
    monkeypatch.setattr(folding, "LARGE_BYTES", 0)
    shop.segments.expect_live_events()
    check(shop, 2, people=20, trees=80, instants=5)


@pytest.mark.faults
def test_segments_hold_whom_brute_force_says_at_fifty_moments(shop: Shop) -> None:
    check(shop, 7, people=60, trees=200, instants=50)


def check_workers(workers: Workers, seeded: int, *, people: int, trees: int, instants: int) -> None:
    """The same of workers on Cassandra, of which some end and are followed by others."""

    def meanwhile(random: Random) -> None:
        workers.restart(*random.sample(STAGES, random.randrange(len(STAGES) + 1)))

    began = time.perf_counter()
    segments, compared = check(
        workers, seeded, people=people, trees=trees, instants=instants, meanwhile=meanwhile
    )
    print(f"{segments} segments at {instants} moments, {compared:,} answers on Cassandra: all right; "
          f"{time.perf_counter() - began:.0f} s")  # fmt: skip
    assert not workers.letters()
    members = {
        (node, key)
        for key in workers.catalogue().segments
        for node, _ in workers.store.memberships.members(key, None, 100_000)
    }
    assert workers.followed() == members


def test_segments_on_cassandra_hold_whom_brute_force_says(workers: Workers) -> None:
    check_workers(workers, 3, people=6, trees=30, instants=4)


@pytest.mark.faults
def test_segments_on_cassandra_hold_whom_brute_force_says_at_fifty_moments(
    workers: Workers,
) -> None:
    check_workers(workers, 7, people=60, trees=200, instants=50)

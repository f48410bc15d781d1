"""Whatever happens, in whatever order and with whatever trouble: who is who obeys its laws on both stores."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.cassandra.settings import CassandraSettings
from storage.cassandra.store import CassandraStore
from storage.sqlite import SqliteStore
from tests.identity.strategies import RULES
from tests.storage.identity_deciders import Here, Workers
from tests.storage.identity_running import WITHOUT_SHRINKING, run
from tests.workspace import KEYS


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    store = SqliteStore(tmp_path / "onefold.sqlite", KEYS)
    yield Here(store, RULES)
    store.close()


@pytest.fixture
def workers(
    cassandra_store: CassandraStore, cassandra_settings: CassandraSettings
) -> Iterator[Workers]:
    other = CassandraStore(cassandra_settings, KEYS)
    yield Workers([cassandra_store, other], cassandra_settings, RULES)
    other.close()


def test_here_the_laws_hold(here: Here) -> None:
    run(here, steps=1_200, always_the_same=True)


def test_on_cassandra_the_laws_hold_whoever_decides(workers: Workers) -> None:
    run(workers, steps=120, phases=WITHOUT_SHRINKING, always_the_same=True)


@pytest.mark.faults
def test_here_the_laws_hold_for_ten_thousand_steps(here: Here) -> None:
    assert run(here, steps=12_000).steps >= 10_000
    assert here.struck.keys() >= {"killed", "failed"}


@pytest.mark.faults
def test_on_cassandra_the_laws_hold_for_ten_thousand_steps(workers: Workers) -> None:
    assert run(workers, steps=12_000, phases=WITHOUT_SHRINKING).steps >= 10_000
    assert workers.struck.keys() >= {"killed", "failed", "asleep"}

"""Whatever happens, in whatever order and with whatever trouble: who is who obeys its laws on both stores."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from storage.cassandra.settings import CassandraSettings
from storage.cassandra.store import CassandraStore
from storage.sqlite import SqliteStore
from tests.identity.strategies import RULES
from tests.storage.identity_deciders import Deciders, Here, Workers
from tests.storage.identity_machine import IdentityMachine, Tally
from tests.workspace import KEYS

WITHOUT_SHRINKING = (Phase.explicit, Phase.generate)
"""A shorter failure would take thousands of runs; against real servers that is hours."""


def run(
    deciders: Deciders,
    *,
    steps: int,
    phases: tuple[Phase, ...] = tuple(Phase),
    always_the_same: bool = False,
) -> Tally:
    """Histories of 40 steps until there are so many steps; what was tried."""
    tally = Tally()
    started = time.monotonic()

    class Machine(IdentityMachine):
        def __init__(self) -> None:
            super().__init__(deciders, tally)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=steps // 40,
            stateful_step_count=40,
            deadline=None,
            database=None,
            derandomize=always_the_same,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )
    took = time.monotonic() - started
    seen = ", ".join(f"{name} {count}" for name, count in sorted(tally.seen.items()))
    struck = ", ".join(f"{kind} {count}" for kind, count in sorted(deciders.struck.items()))
    print(f"\n{tally.steps} steps in {took:.0f} s; {seen}; trouble in the middle of work: {struck}")
    return tally


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
    yield Workers([cassandra_store, other], RULES)
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

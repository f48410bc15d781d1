"""Many histories of the identity machine, and what was tried in them."""

import time

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.storage.identity_deciders import Deciders
from tests.storage.identity_machine import IdentityMachine, Tally

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

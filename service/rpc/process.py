"""What a serving process sets for itself, once, when everything is loaded."""

import gc
import sys
from typing import Final

from threadpoolctl import threadpool_limits

NEW_OBJECTS_MAX: Final = 100_000
"""Objects made between two collections. One profile is made of about 1,000, none of them in a cycle: Python's
own 700 means a collection in every call."""
SWITCH_S: Final = 0.001
"""After this a thread that waits for Python's lock gets it: else a call that takes 1 ms waits five times
for 5 ms while a catalogue is read."""


def settle() -> None:
    """Pin BLAS to one thread, leave what is loaded out of garbage collection, and collect seldom.

    Requests are the parallel work here: with a thread for each core, a 0.2 ms fold-in spins for 8 ms of CPU.

    Memory that is not in a cycle, which is nearly all, is given back at once as before.
    """
    sys.setswitchinterval(SWITCH_S)
    # Kept in force for the life of the process: the limiter is never restored.
    threadpool_limits(1, "blas")
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS_MAX, 20, 20)

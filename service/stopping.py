"""How a process is asked to end: SIGTERM and SIGINT let it finish, a second one does not."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

AT_ONCE = 128
"""A process that a signal ended has this and the signal's number as its status, by the shell's convention."""


def end_process() -> NoReturn:
    """End with status 0, now: nothing of gRPC's or of any other library's end runs."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM within sets; the second ends the process at once."""
    stop = threading.Event()

    def heard(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(AT_ONCE + number)
        stop.set()

    before = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

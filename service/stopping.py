"""How a process is asked to end: SIGTERM and SIGINT let it finish, a second one does not."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

ENDING: Final = (signal.SIGINT, signal.SIGTERM)
AT_ONCE: Final = 128
"""A process that a signal ended has this and the signal's number as its status, by the shell's convention."""


def end_process() -> NoReturn:
    """End with status 0, now: nothing of gRPC's or of any other library's end runs."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM within sets; the second ends the process at once.

    A thread waits for the signals' numbers on Python's wakeup descriptor. Python's handlers run in the main
    thread, and that sleeps on when the kernel gives the signal to another thread, as it may on a busy machine.
    """
    stop = threading.Event()
    heard, hearing = socket.socketpair()
    hearing.setblocking(False)
    listener = threading.Thread(
        target=_listen, args=(heard, stop), name="onefold-signals", daemon=True
    )
    fd_before = signal.set_wakeup_fd(hearing.fileno())
    before = {number: signal.signal(number, _left_to_the_listener) for number in ENDING}
    listener.start()
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(fd_before)
        hearing.close()
        listener.join()
        heard.close()


def _left_to_the_listener(number: int, frame: FrameType | None) -> None:
    """Python only writes to the wakeup descriptor for signals that have a handler."""


def _listen(heard: socket.socket, stop: threading.Event) -> None:
    """Until the other end is closed."""
    while number := heard.recv(1):
        if number[0] not in ENDING:
            continue
        if stop.is_set():
            os._exit(AT_ONCE + number[0])
        stop.set()

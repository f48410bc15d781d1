"""Streams that follow a log: what comes, as it comes, and a word now and then when nothing does."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

import grpc

from service.rpc.errors import TooManyStreams
from service.rpc.guard import Gate, check

LOOK_S: Final = 0.25
"""What happens is seen by those who watch within this."""
QUIET_S: Final = 30.0
"""So often a stream says that nothing happened: balancers close connections that say nothing."""
WATCH_S_MAX: Final = 600.0
"""A stream ends after this, so that callers spread over servers that were added."""

_Entry = TypeVar("_Entry")


class Watchers:
    """Keeps streams of one kind to a number: each takes a thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._free = threading.Semaphore(most)

    @contextmanager
    def one(self) -> Iterator[None]:
        """One more; TooManyStreams if there is no room."""
        if not self._free.acquire(blocking=False):
            raise TooManyStreams(self._most)
        try:
            yield
        finally:
            self._free.release()


def follow(
    read: Callable[[], Sequence[_Entry]], gate: Gate, context: grpc.ServicerContext
) -> Iterator[Sequence[_Entry]]:
    """What `read` gives, which goes on where it was; now and then nothing, when there is nothing."""
    ends = time.monotonic() + WATCH_S_MAX
    spoke = 0.0
    while time.monotonic() < ends:
        page = read()
        if page or time.monotonic() - spoke > QUIET_S:
            yield page
            spoke = time.monotonic()
        if not page:
            gate.check()
            check(context)
            time.sleep(LOOK_S)

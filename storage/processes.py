"""Other processes that read the store beside this one, and what they find, in order."""

import gc
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from typing import Any, Final, TypeVar

from storage.errors import StoreUnavailable

T = TypeVar("T")
PROCESSES_MAX: Final = 4
"""One process that writes what they find keeps up with so many."""
AHEAD: Final = 2
"""Pieces for each process that are asked for before they are needed."""
COLLECT_EVERY: Final = 50
"""Pieces after which a process looks for garbage that forms cycles: there is hardly any."""


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processes_here() -> int:
    """How many processes may read at a time."""
    return min(cores(), PROCESSES_MAX)


class Processes:
    """Processes that were begun alike. They end with this one, however it ends."""

    def __init__(self, count: int, begin: Callable[..., None], *given: Any) -> None:
        """Each calls `begin` with what is given: it can be sent there."""
        # Not by fork: other threads of this process may hold any lock.
        self._pool = ProcessPoolExecutor(
            count, get_context("spawn"), initializer=_begin, initargs=(begin, given)
        )
        self.most: Final = count * AHEAD
        """Pieces that keep all of them busy."""

    def ask(self, work: Callable[..., T], *piece: Any) -> "Future[T]":
        """Let one of them do some work."""
        return self._pool.submit(_work, work, piece)

    def each(
        self, work: Callable[..., T], pieces: Iterable[tuple[Any, ...]]
    ) -> Generator[T, None, None]:
        """`work` on every piece, in their order; a few are done before they are asked for."""
        asked: deque[Future[T]] = deque()
        try:
            for piece in pieces:
                asked.append(self.ask(work, *piece))
                if len(asked) > self.most:
                    yield asked.popleft().result()
            while asked:
                yield asked.popleft().result()
        except BrokenProcessPool:
            raise StoreUnavailable(
                "a process that read the store was ended; run it again, and see that there is memory for it"
            ) from None
        finally:
            for future in asked:
                future.cancel()

    def close(self) -> None:
        """End them."""
        self._pool.shutdown(cancel_futures=True)


class _Mine:
    """What a process keeps."""

    worked = 0


def _begin(begin: Callable[..., None], given: tuple[Any, ...]) -> None:
    # Whoever presses Ctrl-C means the process that waits for this one, and it says what is to happen.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Nothing here forms cycles, and looking for some among a million small objects is a third of the time.
    gc.disable()
    parent = parent_process()
    if parent is not None:
        # Whoever is killed ends nobody else: without it this process would wait for work forever.
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    begin(*given)


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _work(work: Callable[..., T], piece: tuple[Any, ...]) -> T:
    found = work(*piece)
    _Mine.worked += 1
    if _Mine.worked % COLLECT_EVERY == 0:
        gc.collect()
    return found

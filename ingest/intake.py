"""Batches what concurrent requests bring, so that many of them share one durable transaction."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from identity.event import Event
from ingest.decode import Refused
from ingest.log import LogError
from storage.errors import StoreUnavailable

BATCH_MAX: Final = 2_000
"""Events in one transaction: past this a larger batch gains little and delays the next one."""

NOT_NOW: Final = (StoreUnavailable, LogError, OSError)
"""What is no event's fault: it would meet each request of a batch alike, and whoever sent it tries again."""
_Waiting = tuple[Sequence[Event], Sequence[Refused], asyncio.Future[None]]
"""One request's events, those of it that were refused, and who waits for them."""


class Intake:
    """Takes events from the collector to the pipeline; one batch is under way while the next gathers.

    A request's events are durable when `submit` returns. There is no timer: the time that a transaction
    takes is the time in which the next batch gathers. A request that breaks a batch breaks no other one.
    """

    def __init__(self, process: Callable[[list[Event], list[Refused]], object]) -> None:
        self._process = process
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="onefold-intake")
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def submit(self, events: Sequence[Event], refused: Sequence[Refused]) -> None:
        """Return when `events` and `refused` are durable; raise what kept them from it."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((events, refused, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        await done

    async def _drain(self) -> None:
        while self._waiting:
            await self._share(self._take())

    async def _share(self, batch: list[_Waiting]) -> None:
        """One transaction of all; where one of them breaks it, of each half, until it is alone."""
        events = [event for entry in batch for event in entry[0]]
        refused = [letter for entry in batch for letter in entry[1]]
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._worker, self._process, events, refused)
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, NOT_NOW):
                middle = len(batch) // 2
                await self._share(batch[:middle])
                await self._share(batch[middle:])
                return
            for _, _, done in batch:
                if not done.done():
                    done.set_exception(error)
        else:
            for _, _, done in batch:
                if not done.done():
                    done.set_result(None)

    def _take(self) -> list[_Waiting]:
        size = count = 0
        for events, refused, _ in self._waiting:
            size += len(events) + len(refused)
            count += 1
            if size >= BATCH_MAX:
                break
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    async def close(self) -> None:
        """Finish what was submitted."""
        if self._task is not None:
            await self._task
        self._worker.shutdown()

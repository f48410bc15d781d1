"""Profiles whose segments time alone may change: found when they are due (DESIGN §4)."""

import time
from collections.abc import Callable, Collection
from typing import Final

from identity.nodes import Node
from storage.segment_ports import TIMER_SHARDS, Evaluations

LOOK_EVERY_S: Final = 0.25
"""A window that ends at t is left at t + this and the time of a batch, at the latest."""
AT_ONCE: Final = 1_000
"""Timers of a shard that are sent on at a time: those that come meanwhile wait for the next look."""
OVERLAP_MS: Final = 60_000
"""A timer may be written so long after the moment it was set for was thought of."""
FORGET_EVERY_S: Final = 600.0
FORGET_AFTER_MS: Final = 3_600_000
"""Timers that are so old and still there are nobody's, or their profiles were never looked at."""


class _Watched:
    """How far one shard is."""

    def __init__(self) -> None:
        self.since_ms = 0
        self.sent: dict[Node, int] = {}
        """Those from `since_ms` on that were sent on."""


class Timers:
    """Watches the shards that belong to some partitions. Seeing a timer twice is no harm."""

    def __init__(
        self,
        evaluations: Evaluations,
        now_ms: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._evaluations = evaluations
        self._now_ms = now_ms
        self._clock = clock
        self._looked: float | None = None
        self._forgot = clock()
        self._watched: dict[int, _Watched] = {}

    def due(self, mine: Collection[int], partitions: int) -> list[Node]:
        """Profiles that have become due since they were last asked for, of the shards of partitions `mine`."""
        now = self._clock()
        if self._looked is not None and now - self._looked < LOOK_EVERY_S:
            return []
        self._looked = now
        shards = [n for n in range(TIMER_SHARDS) if n % partitions in mine]
        # A shard that comes back is watched from the start, for somebody else may have had it.
        self._watched = {n: self._watched.get(n) or _Watched() for n in shards}
        found = self._due()
        if now - self._forgot >= FORGET_EVERY_S:
            self._forgot = now
            for n in shards:
                self._evaluations.forget_timers(n, self._now_ms() - FORGET_AFTER_MS)
                self._watched[n] = _Watched()
        return found

    def _due(self) -> list[Node]:
        """Of all shards at the same time: somebody waits for the batch that comes after."""
        now_ms = self._now_ms()
        since_ms = {shard: watched.since_ms for shard, watched in self._watched.items()}
        found: list[Node] = []
        while since_ms:
            more: dict[int, int] = {}
            for shard, some in self._evaluations.timers(since_ms, now_ms, AT_ONCE).items():
                sent = self._watched[shard].sent
                found += [node for timer_ms, node in some if sent.get(node) != timer_ms]
                sent |= {node: timer_ms for timer_ms, node in some}
                if len(some) == AT_ONCE and some[-1][0] != since_ms[shard]:
                    more[shard] = some[-1][0]
            since_ms = more
        for watched in self._watched.values():
            watched.since_ms = max(watched.since_ms, now_ms - OVERLAP_MS)
            watched.sent = {n: at for n, at in watched.sent.items() if at >= watched.since_ms}
        return found

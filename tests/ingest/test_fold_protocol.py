"""Crashes, zombies, duplicates and replays: every part counts each message once (DESIGN §4).

The store here has a distributed store's registers, and applies a worker's writes one by one whenever the
dice say so, or never. `Folder` is the real one.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import pytest

from identity.nodes import Node, NodeHasher
from ingest.folding import Activity, Folder
from profiles.facts import Facts, hash64
from profiles.part import Part, decode
from storage.ports import Store, TimelineRow

LEAVES = [NodeHasher(b"k" * 32).node("user_id", str(n)) for n in range(2)]
HISTORIES = 1_500

Key = tuple[Node, int, str]


class Registers:
    """What is durable: rows keep the lowest offset, parts the highest."""

    def __init__(self) -> None:
        self.rows: dict[Key, int] = {}
        self.parts: dict[Node, tuple[int, bytes]] = {}

    def put_row(self, key: Key, offset: int) -> None:
        self.rows[key] = min(offset, self.rows.get(key, offset))

    def put_part(self, leaf: Node, offset: int, blob: bytes) -> None:
        held = self.parts.get(leaf)
        if held is None or offset > held[0]:
            self.parts[leaf] = (offset, blob)
        elif offset == held[0]:
            assert blob == held[1], (
                "a part at a position must be the same bytes whoever computes it"
            )


class WorkersView:
    """`Timeline` and `Parts` as one worker has them: reads see what is durable, writes wait."""

    def __init__(self, durable: Registers, *, trust_beyond: bool = True) -> None:
        self._durable = durable
        self._trust_beyond = trust_beyond
        self.waiting: list[Callable[[], None]] = []
        self.timeline = self.parts = self

    def add(
        self, rows: Sequence[TimelineRow], beyond: Mapping[Node, int] | None = None
    ) -> list[int]:
        lowest: dict[Key, int] = {}
        for row in rows:
            key = (row.leaf, row.key_ms, row.message_id)
            known = row.key_ms > (beyond or {}).get(row.leaf, 1 << 62)
            stored = row.offset if known else self._durable.rows.get(key, row.offset)
            lowest[key] = min(stored, lowest.get(key, stored))
        for row in rows:
            key = (row.leaf, row.key_ms, row.message_id)
            if lowest[key] == row.offset:
                self.waiting.append(
                    lambda key=key, offset=row.offset: self._durable.put_row(key, offset)  # type: ignore[misc]
                )
        return [lowest[row.leaf, row.key_ms, row.message_id] for row in rows]

    def read(self, leaves: Iterable[Node]) -> dict[Node, bytes]:
        held = self._durable.parts
        return {leaf: held[leaf][1] for leaf in leaves if leaf in held}

    def write(self, blobs: Mapping[Node, tuple[int, bytes]]) -> None:
        for leaf, (offset, blob) in blobs.items():
            self.waiting.append(
                lambda leaf=leaf, offset=offset, blob=blob: self._durable.put_part(
                    leaf, offset, blob
                )  # type: ignore[misc]
            )


class Worker:
    """One process: folds a batch, makes its writes durable one by one, commits, reads the next."""

    def __init__(self, log: Sequence[Activity], durable: Registers, at: int, cache: int) -> None:
        self._log = log
        self._view = WorkersView(durable)
        self._folder = Folder(cast(Store, cast(Any, self._view)), cache)
        self._end = at
        self.at = at

    @property
    def idle(self) -> bool:
        return not self._view.waiting and self._end == self.at

    def step(self, dice: random.Random) -> None:
        if self._view.waiting:
            self._view.waiting.pop(0)()
            if not self._view.waiting:
                self.at = self._end
        elif self.at < len(self._log):
            self._end = min(len(self._log), self.at + dice.randint(1, 6))
            self._folder.fold(list(enumerate(self._log))[self.at : self._end])
            if not self._view.waiting:
                self.at = self._end


def a_log(dice: random.Random) -> list[Activity]:
    """Messages with keys that go forward, and back now and then, and copies of earlier ones."""
    log: list[Activity] = []
    for n in range(dice.randint(5, 40)):
        if log and dice.random() < 0.35:
            log.append(dice.choice(log))
            continue
        name = f"m{n}"
        key_ms = n * 10 - (dice.randint(0, 60) if dice.random() < 0.3 else 0)
        facts = Facts(
            time_ms=key_ms, message=hash64(name), event=name, spelling=name, key_ms=key_ms
        )
        log.append(
            Activity(LEAVES[n % 2], key_ms, name, key_ms, key_ms, "track", name, "web", b"", facts)
        )
    return log


def counted(durable: Registers) -> dict[str, int]:
    parts: list[Part] = [decode(blob) for _, blob in durable.parts.values()]
    return {
        name: counter.total
        for part in parts
        if part.body
        for name, counter in part.body.counters.items()
    }


def run(seed: int) -> tuple[dict[str, int], dict[str, int], int]:
    """What was counted, what should have been, and how many workers were cut off in a batch."""
    dice = random.Random(seed)
    log, durable, cut = a_log(dice), Registers(), 0
    cache = dice.choice([0, 1, 100])
    workers = [Worker(log, durable, 0, cache)]
    committed = 0
    for _ in range(300):
        owner = workers[-1]
        dice.choice(workers).step(dice)
        committed = max(committed, owner.at)
        if dice.random() < 0.04:
            cut += not owner.idle
            # The former owner is gone in mid-batch, or goes on as a zombie that may not commit.
            workers = workers[-1:] if dice.random() < 0.5 else []
            # A replay from the start now and then: what a reset of offsets does.
            committed = 0 if dice.random() < 0.1 else committed
            workers.append(Worker(log, durable, committed, cache))
    last = Worker(log, durable, committed, cache)
    while last.at < len(log):
        last.step(dice)
    return counted(durable), {activity.name: 1 for activity in log}, cut


def test_no_history_of_crashes_and_zombies_loses_or_repeats_a_message() -> None:
    cut = 0
    for seed in range(HISTORIES):
        got, expected, some = run(seed)
        assert got == expected, seed
        cut += some
    assert cut > HISTORIES, (
        "workers must have been cut off in their batches, or this proves nothing"
    )


def test_counting_what_is_beyond_the_newest_key_without_looking_needs_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same histories find the mistake of a part that does not keep its newest key."""
    monkeypatch.setattr("ingest.folding.decode", lambda blob: _without_key(decode(blob)))
    assert any(_is_wrong(seed) for seed in range(200))


def _is_wrong(seed: int) -> bool:
    try:
        got, expected, _ = run(seed)
    except AssertionError:
        return True
    return got != expected


def _without_key(part: Part) -> Part:
    part.newest_key_ms = -1
    return part

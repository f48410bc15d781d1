"""What requests bring at a time shares a transaction, and each is answered for itself."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from identity.event import Event
from ingest.deadletters import Refused
from ingest.decode import decode
from ingest.intake import BATCH_MAX, Intake
from storage.errors import StoreUnavailable
from tests.ingest.http_client import NOW, WEB


def event(name: str) -> Event:
    made = decode(b'{"type": "track", "userId": "u", "event": "%s"}' % name.encode(), NOW, WEB)
    assert isinstance(made, Event)
    return made


class Processing:
    """What stands behind the intake: all of a batch or nothing of it; waits for `go`."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.batches: list[list[str]] = []
        self.refused: list[str] = []
        self.tries = 0
        self.failure: Exception | None = None

    def __call__(self, events: list[Event], refused: list[Refused]) -> None:
        """Take a batch; what is named `bad` breaks it."""
        assert self.go.wait(10)
        self.tries += 1
        if self.failure is not None:
            raise self.failure
        names = [each.name for each in events]
        if "bad" in names:
            raise ValueError("a defect of ours that an event shows")
        self.batches.append(names)
        self.refused += [each.reason for each in refused]


def submitted(
    processing: Processing, requests: Sequence[Sequence[str]], refused: Sequence[Refused] = ()
) -> list[BaseException | None]:
    """What came of requests, all but the first of which come while that one is under way."""

    async def run() -> list[BaseException | None]:
        intake = Intake(processing)
        tasks = []
        for number, names in enumerate(requests):
            letters = refused if number == 1 else ()
            tasks.append(asyncio.create_task(intake.submit([event(n) for n in names], letters)))
            await asyncio.sleep(0.01)
        processing.go.set()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        await intake.close()
        return done

    return asyncio.run(run())


def test_a_lone_request_waits_for_nobody_and_those_that_come_meanwhile_go_together() -> None:
    processing = Processing()
    assert submitted(processing, [["a"], ["b"], ["c", "d"], ["e"]]) == [None] * 4
    assert processing.batches == [["a"], ["b", "c", "d", "e"]]


def test_a_transaction_has_a_largest_size_but_no_request_is_cut() -> None:
    processing = Processing()
    most = ["x"] * (BATCH_MAX - 1)
    submitted(processing, [["a"], most, ["b", "c"], ["d"]])
    assert list(map(len, processing.batches)) == [1, BATCH_MAX + 1, 1]


@pytest.mark.parametrize("place", range(1, 6))
def test_a_request_that_breaks_a_batch_spoils_no_other_one(place: int) -> None:
    processing = Processing()
    requests = [["a"], ["b"], ["c", "d"], ["e"], ["f"], ["g"]]
    requests[place] = ["h", "bad"]
    told = submitted(processing, requests)
    assert [number for number, each in enumerate(told) if each is not None] == [place]
    assert isinstance(told[place], ValueError)
    taken = [name for batch in processing.batches for name in batch]
    assert taken == [n for number, names in enumerate(requests) if number != place for n in names]


def test_what_was_refused_is_kept_though_another_request_breaks_its_batch() -> None:
    processing = Processing()
    letter = Refused(reason="invalid_json", detail="", raw=b"{", received_ms=NOW, source="web")
    assert submitted(processing, [["a"], [], ["bad"]], [letter])[:2] == [None, None]
    assert processing.refused == ["invalid_json"]


def test_a_store_that_cannot_take_events_is_asked_once_for_all_that_wait() -> None:
    processing = Processing()
    processing.failure = StoreUnavailable("busy")
    told = submitted(processing, [["a"], ["b"], ["c"], ["d"]])
    assert all(isinstance(each, StoreUnavailable) for each in told)
    assert processing.tries == 2

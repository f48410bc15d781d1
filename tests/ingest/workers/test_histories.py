"""Crashes, zombies, rebalances, outages and replays: the workers end where one process would (DESIGN §3.5)."""

import logging
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ingest.identify
import ingest.workers.fold
import ingest.workers.identify
from identity.rules import Rules
from ingest.remembering import Memory
from ingest.workers.running import Worker
from simulator.shop import Shop
from tests.ingest.workers.world import World
from tests.workspace import NOON, Workspace

HISTORIES = 30
Stream = list[dict[str, Any]]


def a_shop() -> Stream:
    """What visitors of a small shop do."""
    return [event for event, _ in Shop(seed=11, people=14, days=6)][:260]


def a_mess() -> Stream:
    """Few people with many logins, e-mails and aliases: nearly every event changes who is who."""
    dice = random.Random(5)
    events: Stream = []
    for n in range(140):
        at = NOON - 1_000_000 + dice.randint(0, 500_000)
        event: dict[str, Any] = {
            "messageId": f"m{n}", "type": "identify", "userId": f"u{dice.randint(0, 24)}",
            "anonymousId": f"b{dice.randint(0, 5)}", "originalTimestamp": at, "receivedAt": at,
        }  # fmt: skip
        if n % 14 == 0:
            event |= {"type": "alias", "previousId": f"u{dice.randint(0, 24)}"}
        elif n % 14 == 1:
            event |= {"type": "track", "event": "Product Viewed", "properties": {"product_id": "x"}}
        else:
            event["traits"] = {"email": f"e{dice.randint(0, 30)}@x.com", "plan": n}
        events.append(event)
    return events


def a_home() -> Stream:
    """Few people share browsers, log in, out and in again within the hour; e-mails join some of them."""
    dice = random.Random(9)
    events: Stream = []
    for n in range(120):
        browser = dice.randint(0, 5)
        at = NOON - 20_000_000 + n * 100_000 + dice.randint(-300_000, 300_000)
        event: dict[str, Any] = {
            "messageId": f"m{n}", "type": "identify", "userId": f"u{browser}{dice.randint(0, 2)}",
            "anonymousId": f"b{browser}", "originalTimestamp": at, "receivedAt": at,
        }  # fmt: skip
        if n % 9 == 0:
            event |= {"type": "track", "event": "Logged Out"}
        elif n % 17 == 0:
            event |= {"type": "alias", "previousId": f"u{browser}{dice.randint(0, 2)}"}
        else:
            event["traits"] = {"email": f"e{browser}{dice.randint(0, 6)}@x.com"}
        events.append(event)
    return events


STREAMS = {"shop": (a_shop, False), "mess": (a_mess, True), "home": (a_home, True)}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of outages are no news here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module", params=STREAMS)
def told(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Stream, bool, dict[str, Any]]:
    """A stream, whether it is trusted, and what it comes to in one process."""
    make, trusted = STREAMS[request.param]
    stream = make()
    straight = Workspace(tmp_path_factory.mktemp("straight"), trusted=trusted)
    straight.take(stream)
    found = straight.everything()
    straight.close()
    return stream, trusted, found


def history(
    told: tuple[Stream, bool, dict[str, Any]], folder: Path, seed: int, trouble: float = 1.0
) -> tuple[list[str], dict[str, int]]:
    """What came out wrong of one history, and what happened in it."""
    stream, trusted, expected = told
    world = World(seed, trouble=trouble, trusted=trusted)
    world.run(stream)
    world.settle()
    got = world.everything(folder / str(seed))
    wrong = [what for what in expected if got[what] != expected[what]]
    if world.followed() != world.durable.clusters():
        wrong.append("followed")
    owners = {n: owner for n, owner in world.owners(Rules()).items() if owner}
    heard, whole = world.owners_heard()
    if {n: owner for n, owner in heard.items() if owner} != owners or not whole:
        wrong.append("owners")
    return wrong, world.seen


def test_without_trouble_the_workers_are_as_one_process(
    told: tuple[Stream, bool, dict[str, Any]], tmp_path: Path
) -> None:
    assert history(told, tmp_path, 0, trouble=0.0) == ([], {})


def test_no_history_changes_who_is_who_or_what_they_did(
    told: tuple[Stream, bool, dict[str, Any]], tmp_path: Path
) -> None:
    seen: dict[str, int] = {}
    for seed in range(HISTORIES):
        wrong, some = history(told, tmp_path, seed)
        assert not wrong, seed
        for what, count in some.items():
            seen[what] = seen.get(what, 0) + count
    # Trouble must have struck in the middle of work, or this proves nothing.
    for what in ("killed", "store failed", "log failed", "evicted in a batch", "cut off"):
        assert seen[what] > HISTORIES, what
    assert seen["replayed from the start"] > HISTORIES / 2


def _never_again(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ingest.identify.identify
    monkeypatch.setattr(
        ingest.workers.identify,
        "identify",
        lambda *args, again, **others: real(*args, again=False, **others),
    )


def _keep_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest.workers.fold.Fold, "prepare", lambda self, membership: None)


def _learn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Memory.remember

    def remember(self: Memory, said: Any, uses: Any) -> Any:
        news = real(self, said, uses)
        self.learn(said)
        return news

    monkeypatch.setattr(Memory, "remember", remember)


def _commit_first(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Worker._batch

    def batch(self: Worker, messages: Any) -> int:
        self._commit(messages)
        return real(self, messages)

    monkeypatch.setattr(Worker, "_batch", batch)


MISTAKES = (_never_again, _keep_parts, _learn_at_once, _commit_first)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda each: each.__name__)
def test_the_histories_find_a_mistake(
    mistake: Callable[[pytest.MonkeyPatch], None],
    told: tuple[Stream, bool, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if told[0] == a_home():
        pytest.skip("the other two find them")
    stream_is_mess = told[1]
    if mistake is _never_again and stream_is_mess:
        pytest.skip("in the mess almost everything is decided again by what comes next")
    mistake(monkeypatch)
    for seed in range(500):
        try:
            wrong, _ = history(told, tmp_path, seed)
        except AssertionError:  # the store itself noticed
            return
        if wrong:
            return
    pytest.fail("five hundred histories did not notice")

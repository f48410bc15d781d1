"""Crashes, zombies and replays of the evaluate stage: members as in one process, and all of it told, once."""

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import pytest
import yaml

from identity.nodes import Node
from ingest.workers.evaluate import Evaluate
from profiles.segments.catalogue import Edit, Put
from profiles.segments.membership import Transition
from tests.ingest.segments.shop import Shop
from tests.ingest.workers.shared_store import View
from tests.ingest.workers.world import SETTINGS, STAGES, World
from tests.workspace import DAY, HOUR, NOON

HISTORIES = 10
Stream = list[dict[str, Any]]

FIRST = """
buyers: {event: Order Completed, within: 30d}
loyal: {event: Order Completed, count: {at_least: 3}}
lookers: {all: [{event: Product Viewed}, {not: {event: Order Completed}}]}
gold: {trait: plan, in: [gold, silver]}
"""
SECOND = """
loyal: {event: Order Completed, count: {at_least: 2}}
keen: {event: Product Viewed, count: {at_least: 4}}
gold: null
"""


def a_stream(seed: int = 5, count: int = 130) -> Stream:
    """Few people and browsers who look, order and log in: most events move somebody."""
    dice = random.Random(seed)
    events: Stream = []
    for n in range(count):
        at = NOON - 6 * HOUR + dice.randint(0, 5 * HOUR)
        event: dict[str, Any] = {
            "messageId": f"m{n}", "anonymousId": f"b{dice.randint(0, 11)}",
            "originalTimestamp": at, "receivedAt": at, "type": "track",
        }  # fmt: skip
        kind = dice.random()
        if kind < 0.35:
            event |= {"event": "Product Viewed", "properties": {"product_id": "x"}}
        elif kind < 0.6:
            event |= {"event": "Order Completed", "userId": f"u{dice.randint(0, 19)}"}
        elif kind < 0.75:
            # An order of somebody of whom nothing but an e-mail is known yet.
            email = f"e{dice.randint(0, 19)}@x.com"
            event |= {"event": "Order Completed", "context": {"traits": {"email": email}}}
        else:
            event |= {"type": "identify", "userId": f"u{dice.randint(0, 19)}"}
            plan = dice.choice(["gold", "silver", "bronze"])
            event["traits"] = {"email": f"e{dice.randint(0, 19)}@x.com", "plan": plan}
        events.append(event)
    return events


def edit(revision: int, text: str) -> Edit:
    trees: dict[str, Any] = yaml.safe_load(text)
    return Edit(
        revision=revision, time_ms=NOON, author="asha",
        put=tuple(Put(key, tree) for key, tree in trees.items() if tree is not None),
        removed=tuple(key for key, tree in trees.items() if tree is None),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of outages are no news here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, set[Node]]]:
    """Who is in which segment in one process: at the end of the stream, and when windows have passed."""
    shop = Shop(tmp_path_factory.mktemp("straight"))
    shop.define(FIRST + SECOND.replace("loyal", "later").replace("gold: null", ""))
    shop.define("later: null")
    shop.define(SECOND)
    shop.take(a_stream())
    found = []
    for passes in (0, 40 * DAY):
        shop.wait(passes)
        segments = ("buyers", "loyal", "lookers", "keen", "gold")
        members = shop.store.memberships.members
        found.append({each: {n for n, _ in members(each, None, 10**6)} for each in segments})
    shop.close()
    return found


def members_of(world: World) -> dict[str, set[Node]]:
    found: dict[str, set[Node]] = {
        each: set() for each in ("buyers", "loyal", "lookers", "keen", "gold")
    }
    for _, kept in world.durable.kept.values():
        for segment in kept.standing.segments:
            found[segment].add(kept.standing.profile_id)
    return found


def wrong_in(told: Sequence[Transition], members: dict[str, set[Node]]) -> list[str]:
    """Gaps and contradictions in what was told of each profile, and members of whom it was not told."""
    wrong = []
    by_profile: dict[Node, dict[int, tuple[str, bool]]] = {}
    for each in told:
        said = (each.segment, each.entered)
        if by_profile.setdefault(each.profile_id, {}).setdefault(each.sequence, said) != said:
            wrong.append("two different transitions have one number")
    heard: dict[str, set[Node]] = {segment: set() for segment in members}
    for profile, some in by_profile.items():
        if sorted(some) != list(range(1, len(some) + 1)):
            wrong.append("a transition was never told")
        for _, (segment, entered) in sorted(some.items()):
            if (profile in heard[segment]) is entered:
                wrong.append("entered twice, or left without having entered")
            (heard[segment].add if entered else heard[segment].discard)(profile)
    if heard != members:
        wrong.append("what was told is not what is")
    return wrong


def published(world: World) -> list[tuple[str, int, str, bool]]:
    """What stands on the topic, as (profile, sequence, segment, entered)."""
    found = []
    for message in world.log.messages(SETTINGS.topic("segments")):
        value = msgspec.json.decode(message.value)
        segment = value["properties"]["audience_key"]
        profile = value.get("userId") or value["anonymousId"]
        sequence = value["context"]["onefold"]["sequence"]
        found.append((profile, sequence, segment, value["event"] == "Audience Entered"))
    return found


def history(
    expected: list[dict[str, set[Node]]], seed: int, trouble: float = 1.0
) -> tuple[list[str], dict[str, int]]:
    """What came out wrong of one history, and what happened in it."""
    world = World(seed, trouble=trouble, stages=(*STAGES, "evaluate"))
    definitions = View(world.durable, lambda name: None).definitions
    stream = a_stream()
    definitions.append(edit(1, FIRST))
    world.run(stream[:40])
    definitions.append(edit(2, SECOND))
    world.run(stream[40:])
    world.settle()
    wrong = []
    for n, passes in enumerate((0, 40 * DAY)):
        world.now_ms += passes
        world.drain()
        members = members_of(world)
        wrong += [f"{key} at {n}" for key, who in members.items() if who != expected[n][key]]
    wrong += wrong_in(world.durable.told, members)
    stored = {(t.profile_id.hex(), t.sequence, t.segment, t.entered) for t in world.durable.told}
    if set(published(world)) != stored:
        wrong.append("the topic says something else than the store")
    return wrong, world.seen


def test_without_trouble_the_workers_know_what_one_process_knows(
    expected: list[dict[str, set[Node]]],
) -> None:
    assert all(expected[0][each] for each in ("buyers", "loyal", "lookers", "keen"))
    assert not expected[1]["buyers"]
    assert history(expected, 0, trouble=0.0) == ([], {})


def test_no_history_changes_who_is_in_a_segment_or_what_is_told(
    expected: list[dict[str, set[Node]]],
) -> None:
    seen: dict[str, int] = {}
    for seed in range(HISTORIES):
        wrong, some = history(expected, seed)
        assert not wrong, (seed, wrong)
        for what, count in some.items():
            seen[what] = seen.get(what, 0) + count
    for what in ("killed", "store failed", "log failed", "evicted in a batch", "cut off"):
        assert seen[what] > HISTORIES, what


def _never_again(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Evaluate._read

    def read(self: Evaluate, messages: Any) -> Any:
        asked, unreadable = real(self, messages)
        asked.again.clear()
        return asked, unreadable

    monkeypatch.setattr(Evaluate, "_read", read)


def _tell_first(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Evaluate._keep

    def keep(self: Evaluate, asked: Any, kept: Any, found: Any) -> None:
        self._tell(asked, found.told)
        real(self, asked, kept, found)

    monkeypatch.setattr(Evaluate, "_keep", keep)


def _pass_nobody_on(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Evaluate._found

    def found(self: Evaluate, asked: Any) -> Any:
        real(self, asked)
        return []

    monkeypatch.setattr(Evaluate, "_found", found)


def _tell_nobody_of_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.workers.publishing.causes_of", lambda changes: {})


MISTAKES: tuple[tuple[Callable[[pytest.MonkeyPatch], None], int], ...] = (
    (_never_again, 0), (_tell_first, 3),
    (_pass_nobody_on, 3), (_tell_nobody_of_merges, 4),
)  # fmt: skip
"""Mistakes, and a history that is known to notice: the search begins there."""


@pytest.mark.parametrize(
    ("mistake", "first"), MISTAKES, ids=[mistake.__name__ for mistake, _ in MISTAKES]
)
def test_the_histories_find_a_mistake(
    mistake: Callable[[pytest.MonkeyPatch], None],
    first: int,
    expected: list[dict[str, set[Node]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mistake(monkeypatch)
    for seed in range(first, first + 300):
        wrong, _ = history(expected, seed)
        if wrong:
            return
    pytest.fail("three hundred histories did not notice")


def test_who_lost_its_lease_between_writing_and_telling_tells_nobody() -> None:
    world = World(0, trouble=0.0, stages=(*STAGES, "evaluate"))
    View(world.durable, lambda name: None).definitions.append(edit(1, FIRST))
    stream = a_stream()
    world.run(stream[:40])
    world.drain()
    for event in stream[40:]:
        world.send(event)
    others = [each for each in world.processes if each.stage != "evaluate"]
    while any(each.step() for each in others):
        pass
    (evaluator,) = (each for each in world.processes if each.stage == "evaluate")
    real = evaluator.view.point
    taken: list[int] = []

    def point(name: str) -> None:
        if name == "standing" and not taken:
            taken.append(len(published(world)))
            for lease in world.durable.epochs:
                world.durable.epochs[lease] += lease.startswith("evaluate:")
        real(name)

    evaluator.view.point = point
    while not taken:
        evaluator.step()
    assert [len(published(world))] == taken
    world.drain()
    assert wrong_in(world.durable.told, members_of(world)) == []
    assert len(published(world)) > taken[0]

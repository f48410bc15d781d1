"""One process decides who is who: take-overs, what was announced and never written, and former deciders."""

from collections.abc import Callable
from typing import cast

import msgspec
import pytest

from identity.changes import Kind, PersonChange
from identity.evidence import Link
from identity.nodes import Node
from identity.resolve import Cluster
from identity.rules import Rules
from ingest.identify import Statements
from ingest.log import Message
from ingest.messages import EPOCH, encode_statements
from ingest.workers.identify import identify_worker
from ingest.workers.letters import UNREADABLE
from ingest.workers.metering import Unmetered
from ingest.workers.publishing import LEASE, Publisher
from ingest.workers.running import Superseded, Worker
from storage.errors import StoreUnavailable
from storage.ports import Store
from tests.ingest.workers.world import SETTINGS, Killed, Process, World
from tests.workspace import KEYS, NOON

LINKS, CHANGES = SETTINGS.topic("links"), SETTINGS.topic("changes")
GROUP = SETTINGS.group("identify")
hasher = KEYS.hasher()
ASHA, RAVI = hasher.node("user_id", "asha"), hasher.node("user_id", "ravi")
MAIL = hasher.node("email", "a@b.com")


def link(one: Node, other: Node, at: int = NOON) -> Link:
    a, b = sorted((one, other))
    return Link(a=a, b=b, first_ms=at, first_event=f"m{at}", source="web", last_ms=at)


def say(world: World, *links: Link) -> None:
    for key, value in encode_statements(Statements(links)):
        world.log.append(LINKS, value, key)


def at_point(process: Process, name: str, do: Callable[[], None]) -> None:
    """Do something, once, when a process comes to a write."""
    real = process.view.point

    def point(found: str) -> None:
        if found == name:
            process.view.point = real
            do()
        real(found)

    process.view.point = point


def kill() -> None:
    raise Killed


@pytest.fixture
def world() -> World:
    return World(0, trouble=0.0)


def decider(world: World) -> Process:
    """A new process that is to decide; those before it have lost their partition."""
    for process in world.processes:
        for consumer in process.consumers:
            world.log.evict(consumer)
    world.start("identify")
    return world.processes[-1]


def merged(change_id: str) -> PersonChange:
    """A change of which no evidence tells."""
    after = Cluster(ASHA, frozenset({ASHA, MAIL}))
    return PersonChange(id=change_id, time_ms=NOON, kind=Kind.MERGED, before=(), after=(after,))


def told(world: World) -> list[tuple[int, str]]:
    """(epoch, kind) of each change on the topic."""
    return [
        (int(message.headers[EPOCH]), msgspec.json.decode(message.value)["kind"])
        for message in world.log.messages(CHANGES)
    ]


def test_a_new_link_joins_two_and_followers_hear_of_it(world: World) -> None:
    process = decider(world)
    say(world, link(ASHA, MAIL))
    world.drain()
    (cluster,) = world.durable.clusters()
    assert cluster.members == {ASHA, MAIL}
    (message,) = world.log.messages(CHANGES)
    assert message.key == cluster.profile_id.hex().encode()
    assert message.headers == {EPOCH: b"1"}
    body = msgspec.json.decode(message.value)
    assert (body["format"], body["time"], body["kind"]) == (1, NOON, "created")
    assert [profile["members"] for profile in body["before"]] == [
        [node.hex()] for node in sorted((ASHA, MAIL))
    ]
    assert body["after"] == [
        {"profile": cluster.profile_id.hex(), "members": [n.hex() for n in sorted((ASHA, MAIL))]}
    ]
    assert world.durable.announced[1] == ()
    assert list(world.durable.history) == [body["id"]]
    assert world.log.lag(GROUP, [LINKS]) == 0
    assert process.worker.step() == 0


def test_a_link_that_says_nothing_new_changes_nothing(world: World) -> None:
    decider(world)
    say(world, link(ASHA, MAIL))
    world.drain()
    say(world, link(ASHA, MAIL, NOON + 1))
    world.drain()
    assert len(world.log.messages(CHANGES)) == 1
    assert world.log.lag(GROUP, [LINKS]) == 0


def test_only_one_of_several_decides(world: World) -> None:
    for _ in range(3):
        world.start("identify")
    world.drain()
    say(world, link(ASHA, MAIL))
    world.drain()
    assert world.durable.epoch >= 1
    assert told(world) == [(world.durable.epoch, "created")]


def test_a_change_that_was_announced_is_published_by_whoever_takes_over(world: World) -> None:
    first = decider(world)
    say(world, link(ASHA, MAIL))
    at_point(first, "history", kill)  # sent, but not noted as published
    world.drain()
    decider(world)
    world.drain()
    assert told(world) == [(1, "created"), (2, "created")]
    assert len({message.value for message in world.log.messages(CHANGES)}) == 1, "the same text"
    assert world.durable.announced[1] == ()


def test_people_half_written_are_written_by_whoever_takes_over(world: World) -> None:
    first = decider(world)
    say(world, link(ASHA, MAIL))
    at_point(first, "person", kill)
    world.drain()
    assert world.durable.clusters() == set()
    decider(world)
    world.drain()
    assert {cluster.members for cluster in world.durable.clusters()} == {frozenset({ASHA, MAIL})}
    assert world.followed() == world.durable.clusters()


def test_what_was_announced_and_never_came_true_is_corrected(world: World) -> None:
    first = decider(world)
    say(world, link(ASHA, MAIL))
    at_point(first, "person", kill)
    world.drain()
    # A former decider has stored evidence that came earlier, but decided nothing.
    earlier = link(RAVI, MAIL, NOON - 1)
    world.durable.links[earlier.a, earlier.b] = earlier
    say(world, earlier)
    decider(world)
    world.drain()
    assert {cluster.members for cluster in world.durable.clusters()} == {frozenset({RAVI, MAIL})}
    assert world.followed() == world.durable.clusters()


def test_an_attempt_that_failed_half_way_is_corrected_by_the_next(world: World) -> None:
    process = decider(world)
    earlier = link(RAVI, MAIL, NOON - 1)
    say(world, link(ASHA, MAIL))

    def fail() -> None:
        world.durable.links[earlier.a, earlier.b] = earlier
        say(world, earlier)
        raise StoreUnavailable("no node answers")

    at_point(process, "person", fail)
    world.drain()
    assert {cluster.members for cluster in world.durable.clusters()} == {frozenset({RAVI, MAIL})}
    assert world.followed() == world.durable.clusters()


def test_what_a_former_decider_announces_later_is_not_published(world: World) -> None:
    first = decider(world)
    world.drain()
    first.alive = False  # it sleeps
    second = decider(world)
    at_point(second, "link", lambda: first.view.changes.announce([merged("late")]))
    say(world, link(RAVI, MAIL))
    world.drain()
    assert world.followed() == world.durable.clusters()
    assert "late" not in world.durable.history


def test_a_former_decider_does_not_publish_what_its_successor_announced(world: World) -> None:
    """It could not remove it, and would send it again for as long as the successor is down."""
    first = decider(world)
    world.drain()
    former_epoch = world.durable.epoch
    first.alive = False  # it sleeps
    second = decider(world)
    world.drain()
    second.view.changes.announce([merged("own")])
    with pytest.raises(Superseded):
        Publisher(cast(Store, first.view), world.log.producer(), SETTINGS).publish(former_epoch)
    assert world.log.messages(CHANGES) == []


def test_a_former_decider_that_wakes_up_writes_nobody(world: World) -> None:
    """It has decided on what it knew, and sleeps before it announces."""
    first = decider(world)
    say(world, link(ASHA, MAIL))

    def sleep() -> None:
        say(world, link(RAVI, MAIL, NOON - 1))
        for consumer in first.consumers:
            world.log.evict(consumer)
        world.start("identify")
        for _ in range(4):
            world.processes[-1].worker.step()

    at_point(first, "announce", lambda: at_point(first, "announce", sleep))
    world.drain()
    assert world.durable.epoch > 1
    assert {cluster.members for cluster in world.durable.clusters()} == {frozenset({RAVI, MAIL})}
    assert world.followed() == world.durable.clusters()
    assert world.durable.announced[1] == ()


def test_a_lease_that_somebody_else_took_is_noticed_before_anybody_is_written(
    world: World,
) -> None:
    first = decider(world)
    world.drain()

    def taken() -> None:
        world.durable.epochs["identity"] += 1

    at_point(first, "epoch", taken)
    say(world, link(ASHA, MAIL))
    first.worker.step()
    assert world.durable.clusters() == set(), "superseded: it has stopped"
    world.drain()
    assert first.view.stamp[0] == world.durable.epoch == 3, "it joined again, with a new epoch"
    assert {cluster.members for cluster in world.durable.clusters()} == {frozenset({ASHA, MAIL})}
    assert world.followed() == world.durable.clusters()


def test_a_former_decider_that_reads_on_takes_nothing_away_from_the_next(world: World) -> None:
    first = decider(world)
    world.drain()
    second = decider(world)
    for consumer in first.consumers:
        consumer.cut_off = True  # the group is out of reach, the topic is not
    second.worker.step()
    say(world, link(ASHA, MAIL))
    first.worker.step()
    second.worker.step()
    assert {cluster.members for cluster in world.durable.clusters()} == {frozenset({ASHA, MAIL})}
    assert world.followed() == world.durable.clusters()


def test_garbage_becomes_a_dead_letter_and_blocks_nothing(world: World) -> None:
    decider(world)
    garbage: Message = world.log.append(LINKS, b"\xc1garbage", b"k")
    say(world, link(ASHA, MAIL))
    world.drain()
    assert len(world.durable.clusters()) == 1
    (letter,) = world.durable.letters.values()
    assert (letter.reason, letter.origin, letter.raw) == (
        UNREADABLE, garbage.origin, garbage.value,
    )  # fmt: skip


def test_conflicts_changes_and_the_epoch_are_metered(world: World) -> None:
    heard: list[tuple[str, object]] = []

    class Meter(Unmetered):
        def changed(self, kind: str, count: int) -> None:
            heard.append((kind, count))

        def conflict(self, rule: str, count: int) -> None:
            heard.append((rule, count))

        def epoch(self, epoch: int) -> None:
            heard.append(("epoch", epoch))

    worker: Worker = identify_worker(
        world.log, decider(world).view.store, Rules(), SETTINGS, "test", people_meter=Meter()
    )
    say(world, link(ASHA, MAIL), link(RAVI, MAIL, NOON + 5))
    worker.step()
    worker.step()
    worker.stage.close()
    assert ("created", 1) in heard
    assert ("limit:user_id", 1) in heard
    assert [each for each in heard if each[0] == "epoch"][-2:] == [("epoch", 1), ("epoch", 0)]


def test_every_batch_of_changes_is_published_however_many_there_are(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.workers.publishing.CHANGES_AT_ONCE", 3)
    decider(world)
    pairs = [
        link(hasher.node("user_id", f"u{n}"), hasher.node("email", f"e{n}@x.com"))
        for n in range(10)
    ]
    say(world, *pairs)
    world.drain()
    assert len(told(world)) == 10
    changes: list[PersonChange] = list(world.durable.history.values())
    assert len(changes) == 10


def test_the_lease_is_the_one_that_a_rebuild_takes() -> None:
    assert LEASE == "identity"

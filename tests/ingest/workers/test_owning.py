"""Whose devices are, told over the log: several recorders at a time, take-overs, merges and kiosks."""

from typing import Any

import pytest

import ingest.identify
import ingest.owning
from identity.evidence import MustLink
from identity.nodes import Node
from identity.rules import Rules
from ingest.messages import encode_statements
from ingest.workers.publishing import LEASE
from tests.ingest.workers.test_identify import CHANGES, at_point, decider, kill, link
from tests.ingest.workers.world import SETTINGS, World
from tests.workspace import KEYS, NOON

hasher = KEYS.hasher()
BROWSER = hasher.node("anonymous_id", "b1")
ASHA, RAVI = hasher.node("user_id", "asha"), hasher.node("user_id", "ravi")
MINUTE_MS = 60_000


@pytest.fixture
def world() -> World:
    made = World(0, trouble=0.0, stages=("record", "identify"))
    made.start("record")
    made.start("identify")
    return made


def login(user: str, minute: int, browser: str = "b1", **more: Any) -> dict[str, Any]:
    at = NOON - 5 * 3_600_000 + minute * MINUTE_MS
    return {
        "messageId": f"{user} {browser} {minute}", "type": "identify", "userId": user,
        "anonymousId": browser, "originalTimestamp": at, "receivedAt": at,
    } | more  # fmt: skip


def told(world: World, device: Node = BROWSER) -> list[Node | None]:
    """Whose the device became, one after the other."""
    changes = [each for each in world.durable.history.values() if each.device == device]
    return [each.after[0].profile_id if each.after else None for each in changes]


def everything_is_told(world: World) -> None:
    heard, whole = world.owners_heard()
    now = {device: owner for device, owner in world.owners(Rules()).items() if owner}
    assert ({device: owner for device, owner in heard.items() if owner}, whole) == (now, True)


def test_a_device_becomes_its_next_users_and_is_nobodys_after_a_logout(world: World) -> None:
    for event in (
        login("asha", 0), login("asha", 5), login("ravi", 90), login("asha", 200),
        login("asha", 210, type="track", event="Logged Out"), login("asha", 300),
    ):  # fmt: skip
        world.send(event)
        world.drain()
    assert told(world) == [ASHA, RAVI, ASHA, None, ASHA]
    causes = [each.because for each in world.durable.history.values() if each.device]
    assert causes[:2] == [("asha b1 0",), ("ravi b1 90",)]
    everything_is_told(world)


def test_only_uses_that_may_change_whose_a_device_is_reach_the_decider(world: World) -> None:
    for minute in range(0, 240, 7):
        world.send(login("asha", minute))
        world.drain()
    assert len(world.log.messages(SETTINGS.topic("links"))) == 1
    assert told(world) == [ASHA]


def test_a_kiosk_is_nobodys_whoever_comes(world: World) -> None:
    for n in range(12):
        world.send(login(f"u{n}", 70 * n))
        world.drain()
    assert told(world)[-1] is None
    assert len(told(world)) == Rules().owners_max + 1
    everything_is_told(world)


@pytest.mark.parametrize("doubting", [True, False])
def test_a_use_that_is_recorded_while_another_is_decided_is_not_missed(
    world: World, doubting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not doubting:  # the mistake that this is about
        real = ingest.owning.look
        monkeypatch.setattr(
            ingest.identify, "look", lambda *a, shared, **more: real(*a, shared=False, **more)
        )
    recorder, identify = world.processes
    world.send(login("asha", 0))
    world.drain()
    world.send(login("ravi", 10))
    while recorder.step():
        pass

    def record_more() -> None:
        world.send(login("asha", 20))
        while recorder.step():
            pass

    at_point(identify, "announce", record_more)  # after the device's uses were read
    world.drain()
    now = list(world.owners(Rules()).values())
    assert (told(world)[-1:] == now) is doubting


@pytest.mark.parametrize(
    "point", ["read owners", "owner", "read uses", "announce", "device user", "history", "epoch"]
)
def test_whoever_takes_over_tells_it_once(world: World, point: str) -> None:
    world.send(login("asha", 0))
    world.drain()
    world.send(login("ravi", 90))
    world.processes[0].step()
    at_point(world.processes[1], point, kill)
    world.drain()
    assert not world.processes[1].alive
    decider(world)
    world.drain()
    assert told(world) == [ASHA, RAVI]
    assert world.durable.epochs[LEASE] >= 2
    everything_is_told(world)


def test_a_merge_and_what_was_announced_of_it_are_told_in_order(world: World) -> None:
    for event in (login("asha", 0), login("ravi", 10), login("asha", 15)):
        world.send(event)
        world.drain()
    assert told(world)[-1] is None  # both within the hour
    mail = hasher.node("email", "both@home.in")
    said = ingest.identify.Statements([], [], [], [])
    must = MustLink(
        a=min(ASHA, RAVI), b=max(ASHA, RAVI), first_ms=NOON, first_event="alias", source="crm"
    )
    for each in (said, ingest.identify.Statements([link(RAVI, mail)], [must])):
        for key, value in encode_statements(each):
            world.log.append(SETTINGS.topic("links"), value, key)
    at_point(world.processes[1], "person", kill)
    world.drain()
    decider(world)
    world.drain()
    (change,) = [c for c in list(world.durable.history.values())[-1:] if c.device]
    assert change.because == ("alias", f"m{NOON}")
    assert told(world)[-1] in (ASHA, RAVI)
    everything_is_told(world)


def test_the_message_of_a_device_is_keyed_by_it(world: World) -> None:
    world.send(login("asha", 0))
    world.drain()
    (message,) = world.log.messages(CHANGES)
    assert message.key == BROWSER.hex().encode()

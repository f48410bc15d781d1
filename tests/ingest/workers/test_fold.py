"""The fold stage: what it refuses, and that it folds no other topic than the one it began with."""

from typing import Any

import msgspec
import pytest

from identity.event import Event
from ingest.decode import decode
from ingest.folding import Folded, Folder
from ingest.log import LogRefused
from ingest.messages import OFFSET_BITS
from ingest.workers.fold import check_log
from ingest.workers.letters import FAILED, UNREADABLE
from profiles.part import decode as decode_part
from tests.ingest.workers.shared_store import View
from tests.ingest.workers.world import SETTINGS, World
from tests.workspace import NOON

ACTIVITY = SETTINGS.topic("activity")


def view_event(number: int, user: str = "asha") -> dict[str, Any]:
    at = NOON + number
    return {
        "type": "track", "event": "Product Viewed", "messageId": f"m{number}", "userId": user,
        "anonymousId": "b", "originalTimestamp": at, "receivedAt": at, "properties": {"product_id": "tea"},
    }  # fmt: skip


def recorded(count: int) -> World:
    """Events on the activity topic, and a fold worker."""
    world = World(0, trouble=0.0)
    world.start("record")
    for number in range(count):
        world.send(view_event(number))
    world.drain()
    return world


def events_of(world: World) -> int:
    parts = [decode_part(blob) for _, blob in world.durable.parts.values()]
    return sum(part.body.events for part in parts if part.body)


def test_garbage_becomes_a_dead_letter_and_blocks_nothing() -> None:
    world = recorded(3)
    garbage = [world.log.append(ACTIVITY, value, b"k") for value in (b"", b"\xc1garbage", b"\x80")]
    world.send(view_event(3))
    world.start("fold")
    world.drain()
    assert events_of(world) == 4
    kept = {(each.reason, each.origin, each.raw) for each in world.durable.letters.values()}
    assert kept == {(UNREADABLE, each.origin, each.value) for each in garbage}
    assert world.log.lag(SETTINGS.group("fold"), [ACTIVITY]) == 0


def test_an_event_that_breaks_the_stage_is_kept_as_an_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = recorded(5)
    real = Folder.fold

    def breaking(self: Folder, batch: Any, looked_at: Any) -> Folded:
        if any(activity.message_id == "m2" for _, activity in batch):
            raise IndexError("boom")
        return real(self, batch, looked_at)

    monkeypatch.setattr(Folder, "fold", breaking)
    world.start("fold")
    world.drain()
    assert events_of(world) == 4
    (letter,) = world.durable.letters.values()
    assert (letter.reason, letter.source, letter.received_ms) == (FAILED, "web", NOON + 2)
    again = decode(letter.raw, letter.received_ms, world.source)
    assert isinstance(again, Event)
    assert again.message_id == "m2"


def test_a_batch_read_again_counts_nothing_twice() -> None:
    world = recorded(8)
    world.start("fold")
    world.drain()
    world.log.reset(SETTINGS.group("fold"))
    world.log.evict(world.processes[-1].consumers[0])
    world.drain()
    assert events_of(world) == 8


def test_a_topic_made_anew_is_refused_until_the_log_generation_grows() -> None:
    world = recorded(4)
    world.start("fold")
    world.drain()
    store = View(world.durable, lambda _: None).store
    check_log(world.log, store, SETTINGS)
    world.log.make(ACTIVITY, 3)
    with pytest.raises(LogRefused, match=f"{ACTIVITY}.*set kafka.log_generation to 2"):
        check_log(world.log, store, SETTINGS)
    later = msgspec.structs.replace(SETTINGS, log_generation=2)
    check_log(world.log, store, later)
    check_log(world.log, store, later)


def test_positions_of_a_later_log_generation_are_later() -> None:
    world = recorded(2)
    world.start("fold")
    world.drain()
    positions = [offset for offset, _ in world.durable.parts.values()]
    assert all(position >> OFFSET_BITS == 1 for position in positions)

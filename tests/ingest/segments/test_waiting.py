"""Who waits to be looked at, and what of it is remembered."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from identity.event import Event
from identity.extract import Extractor
from identity.nodes import Node
from ingest.decode import decode
from ingest.record import Recorded, record
from ingest.remembering import Memory
from ingest.segments.here import AT_ONCE_MAX
from ingest.segments.waiting import Waiting
from profiles.segments.membership import Cause
from storage.sqlite import open_store
from tests.ingest.segments.shop import Shop
from tests.workspace import KEYS, NOON

A, B = Node(b"a" * 16), Node(b"b" * 16)
EVENT = Cause.EVENT


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.close()


def let(shop: Shop, waiting: Waiting, node: Node, *segments: str, revision: int = 1) -> None:
    """Let one wait, for some segments or, if none is named, for every one."""
    with shop.store.transaction():
        only = {node: frozenset(segments)} if segments else {}
        waiting.add({node: EVENT}, only, revision)


def taken(shop: Shop, waiting: Waiting, revision: int = 1) -> dict[Node, set[str] | None]:
    """Who waits, and for which segments."""
    with shop.store.transaction():
        some, only = waiting.take(10, revision)
    return {node: set(only.get(node) or ()) or None for _, node, _ in some}


def test_what_happens_meanwhile_adds_up(shop: Shop) -> None:
    waiting = Waiting(shop.store)
    let(shop, waiting, A, "buyers")
    let(shop, waiting, B, "buyers")
    let(shop, waiting, A, "lapsed")
    assert taken(shop, waiting) == {A: {"buyers", "lapsed"}, B: {"buyers"}}
    let(shop, waiting, A)
    assert taken(shop, waiting) == {A: None, B: {"buyers"}}


def test_who_was_looked_at_waits_for_what_comes_next_alone(shop: Shop) -> None:
    waiting = Waiting(shop.store)
    let(shop, waiting, A, "buyers")
    with shop.store.transaction():
        waiting.done(waiting.take(10, 1)[0])
    let(shop, waiting, A, "lapsed")
    assert taken(shop, waiting) == {A: {"lapsed"}}


def test_who_waited_before_is_looked_at_for_everything(shop: Shop) -> None:
    let(shop, Waiting(shop.store), A, "buyers")
    later = Waiting(shop.store)
    let(shop, later, A, "lapsed")
    let(shop, later, B, "lapsed")
    assert taken(shop, later) == {A: None, B: None}


def test_whom_another_process_let_wait_is_looked_at_for_everything(shop: Shop) -> None:
    waiting = Waiting(shop.store)
    let(shop, waiting, A, "buyers")
    other, _ = open_store(shop.path, shop.path.parent / "onefold.keys")
    other.pending.add({A: EVENT})
    other.close()
    assert taken(shop, waiting) == {A: None}
    let(shop, waiting, A, "buyers")
    assert taken(shop, waiting) == {A: None}


def test_other_segments_are_asked_for_what_happened_under_those_before(shop: Shop) -> None:
    waiting = Waiting(shop.store)
    let(shop, waiting, A, "buyers")
    assert taken(shop, waiting, revision=2) == {A: None}


def test_a_look_that_is_undone_leaves_everything_to_be_looked_at(shop: Shop) -> None:
    waiting = Waiting(shop.store)
    let(shop, waiting, A, "buyers")
    with pytest.raises(KeyError), shop.store.transaction():
        waiting.done(waiting.take(10, 1)[0])
        raise KeyError
    waiting.lose()
    let(shop, waiting, A, "lapsed")
    assert taken(shop, waiting) == {A: None}


def test_what_many_requests_bring_waits_for_whoever_asks(shop: Shop) -> None:
    shop.define("buyers: {event: Order Completed}\nlookers: {event: Product Viewed}")
    shop.segments.expect_live_events()
    users = [f"u{n}" for n in range(AT_ONCE_MAX + 50)]
    for event in ("Order Completed", "Product Viewed"):
        shop.take(
            {
                "type": "track", "event": event, "messageId": f"{event}{user}", "userId": user,
                "originalTimestamp": NOON, "receivedAt": NOON,
            }
            for user in users
        )  # fmt: skip
        assert shop.store.pending.count() == len(users)
    assert shop.segments.step(whole=False) == 0  # who keeps time alone leaves them
    assert shop.members("buyers") == shop.members("lookers") == set(users)
    assert shop.store.pending.count() == 0


def test_devices_that_went_together_before_this_process_began_are_no_news(shop: Shop) -> None:
    said = _said(shop)
    devices = {node for node, _ in said.companions}

    def news(*, looks: bool) -> set[Node]:
        memory = Memory(shop.store, KEYS.vault())
        with shop.store.transaction():
            return set(memory.remember(said, memory.new_uses(said), looks=looks).companions)

    assert news(looks=True) == devices
    assert news(looks=True) == set()
    # Where a crash may lie between storing and telling, they count as new.
    assert news(looks=False) == devices


def _said(shop: Shop) -> Recorded:
    device = {"device": {"id": "phone", "advertisingId": "38400000-8cf0-11bd-b23e-10b96e40000d"}}
    message = {"type": "track", "event": "A", "anonymousId": "a", "context": device}
    event = decode(msgspec.json.encode(message), NOON, shop.source)
    assert isinstance(event, Event)
    return record([event], [], Extractor(shop.rules, KEYS.hasher()), shop.sources.named)

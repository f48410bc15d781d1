"""Whoever a backfill looks at first, and whatever happens meanwhile: nobody is passed over."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from identity.nodes import Identifier, Node, names_device
from ingest.deciding import DecidingHere, Draft, merge
from ingest.pipeline import Outcome, Pipeline
from ingest.segments import here, order
from ingest.segments.filling import Filler
from ingest.segments.here import Segments
from ingest.segments.order import Order, Position, position_of, share_at
from profiles.part import DEVICES_MAX
from storage.profiles import Lookup
from storage.segment_ports import Backfill, Turn
from tests.ingest.segments.exactness import check
from tests.ingest.segments.shop import Shop
from tests.workspace import HOUR, NOON

PEOPLE = Position(Turn.PEOPLE, None)
DEVICES = Position(Turn.DEVICES, None)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.close()


class Unhurried(Shop):
    """A shop whose backfills go on by some leaves between events, and are taken over by others."""

    def __init__(self, folder: Path, random: Random) -> None:
        super().__init__(folder)
        self.random = random
        self.steps = self.taken_over = 0

    def define_trees(self, trees: dict[str, Any], *, fill: bool = True) -> None:
        super().define_trees(trees, fill=False)

    def take(self, events: Any, batch: int = 500) -> list[Outcome]:
        outcomes, events = [], list(events)
        while events:
            some = self.random.randrange(1, 10)
            outcomes += super().take(events[:some], batch)
            del events[:some]
            if self.segments.fill_step() is not None:
                self.steps += 1
                if self.random.random() < 0.05:
                    self.take_over()
            elif self.catalogue() and self.random.random() < 0.3:
                # Parts hold already what is needed for it.
                often = {"at_least": self.random.randrange(1, 9)}
                self.define_trees({"often": {"event": "Product Viewed", "count": often}})
        return outcomes

    def take_over(self) -> None:
        """Another process goes on."""
        self.taken_over += 1
        self.segments = Segments(self.store, self.rules, lambda: self.now)
        self.pipeline = Pipeline(self.store, self.keys, self.rules, self.sources, self.segments)


@pytest.mark.parametrize("seeded", [3, 4])
def test_between_its_steps_a_backfill_may_be_overtaken_by_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seeded: int
) -> None:
    monkeypatch.setattr(here, "LEAVES_AT_ONCE", 3)
    monkeypatch.setattr(order, "PAGES_MAX", 2)
    shop = Unhurried(tmp_path, Random(seeded))
    check(shop, seeded, people=20, trees=20, instants=5)
    assert shop.steps > 50
    assert shop.taken_over
    leaves = shop.store.parts.leaves(None, 10_000)
    filler = Filler(shop.store, shop.rules)
    found = filler.look_one_by_one(leaves, shop.catalogue(), shop.now)
    held = shop.store.memberships.get([each.profile_id for each in found.standings])
    assert found.standings == [held[each.profile_id] for each in found.standings]
    assert not found.told
    shop.close()


def test_devices_are_looked_at_with_whoever_used_them_and_not_again(shop: Shop) -> None:
    shop.define("viewers: {event: Product Viewed}", fill=False)
    shop.see(browser="hers", view="tea")
    shop.see(browser="hers", user="asha", view="tea")
    shop.see(browser="nobodys", view="tea")
    catalogue, parts = shop.catalogue(), shop.store.parts
    order = Order(parts)
    order.begin(Backfill(1))

    people, past = order.next(PEOPLE, 100)
    assert people == [node_of(shop, user_id="asha")]
    assert past == DEVICES
    found = Filler(shop.store, shop.rules).look(people, catalogue, shop.now)
    assert found.devices == [node_of(shop, anonymous_id="hers")]
    order.wrote(Backfill(1, turn=Turn.DEVICES), found.devices)

    order.begin(Backfill(1, turn=Turn.DEVICES))
    assert order.next(DEVICES, 100) == ([node_of(shop, anonymous_id="nobodys")], None)
    for elsewhere in (Backfill(2, turn=Turn.DEVICES), Backfill(1), Backfill(1, people[0])):
        order.begin(elsewhere)
        assert len(order.next(DEVICES, 100)[0]) == 2
        order.wrote(Backfill(1, turn=Turn.DEVICES), found.devices)


def test_of_more_devices_than_are_remembered_some_are_looked_at_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "LOOKED_MAX", 2)
    for n in range(5):
        shop.see(browser=f"b{n}", view="tea")
    devices = shop.store.parts.leaves(None, 10)
    asked = Order(shop.store.parts)
    asked.begin(Backfill(1, turn=Turn.DEVICES))
    asked.wrote(Backfill(1, turn=Turn.DEVICES), devices)
    assert len(asked.next(DEVICES, 10)[0]) == 3


def test_everybody_has_their_turn_however_many_are_asked_for(shop: Shop) -> None:
    for n in range(30):
        shop.see(browser=f"b{n}", view="tea")
        shop.see(browser=f"b{n}", user=f"u{n % 7}", view="tea")
    leaves = shop.store.parts.leaves(None, 100)
    for limit in (1, 3, 100):
        order, at, seen = Order(shop.store.parts), PEOPLE, list[Node]()
        shares = [0.0]
        while True:
            some, past = order.next(at, limit)
            seen += some
            if past is None:
                break
            at = past
            shares.append(share_at(at, int.from_bytes(at.after[:8]) / 2**64 if at.after else 0))
        assert sorted(seen) == leaves
        assert [names_device(each) for each in seen] == [False] * 7 + [True] * 30
        assert shares == sorted(shares)


def test_a_backfill_that_an_older_version_began_goes_on_in_its_order(shop: Shop) -> None:
    for n in range(9):
        shop.see(browser=f"b{n}", view="tea")
        shop.see(browser=f"b{n}", user=f"u{n}", view="tea")
    leaves = shop.store.parts.leaves(None, 100)
    begun = Backfill(1, leaves[4])
    assert Order(shop.store.parts).next(position_of(begun), 100) == (leaves[5:], None)
    shop.define("viewers: {event: Product Viewed}", fill=False)
    shop.store.backfills.put(begun)
    shop.segments.fill()
    held = shop.store.backfills.get()
    assert held is not None
    assert held.finished
    ended = {node for node, _ in shop.store.memberships.members("viewers", None, 100)}
    assert ended == {leaf for leaf in leaves[5:] if not names_device(leaf)}


def test_a_device_that_its_user_has_long_left_behind_is_looked_at(shop: Shop) -> None:
    for n in range(DEVICES_MAX + 1):
        at = NOON + n * HOUR
        shop.see(browser=f"b{n}", user="asha", event="Logged Out", at=at)
        shop.see(browser=f"b{n}", view="tea", at=at + 40 * 60_000)
    shop.now = NOON + (DEVICES_MAX + 2) * HOUR
    shop.define("viewers: {event: Product Viewed}")
    assert shop.members("viewers") == {f"b{n}" for n in range(DEVICES_MAX + 1)}


def test_what_others_saw_of_a_device_whose_people_became_one_does_not_count(shop: Shop) -> None:
    shop.segments = Segments(shop.store, shop.rules, lambda: shop.now, together_min=1)
    shop.pipeline = Pipeline(shop.store, shop.keys, shop.rules, shop.sources, shop.segments)
    shop.see(browser="b1", user="asha", event="Logged In", at=NOON)
    shop.see(browser="b1", view="tea", at=NOON + 2 * HOUR)  # between two people: nobody's
    shop.see(browser="b1", user="a-old", event="Logged In", at=NOON + 4 * HOUR)
    shop.now = NOON + 5 * HOUR
    shop.define("viewers: {event: Product Viewed}", fill=False)
    shop.segments.fill_step()
    filling = shop.segments._filling
    assert filling is not None
    assert all(piece.found.result() for piece in filling._pieces)
    nodes = [node_of(shop, user_id=user) for user in ("asha", "a-old")]
    draft = Draft("d1", "op", "test", shop.now)
    DecidingHere(shop.store, shop.rules).make(merge(shop.store, draft, nodes))
    shop.segments.settle()
    shop.segments.fill()
    assert len(shop.store.memberships.members("viewers", None, 10)) == 1
    assert "b1" not in shop.members("viewers")


def node_of(shop: Shop, **named: str) -> Node:
    lookups: Sequence[Lookup] = [
        Lookup(identifiers=tuple(Identifier(type_, value) for type_, value in named.items()))
    ]
    (found,) = shop.reader.resolve(lookups, NOON)
    assert found is not None
    return found.matched

"""Whose devices are, told in one process: as of the last use, once, however the stream comes."""

import random
from pathlib import Path
from typing import Any

import pytest

from identity.changes import Kind
from identity.devices import present_owner
from identity.nodes import Node
from tests.ingest.workers.test_histories import a_home
from tests.workspace import Workspace


def owners(shop: Workspace) -> dict[Node, Node | None]:
    """Whose each device is, as of its last use."""
    found: dict[Node, Node | None] = {}
    for device in {use.device for use in shop.store.devices.scan_uses()}:
        (uses,) = shop.store.devices.uses_of([device]).values()
        people = shop.store.people.clusters_of([use.person for use in uses])

        def person_of(node: Node, people: Any = people) -> Node:
            return people[node].profile_id if node in people else node

        found[device] = present_owner(uses, person_of, 0, shop.rules)
    return found


def told(shop: Workspace) -> dict[Node, list[Node | None]]:
    """Whose each device was told to be, one after the other; each tells from where it was left."""
    found: dict[Node, list[Node | None]] = {}
    for change in (each.change for each in shop.store.changes.history(0, 10_000)):
        if change.device is not None:
            assert change.kind is Kind.OWNERSHIP
            sides = [s[0].profile_id if s else None for s in (change.before, change.after)]
            mine = found.setdefault(change.device, [None])
            assert (mine[-1], sides[0] != sides[1]) == (sides[0], True)
            mine.append(sides[1])
    return found


@pytest.mark.parametrize("seed", range(4))
def test_however_a_stream_comes_what_is_told_ends_with_the_present_owner(
    tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    stream = a_home()
    dice.shuffle(stream)
    shop = Workspace(tmp_path, trusted=True)
    for start in range(0, len(stream), 7):
        some = stream[start : start + 7]
        shop.take([*some, *dice.sample(some, min(2, len(some)))], batch=dice.choice([1, 3, 100]))
        heard = told(shop)
        assert owners(shop) == {device: heard.get(device, [None])[-1] for device in owners(shop)}
    shop.take(stream)
    assert told(shop) == heard
    shop.close()

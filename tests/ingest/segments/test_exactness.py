"""At any moment, whatever came in whatever order, segments hold whom brute force over all events says."""

from pathlib import Path
from random import Random

import pytest

from identity.nodes import Node, names_device
from ingest.deciding import DecidingHere, Draft, merge, split
from ingest.segments.evaluating import Evaluator, profile_of
from storage.gathering import Gatherer
from tests.ingest.segments.exactness import made_stream, made_trees, moments, stored_event, truth
from tests.ingest.segments.shop import Shop


def check(
    folder: Path, seeded: int, *, people: int, trees: int, instants: int, kiosks: int = 0
) -> None:
    """A stream in pieces, definitions in pieces, merges and splits, and time that passes."""
    random = Random(seeded)
    shop = Shop(folder)
    shop.now = 0
    try:
        stream = made_stream(random, people, kiosks)
        waiting = list(made_trees(trees, seeded).items())
        # The computed trait comes first: segments ask for it.
        waiting.sort(key=lambda entry: entry[0] != "favourite")
        times = moments(random, instants)
        fed = 0
        for n, now in enumerate(times):
            shop.now = now
            some = waiting[: max(10, len(waiting) // 2)] if n % 3 == 0 else []
            del waiting[: len(some)]
            upto = len(stream) * (n + 1) // max(1, instants // 2)
            middle = (fed + upto) // 2
            shop.take(stream[fed:middle], batch=random.choice([1, 7, 500]))
            if some:
                shop.define_trees(dict(some), fill=random.random() < 0.5)
            shop.take(stream[middle:upto], batch=random.choice([1, 7, 500]))
            fed = upto
            operate(shop, random, n)
            shop.segments.settle()
            shop.segments.fill()
            compare(shop, now)
    finally:
        shop.close()


def operate(shop: Shop, random: Random, n: int) -> None:
    """An operator merges two people, or splits one."""
    leaves = [leaf for leaf in shop.store.parts.leaves(None, 10_000) if not names_device(leaf)]
    if len(leaves) < 4:
        return
    deciding = DecidingHere(shop.store, shop.rules)
    people = shop.store.people.clusters_of(leaves)
    draft = Draft(f"d{n}", "op", "test", shop.now)
    if n % 2:
        one, other = random.sample(leaves, 2)
        sides = [people[each].members if each in people else {each} for each in (one, other)]
        if not sides[0] & sides[1] and not shop.store.decisions.of(sorted(sides[0] | sides[1])):
            deciding.make(merge(shop.store, draft, [one, other]))
    else:
        large = [sorted(c.members) for c in people.values() if len(c.members) > 1]
        if large:
            members = random.choice(large)
            deciding.make(split(draft, [members[:1], members[1:]]))


def compare(shop: Shop, now: int) -> None:
    catalogue = shop.segments.catalogue()
    wanted = truth(
        shop.store, shop.rules, catalogue, now, lambda row: stored_event(row, shop.source)
    )
    for key, right in wanted.items():
        found = {node for node, _ in shop.store.memberships.members(key, None, 100_000)}
        wrong = {node for node in found ^ right if claims_exact(shop, node, key, now)}
        assert not wrong, (key, catalogue.segments[key], _hex(wrong), now)


def claims_exact(shop: Shop, node: Node, key: str, now: int) -> bool:
    """Whether a verdict is said to be exact: that of a kiosk may need more events than are kept one by one."""
    catalogue = shop.segments.catalogue()
    named = shop.store.lookups.named([node])
    gathered = Gatherer(shop.store, shop.rules).gather([profile_of(node, named[node])], named)
    ((subject, _),) = Evaluator(shop.store, shop.rules).subjects(gathered, catalogue)
    return subject is None or catalogue.judges.verdict(key, subject, now).exact


def _hex(nodes: set[Node]) -> list[str]:
    return sorted(node.hex() for node in nodes)[:5]


@pytest.mark.parametrize("seeded", [1, 2])
def test_segments_hold_whom_brute_force_says(tmp_path: Path, seeded: int) -> None:
    check(tmp_path, seeded, people=20, trees=80, instants=5)


@pytest.mark.faults
def test_segments_hold_whom_brute_force_says_at_fifty_moments(tmp_path: Path) -> None:
    check(tmp_path, 7, people=60, trees=200, instants=50)

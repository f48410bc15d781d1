"""The size of a sampled segment: its interval holds the truth for nearly every sample."""

from random import Random

import pytest

from ingest.segments.sampling import Sampler, interval
from profiles.segments.parse import parse_segment
from service.rpc.parsing import type_names
from storage.catalogues import Catalogues
from tests.workspace import NOON, Workspace

PEOPLE = 240
SEEDS = 60


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """People with one, two or three identifiers that something happened to, and devices that are nobody's."""
    made = Workspace(tmp_path_factory.mktemp("sampling"), trusted=True)
    events = []
    for number in range(PEOPLE):
        name = "Order Completed" if number % 3 == 0 else "Product Viewed"
        mail = f"u{number}@example.com"
        told = [{"type": "identify", "userId": f"u{number}", "traits": {"email": mail}}]
        told.append({"type": "track", "event": name, "userId": f"u{number}"})
        if number % 2:
            told += [
                {"type": "identify", "traits": {"email": mail, "phone": f"+9198765{number:05}"}},
                {"type": "identify", "traits": {"phone": f"+9198765{number:05}"}},
            ]
        told.append({"type": "track", "event": name, "anonymousId": f"b{number}"})
        events += [
            each | {"messageId": f"m{number}-{n}", "originalTimestamp": NOON, "receivedAt": NOON}
            for n, each in enumerate(told)
        ]
    made.take(events)
    return made


@pytest.mark.parametrize(
    ("tree", "truth"),
    [
        ({"event": "Order Completed"}, 2 * PEOPLE // 3),
        ({"has": "phone"}, PEOPLE // 2),
        ({"event": "Product Viewed"}, 2 * PEOPLE - 2 * PEOPLE // 3),
    ],
    ids=["some", "several identifiers", "most"],
)
def test_the_interval_holds_the_truth_for_nearly_every_sample(
    shop: Workspace, tree: dict[str, object], truth: int
) -> None:
    segment = parse_segment(tree, id="draft")
    catalogue = Catalogues(shop.store.definitions).now()
    found = []
    for seed in range(SEEDS):
        names = type_names(shop.rules)
        sampler = Sampler(shop.store, shop.rules, names, Random(seed).randbytes)
        found.append(sampler.preview(catalogue, segment, NOON, sample=150).size)

    exact = Sampler(shop.store, shop.rules, {}).preview(catalogue, segment, NOON).size
    assert (exact.people + exact.devices, exact.exact) == (truth, True)
    held = sum(each.low <= truth <= each.high for each in found)
    # Without replacement the interval is wider than it must be, so that 95 % is the least.
    assert held >= 0.95 * SEEDS
    assert not any(each.exact for each in found)
    middle = sum(each.people + each.devices for each in found) / SEEDS
    assert middle == pytest.approx(truth, rel=0.08)


@pytest.mark.parametrize("share", [0, 0.002, 0.05, 0.5, 0.98, 1])
def test_the_interval_covers_what_it_says(share: float) -> None:
    random = Random(7)
    total, looked_at, draws = 100_000, 400, 400
    held = 0
    for _ in range(draws):
        found = sum(random.random() < share for _ in range(looked_at))
        low, high = interval(found, looked_at, total)
        held += low <= share * total <= high
    assert held >= 0.92 * draws


def test_a_total_that_is_not_known_exactly_widens_the_interval() -> None:
    low, high = interval(40, 400, 100_000)
    assert interval(40, 400, 100_000, off=0.0) == (low, high)
    assert interval(40, 400, 100_000, off=0.02) == pytest.approx((low * 0.98, high * 1.02), abs=2)

"""Any file is judged with no hand tuning, or it is said what is wrong with it; training again and again."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from models import zoo
from models.protocol import Model
from models.zoo.counting import Popular, RecentBuyers, Trending
from models.zoo.linear import ItemKNN
from tests.models.shops import rows
from tests.path.conftest import Run


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    file = tmp_path / "shop.csv"
    lines = [f"{user},{item},{time // 1000},{event.split()[1]}"
             for user, item, event, time, _ in rows(60) if isinstance(event, str)]  # fmt: skip
    file.write_text("\n".join(["person,sku,at,did", *lines, "p1,,5,Completed"]))
    return file


def test_a_file_is_judged_with_no_hand_tuning(
    shop: Path, onefold: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = [grid[:2] for grid in zoo.default()]
    monkeypatch.setattr(zoo, "default", lambda: quick)

    done = onefold("evaluate", "--data", str(shop), "--user-column", "person", "--item-column",
                   "sku", "--time-column", "at", "--json")  # fmt: skip

    board = json.loads(done.stdout)
    assert {row["model"] for row in board["rows"]} == set(zoo.CLASSES) - {"content"}

    assert "1 of 601 rows left out: no sku" in " ".join(done.stderr.split())


def test_without_times_a_random_split_must_be_asked_for(shop: Path, onefold: Run) -> None:
    done = onefold("evaluate", "--data", str(shop), "--user-column", "person", "--item-column",
                   "sku", ok=False)  # fmt: skip
    said = " ".join(done.stderr.split())
    assert "shop.csv: no column 'time_ms'; it has person, sku, at, did" in said
    assert "--random-split if there are no times" in said


def events() -> list[dict[str, Any]]:
    """The orders and looks of the small shop, up to today."""
    found = []
    now = datetime.now(UTC).timestamp()
    newest = max(time for _, _, _, time, _ in rows(60)) / 1000
    for n, (user, item, event, time, _) in enumerate(rows(60)):
        product = {"product_id": item, "price": 1}
        properties = (
            {"order_id": f"o{n}", "products": [product]} if "Order" in str(event) else product
        )
        when = datetime.fromtimestamp(time / 1000 + now - newest - 60, UTC).isoformat()
        found.append({"type": "track", "event": event, "userId": user, "messageId": f"m{n}",
                      "properties": properties, "timestamp": when})  # fmt: skip
    return found


def test_training_again_beside_the_champion_says_what_came_of_it(
    taking: Callable[[Sequence[dict[str, Any]]], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    grids: list[list[Model]] = [[Popular()], [RecentBuyers()], [Trending()], [ItemKNN()]]
    monkeypatch.setattr(zoo, "default", lambda: grids)
    onefold = taking(events())

    onefold("train", "--no-promote")
    forced = onefold("models", "promote", "--force", "for the test", "--json")
    done = onefold("train", "--watch", "--rounds", "1", "--every-hours", "1", "--json")

    first = json.loads(forced.stdout)["version"]
    again = json.loads(done.stdout)
    assert again["manifest"]["note"] == "the champion's settings are the best again"
    assert again["manifest"]["champion"] == "item_knn"
    health = json.loads(onefold("models", "health", first, "--json").stdout)
    assert (health["version"], health["model"]) == (first, "item_knn")
    assert health["new_interactions"] == 0
    assert health["stale_days"] < 1

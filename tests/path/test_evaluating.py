"""`onefold evaluate --data`: any file is judged with no hand tuning, or it is said what is wrong with it."""

import json
from pathlib import Path

import pytest

from models import zoo
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
    assert "541 of" not in done.stderr
    assert "1 of 601 rows left out: no sku" in done.stderr.replace("\n", " ")


def test_without_times_a_random_split_must_be_asked_for(shop: Path, onefold: Run) -> None:
    done = onefold("evaluate", "--data", str(shop), "--user-column", "person", "--item-column",
                   "sku", ok=False)  # fmt: skip
    said = " ".join(done.stderr.split())
    assert "shop.csv: no column 'time_ms'; it has person, sku, at, did" in said
    assert "--random-split if there are no times" in said

"""Any interactions file: read as it is meant, or an error that names file, line and column."""

from pathlib import Path

import pandas as pd
import pytest

from models.errors import ModelError, NotEnoughData
from models.evaluation import leaderboard
from models.files import RANDOM_DAYS, Columns, read
from models.interactions import DAY_MS
from profiles.facts import Kind
from tests.models.shops import NOW


def csv(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "shop.csv"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    "moment", ["2026-01-01", "2026-01-01T00:00:00Z", "2026-01-01 05:30:00+05:30", "1767225600",
               "1767225600000", "1.7672256e9"],
)  # fmt: skip
def test_a_time_is_a_date_or_seconds_or_milliseconds(tmp_path: Path, moment: str) -> None:
    found = read(csv(tmp_path, f"user,item,time_ms\nu,a,{moment}\n"))
    assert found.interactions.time_ms.tolist() == [1_767_225_600_000]


def test_ids_stay_as_they_are_written(tmp_path: Path) -> None:
    found = read(csv(tmp_path, "user,item,time_ms\n007,1.0,1\n7,1,1\n,x,1\n"))
    assert found.interactions.users.tolist() == ["007", "7"]
    assert found.interactions.items.tolist() == ["1", "1.0"]
    assert found.left_out == {"no user": 1}


def test_rows_that_say_the_same_count_once(tmp_path: Path) -> None:
    found = read(csv(tmp_path, "user,item,time_ms\nu,a,1\nu,a,1\nu,a,2\nu,b,1\n"))
    assert len(found.interactions) == 3
    assert found.left_out == {"said before": 1}


def test_events_have_many_names(tmp_path: Path) -> None:
    text = "who,what,at,did\nu,a,1,view\nu,a,2,addtocart\nu,a,3,Transaction\nu,a,4,hover\n"
    found = read(csv(tmp_path, text), Columns("who", "what", "at", "did"))
    assert found.interactions.kind.tolist() == [Kind.VIEWED, Kind.ADDED, Kind.BOUGHT]
    assert found.left_out == {"another event": 1}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"shop\.csv: there is nothing in it"),
        ("user,item,time_ms\n", r"shop\.csv: there are no rows"),
        ("user,item\nu,a\n", r"shop\.csv: no column 'time_ms'; it has user, item"),
        ("user,item,time_ms\nu,a,1\nu,b,soon\n", r"shop\.csv, line 3, column 'time_ms': neither"),
        ("user,item,time_ms\nu,a,inf\n", r"line 2, column 'time_ms': neither"),
        ("user,item,time_ms\nu,a,1\nu,b,9e17\n", r"line 3, column 'time_ms': .* after 2100"),
        ("user,item,time_ms\nu,a,-5\n", r"line 2, column 'time_ms': a time before 1970"),
        ("user,item,time_ms\n,a,1\nu,,2\n", r"no row has user and item"),
        ('user,item,time_ms\nu,a,1\n"u,a,1\n', r"cannot be read as CSV"),
        ("user,item,time_ms\nu,a,1\nu,a,1,5\n", r"cannot be read as CSV.*line 3"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        read(csv(tmp_path, text))


def test_unknown_events_and_quantities_are_named(tmp_path: Path) -> None:
    file = csv(tmp_path, "user,item,time_ms,e,q\nu,a,1,hover,1\nu,a,2,hover,many\n")
    with pytest.raises(ModelError, match=r"column 'e': no event is known, for example 'hover'"):
        read(file, Columns(event="e"))
    with pytest.raises(ModelError, match=r"line 3, column 'q': not a number"):
        read(file, Columns(quantity="q"))


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    file = tmp_path / "shop.parquet"
    file.write_text("user,item\n")
    with pytest.raises(ModelError, match=r"shop\.parquet: cannot be read as Parquet"):
        read(file)


def test_parquet_reads_as_csv_does(tmp_path: Path) -> None:
    frame = pd.DataFrame({"user": [1.0, None, 3.0], "item": [7, 8, 9],
                          "time_ms": pd.to_datetime(["2026-01-01"] * 3)})  # fmt: skip
    frame.to_parquet(tmp_path / "shop.parquet")
    frame.astype({"user": "Int64"}).to_csv(tmp_path / "shop.csv", index=False)
    parquet, text = (read(tmp_path / f"shop.{kind}") for kind in ("parquet", "csv"))
    assert parquet.interactions.content_hash() == text.interactions.content_hash()
    assert parquet.interactions.users.tolist() == ["1", "3"]


def test_without_times_rows_are_split_at_random(tmp_path: Path) -> None:
    rows = "".join(f"u{n % 100},i{n % 70}\n" for n in range(5_000))
    found = read(csv(tmp_path, f"user,item\n{rows}"), Columns(time=None))
    start, end = found.interactions.window
    assert 0 <= start < end < RANDOM_DAYS * DAY_MS
    assert found.left_out == {"said before": 5_000 - 700}


@pytest.mark.parametrize("user", ["u", "u{n}"], ids=["one user", "one item"])
def test_one_user_or_one_item_is_too_little(tmp_path: Path, user: str) -> None:
    item = "i{n}" if user == "u" else "i"
    rows = "".join(
        f"{user.format(n=n)},{item.format(n=n)},{NOW - n * DAY_MS // 5}\n" for n in range(300)
    )
    found = read(csv(tmp_path, f"user,item,time_ms\n{rows}"))
    with pytest.raises(NotEnoughData, match="20 are needed"):
        leaderboard(found.interactions)


def test_a_user_of_a_hundred_thousand_events_does_no_harm(tmp_path: Path) -> None:
    frame = pd.DataFrame({"n": range(103_000)})
    robot = frame["n"] < 100_000
    frame["user"] = ("p" + (frame["n"] % 60).astype(str)).where(~robot, "robot")
    frame["item"] = "i" + (frame["n"] % 40).astype(str)
    frame["time_ms"] = NOW - (frame["n"] * 7919 % 100_000) * (DAY_MS // 1_000)
    frame.to_csv(tmp_path / "shop.csv", index=False)
    from models import zoo

    board = leaderboard(read(tmp_path / "shop.csv").interactions,
                        [grid[:1] for grid in zoo.default()])  # fmt: skip
    assert board.people >= 20

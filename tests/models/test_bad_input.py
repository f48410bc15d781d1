"""Rubbish in data, settings and stored models: a typed error that names it, or a row left out."""

import hashlib
import json
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from models import zoo
from models.artefact import Manifest, load
from models.errors import ArtefactError, ModelError, NotEnoughData
from models.evaluation import leaderboard
from models.interactions import DAY_MS, QUANTITY_MAX, Interactions
from models.protocol import Model
from models.registry import Registry
from models.train import train
from models.zoo.counting import Popular
from models.zoo.factors import ALS
from models.zoo.linear import EASE, EASE_ITEMS_MAX
from tests.models.shops import NOW, shop

ORDER = "Order Completed"


def first() -> list[list[Model]]:
    small: dict[str, Model] = {"als": ALS(factors=8), "ease": EASE(5)}
    # Nothing here has a text, so no content.
    return [[small.get(grid[0].name, grid[0])] for grid in zoo.default()]


# --- interactions ---------------------------------------------------------------------------------


def test_one_endless_id_does_not_fill_the_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = ((f"p{n % 1000}", f"i{n % 50}", ORDER, NOW, 1.0) for n in range(50_000))
    data = Interactions.of([*rows, ("p", "x" * 20_000, ORDER, NOW, 1.0)])
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert len(data.items) == 51
    assert grown_mib < 200  # a fixed-width array would take 4,000


def test_ids_that_differ_only_in_what_is_invisible_stay_apart() -> None:
    ids = ["a", "a\0", "a ", "A", "ａ", "\ud800"]
    data = Interactions.of([("p", item, ORDER, NOW, 1.0) for item in ids])
    assert sorted(data.items) == sorted(ids)
    assert data.content_hash() != Interactions.of([("p", "a", ORDER, NOW, 1.0)]).content_hash()


def test_the_hash_tells_where_one_id_ends() -> None:
    def named(*items: str) -> Interactions:
        return Interactions.of([("p", item, ORDER, NOW, 1.0) for item in items])

    assert named("a\0b", "c").content_hash() != named("a", "b\0c").content_hash()
    assert named("a", "b").content_hash() == named("a", "b").content_hash()


@pytest.mark.parametrize("kind", [0, -1, 15, 99, 300, 10**9])
def test_a_kind_that_is_none_is_left_out(kind: int) -> None:
    assert len(Interactions.of([("p", "a", kind, NOW, 1.0)])) == 0


@pytest.mark.parametrize("quantity", [float("inf"), -float("inf"), 1e300, -1, 0, float("nan")])
def test_an_impossible_quantity_counts_as_one(quantity: float) -> None:
    assert Interactions.of([("p", "a", ORDER, NOW, quantity)]).quantity.tolist() == [1]
    assert Interactions.of([("p", "a", ORDER, NOW, QUANTITY_MAX)]).quantity.tolist() == [1e9]


def test_a_table_with_holes_loses_those_rows() -> None:
    table = pd.DataFrame(
        {
            "user": ["a", None, "c", "d"],
            "item": ["x", "x", None, "x"],
            "time_ms": [pd.Timestamp("2026-01-01"), pd.Timestamp("2026-01-01")] * 2,
        }
    )
    table.loc[3, "time_ms"] = pd.NaT
    data = Interactions.from_table(table)
    assert data.users.tolist() == ["a"]
    assert data.time_ms.tolist() == [1_767_225_600_000]


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Kolkata"])
def test_times_of_any_zone_and_table_are_the_same_moment(zone: str | None) -> None:
    moment = pd.Timestamp("2026-01-01")
    there = moment if zone is None else moment.tz_localize("UTC").tz_convert(zone)
    table = pd.DataFrame({"user": ["a"], "item": ["x"], "time_ms": [there]})
    arrow = pa.Table.from_pandas(table)
    assert Interactions.from_table(table).time_ms.tolist() == [1_767_225_600_000]
    assert Interactions.from_table(arrow).time_ms.tolist() == [1_767_225_600_000]


def test_a_table_that_cannot_be_read_says_which_column() -> None:
    with pytest.raises(ModelError, match="no column 'item'"):
        Interactions.from_table(pd.DataFrame({"user": ["a"]}))
    table = pd.DataFrame({"user": ["a"], "item": ["x"], "time_ms": ["yesterday"]})
    with pytest.raises(ModelError, match="'time_ms' holds neither dates nor milliseconds"):
        Interactions.from_table(table)


# --- training -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows",
    [
        [("p", "a", ORDER, NOW - 1, 1.0)],
        [("p", "a", ORDER, NOW - 1, 1.0), ("p", "b", ORDER, NOW - 1, 1.0)],
        [(f"p{n}", "a", ORDER, NOW - k * 40 * DAY_MS, 1.0) for n in range(40) for k in (0, 1)],
        [(f"p{n % 40}", f"i{n % 7}", "Product Removed", NOW - n * DAY_MS // 4, 1.0)
         for n in range(900)],
    ],
    ids=["one row", "one person", "one item", "only what was removed"],
)  # fmt: skip
def test_too_little_is_stored_but_never_promoted(rows: list[Any], tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    manifest = train(Interactions.of(rows), registry, NOW, default=first)
    assert manifest.refusal
    assert set(registry.load("candidate").models) == set(zoo.CLASSES) - {"content"}


def test_what_was_compared_with_no_baseline_is_refused(tmp_path: Path) -> None:
    manifest = train(shop(200), Registry(tmp_path), NOW, default=lambda: [[EASE(5)]])
    assert "not compared with any baseline" in manifest.refusal


def test_without_a_candidate_nothing_is_trained(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no candidate was evaluated"):
        train(shop(200), Registry(tmp_path), NOW, default=lambda: [[Popular()]])


def test_a_leaderboard_of_many_items_goes_without_ease() -> None:
    rows = [(f"p{n % 60}", f"i{n}", ORDER, NOW - n * DAY_MS // 400, 1.0)
            for n in range(EASE_ITEMS_MAX + 1)]  # fmt: skip
    rows += [(f"p{n % 60}", f"i{n % 7}", ORDER, NOW - n * DAY_MS // 20, 1.0) for n in range(1900)]
    board = leaderboard(Interactions.of(rows), [[Popular()], [EASE()]])
    assert [row.model for row in board.rows] == ["popular"]


def test_settings_that_cannot_be_are_refused() -> None:
    for setting in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="above 0"):
            EASE(setting)
        with pytest.raises(ValueError, match="above 0"):
            ALS(alpha=setting)
    with pytest.raises(ValueError, match="above 0"):
        ALS(factors=0)
    with pytest.raises(ModelError, match="NaN"):
        ALS(8, alpha=1e30).fit(shop(), NOW)
    with pytest.raises(NotEnoughData):
        EASE(5).fit(Interactions.of([]), NOW)


# --- stored models --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Registry, Manifest]:
    registry = Registry(tmp_path_factory.mktemp("registry"))
    return registry, train(shop(), registry, NOW, default=first)


@pytest.fixture
def folder(stored: tuple[Registry, Manifest], tmp_path: Path) -> Path:
    import shutil

    target = tmp_path / "versions" / stored[1].version
    shutil.copytree(stored[0].folder / "versions" / stored[1].version, target)
    return target


def lie(folder: Path, name: str, content: bytes) -> None:
    """Replace a file and its digest: what only a mistaken or malicious writer does."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def array(folder: Path, values: np.ndarray) -> bytes:
    np.save(folder / "work.npy", values, allow_pickle=values.dtype == object)
    return (folder / "work.npy").read_bytes()


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"a":' * 100_000])
def test_a_manifest_that_is_none_is_named(folder: Path, text: bytes) -> None:
    (folder / "manifest.json").write_bytes(text)
    with pytest.raises(ArtefactError, match=r"manifest\.json: not a manifest"):
        load(folder)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "..", "a\0b", "a" * 5_000, ".", ""])
def test_a_manifest_names_only_files_beside_it(folder: Path, name: str) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = "0"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtefactError):
        load(folder)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("trending.scores", np.zeros(3, np.float32)),
        ("als.items", np.zeros((3, 8), np.float32)),
        ("als.items", np.zeros(3, np.float32)),
        ("als.items", np.full((7, 8), np.nan, np.float32)),
        ("ease.weights", np.zeros((3, 3), np.float32)),
        ("ease.weights", np.array([{}, {}], dtype=object)),
        ("item_knn.indices", np.full(3, 9_999, np.int32)),
        ("buy_again.size", np.array([99])),
    ],
)
def test_arrays_that_do_not_fit_are_refused(folder: Path, name: str, values: np.ndarray) -> None:
    lie(folder, f"{name}.npy", array(folder, values))
    with pytest.raises(ArtefactError, match=name.partition(".")[0]):
        load(folder)


@pytest.mark.parametrize("text", [b"{{", b"5", b'{"a": 1}', b"[1,2,3,4,5,6,7]", b'["a","a"]'])
def test_a_list_of_items_that_is_none_is_named(folder: Path, text: bytes) -> None:
    lie(folder, "items.json", text)
    with pytest.raises(ArtefactError, match=r"items\.json"):
        load(folder)


@pytest.mark.parametrize(
    "text", [b"x", b"", b'{"version":"\xff"}', b'{"version":"../../etc"}', b'{"version":""}',
             b'{"version":"v","before":["../x"]}', b'{"version":"gone"}'],
)  # fmt: skip
def test_an_alias_that_is_none_is_named(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "champion").write_bytes(text)
    with pytest.raises(ArtefactError):
        Registry(tmp_path).load("champion")


def test_an_alias_that_is_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "champion").mkdir()
    with pytest.raises(ArtefactError, match="champion: Is a directory"):
        Registry(tmp_path).resolve("champion")


def test_a_version_is_never_overwritten(stored: tuple[Registry, Manifest]) -> None:
    registry, manifest = stored
    with pytest.raises(ArtefactError, match="versions never change"):
        registry.push(manifest, [], {})
    assert registry.load("candidate").manifest == manifest
    assert not list((registry.folder / "versions").glob(".saving-*"))


def test_a_disk_that_is_full_leaves_nothing_behind(stored: tuple[Registry, Manifest]) -> None:
    registry, manifest = stored
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = sorted(registry.folder.rglob("*"))
    import signal

    heard = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then writing fails, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            train(shop(), registry, NOW + 1, default=first)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, heard)
    assert sorted(registry.folder.rglob("*")) == before
    assert registry.load("candidate").manifest == manifest

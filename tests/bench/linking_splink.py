"""Splink 5 (MIT) on the same records, with the settings of its own demos (docs/demos/examples/duckdb, 2026).

It is installed beside the project by `make bench-linking` and imported by name, so that nothing else needs it.
"""

import importlib
import importlib.util
import logging
import sys
import time
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from models.linking.reading import Sheet
from models.scores import Ints
from tests.bench.linking_data import HISTORICAL, SITE

LEAST: Final = 0.2
"""Pairs below this are not asked for."""


class Predicted(NamedTuple):
    """Pairs by rows of our records, and their probabilities."""

    left: Ints
    right: Ints
    probability: Any
    seconds: float
    version: str


def available() -> bool:
    """Whether Splink can be imported."""
    if str(SITE) not in sys.path and SITE.is_dir():
        sys.path.append(str(SITE))
    return (
        importlib.util.find_spec("splink") is not None
        and importlib.util.find_spec("duckdb") is not None
    )


def historical(sheet: Sheet) -> Predicted:
    """historical_50k."""
    cl, block_on = importlib.import_module("splink.comparison_library"), _splink().block_on
    frame = pd.read_parquet(HISTORICAL)
    both = frame["first_name"] + " " + frame["surname"]
    table = frame.assign(first_name_surname_concat=both)
    area, year = "substr(postcode_fake,1,3)", "substr(dob,1,4)"
    rules = [
        ("substr(first_name,1,3)", "substr(surname,1,4)"), ("surname", "dob"), ("first_name", "dob"),
        ("postcode_fake", "first_name"), ("postcode_fake", "surname"), ("dob", "birth_place"), (area, "dob"),
        (area, "first_name"), (area, "surname"), ("substr(first_name,1,2)", "substr(surname,1,2)", year),
    ]  # fmt: skip
    comparisons = [
        cl.ForenameSurnameComparison(
            "first_name", "surname", forename_surname_concat_col_name="first_name_surname_concat"
        ),
        cl.DateOfBirthComparison("dob", input_is_string=True),
        cl.PostcodeComparison("postcode_fake"),
        cl.ExactMatch("birth_place").configure(term_frequency_adjustments=True),
        cl.ExactMatch("occupation").configure(term_frequency_adjustments=True),
    ]
    surely = [
        block_on("first_name", "surname", "dob"), block_on("dob", "postcode_fake"),
        block_on("substr(first_name,1,2)", "surname", "substr(postcode_fake,1,2)"),
    ]  # fmt: skip
    return _run(
        [table], [sheet], "unique_id", "dedupe_only", [block_on(*rule) for rule in rules], comparisons,
        surely, 0.6, 1e7, [("first_name", "surname"), ("dob",)], plain=True,
    )  # fmt: skip


def febrl(sheets: tuple[Sheet, ...]) -> Predicted:
    """FEBRL 3 within itself, or FEBRL 4 as two files."""
    cl, block_on = importlib.import_module("splink.comparison_library"), _splink().block_on
    tables = [_febrl_table(sheet) for sheet in sheets]
    turned = "l.given_name = r.surname and l.surname = r.given_name"
    two = len(sheets) > 1
    surely = [block_on("soc_sec_id"), block_on("given_name", "surname", "date_of_birth")]
    if two:
        rules = [
            block_on("given_name", "surname"), turned, block_on("date_of_birth"), block_on("soc_sec_id"),
            block_on("state", "address_1"), block_on("street_number", "address_1"), block_on("postcode"),
        ]  # fmt: skip
        number, code = [1, 2], cl.DamerauLevenshteinAtThresholds("postcode", [1, 2])
    else:
        names = ("soc_sec_id", "given_name", "surname", "date_of_birth", "postcode")
        rules = [block_on(name) for name in names]
        number, code = [2], cl.ExactMatch("postcode")
        surely.append(f"{turned} and l.date_of_birth = r.date_of_birth")
    given, surname = (
        cl.NameComparison(name).configure(term_frequency_adjustments=True) if two else cl.NameComparison(name)
        for name in ("given_name", "surname")
    )  # fmt: skip
    comparisons = [
        given, surname,
        cl.DateOfBirthComparison("date_of_birth", input_is_string=True, datetime_format="%Y%m%d"),
        cl.DamerauLevenshteinAtThresholds("soc_sec_id", number),
        cl.ExactMatch("street_number").configure(term_frequency_adjustments=True),
        code.configure(term_frequency_adjustments=True),
    ]  # fmt: skip
    return _run(
        tables, list(sheets), "rec_id", "link_only" if two else "dedupe_only", rules, comparisons, surely,
        0.8 if two else 0.9, 1e6, [("date_of_birth",), ("postcode",)], plain=two,
    )  # fmt: skip


def _febrl_table(sheet: Sheet) -> pd.DataFrame:
    frame = pd.read_csv(sheet.name, skipinitialspace=True, dtype=str)
    return frame.rename(columns=str.strip)


def _splink() -> Any:
    logging.getLogger("splink").setLevel(logging.ERROR)
    return importlib.import_module("splink")


def _run(
    tables: list[pd.DataFrame], sheets: list[Sheet], key: str, kind: str, rules: list[Any],
    comparisons: list[Any], surely: list[Any], recall: float, random_pairs: float,
    training: list[tuple[str, ...]], *, plain: bool,
) -> Predicted:  # fmt: skip
    splink = _splink()
    started = time.perf_counter()
    database = splink.DuckDBAPI()
    arrow = importlib.import_module("pyarrow").Table.from_pandas
    given = [database.register(arrow(table, preserve_index=False)) for table in tables]
    settings = splink.SettingsCreator(
        link_type=kind, unique_id_column_name=key, comparisons=comparisons,
        blocking_rules_to_generate_predictions=rules,
    )  # fmt: skip
    linker = splink.Linker(given if len(given) > 1 else given[0], settings, log_level=logging.ERROR)
    learn = linker.training
    learn.estimate_probability_two_random_records_match(surely, recall=recall)
    learn.estimate_u_using_random_sampling(max_pairs=random_pairs, seed=2)
    for columns in training:
        learn.estimate_parameters_using_expectation_maximisation(
            splink.block_on(*columns), estimate_without_term_frequencies=plain
        )
    found = linker.inference.predict(threshold_match_probability=LEAST).as_duckdbpyrelation().df()
    seconds = time.perf_counter() - started
    row = {name: place for place, name in enumerate(name for sheet in sheets for name in sheet.ids)}
    left, right = (found[f"{key}_{side}"].map(row).to_numpy(dtype=np.int64) for side in ("l", "r"))
    chance = found["match_probability"].to_numpy(dtype=float)
    return Predicted(left, right, chance, seconds, str(splink.__version__))

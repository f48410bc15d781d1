"""The whole data set, read once: five seconds and 300 MB."""

from pathlib import Path

import pytest

from simulator.online_retail import Row, read_rows

WHOLE = Path(__file__).parents[3] / "shared/data/uci_online_retail_II.parquet"


@pytest.fixture(scope="package")
def whole() -> list[Row]:
    if not WHOLE.exists():
        pytest.skip(f"needs the UCI data set at {WHOLE}")
    pytest.importorskip("pandas", reason="pip install pandas pyarrow")
    return list(read_rows(WHOLE))

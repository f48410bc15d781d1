"""Every implementation of the store runs the same suite; Cassandra will be the second parameter."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.ports import Store
from storage.sqlite import open_store


@pytest.fixture(params=["sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made, _ = open_store(tmp_path / "onefold.sqlite", tmp_path / "onefold.keys")
    yield made
    made.close()

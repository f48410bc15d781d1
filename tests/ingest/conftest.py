"""The collector for tests: real HTTP in front of it, a recording behind it."""

from collections.abc import Iterator

import pytest

from ingest.collector import Collector
from tests.ingest.http_client import KEYS, NOW, Client, Recording, serving


@pytest.fixture
def taken() -> Recording:
    """What the collector handed on."""
    return Recording()


@pytest.fixture
def client(taken: Recording) -> Iterator[Client]:
    """A client of a running collector."""
    with serving(Collector(KEYS, taken, lambda: NOW, version="1.2.3")) as asking:
        yield asking

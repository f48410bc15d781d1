"""What a store tells of its own work: how long requests take, and what fails."""

from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the duration buckets: a grouped request takes 1 to 10 ms, a time-out is 5 s."""


class StoreMeter(Protocol):
    """Is told of every request. Any thread may call; nothing here may raise or wait."""

    def request(self, operation: str, seconds: float) -> None:
        """A request was answered. `operation` is one of the code's own few names, never data."""

    def error(self, kind: str) -> None:
        """A request failed. `kind` is the class of the error."""

    def wrote(self, rows: int, size: int) -> None:
        """So many rows were sent, of about `size` bytes in all."""


class Unmetered:
    """`StoreMeter` that nobody reads."""

    def request(self, operation: str, seconds: float) -> None:
        """Nothing."""

    def error(self, kind: str) -> None:
        """Nothing."""

    def wrote(self, rows: int, size: int) -> None:
        """Nothing."""


UNMETERED: Final[StoreMeter] = Unmetered()


class PrometheusStoreMeter:
    """`StoreMeter` in a registry that the composition root made."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._duration = Histogram(
            "onefold_store_request_duration_seconds", "How long the store took to answer.",
            ["operation"], buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self._errors = Counter(
            "onefold_store_errors_total", "Requests that the store did not answer, by kind of error.",
            ["kind"], registry=registry,
        )  # fmt: skip
        self._rows = Counter(
            "onefold_store_written_rows_total", "Rows sent to the store.", registry=registry
        )
        self._bytes = Counter(
            "onefold_store_written_bytes_total",
            "About how many bytes those rows have, before the server compresses them.",
            registry=registry,
        )

    def request(self, operation: str, seconds: float) -> None:
        """One more request."""
        self._duration.labels(operation).observe(seconds)

    def error(self, kind: str) -> None:
        """One more error."""
        self._errors.labels(kind).inc()

    def wrote(self, rows: int, size: int) -> None:
        """So many more."""
        self._rows.inc(rows)
        self._bytes.inc(size)

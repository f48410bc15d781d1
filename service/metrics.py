"""Every metric of one process. The composition root makes one and hands its parts on: nothing is global."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from ingest.metrics import IngestMetrics
from storage.metrics import PrometheusStoreMeter

CALL_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Buckets of a call's duration: the goal of GetProfile is a p99 below 50 ms."""
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format 0.0.4, which every scraper reads."""


class Metrics:
    """The registry of one process and those who write to it."""

    def __init__(self) -> None:
        # A second series for each, saying when it began, that no dashboard of ours reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        Info("onefold_build", "The version that runs.", registry=self.registry).info(
            {"version": running_version()}
        )
        self.store = PrometheusStoreMeter(self.registry)
        self.ingest = IngestMetrics(self.registry)
        self.rpc = RpcMetrics(self.registry)
        self.collector = CollectorMetrics(self.registry)

    def text(self) -> bytes:
        """All of them, as Prometheus reads it."""
        return generate_latest(self.registry)


class RpcMetrics:
    """`service.rpc.guard.RpcMeter`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._duration = Histogram(
            "onefold_rpc_duration_seconds", "How long a call took in this process, by method and status.",
            ["method", "code"], buckets=CALL_SECONDS, registry=registry,
        )  # fmt: skip
        self._children: dict[tuple[str, str], Histogram] = {}

    def answered(self, method: str, code: str, seconds: float) -> None:
        """One more call. Methods are those of the API, codes those of gRPC."""
        child = self._children.get((method, code))
        if child is None:
            child = self._children[method, code] = self._duration.labels(method, code)
        child.observe(seconds)


class CollectorMetrics:
    """Requests that the collector answered."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "onefold_collector_requests_total", "Requests to the collector, by endpoint and HTTP status.",
            ["endpoint", "status"], registry=registry,
        )  # fmt: skip
        self._children: dict[tuple[str, int], Counter] = {}

    def answered(self, endpoint: str, status: int) -> None:
        """One more request. `endpoint` is one that the collector has, or `other`."""
        child = self._children.get((endpoint, status))
        if child is None:
            child = self._children[endpoint, status] = self._requests.labels(endpoint, str(status))
        child.inc()


def running_version() -> str:
    """The version of this installation; empty if it is not installed."""
    try:
        return version("onefold")
    except PackageNotFoundError:
        return ""

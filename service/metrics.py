"""Every metric of one process. The composition root makes one and hands its parts on: nothing is global."""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import msgspec
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
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
        self.champion = ChampionMetrics(self.registry)
        self.asked: list[Callable[[], None]] = []
        """Called before metrics are read: what is looked up, not counted."""

    def text(self) -> bytes:
        """All of them, as Prometheus reads it."""
        for tell in self.asked:
            tell()
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


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A champion's age and quality. None: too little has happened since to say, or nobody looked."""

    model: str
    trained_ms: int
    newest_ms: int
    looked_ms: int | None = None
    new_interactions: int | None = None
    unknown_items: float | None = None
    ndcg_promised: float | None = None
    ndcg_since: float | None = None


class ChampionMetrics:
    """Staleness and drift of the model that answers; no samples without one."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"onefold_champion_{name}", text, ["model"], registry=registry)

        self._trained = gauge("trained_timestamp_seconds", "When the champion was trained.")
        self._newest = gauge(
            "newest_event_timestamp_seconds",
            "The newest interaction that the champion learned from.",
        )
        self._looked = gauge(
            "health_timestamp_seconds", "When it was last found out how the champion does."
        )
        self._new = gauge(
            "new_interactions", "Interactions by then of which the champion knows nothing."
        )
        self._unknown = gauge(
            "unknown_items_share", "Share of them with items that the champion cannot recommend."
        )
        self._promised = gauge(
            "ndcg_promised", "nDCG@10 on new items, by the leaderboard of the champion's training."
        )
        self._since = gauge(
            "ndcg_since", "nDCG@10 on new items, by what people took since: lower is drift."
        )

    def tell(self, standing: Standing | None) -> None:
        """What the champion is now; None: there is none."""
        said = standing or Standing(model="", trained_ms=0, newest_ms=0)
        looked_s = None if said.looked_ms is None else said.looked_ms / 1000
        for gauge, value in (
            (self._trained, said.trained_ms / 1000),
            (self._newest, said.newest_ms / 1000),
            (self._looked, looked_s),
            (self._new, said.new_interactions),
            (self._unknown, said.unknown_items),
            (self._promised, said.ndcg_promised),
            (self._since, said.ndcg_since),
        ):
            gauge.clear()
            if standing is not None and value is not None:
                gauge.labels(said.model).set(value)


def running_version() -> str:
    """The version of this installation; empty if it is not installed."""
    try:
        return version("onefold")
    except PackageNotFoundError:
        return ""

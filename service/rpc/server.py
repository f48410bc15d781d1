"""The gRPC server: a thread pool around the services, health, reflection, limits, an orderly end."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, Self

import grpc
import msgspec
from grpc_health.v1 import (  # type: ignore[import-untyped]
    health,
    health_pb2,
    health_pb2_grpc,
)
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]

from identity.rules import Rules
from ingest.deciding import Deciding, DecisionRefused
from ingest.segments.asking import Asking
from ingest.segments.here import Segments
from ingest.segments.sampling import Sampler
from service.config import GrpcConfig
from service.errors import PortTaken
from service.pb.onefold.v1 import (
    catalog_service_pb2_grpc,
    decision_service_pb2_grpc,
    identity_service_pb2_grpc,
    profile_service_pb2_grpc,
    recommendation_service_pb2_grpc,
    segment_service_pb2_grpc,
)
from service.rpc.catalog_service import CatalogService
from service.rpc.decision_service import DecisionService
from service.rpc.guard import Gate, GuardedServer, RpcMeter, ShortCalls
from service.rpc.identity_service import IdentityService
from service.rpc.limits import METADATA_BYTES_MAX, SETTLE_S, WATCHERS_MAX
from service.rpc.messages import MatchMessages
from service.rpc.paging import ATTRIBUTION, Tokens
from service.rpc.parsing import LookupParser, type_names
from service.rpc.profile_service import ProfileService
from service.rpc.recommendation_service import RecommendationService, SegmentsOf
from service.rpc.recommending import Recommending
from service.rpc.segment_service import SegmentService
from service.rpc.sensitive import Sensitive
from storage.catalogues import Catalogues
from storage.keys import Keys
from storage.ports import Store
from storage.profiles import ProfileReader

SERVICES: Final = (
    "onefold.v1.ProfileService",
    "onefold.v1.IdentityService",
    "onefold.v1.DecisionService",
    "onefold.v1.RecommendationService",
    "onefold.v1.CatalogService",
    "onefold.v1.SegmentService",
)
WAITING_MAX: Final = 64
"""Calls that wait for a worker before more are refused with RESOURCE_EXHAUSTED: 64 × 1 ms of one core."""
SPARE_WORKERS: Final = 2
"""Workers on top, so that health and reflection answer while the others are busy."""
CONNECTION_AGE_MS_MAX: Final = 30 * 60_000
"""Connections are renewed, so that load spreads over processes that were added later."""
CONNECTION_GRACE_MS: Final = 60_000
QUIET_S_MAX: Final = 1.0
"""Callers who try again, as the README says, bear to be turned away for 3 s; long calls get `grace_s` more."""
LAST_WORDS_S: Final = 0.1
"""The last answers are on their way when their calls have ended: so long until they are sent."""
PING_INTERVAL_MS_MIN: Final = 10_000
"""Clients that ping more often are disconnected (gRPC's default: 5 minutes, less than most balancers need)."""


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What the services answer from."""

    store: Store
    keys: Keys
    rules: Rules
    reader: ProfileReader
    recommending: Recommending
    now_ms: Callable[[], int]
    segments: Segments | None = None
    """The evaluate stage, where it runs in this process; None: workers keep segments current."""
    open_deciding: Callable[[], Deciding] | None = None
    """Who makes operators' decisions; None: nobody here."""
    segments_of: SegmentsOf = lambda found: ()
    """The segments of whom a lookup found: rules for items may be for some only."""
    sensitive_consent: str = ""
    """The purpose of consent without which nobody is shown sensitive items; empty: nobody is."""


class RpcServer:
    """A gRPC server. `start`, then `stop`; or `with RpcServer(...) as server`."""

    def __init__(self, served: Served, options: GrpcConfig, meter: RpcMeter | None = None) -> None:
        self.options = options
        self._pool = ThreadPoolExecutor(
            self.options.workers + 2 * WATCHERS_MAX + SPARE_WORKERS,
            thread_name_prefix="onefold-rpc",
        )
        self._server = grpc.server(
            self._pool,
            options=_channel_options(self.options),
            maximum_concurrent_rpcs=self.options.workers + WAITING_MAX,
        )
        self._health = health.HealthServicer(
            experimental_non_blocking=True, experimental_thread_pool=self._pool
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._short = ShortCalls(self._pool)
        self._gate = Gate(
            meter,
            self.options.workers + SPARE_WORKERS,
            None if served.store.waits else self._short,
        )
        self._left = False
        register(
            GuardedServer(self._server, self._gate).as_server(),
            served,
            self.options.deadline_max_s,
            self._gate,
        )
        if options.reflects:
            names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)
        self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        self.port = _bind(self._server, self.options)
        """The port that it listens on."""

    def start(self) -> Self:
        """Answer calls."""
        self._server.start()
        self.serving(True)
        return self

    def serving(self, can: bool) -> None:
        """Say whether calls can be answered now; a server that ends goes on saying no."""
        status = health_pb2.HealthCheckResponse
        self._set_health(status.SERVING if can else status.NOT_SERVING)

    def fall_silent(self) -> bool:
        """Say NOT_SERVING, wait for balancers to see it, begin no more calls, finish those under way.

        Whether all of them ended. What is left is to close the connections: by `stop`, or by the end of the
        process. The latter is kinder: gRPC's own end cancels calls that arrive at that moment, and CANCELLED
        is no invitation to try again, as a closed connection is.
        """
        silent = self._turn_away()
        time.sleep(LAST_WORDS_S)
        return silent

    def stop(self) -> None:
        """Say NOT_SERVING, wait for balancers to see it, refuse new calls, finish those under way."""
        self._turn_away()
        self._server.stop(self.options.grace_s).wait()
        self._pool.shutdown(wait=False)
        self._short.shutdown(wait=False)

    def _turn_away(self) -> bool:
        if not self._left:
            self._left = True
            self._health.enter_graceful_shutdown()
            time.sleep(self.options.drain_s)
        return self._gate.close(QUIET_S_MAX)

    def wait(self) -> None:
        """Return when the server has stopped."""
        self._server.wait_for_termination()

    def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in ("", *SERVICES):
            self._health.set(name, status)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def register(server: grpc.Server, served: Served, deadline_max_s: float, gate: Gate) -> None:
    """Register every service of the API."""
    lookups = LookupParser(served.rules)
    matches = MatchMessages(type_names(served.rules))
    sensitive = Sensitive(served.store.catalog)
    tokens = Tokens(served.keys.hash_key, "pages")
    asking = _asking(served)
    profile_service_pb2_grpc.add_ProfileServiceServicer_to_server(
        ProfileService(
            served.reader, lookups, matches, sensitive, tokens, served.now_ms, deadline_max_s
        ),
        server,
    )
    identity_service_pb2_grpc.add_IdentityServiceServicer_to_server(
        IdentityService(
            served.reader,
            served.store,
            served.rules,
            lookups,
            matches,
            tokens,
            served.now_ms,
            deadline_max_s,
        ),
        server,
    )
    decision_service_pb2_grpc.add_DecisionServiceServicer_to_server(
        DecisionService(
            served.reader,
            served.store,
            served.rules,
            served.open_deciding or _nobody_decides,
            asking,
            lookups=lookups,
            tokens=tokens,
            gate=gate,
            now_ms=served.now_ms,
        ),
        server,
    )
    segment_service_pb2_grpc.add_SegmentServiceServicer_to_server(
        SegmentService(
            served.reader,
            served.store,
            asking,
            Sampler(served.store, served.rules, type_names(served.rules)),
            lookups=lookups,
            matches=matches,
            tokens=tokens,
            gate=gate,
            now_ms=served.now_ms,
            waiting=served.segments.waiting if served.segments else lambda: 0,
        ),
        server,
    )
    recommendation_service_pb2_grpc.add_RecommendationServiceServicer_to_server(
        RecommendationService(
            served.reader,
            served.recommending,
            lookups,
            matches,
            Tokens(served.keys.hash_key, ATTRIBUTION),
            served.now_ms,
            served.segments_of,
            served.sensitive_consent,
        ),
        server,
    )
    catalog_service_pb2_grpc.add_CatalogServiceServicer_to_server(
        CatalogService(served.store.catalog, tokens, served.now_ms), server
    )


def _asking(served: Served) -> Asking:
    here = served.segments
    settle = partial(here.settle, SETTLE_S) if here else lambda: True
    catalogues = Catalogues(served.store.definitions)
    return Asking(served.store, served.rules, catalogues, served.now_ms, settle)


def _nobody_decides() -> Deciding:
    raise DecisionRefused("this server makes no decisions")


def _channel_options(options: GrpcConfig) -> list[tuple[str, Any]]:
    return [
        ("grpc.max_receive_message_length", options.message_bytes_max),
        ("grpc.max_send_message_length", options.message_bytes_max),
        ("grpc.max_metadata_size", METADATA_BYTES_MAX),
        ("grpc.so_reuseport", int(options.reuse_port)),
        ("grpc.max_connection_age_ms", CONNECTION_AGE_MS_MAX),
        ("grpc.max_connection_age_grace_ms", CONNECTION_GRACE_MS),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", PING_INTERVAL_MS_MIN),
    ]


def _bind(server: grpc.Server, options: GrpcConfig) -> int:
    address = f"[{options.host}]" if ":" in options.host else options.host
    try:
        port = server.add_insecure_port(f"{address}:{options.port}")
    except RuntimeError:
        port = 0
    if not port:
        raise PortTaken(f"cannot listen on {address}:{options.port}; is it in use?")
    return port

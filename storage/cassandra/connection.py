"""One connection to a Cassandra cluster: how statements are prepared, sent, timed out and retried."""

import ssl
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import Any, Final

from cassandra import (
    AuthenticationFailed,
    ConsistencyLevel,
    DriverException,
    InvalidRequest,
    OperationTimedOut,
    ProtocolVersion,
    RequestExecutionException,
    Unauthorized,
)
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import (
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
    NoHostAvailable,
    ResponseFuture,
    Session,
)
from cassandra.policies import (
    ConstantSpeculativeExecutionPolicy,
    DCAwareRoundRobinPolicy,
    RetryPolicy,
    TokenAwarePolicy,
)
from cassandra.query import (
    BatchStatement,
    BoundStatement,
    PreparedStatement,
    Statement,
    tuple_factory,
)

from storage.cassandra.settings import CassandraSettings
from storage.errors import Misconfigured, StoreError, StoreUnavailable
from storage.metrics import UNMETERED, StoreMeter

RETRIES_MAX: Final = 1
"""Further tries of one idempotent request within the driver; workers try again, with back-off, beyond that."""
SPECULATE_AFTER_S: Final = 1.0
"""A request that a coordinator has not answered by then is sent to another one too: it may be frozen."""
PAGE_ROWS: Final = 1_000

Retry = tuple[int, int | None]


class CarefulRetryPolicy(RetryPolicy):  # type: ignore[misc]
    """Never repeats what is not idempotent.

    The driver's own policy does when a connection drops (cassandra-driver 3.30, `on_request_error`), and
    would then run a conditional write twice.
    """

    def on_read_timeout(self, query: Statement, *_: Any, retry_num: int, **__: Any) -> Retry:
        return self._again(query, retry_num, self.RETRY)

    def on_write_timeout(self, query: Statement, *_: Any, retry_num: int, **__: Any) -> Retry:
        return self._again(query, retry_num, self.RETRY)

    def on_unavailable(self, query: Statement, *_: Any, retry_num: int, **__: Any) -> Retry:
        return self._again(query, retry_num, self.RETRY_NEXT_HOST)

    def on_request_error(self, query: Statement, *_: Any, retry_num: int, **__: Any) -> Retry:
        return self._again(query, retry_num, self.RETRY_NEXT_HOST)

    def _again(self, query: Statement, retry_num: int, how: int) -> Retry:
        if query.is_idempotent and retry_num < RETRIES_MAX:
            return how, None
        return self.RETHROW, None


class Routed(BoundStatement):  # type: ignore[misc]
    """A statement that goes to the replicas of `routing_key`: one with IN has no key of its own."""

    routing_key: bytes | None = None


class Request:
    """A request that was sent."""

    __slots__ = ("future", "operation", "sent_s")

    def __init__(self, future: ResponseFuture, operation: str, sent_s: float) -> None:
        self.future = future
        self.operation = operation
        self.sent_s = sent_s


def _operation(statement: Statement) -> str:
    if isinstance(statement, BatchStatement):
        return "write"
    if not statement.is_idempotent:
        return "conditional"
    return "read" if statement.prepared_statement.query_string.startswith("SELECT") else "write"


class Connection:
    """A session with prepared statements. Any thread may use it; made after forking, never before."""

    def __init__(self, settings: CassandraSettings, meter: StoreMeter = UNMETERED) -> None:
        self.settings = settings
        self.meter = meter
        self._prepared: dict[str, PreparedStatement] = {}
        self._preparing = Lock()
        self._cluster = _cluster(settings)
        with mapped_errors(settings, meter):
            try:
                self._session: Session = self._cluster.connect()
            except BaseException:
                centres = {host.datacenter for host in self._cluster.metadata.all_hosts()} - {None}
                self._cluster.shutdown()
                if centres and settings.datacenter not in centres:
                    raise Misconfigured(
                        f"Cassandra at {', '.join(settings.hosts)}: no data centre {settings.datacenter}; "
                        f"there is {', '.join(sorted(centres))} (cassandra.datacenter)"
                    ) from None
                raise

    @property
    def cluster(self) -> Cluster:
        """The driver's view of the cluster."""
        return self._cluster

    def prepare(self, cql: str) -> PreparedStatement:
        """A prepared statement, idempotent unless it is conditional; prepared once."""
        held = self._prepared.get(cql)
        if held is None:
            with self._preparing:
                with mapped_errors(self.settings, self.meter):
                    held = self._session.prepare(cql)
                held.is_idempotent = " IF " not in cql
                self._prepared[cql] = held
        return held

    def execute(self, cql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of one prepared statement."""
        return list(self.each(cql, parameters))

    def execute_serial(self, cql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of one query, after conditional writes under way on them are finished."""
        return list(self.rows_of(self.send_serial(cql, parameters)))

    def send_serial(self, cql: str, parameters: Sequence[Any]) -> "Request":
        """Such a query on its way."""
        bound = self.bind(cql, parameters)
        bound.consistency_level = ConsistencyLevel.LOCAL_SERIAL
        return self.send(bound)

    def each(
        self, cql: str, parameters: Sequence[Any] = (), page_rows: int = PAGE_ROWS
    ) -> Iterator[tuple[Any, ...]]:
        """The rows of one prepared statement, read page by page."""
        bound = self.bind(cql, parameters)
        bound.fetch_size = page_rows
        yield from self.rows_of(self.send(bound))

    def rows_of(self, request: "Request") -> Iterator[tuple[Any, ...]]:
        """The rows that a request answers with, further pages included."""
        with mapped_errors(self.settings, self.meter):
            try:
                rows = request.future.result()
                self.meter.request(request.operation, perf_counter() - request.sent_s)
                yield from rows
            finally:
                # It and its timer, which has ended, hold each other (cassandra-driver 3.30): every request
                # would stay with its rows until the collector of cycles stops some call for 100 ms.
                request.future._timer = None

    def send(self, statement: Statement) -> "Request":
        """A request on its way."""
        with mapped_errors(self.settings, self.meter):
            sent_s = perf_counter()
            return Request(self._session.execute_async(statement), _operation(statement), sent_s)

    def gather(self, statements: Iterable[Statement]) -> Iterator[tuple[Any, ...]]:
        """The rows of many requests, some of them under way at the same time.

        The first are sent now, so several gatherings that are iterated later answer at the same time.
        """
        left = iter(statements)
        waiting = deque(map(self.send, islice(left, self.settings.in_flight)))
        return self._gathered(waiting, left)

    def _gathered(
        self, waiting: deque[Request], left: Iterator[Statement]
    ) -> Iterator[tuple[Any, ...]]:
        while waiting:
            yield from self.rows_of(waiting.popleft())
            waiting.extend(map(self.send, islice(left, 1)))

    def run(self, cql: str) -> None:
        """One statement that is not worth preparing: schema changes."""
        with mapped_errors(self.settings, self.meter):
            self._session.execute(cql, timeout=max(30.0, self.settings.timeout_s))

    def bind(self, cql: str, parameters: Sequence[Any], key: bytes | None = None) -> Routed:
        """A prepared statement with its values, for the replicas of `key` where given."""
        statement = Routed(self.prepare(cql))
        statement.bind(parameters)
        statement.routing_key = key
        return statement

    def close(self) -> None:
        """Let go of every connection."""
        self._cluster.shutdown()


def _cluster(settings: CassandraSettings) -> Cluster:
    password = settings.password
    if settings.password_file is not None:
        password = Path(settings.password_file).read_text().strip()
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(settings.datacenter)),
        retry_policy=CarefulRetryPolicy(),
        # Only for what is idempotent: the driver sees to that.
        speculative_execution_policy=ConstantSpeculativeExecutionPolicy(SPECULATE_AFTER_S, 1),
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL,
        request_timeout=settings.timeout_s,
        row_factory=tuple_factory,
    )
    return Cluster(
        list(settings.hosts),
        port=settings.port,
        protocol_version=ProtocolVersion.V5,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        auth_provider=PlainTextAuthProvider(settings.username, password)
        if settings.username is not None
        else None,
        ssl_context=ssl.create_default_context(cafile=settings.tls_ca) if settings.tls_ca else None,
        connect_timeout=settings.connect_timeout_s,
        control_connection_timeout=settings.connect_timeout_s,
    )


@contextmanager
def mapped_errors(settings: CassandraSettings, meter: StoreMeter = UNMETERED) -> Iterator[None]:
    """The driver's errors as this tree's, with where and what to do. They hold no values that we bound."""
    try:
        with _named(settings):
            yield
    except StoreError as error:
        meter.error(type(error.__cause__ or error).__name__)
        raise


@contextmanager
def _named(settings: CassandraSettings) -> Iterator[None]:
    where = f"Cassandra at {', '.join(settings.hosts)}:{settings.port}"
    try:
        yield
    except NoHostAvailable as error:
        causes = list(error.errors.values()) if isinstance(error.errors, dict) else []
        if any(isinstance(cause, AuthenticationFailed) for cause in causes):
            raise Misconfigured(
                f"{where}: the user name or password is wrong (cassandra.username, cassandra.password)"
            ) from error
        known = settings.datacenter
        raise StoreUnavailable(
            f"{where}: no node of data centre {known} answers; check cassandra.hosts, .port and .datacenter"
        ) from error
    except (AuthenticationFailed, Unauthorized) as error:
        raise Misconfigured(f"{where}: this user may not do that ({_brief(error)})") from error
    except InvalidRequest as error:
        if _is_missing(error):
            raise Misconfigured(
                f"{where}: keyspace {settings.keyspace}_… is not there or not complete; run `onefold migrate`"
            ) from error
        raise StoreError(f"{where}: {_brief(error)}") from error
    except OperationTimedOut as error:
        raise StoreUnavailable(
            f"{where}: no answer within {settings.timeout_s:g} s (cassandra.timeout_s)"
        ) from error
    except (RequestExecutionException, DriverException) as error:
        raise StoreUnavailable(f"{where}: {_brief(error)}") from error
    except OSError as error:
        raise StoreUnavailable(f"{where}: {error}") from error


def _is_missing(error: InvalidRequest) -> bool:
    text = str(error).lower()
    return any(words in text for words in ("does not exist", "unconfigured table", "unknown table"))


def _brief(error: BaseException) -> str:
    """The kind of an error and its first line; the driver never puts bound values there."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"

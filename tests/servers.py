"""The session's Cassandra and Kafka: started when the first test asks, or named by the environment."""

import itertools
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import pytest

from deploy.servers import cql
from deploy.servers.cluster import CassandraCluster, KafkaBroker
from deploy.servers.errors import NotInstalled
from deploy.servers.settings import BROKER_PORT, CQL_PORT

CASSANDRA_VARIABLE: Final = "ONEFOLD_TEST_CASSANDRA"
KAFKA_VARIABLE: Final = "ONEFOLD_TEST_KAFKA"
REQUIRED_VARIABLES: Final = ("CI", "ONEFOLD_REQUIRE_SERVERS")
ADMIN_TIMEOUT_S: Final = 30.0

Server = TypeVar("Server")
_numbers = itertools.count(1)
_session = secrets.token_hex(2)


@dataclass(frozen=True)
class Cassandra:
    """Where the tests' Cassandra is."""

    hosts: tuple[str, ...]
    port: int
    cluster: CassandraCluster | None
    """None: it was there before the session, and is not ours to kill."""

    def query(self, statement: str) -> list[cql.Row]:
        """The rows of a statement, values as bytes; for set-up, not for speed."""
        return cql.query(self.hosts[0], self.port, statement, ADMIN_TIMEOUT_S)


@dataclass(frozen=True)
class Kafka:
    """Where the tests' Kafka is."""

    brokers: str
    broker: KafkaBroker | None
    """None: it was there before the session, and is not ours to kill."""


@contextmanager
def cassandra_server(folder: Path) -> Iterator[Cassandra]:
    """One node for the session, unless the environment names another server."""
    if named := os.environ.get(CASSANDRA_VARIABLE):
        host, port = host_and_port(named, CQL_PORT)
        yield Cassandra((host,), port, None)
        return
    cluster = require(lambda: CassandraCluster(folder))
    try:
        cluster.start()
        yield Cassandra(cluster.hosts, cluster.port, cluster)
    finally:
        cluster.kill()  # nobody needs its data: no time for a tidy end
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def kafka_server(folder: Path) -> Iterator[Kafka]:
    """One broker for the session, unless the environment names another server."""
    if named := os.environ.get(KAFKA_VARIABLE):
        host, port = host_and_port(named, BROKER_PORT)
        yield Kafka(f"{host}:{port}", None)
        return
    broker = require(lambda: KafkaBroker(folder))
    try:
        broker.start()
        yield Kafka(broker.brokers, broker)
    finally:
        broker.kill()
        broker.stop()
        shutil.rmtree(folder, ignore_errors=True)


def require(make: Callable[[], Server]) -> Server:
    """What `make` returns. Where something is not installed, the tests fail in CI and are skipped elsewhere."""
    try:
        return make()
    except NotInstalled as missing:
        if required():
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


def required() -> bool:
    """Whether tests may not be skipped for want of a server."""
    return any(os.environ.get(variable) for variable in REQUIRED_VARIABLES)


def host_and_port(text: str, port: int) -> tuple[str, int]:
    """`host` or `host:port`."""
    host, colon, named = text.rpartition(":")
    return (host, int(named)) if colon else (text, port)


def fresh_name() -> str:
    """A name that no other test has, in this session or another that runs now."""
    return f"t{_session}_{os.getpid()}_{next(_numbers)}"


def drop_keyspaces(server: Cassandra, name: str) -> None:
    """Drop the keyspaces that belong to the workspace `name`: each table keeps memory for itself."""
    for (keyspace,) in server.query("SELECT keyspace_name FROM system_schema.keyspaces"):
        found = (keyspace or b"").decode()
        if found == name or found.startswith(f"{name}_"):
            server.query(f"DROP KEYSPACE IF EXISTS {found}")


def delete_topics(server: Kafka, prefix: str) -> None:
    """Delete the topics whose names start with `prefix`."""
    from confluent_kafka.admin import AdminClient

    client = AdminClient({"bootstrap.servers": server.brokers, "log_level": 0})
    topics = client.list_topics(timeout=ADMIN_TIMEOUT_S).topics
    if found := [topic for topic in topics if topic.startswith(prefix)]:
        for deletion in client.delete_topics(found, operation_timeout=ADMIN_TIMEOUT_S).values():
            deletion.result(ADMIN_TIMEOUT_S)

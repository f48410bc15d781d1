"""What `onefold doctor` says about a cluster."""

from collections.abc import Iterator

import msgspec

from storage.cassandra.connection import Connection
from storage.cassandra.schema import check, check_release
from storage.cassandra.settings import CassandraSettings
from storage.errors import StoreError

OK, NOTE, BAD = "ok", "note", "problem"


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    about: str
    state: str
    """`ok`, `note` or `problem`."""
    found: str
    todo: str = ""


def survey(settings: CassandraSettings) -> list[Finding]:
    """Whether the cluster answers, what it is, and whether it can keep what is promised."""
    try:
        connection = Connection(settings)
    except StoreError as error:
        return [Finding("Cassandra", BAD, str(error), "start it, or mend the configuration")]
    try:
        return list(_findings(connection, settings))
    finally:
        connection.close()


def _findings(connection: Connection, settings: CassandraSettings) -> Iterator[Finding]:
    hosts = [
        host
        for host in connection.cluster.metadata.all_hosts()
        if host.datacenter == settings.datacenter
    ]
    up = sum(host.is_up is not False for host in hosts)
    try:
        release = check_release(connection)
    except StoreError as error:
        yield Finding("Cassandra", BAD, str(error), "upgrade the cluster")
        return
    yield Finding(
        "Cassandra",
        OK if up == len(hosts) else NOTE,
        f"{release}, {up} of {len(hosts)} nodes up in {settings.datacenter}",
        "" if up == len(hosts) else "start the nodes that are down",
    )
    yield from _schema(connection, settings, up)


def _schema(connection: Connection, settings: CassandraSettings, up: int) -> Iterator[Finding]:
    try:
        generation = check(connection, settings)
    except StoreError as error:
        yield Finding("keyspaces", BAD, str(error), "onefold migrate")
        return
    names = settings.keyspaces(generation)
    yield Finding("keyspaces", OK, f"{' and '.join(names)}, generation {generation}")
    for name in names:
        keyspace = connection.cluster.metadata.keyspaces[name]
        factors = getattr(keyspace.replication_strategy, "dc_replication_factors", {})
        copies = int(factors.get(settings.datacenter, 0))
        quorum = copies // 2 + 1
        if not copies:
            yield Finding(
                name, BAD, f"no copies in data centre {settings.datacenter}", "cassandra.datacenter"
            )
        elif up < quorum:
            yield Finding(
                name,
                BAD,
                f"{copies} copies: LOCAL_QUORUM needs {quorum} nodes, {up} up",
                "start nodes",
            )
        elif copies < 3:
            yield Finding(
                name, NOTE, f"{copies} cop{'y' if copies == 1 else 'ies'}: one node down, no answer",
                "three copies for production",
            )  # fmt: skip
        else:
            yield Finding(name, OK, f"{copies} copies, LOCAL_QUORUM with {quorum}")

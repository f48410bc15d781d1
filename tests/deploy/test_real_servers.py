"""The real servers: they answer, keep their data through a crash, and apply what a client never heard of."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.servers import cql
from deploy.servers.__main__ import main
from deploy.servers.cluster import CassandraCluster, KafkaBroker
from deploy.servers.jars import CASSANDRA
from deploy.servers.proxy import FaultProxy, proxied_cassandra
from tests.deploy.test_processes import eventually
from tests.servers import Cassandra, Kafka, require

CREATE_KEYSPACE = (
    "CREATE KEYSPACE {name} WITH replication ="
    " {{'class': 'NetworkTopologyStrategy', 'datacenter1': {copies}}}"
)
MARKER_INTERVAL_S = 0.2
"""Twice what a periodic commit log may lose in a crash of the process."""


def create(host: str, port: int, name: str, copies: int = 1) -> None:
    for statement in (
        CREATE_KEYSPACE.format(name=name, copies=copies),
        f"CREATE TABLE {name}.seen (k text PRIMARY KEY, v text)",
    ):
        cql.query(host, port, statement, 30)
        # A node that does not know the table yet drops the write.
        assert eventually(lambda: len(schemas(host, port)) == 1)


def schemas(host: str, port: int) -> set[cql.Row]:
    told = "SELECT schema_version FROM system."
    return {*cql.query(host, port, f"{told}local"), *cql.query(host, port, f"{told}peers_v2")}


def write(host: str, port: int, name: str, key: str, timeout_s: float = 10) -> None:
    cql.query(host, port, f"INSERT INTO {name}.seen (k, v) VALUES ('{key}', 'yes')", timeout_s)


def read(host: str, port: int, name: str) -> set[bytes | None]:
    return {key for (key,) in cql.query(host, port, f"SELECT k FROM {name}.seen", 30)}


def test_a_node_answers(cassandra: Cassandra, cassandra_keyspace: str) -> None:
    host, port = cassandra.hosts[0], cassandra.port
    create(host, port, cassandra_keyspace)
    write(host, port, cassandra_keyspace, "a")

    assert read(host, port, cassandra_keyspace) == {b"a"}
    assert cql.query(host, port, f"SELECT v FROM {cassandra_keyspace}.seen WHERE k = 'b'") == []
    if cassandra.cluster is not None:
        assert cassandra.query("SELECT release_version FROM system.local") == [
            (CASSANDRA.version.encode(),)
        ]


def test_a_refused_statement_says_why(cassandra: Cassandra) -> None:
    with pytest.raises(cql.CqlError, match="does not exist"):
        cassandra.query("SELECT * FROM nowhere.nothing")


def test_a_driver_goes_through_a_proxy_and_its_lost_write_is_applied(
    cassandra: Cassandra, cassandra_keyspace: str
) -> None:
    from cassandra import OperationTimedOut
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
    from cassandra.policies import RoundRobinPolicy

    name = cassandra_keyspace
    create(cassandra.hosts[0], cassandra.port, name)
    profile = ExecutionProfile(load_balancing_policy=RoundRobinPolicy(), request_timeout=10)
    with FaultProxy((cassandra.hosts[0], cassandra.port)) as proxy:
        cluster = Cluster(
            [proxy.host],
            port=proxy.port,
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            protocol_version=5,
        )
        try:
            session = cluster.connect()
            proxy.drop_answers()
            with pytest.raises(OperationTimedOut):
                session.execute(f"INSERT INTO {name}.seen (k, v) VALUES ('a', 'yes')", timeout=0.5)
            assert read(cassandra.hosts[0], cassandra.port, name) == {b"a"}
            assert proxy.counts.dropped_bytes > 0
        finally:
            proxy.pass_all()
            cluster.shutdown()


@pytest.fixture(scope="module")
def proxied(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[CassandraCluster, FaultProxy]]:
    """A node that may be killed: nobody else uses it."""
    folder = tmp_path_factory.mktemp("proxied")
    with require(lambda: proxied_cassandra(folder)) as (cluster, proxies):
        yield cluster, proxies[0]


def test_a_node_advertises_its_proxy(proxied: tuple[CassandraCluster, FaultProxy]) -> None:
    cluster, proxy = proxied
    told = "SELECT rpc_address FROM system.local"
    ((address,),) = cql.query(proxy.host, proxy.port, told)

    assert address == bytes(int(part) for part in proxy.host.split("."))
    assert proxy.host != cluster.hosts[0]


def test_a_killed_node_comes_back_with_its_data(
    proxied: tuple[CassandraCluster, FaultProxy],
) -> None:
    cluster, _ = proxied
    (node,) = cluster.nodes
    create(cluster.hosts[0], cluster.port, "crash")
    write(cluster.hosts[0], cluster.port, "crash", "a")
    time.sleep(MARKER_INTERVAL_S)

    before = node.pid
    node.kill()
    assert not node.running
    assert not cql.answers(cluster.hosts[0], cluster.port)
    node.start()

    assert node.pid != before
    assert read(cluster.hosts[0], cluster.port, "crash") == {b"a"}


def test_a_paused_node_is_silent_until_it_goes_on(
    proxied: tuple[CassandraCluster, FaultProxy],
) -> None:
    cluster, _ = proxied
    (node,) = cluster.nodes
    node.pause()
    try:
        assert not cql.answers(cluster.hosts[0], cluster.port, timeout_s=0.5)
    finally:
        node.resume()
    assert cql.answers(cluster.hosts[0], cluster.port, timeout_s=10)


@pytest.mark.slow
def test_three_nodes_bear_the_loss_of_one(tmp_path: Path) -> None:
    with require(lambda: CassandraCluster(tmp_path, 3)) as cluster:
        create(cluster.hosts[0], cluster.port, "ring", copies=3)
        cluster.nodes[2].kill()
        statement = "INSERT INTO ring.seen (k, v) VALUES ('a', 'yes')"
        cql.query(cluster.hosts[0], cluster.port, statement, 30, consistency=4)  # QUORUM

        assert read(cluster.hosts[1], cluster.port, "ring") == {b"a"}
        cluster.kill()  # a tidy end takes seconds


def produce(brokers: str, topic: str, value: str) -> None:
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": brokers, "log_level": 0})
    failed: list[object] = []
    producer.produce(topic, value, on_delivery=lambda error, _: failed.append(error))
    assert producer.flush(30) == 0
    assert failed == [None]


def consume(brokers: str, topic: str, count: int) -> list[bytes | None]:
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": brokers, "group.id": topic, "log_level": 0})
    try:
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        return [each.value() for each in consumer.consume(count, timeout=30)]
    finally:
        consumer.close()


def test_a_broker_that_was_killed_comes_back_with_its_messages(
    kafka: Kafka, topic_prefix: str
) -> None:
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    topic = f"{topic_prefix}.events"
    admin = AdminClient({"bootstrap.servers": kafka.brokers, "log_level": 0})
    for made in admin.create_topics([NewTopic(topic, 1, 1)]).values():
        made.result(30)
    produce(kafka.brokers, topic, "one")
    assert consume(kafka.brokers, topic, 1) == [b"one"]
    if kafka.broker is None:
        return

    kafka.broker.kill()
    kafka.broker.start()

    produce(kafka.brokers, topic, "two")
    assert consume(kafka.brokers, topic, 2) == [b"one", b"two"]


def test_the_command_leaves_a_broker_running_until_it_is_stopped(
    kafka: Kafka, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # `kafka` is asked for its check that Java and Maven are there.
    folder = ["--folder", str(tmp_path / "servers")]
    assert main([*folder, "status"]) == 1
    capsys.readouterr()
    try:
        assert main([*folder, "start", "--only", "kafka"]) == 0
        assert 'kafka: {brokers: "127.' in capsys.readouterr().out

        assert main([*folder, "status", "--json"]) == 0
        (server,) = json.loads(capsys.readouterr().out)
        assert server["answers"]

        assert main([*folder, "start", "--only", "kafka"]) == 0
        told = capsys.readouterr()
        assert "running already" in told.err
        assert f'"{server["host"]}:9092"' in told.out
    finally:
        assert main([*folder, "stop", "--wipe"]) == 0
    assert capsys.readouterr().out == "1 stopped\n"
    assert main([*folder, "status"]) == 1
    assert not (tmp_path / "servers" / "data").exists()


def test_no_broker_is_an_answer_too(tmp_path: Path) -> None:
    from deploy.servers.cluster import broker_answers

    broker = require(lambda: KafkaBroker(tmp_path))
    assert not broker_answers(broker.brokers)
    broker.stop()

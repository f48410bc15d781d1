"""A Cassandra cluster and a Kafka broker, started for this process or left running."""

import base64
import hashlib
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from deploy.servers import cql, settings
from deploy.servers.errors import NotStarted
from deploy.servers.jars import CASSANDRA, KAFKA, Say, fetch, quiet
from deploy.servers.java import java_for_cassandra, java_for_kafka
from deploy.servers.loopback import Subnet, claim_subnet
from deploy.servers.process import POLL_S, READY_TIMEOUT_S, Process, mark_of

KAFKA_HEAP_MB: Final = 256
PROBE_TIMEOUT_S: Final = 2.0
GROUPS_TIMEOUT_S: Final = 20.0
FORMAT_TIMEOUT_S: Final = 120.0


class CassandraCluster:
    """One or more nodes of Cassandra on loopback addresses of their own, all on port 9042.

    Nodes keep their data in `folder`, so a cluster made again on it has it; pass the same `nodes`.
    With `commit_log="periodic"` a node that is killed loses the writes of its last tenth of a second (a
    machine that loses power, of its last ten seconds): one node's acknowledgement is no promise, a quorum's
    is. `"batch"` writes before it acknowledges, at a price in latency.
    `advertise` names, node by node, the addresses that drivers are told, for a proxy on the same port.
    `first_compiler_only` starts faster and runs slower: turn it off to measure.
    The nodes end with this process unless `detached`.
    """

    def __init__(
        self,
        folder: Path,
        nodes: int = 1,
        *,
        heap_mb: int = 384,
        advertise: Sequence[str] | None = None,
        commit_log: settings.CommitLog = "periodic",
        first_compiler_only: bool = True,
        detached: bool = False,
        subnet: Subnet | None = None,
        say: Say = quiet,
    ) -> None:
        if advertise is not None and len(advertise) != nodes:
            raise ValueError(f"{nodes} nodes, {len(advertise)} addresses to advertise")
        java = java_for_cassandra()
        jars = fetch(CASSANDRA, java, say=say)
        self.folder = folder.resolve()
        self.port = settings.CQL_PORT
        self._subnet = subnet or claim_subnet((self.port, settings.STORAGE_PORT), nodes)
        self.hosts = tuple(self._subnet.address(number + 1) for number in range(nodes))
        self.nodes: list[Process] = []
        (jamm,) = jars.glob("jamm-*.jar")
        for number, host in enumerate(self.hosts):
            home = self.folder / f"node{number + 1}"
            home.mkdir(parents=True, exist_ok=True)
            (home / "cassandra.yaml").write_text(
                settings.cassandra_yaml(
                    name=self.folder.name,
                    address=host,
                    seeds=self.hosts,
                    node=number,
                    nodes=nodes,
                    advertise=advertise[number] if advertise else None,
                    commit_log=commit_log,
                )
            )
            command = [
                str(java.path),
                mark_of(home),
                *settings.cassandra_options(heap_mb, jamm, first_compiler_only=first_compiler_only),
                f"-Dcassandra.config={(home / 'cassandra.yaml').as_uri()}",
                f"-Dcassandra.storagedir={home}",
                f"-Dcassandra.logdir={home}",
                f"-Dlogback.configurationFile={settings.CASSANDRA_CONF / 'logback.xml'}",
                "-cp",
                f"{jars}/*",
                "org.apache.cassandra.service.CassandraDaemon",
            ]
            ready = _cql_probe(host, self.port)
            name = f"cassandra node {number + 1} ({host})"
            self.nodes.append(Process(name, command, home, ready, detached=detached))

    def start(self) -> None:
        """Start all nodes; returns when each answers CQL and reaches all the others."""
        try:
            self.spawn()
            self.wait_until_whole()
        except BaseException:
            self.stop()
            raise

    def spawn(self) -> None:
        """Start the nodes that do not run, without waiting. All are seeds: none waits for another."""
        for node in self.nodes:
            node.spawn()

    def wait_until_whole(self) -> None:
        """Wait until each node answers and reaches all the others, for example after a restart."""
        for node in self.nodes:
            node.wait_ready()
        deadline = time.monotonic() + READY_TIMEOUT_S
        for node, host in zip(self.nodes, self.hosts, strict=True):
            while not cql.reaches_peers(host, self.port, len(self.hosts) - 1):
                if time.monotonic() > deadline:
                    raise NotStarted(f"{node.name} does not reach the others:\n{node.log_tail()}")
                time.sleep(POLL_S)

    def kill(self) -> None:
        """SIGKILL for all nodes. Their data stays in the folder."""
        for node in self.nodes:
            node.kill()

    def stop(self) -> None:
        """Stop all nodes; their data stays in the folder. The addresses are free again."""
        for node in self.nodes:
            node.terminate()
        for node in self.nodes:
            node.stop()
        self._subnet.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class KafkaBroker(Process):
    """One Kafka broker, its own controller, on a loopback address of its own.

    Made again on the same `folder` it has its topics, messages and offsets. Topics are not made by use.
    `advertise` is the `host:port` that clients are told, for a proxy.
    It ends with this process unless `detached`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        advertise: str | None = None,
        detached: bool = False,
        subnet: Subnet | None = None,
        say: Say = quiet,
    ) -> None:
        java = java_for_kafka()
        self._java = str(java.path)
        self._jars = fetch(KAFKA, java, say=say)
        self._subnet = subnet or claim_subnet((settings.BROKER_PORT, settings.CONTROLLER_PORT))
        address = self._subnet.address(1)
        self.host = address
        self.port = settings.BROKER_PORT
        self.brokers = f"{address}:{self.port}"
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        self._config = folder / "server.properties"
        self._config.write_text(
            settings.server_properties(address=address, advertise=advertise, data=folder / "data")
        )
        command = [
            self._java,
            mark_of(folder),
            f"-Xms{KAFKA_HEAP_MB}m",
            f"-Xmx{KAFKA_HEAP_MB}m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:+ExitOnOutOfMemoryError",
            *self._class_path(),
            "kafka.Kafka",
            str(self._config),
        ]
        ready = _broker_probe(self.brokers)
        super().__init__(f"kafka ({self.brokers})", command, folder, ready, detached=detached)

    def spawn(self) -> None:
        """Start, the first time on a fresh log, without waiting until the broker answers."""
        self._format()
        super().spawn()

    def stop(self) -> None:
        """Stop; the data stays in the folder. The address is free again."""
        super().stop()
        self._subnet.release()

    def _class_path(self) -> list[str]:
        logging = settings.KAFKA_CONF / "log4j2.properties"
        return ["-cp", f"{self._jars}/*", f"-Dlog4j2.configurationFile={logging.as_uri()}"]

    def _format(self) -> None:
        if (self.folder / "data" / "meta.properties").exists():
            return
        # Any 16 bytes do; those of the folder make a broker that is started twice the same one.
        digest = hashlib.sha256(str(self.folder).encode()).digest()[:16]
        cluster = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        command = [self._java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", *self._class_path()]
        command += ["kafka.tools.StorageTool", "format", "--standalone"]
        # An id that began with a dash would be taken for an option.
        command += ["-t", f"o{cluster[1:]}", "-c", str(self._config)]
        told = subprocess.run(  # noqa: S603  # a command line of this package
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=FORMAT_TIMEOUT_S,
        )
        if told.returncode != 0:
            raise NotStarted(f"Kafka's log could not be made:\n{told.stdout}{told.stderr}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _cql_probe(host: str, port: int) -> Callable[[], bool]:
    return lambda: cql.answers(host, port)


def _broker_probe(brokers: str) -> Callable[[], bool]:
    return lambda: broker_answers(brokers) and _groups_known(brokers)


def _groups_known(brokers: str) -> bool:
    """Whether a broker has loaded its consumer groups: whoever joins one before is turned away."""
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    # A consumer asks again by itself; librdkafka's administrator was seen to crash on such answers.
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "onefold-probe", "log_level": 0})
    try:
        consumer.committed([TopicPartition("onefold-probe", 0)], timeout=GROUPS_TIMEOUT_S)
    except KafkaException:
        return False
    finally:
        consumer.close()
    return True


def broker_answers(brokers: str) -> bool:
    """Whether a broker says that it takes part in the cluster."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    # A broker that cannot be reached is what is asked here, not news for the terminal.
    client = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    try:
        return bool(client.list_topics(timeout=PROBE_TIMEOUT_S).brokers)
    except KafkaException:
        return False

"""Servers that stay when the command that started them ends: `make servers`."""

import contextlib
import json
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from deploy.servers import cql
from deploy.servers.cluster import CassandraCluster, KafkaBroker, broker_answers
from deploy.servers.errors import ServersError
from deploy.servers.jars import Say, locked, quiet
from deploy.servers.loopback import DEFAULT_PREFIX, Subnet, claim_subnet, try_claim
from deploy.servers.process import Process, is_ours, stop_by_pid
from deploy.servers.settings import BROKER_PORT, CONTROLLER_PORT, CQL_PORT, STORAGE_PORT

STATE_NAME: Final = "state.json"
DATA_NAME: Final = "data"

Kind = Literal["cassandra", "kafka"]
KINDS: Final[tuple[Kind, ...]] = ("cassandra", "kafka")


@dataclass(frozen=True)
class Started:
    """One server that was started in the background."""

    kind: Kind
    name: str
    host: str
    port: int
    pid: int
    folder: str

    @property
    def running(self) -> bool:
        """Whether its process is still there, and still it."""
        return is_ours(self.pid, Path(self.folder))

    def answers(self) -> bool:
        """Whether it answers its clients."""
        if self.kind == "cassandra":
            return cql.answers(self.host, self.port)
        return broker_answers(f"{self.host}:{self.port}")

    def stop(self) -> bool:
        """End it. False if it had ended before."""
        return stop_by_pid(self.pid, Path(self.folder))


class Background:
    """The servers of one state folder; one command at a time works on them."""

    def __init__(self, folder: Path, say: Say = quiet) -> None:
        self.folder = folder.resolve()
        self._say = say

    def start(self, kinds: Sequence[Kind] = KINDS, nodes: int = 1) -> list[Started]:
        """Start those of `kinds` that do not run, and wait until they answer; returns all that run.

        ServersError if Cassandra runs with another number of nodes.
        """
        with self._lock():
            there = self._running()
            nodes_there = [each for each in there if each.kind == "cassandra"]
            if "cassandra" in kinds and nodes_there and len(nodes_there) != nodes:
                raise ServersError(
                    f"Cassandra runs with {len(nodes_there)} nodes, not with {nodes}."
                    " Stop it first: make servers-stop"
                )
            missing = [kind for kind in kinds if kind not in {each.kind for each in there}]
            for each in there:
                self._say(f"{each.name} is running already (process {each.pid})")
            return there + (self._start(missing, nodes, there) if missing else [])

    def stop(self, *, wipe: bool = False) -> int:
        """Stop what runs, and with `wipe` remove its data; returns how many servers were stopped."""
        with self._lock():
            there = self._running()
            with ThreadPoolExecutor(max_workers=max(len(there), 1)) as pool:
                stopped = sum(pool.map(Started.stop, there))
            (self.folder / STATE_NAME).unlink(missing_ok=True)
            if wipe:
                shutil.rmtree(self.folder / DATA_NAME, ignore_errors=True)
            return stopped

    def status(self) -> list[Started]:
        """Every server that was started and not stopped, whether it still runs or not."""
        try:
            entries: list[dict[str, Any]] = json.loads((self.folder / STATE_NAME).read_text())
        except FileNotFoundError:
            return []
        return [Started(**entry) for entry in entries]

    def _running(self) -> list[Started]:
        return [each for each in self.status() if each.running]

    def _start(self, kinds: Sequence[Kind], nodes: int, there: Sequence[Started]) -> list[Started]:
        subnet = self._subnet(kinds, nodes)
        # Nodes remember each other's addresses: another subnet is another cluster.
        data = self.folder / DATA_NAME / subnet.prefix
        cluster: CassandraCluster | None = None
        broker: KafkaBroker | None = None
        if "cassandra" in kinds:
            cluster = CassandraCluster(
                data / f"cassandra-{nodes}", nodes, detached=True, subnet=subnet, say=self._say
            )
        if "kafka" in kinds:
            broker = KafkaBroker(data / "kafka", detached=True, subnet=subnet, say=self._say)
        self._say(f"starting {' and '.join(kinds)}")
        try:
            if cluster is not None:
                cluster.spawn()
            if broker is not None:
                broker.spawn()
            made = [*_entries(cluster, broker)]
            self._write([*there, *made])
            if broker is not None:
                broker.wait_ready()
                self._say(f"{broker.name} answers")
            if cluster is not None:
                cluster.wait_until_whole()
                self._say(f"cassandra answers ({', '.join(cluster.hosts)})")
        except BaseException:
            for server in (cluster, broker):
                if server is not None:
                    server.stop()
            self._write(there)
            raise
        else:
            for process in [*(cluster.nodes if cluster else []), *([broker] if broker else [])]:
                process.release()
        finally:
            subnet.release()  # the servers hold their ports themselves from here on
        return made

    def _subnet(self, kinds: Sequence[Kind], nodes: int) -> Subnet:
        """The usual addresses if they are free, else others."""
        ports: list[int] = []
        if "cassandra" in kinds:
            ports += [CQL_PORT, STORAGE_PORT]
        if "kafka" in kinds:
            ports += [BROKER_PORT, CONTROLLER_PORT]
        addresses = nodes if "cassandra" in kinds else 1
        return try_claim(DEFAULT_PREFIX, ports, addresses) or claim_subnet(ports, addresses)

    def _write(self, entries: Sequence[Started]) -> None:
        path = self.folder / STATE_NAME
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps([asdict(each) for each in entries], indent=1))
        fresh.replace(path)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / "lock"):
            yield


def configuration(servers: Sequence[Started]) -> str:
    """What goes into `onefold.yaml` to use them."""
    nodes = [each for each in servers if each.kind == "cassandra"]
    brokers = [f"{each.host}:{each.port}" for each in servers if each.kind == "kafka"]
    lines: list[str] = []
    if nodes:
        lines += [
            "store: {kind: cassandra}",
            f"cassandra: {{hosts: [{', '.join(each.host for each in nodes)}],"
            f" port: {nodes[0].port}, replication: {len(nodes)}}}",
        ]
    if brokers:
        lines.append(f'kafka: {{brokers: "{",".join(brokers)}", replication: 1}}')
    return "\n".join(lines)


def _entries(cluster: CassandraCluster | None, broker: KafkaBroker | None) -> Iterator[Started]:
    if cluster is not None:
        for host, node in zip(cluster.hosts, cluster.nodes, strict=True):
            yield _entry("cassandra", node, host, cluster.port)
    if broker is not None:
        yield _entry("kafka", broker, broker.host, broker.port)


def _entry(kind: Kind, server: Process, host: str, port: int) -> Started:
    return Started(kind, server.name, host, port, server.pid, str(server.folder))

"""The settings of the servers: small ones, for a laptop and for tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

CQL_PORT: Final = 9042
STORAGE_PORT: Final = 7000
BROKER_PORT: Final = 9092
CONTROLLER_PORT: Final = 9093
RING: Final = 2**64

CommitLog = Literal["periodic", "batch"]

CASSANDRA_CONF: Final = Path(__file__).parent / "conf" / "cassandra"
KAFKA_CONF: Final = Path(__file__).parent / "conf" / "kafka"


def token(node: int, nodes: int) -> int:
    """The token of node `node`: the ring in equal arcs, so that no two nodes have to agree on tokens."""
    return -(RING // 2) + node * RING // nodes


def cassandra_yaml(
    *,
    name: str,
    address: str,
    seeds: Sequence[str],
    node: int,
    nodes: int,
    advertise: str | None,
    commit_log: CommitLog,
) -> str:
    """The configuration of one node. Cassandra refuses a key that it does not know."""
    text = (CASSANDRA_CONF / "cassandra.yaml").read_text()
    lines = [
        f'cluster_name: "{name}"',
        f'initial_token: "{token(node, nodes)}"',
        f"listen_address: {address}",
        f"rpc_address: {address}",
        f"storage_port: {STORAGE_PORT}",
        f"native_transport_port: {CQL_PORT}",
        "seed_provider:",
        "  - class_name: org.apache.cassandra.locator.SimpleSeedProvider",
        f'    parameters: [{{seeds: "{",".join(f"{seed}:{STORAGE_PORT}" for seed in seeds)}"}}]',
    ]
    if advertise is not None:
        lines.append(f"broadcast_rpc_address: {advertise}")
    if commit_log == "periodic":
        lines += ["commitlog_sync: periodic", "commitlog_sync_period: 10000ms"]
    else:
        lines.append("commitlog_sync: batch")
    return text + "\n".join(lines) + "\n"


def cassandra_options(heap_mb: int, jamm: Path, *, first_compiler_only: bool) -> list[str]:
    """The options of a node's JVM; without jamm and the opened packages it ends without a word."""
    lines = (CASSANDRA_CONF / "jvm.options").read_text().splitlines()
    options = [line for line in lines if line and not line.startswith("#")]
    if first_compiler_only:
        options.append("-XX:TieredStopAtLevel=1")
    return [f"-javaagent:{jamm}", f"-Xms{heap_mb}m", f"-Xmx{heap_mb}m", *options]


def server_properties(*, address: str, advertise: str | None, data: Path) -> str:
    """The configuration of a broker that is its own controller."""
    broker = f"{address}:{BROKER_PORT}"
    controller = f"{address}:{CONTROLLER_PORT}"
    return (KAFKA_CONF / "server.properties").read_text() + "\n".join(
        [
            f"controller.quorum.bootstrap.servers={controller}",
            f"listeners=PLAINTEXT://{broker},CONTROLLER://{controller}",
            f"advertised.listeners=PLAINTEXT://{advertise or broker},CONTROLLER://{controller}",
            f"log.dirs={data}",
            "",
        ]
    )

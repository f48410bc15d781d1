"""Servers of a benchmark's own: larger heaps and both compilers, for they are not what is measured."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from deploy.servers.cluster import CassandraCluster, KafkaBroker
from tests.faults.world import World

HEAP_MB: Final = 1024


class Servers(NamedTuple):
    """What runs."""

    cassandra: CassandraCluster
    kafka: KafkaBroker
    folder: Path

    def world(self, name: str, *, partitions: int = 4) -> World:
        """A fresh workspace on them."""
        folder = self.folder / name
        folder.mkdir()
        return World(
            folder,
            hosts=self.cassandra.hosts,
            brokers=self.kafka.brokers,
            keyspace=name,
            prefix=name,
            replication=min(3, len(self.cassandra.nodes)),
            partitions=partitions,
        ).make()


@contextmanager
def servers(nodes: int = 1) -> Iterator[Servers]:
    """Cassandra and Kafka for a benchmark."""
    with tempfile.TemporaryDirectory(prefix="onefold-bench-") as made:
        folder = Path(made)
        heap_mb = HEAP_MB if nodes == 1 else HEAP_MB // 2
        print(
            f"servers: Cassandra 5.0, {nodes} node{'s' if nodes > 1 else ''} with {heap_mb} MB, and Kafka 4.3, "
            "on this machine's cores too"
        )
        with (
            CassandraCluster(
                folder / "cassandra", nodes, heap_mb=heap_mb, first_compiler_only=False
            ) as cassandra,
            KafkaBroker(folder / "kafka") as kafka,
        ):
            yield Servers(cassandra, kafka, folder)

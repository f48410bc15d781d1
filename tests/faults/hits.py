"""Whether a fault hit something: work that was durable already, and not committed, when a worker died.

Then somebody does it again. A fault that never caught a worker between the two proves nothing.
"""

import random
import time
from collections.abc import Sequence

from confluent_kafka import Message as KafkaMessage

from ingest.log import Message
from ingest.messages import activity_in, position_of, statements_in
from storage.cassandra.activity import MONTH_MS
from tests.faults.log import Offsets
from tests.faults.workers import STAGES, Worker
from tests.faults.world import World

LOOKED_AT_MAX = 500
"""Messages behind a commit that are looked at: more than one batch."""
TRIES_MAX = 100


class Killer:
    """Kills workers, and keeps count of what they left half done."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sent_again = 0
        self.hits = dict.fromkeys(STAGES, 0)
        """Kills of each stage that left something half done."""

    def kill(self, stage: str) -> int:
        """Kill all workers of a stage; how many messages they had begun and not committed."""
        for worker in self._world.of(stage):
            self._world.kill(worker)
        found = half_done(self._world, stage)
        if stage == "record":
            # What earlier kills left is in the activity topic twice by now, and stays there.
            self._sent_again, found = found, found - self._sent_again
        self.hits[stage] += found > 0
        return found

    def kill_in_mid_batch(self, worker: Worker, dice: random.Random) -> None:
        """Let a worker go on for random moments until it is stopped with something half done; kill it there."""
        for _ in range(TRIES_MAX):
            time.sleep(dice.random() * 0.1)
            worker.pause()
            found = half_done(self._world, worker.stage)
            if found > (self._sent_again if worker.stage == "record" else 0):
                self.kill(worker.stage)
                return
            worker.resume()
        raise AssertionError(f"{worker.stage} is never in the middle of anything")


def half_done(world: World, stage: str) -> int:
    """How many uncommitted messages of `stage` have left traces. Its workers must not run."""
    return {"record": _recorded, "fold": _folded, "identify": _decided}[stage](world)


def _recorded(world: World) -> int:
    """Activity beyond what the committed events account for; none of them may be refused."""
    activity = world.log.ends([world.kafka.topic("activity")])
    return sum(activity.values()) - world.done("record")


def _folded(world: World) -> int:
    """Uncommitted activity whose row stands in the timeline at that very position."""
    generation = world.kafka.log_generation
    waiting = uncommitted(world, "fold")
    wanted = {position_of(each, generation) for each in waiting}
    keyspace, _ = world.cassandra.keyspaces(world.store.generation)
    cql = f"SELECT position FROM {keyspace}.timeline WHERE leaf_month = ? AND key_ms = ? AND message_id = ?"
    connection = world.store.connection
    keys = []
    for message in waiting:
        activity = activity_in(message)
        month = activity.key_ms // MONTH_MS + (1 << 63)
        keys.append((activity.leaf + month.to_bytes(8), activity.key_ms, activity.message_id))
    rows = connection.gather(connection.bind(cql, key, key[0]) for key in keys)
    return len(wanted & {position for (position,) in rows})


def _decided(world: World) -> int:
    """Links that uncommitted messages were the first to name, and that are stored."""
    topic = world.kafka.topic("links")
    committed = world.log.committed(world.group("identify"))
    before: set[tuple[bytes, bytes]] = set()
    after: set[tuple[bytes, bytes]] = set()
    for message in map(ours, world.log.read(topic)):
        said = statements_in(message)
        done = message.offset < committed.get((topic, message.partition), 0)
        (before if done else after).update((link.a, link.b) for link in said.links)
    stored = {(link.a, link.b) for link in world.store.evidence.scan_links()}
    return len((after - before) & stored)


def uncommitted(world: World, stage: str, most: int = LOOKED_AT_MAX) -> Sequence[Message]:
    """The first messages of each partition that a stage has not committed."""
    (topic,) = world.topics_of(stage)
    start: Offsets = world.log.committed(world.group(stage))
    return [ours(each) for each in world.log.read(topic, start, most)]


def ours(message: KafkaMessage) -> Message:
    """A message as stages read it."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    key, value = message.key(), message.value()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    return Message(
        topic, partition, offset, message.timestamp()[1],
        key.encode() if isinstance(key, str) else key or b"",
        value.encode() if isinstance(value, str) else value or b"",
    )  # fmt: skip

"""From Kafka until a segment has somebody, stage by stage, at a modest load. `make bench-entered`.

A stream is produced at a stated rate, and beside it probes, steadily, whatever becomes of those before: a new
user orders; or a visitor orders, and a moment later logs in, by which the order becomes theirs. Each must enter
a segment. How long each stage took is read off the times at which its messages were handed over, when all is
over: nothing is asked meanwhile. The end is when a follower of the segments topic holds the message. Servers,
workers and generator share the cores.
"""

import argparse
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer, Message, TopicPartition

from identity.nodes import Node
from profiles.segments.catalogue import Put
from tests.bench import freshness
from tests.bench.distributed import streams
from tests.bench.freshness import at
from tests.bench.report import goal, machine
from tests.bench.servers import servers
from tests.faults.log import Background, Sender
from tests.faults.stream import WEB
from tests.faults.stream import Message as Sent
from tests.faults.workers import STAGES
from tests.faults.world import World

PARTITIONS: Final = 12
"""As `onefold migrate` makes them."""
WARM_S: Final = 30.0
"""Servers compile, and caches fill, before the first probe; what they were late with is worked off."""
PATIENCE_S: Final = 30.0
SEGMENTS: Final = msgspec.structs.replace(
    freshness.SEGMENTS,
    put=(
        *freshness.SEGMENTS.put,
        Put("known-buyers", {"all": [{"event": "Order Completed"}, {"has": "email"}]}),
    ),
)
ORDERED: Final = "an order of a new user"
LOGGED_IN: Final = "a login makes an order theirs"
HOPS: Final = ("recorded", "folded", "told", "heard")


class Probe(msgspec.Struct, frozen=True):
    """One that was sent."""

    kind: str
    profile: Node
    segment: str
    sent_ms: float


class Follower:
    """Somebody who reads the segments topic as it grows, and notes when what came."""

    def __init__(self, world: World) -> None:
        topic = world.kafka.topic("segments")
        self._consumer = Consumer(
            {
                "bootstrap.servers": world.kafka.brokers, "group.id": f"{topic}-follower",
                "enable.auto.commit": False,
            }
        )  # fmt: skip
        ends = world.log.ends([topic])
        self._consumer.assign([TopicPartition(*place, end) for place, end in ends.items()])
        self._ended = threading.Event()
        self._thread = Background(self._follow)
        self.heard: dict[tuple[str, str], tuple[int, float]] = {}
        """When what was told of a (profile, segment) was handed over, and when it was here."""

    def _follow(self) -> None:
        while not self._ended.is_set():
            for message in self._consumer.consume(100, 0.01):
                if message.error() is None:
                    self._hear(message, time.time() * 1000)

    def _hear(self, message: Message, now_ms: float) -> None:
        value = msgspec.json.decode(message.value() or b"")
        if value["event"] == "Audience Entered":
            profile = value.get("userId") or value["anonymousId"]
            key = (profile, value["properties"]["audience_key"])
            self.heard.setdefault(key, (message.timestamp()[1], now_ms))

    def stop(self) -> None:
        """No more."""
        self._ended.set()
        self._thread.wait()
        self._consumer.close()


class Prober:
    """Sends probes."""

    def __init__(self, world: World) -> None:
        self._hasher = world.keys.hasher()
        self._topic = world.inputs[WEB]
        self._sender = Sender(world.kafka.brokers)
        self.sent: list[Probe] = []

    def run(self, count: int, every_s: float) -> None:
        """One kind and the other in turn, at equal distances."""
        began = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, began + number * every_s - time.monotonic()))
            user = f"probe-{number}"
            node = self._hasher.node("user_id", user)
            if number % 2:
                self._say(user, type="track", event="Order Completed", userId=user)
                self.sent.append(Probe(ORDERED, node, "buyers", self._now_ms))
                continue
            visitor = {"anonymousId": f"visitor-{number}"}
            self._say(user, type="track", event="Order Completed", **visitor)
            time.sleep(every_s / 2)
            self._say(user, type="identify", userId=user, **visitor)
            self.sent.append(Probe(LOGGED_IN, node, "buyers", self._now_ms))

    def _say(self, user: str, **event: Any) -> None:
        said = {"messageId": f"{user}-{event['type']}", "channel": "web", **event}
        key = event.get("userId") or event["anonymousId"]
        self._now_ms = time.time() * 1000
        self._sender.now(self._topic, key.encode(), msgspec.json.encode(said))
        self._sender.flush()


def took(world: World, probes: Sequence[Probe], follower: Follower) -> dict[str, list[list[float]]]:
    """For each kind the milliseconds from the event to each hop, by probe."""
    recorded = first_times(world.log.read(world.kafka.topic("activity")))
    folded = first_times(world.log.read(world.kafka.topic("evaluate")))
    found: dict[str, list[list[float]]] = {}
    for probe in probes:
        told, heard = follower.heard[probe.profile.hex(), probe.segment]
        times = (recorded[probe.profile], folded[probe.profile], told, heard)
        found.setdefault(probe.kind, []).append([each - probe.sent_ms for each in times])
    return found


def first_times(messages: Iterable[Message]) -> Mapping[bytes, int]:
    """When the first message of each key was handed over."""
    found: dict[bytes, int] = {}
    for message in messages:
        key, when = message.key() or b"", message.timestamp()[1]
        found[key] = min(found.get(key, when), when)
    return found


def wait_for(probes: Sequence[Probe], follower: Follower) -> None:
    """Until all have entered."""
    until = time.monotonic() + PATIENCE_S
    while any((each.profile.hex(), each.segment) not in follower.heard for each in probes):
        assert time.monotonic() < until, "a probe never entered its segment"
        time.sleep(0.05)


def measure(
    world: World, messages: Sequence[Sent], rate: float, probes: int, every_s: float
) -> dict[str, list[list[float]]]:
    """Probes beside a stream of `rate` messages a second."""
    world.send(messages[: round(rate * WARM_S)], rate=rate)
    world.settle()
    follower, prober = Follower(world), Prober(world)
    try:
        stream = Background(lambda: world.send(messages[round(rate * WARM_S) :], rate=rate))
        prober.run(probes, every_s)
        stream.wait()
        wait_for(prober.sent, follower)
    finally:
        follower.stop()
    return took(world, prober.sent, follower)


def show(found: Mapping[str, list[list[float]]]) -> None:
    """Each stage's own share, and the whole."""
    print(f"\n{'ms':32}{'probes':>8}{'p50':>8}{'p90':>8}{'p99':>8}{'most':>8}")
    for kind, rows in found.items():
        before = [0.0] * len(rows)
        for number, hop in enumerate(HOPS):
            shares = sorted(row[number] - b for row, b in zip(rows, before, strict=True))
            print(line(f"  {hop}", shares))
            before = [row[number] for row in rows]
        print(line(kind, sorted(row[-1] for row in rows)))


def line(what: str, ordered: Sequence[float]) -> str:
    """Of a table."""
    places = (at(ordered, 0.5), at(ordered, 0.9), at(ordered, 0.99), ordered[-1])
    return f"{what:32}{len(ordered):8}" + "".join(f"{each:8,.0f}" for each in places)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.entered")
    parser.add_argument("--rate", type=float, default=50, help="events a second beside (50)")
    parser.add_argument("--probes", type=int, default=240)
    parser.add_argument("--every", type=float, default=0.25, help="seconds between probes (0.25)")
    options = parser.parse_args()
    print(machine("cassandra-driver", "confluent-kafka"), f"load {os.getloadavg()[0]:.1f}")
    seconds = WARM_S + options.probes * options.every
    messages = streams(round(options.rate * seconds))["busy hour"]
    with servers() as on, closing(on.world("entered", partitions=PARTITIONS)) as world:
        assert world.store.definitions.append(SEGMENTS)
        world.start(*STAGES)
        for stage in STAGES:
            world.joined(stage, 1)
        before = {each.stage: each.cpu_s for each in world.workers}
        began = time.monotonic()
        found = measure(world, messages, options.rate, options.probes, options.every)
        passed = time.monotonic() - began
        used = {each.stage: (each.cpu_s - before[each.stage]) / passed for each in world.workers}
    print(f"{options.rate:,.0f} events/s beside, {PARTITIONS} partitions, one worker a stage; their cores: "
          + ", ".join(f"{stage} {share:.2f}" for stage, share in used.items())
          + f"; load {os.getloadavg()[0]:.1f}")  # fmt: skip
    show(found)
    print()
    for kind, rows in found.items():
        whole = at(sorted(row[-1] for row in rows), 0.99) / 1000
        print(goal(f"p99 from event to entered, {kind}, s", whole, "<=", freshness.FRESH_S))


if __name__ == "__main__":
    main()

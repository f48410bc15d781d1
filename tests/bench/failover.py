"""How long nobody decides people when the process that does is killed. `make bench-failover`.

Two identify workers run, one of which stands by. Links of new people are produced all the time. The one that
works is killed with −9, and what passes until the next change of people is published is the time without a
writer. In the end every change was published, none of them twice with another content, and people are those
that their links give.
"""

import argparse
import os
import threading
import time
import urllib.request
from contextlib import closing
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer, TopicPartition

from tests.bench.report import goal, machine
from tests.bench.servers import servers
from tests.faults.log import Sender
from tests.faults.stream import WEB
from tests.faults.world import World

EVERY_S: Final = 0.05
"""Between two new people."""
STEADY_S: Final = 3.0
SECONDS_MAX: Final = 60.0
GOAL_S: Final = 10.0


class Followed:
    """Who hears of changes: when the newest one came, and all that were told."""

    def __init__(self, world: World) -> None:
        self.newest_s = 0.0
        self.told: dict[str, set[bytes]] = {}
        self.messages = 0
        self._stop = threading.Event()
        self._topic = world.kafka.topic("changes")
        self._consumer = Consumer(
            {"bootstrap.servers": world.kafka.brokers, "group.id": "follower", "log_level": 0}
        )
        self._consumer.assign([TopicPartition(self._topic, 0, 0)])
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def _follow(self) -> None:
        while not self._stop.is_set():
            for message in self._consumer.consume(500, 0.02):
                if message.error() is None:
                    value: Any = message.value()
                    change = msgspec.json.decode(value)
                    self.told.setdefault(change["id"], set()).add(
                        msgspec.json.encode([change["kind"], change["before"], change["after"]])
                    )
                    self.messages += 1
                    self.newest_s = time.monotonic()

    def close(self) -> None:
        """Stop listening."""
        self._stop.set()
        self._thread.join()
        self._consumer.close()


class People:
    """New people who say both their user id and their e-mail, one after the other."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._stop = threading.Event()
        self.sent = 0
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        sender = Sender(self._world.kafka.brokers)
        while not self._stop.is_set():
            self.sent += 1
            now_ms = time.time_ns() // 1_000_000
            user = f"u{self.sent}"
            event = {
                "type": "identify", "messageId": user, "userId": user, "receivedAt": now_ms,
                "originalTimestamp": now_ms, "traits": {"email": f"{user}@example.com"},
            }  # fmt: skip
            sender.now(self._world.inputs[WEB], user.encode(), msgspec.json.encode(event))
            time.sleep(EVERY_S)
        sender.flush()

    def close(self) -> None:
        """Nobody else comes."""
        self._stop.set()
        self._thread.join()


def without_writer(world: World, followed: Followed) -> float:
    """Kill the one that decides, start another to stand by, and wait for the next change; seconds."""
    members = world.log.members(world.group("identify"))
    assert len(members) == 2, f"two members, not {len(members)}"
    # Which of the two works is known by its metrics: the other one has no epoch.
    working = next(worker for worker in world.of("identify") if _epoch(worker.output.read_text()))
    world.kill(working)
    killed_s = time.monotonic()
    world.start("identify")
    while followed.newest_s <= killed_s:
        assert time.monotonic() - killed_s < SECONDS_MAX, "nobody took over"
        time.sleep(0.01)
    return followed.newest_s - killed_s


def _epoch(said: str) -> int:
    url = said.split("http://", 1)[1].split(maxsplit=1)[0]
    with urllib.request.urlopen(f"http://{url}", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("onefold_identity_epoch "):
                return int(float(line.split()[1]))
    return 0


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=6)
    options = parser.parse_args()
    print(machine("confluent-kafka"), f"load {os.getloadavg()[0]:.1f}")
    with servers() as on, closing(on.world("failover")) as world:
        world.start("record", "fold", "identify", "identify")
        world.joined("identify", 2)
        with closing(Followed(world)) as followed, closing(People(world)) as people:
            seconds = []
            for _ in range(options.kills):
                world.joined("identify", 2)
                time.sleep(STEADY_S)
                seconds.append(without_writer(world, followed))
            people.close()
            world.settle()
            deadline = time.monotonic() + SECONDS_MAX
            while len(followed.told) < people.sent and time.monotonic() < deadline:
                time.sleep(0.1)
            clusters, _ = world.store.people.counts()
            world.verify()
            different = sum(len(contents) > 1 for contents in followed.told.values())
    ordered = sorted(seconds)
    print(
        f"\nkills: {len(seconds)}, seconds without a writer: "
        + ", ".join(f"{s:.1f}" for s in seconds)
    )
    print(
        f"people: {people.sent:,} came, {clusters:,} are known; {len(followed.told):,} changes were published "
        f"in {followed.messages:,} messages\n"
    )
    print(goal("seconds without a writer, the longest", ordered[-1], "<=", GOAL_S))
    print(goal("people without a published change", people.sent - len(followed.told), "==", 0))
    print(goal("people who are not one profile", people.sent - clusters, "==", 0))
    print(goal("changes told with two contents", different, "==", 0))


if __name__ == "__main__":
    main()

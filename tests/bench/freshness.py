"""From Kafka until answers and segments know, at half of what the workers bear. `make bench-freshness`.

First the workers are given more than they can do: that is the load. Then half of it is produced, steadily,
and beside it probes: a new user views a product, or logs in with an e-mail. A probe is asked for over gRPC
until the answer knows it, every 30 ms; that waiting is part of the figure, and so are the
service, the servers and the load generator on the same cores.
"""

import argparse
import os
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import grpc
import msgspec

from profiles.segments.catalogue import Edit, Put
from service.pb.onefold.v1 import common_pb2, profile_service_pb2
from service.pb.onefold.v1 import recommendation_service_pb2 as pb
from service.pb.onefold.v1.profile_service_pb2_grpc import ProfileServiceStub
from service.pb.onefold.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from simulator.pharmacy import pharmacy
from simulator.shop import Shop
from tests.bench.distributed import streams
from tests.bench.report import goal, machine
from tests.bench.served import serving
from tests.bench.servers import servers
from tests.faults.embedded import Embedded
from tests.faults.log import Background, Sender
from tests.faults.recommending import catalog_of, train_models
from tests.faults.stream import WEB, Message, in_order
from tests.faults.workers import STAGES
from tests.faults.world import World

FRESH_S: Final = 1.0
PAUSE_S: Final = 0.03
"""Between two looks at one probe: with looks every 4 ms the two probers alone took a core."""
GIVE_UP_S: Final = 60.0
BETWEEN_S: Final = 0.15
"""Between two probes of one thread, so that they are no load of their own."""
PROBERS: Final = 2
SEGMENTS: Final = Edit(
    revision=1,
    time_ms=0,
    author="bench",
    put=(
        Put("buyers", {"event": "Order Completed", "within": "30d"}),
        Put("lookers", {"event": "Product Viewed", "count": {"at_least": 3}, "within": "7d"}),
        Put("known", {"has": "email"}),
    ),
)
"""What the stream and the probes move people in and out of."""


class Seen(msgspec.Struct, frozen=True):
    """How long each kind of answer took to know."""

    profile_s: list[float]
    recommended_s: list[float]
    joined_s: list[float]
    entered_s: list[float]


class Prober:
    """Sends probes and asks for them."""

    def __init__(self, world: World, address: str, name: str) -> None:
        self._world = world
        self._hasher = world.keys.hasher()
        self._topic = world.inputs[WEB]
        self._sender = Sender(world.kafka.brokers)
        self._channel = grpc.insecure_channel(address)
        self._profiles = ProfileServiceStub(self._channel)
        self._recommendations = RecommendationServiceStub(self._channel)
        self._name = name
        self._items = [item.id for item in pharmacy() if item.in_stock]
        self.seen = Seen([], [], [], [])

    def run(self, stop: threading.Event) -> None:
        """Probe after probe until told to stop."""
        number = 0
        while not stop.wait(BETWEEN_S):
            user, item = f"{self._name}-{number}", self._items[number % len(self._items)]
            self._view(user, item)
            self._log_in(user)
            number += 1
        self._channel.close()

    def _view(self, user: str, item: str) -> None:
        """A new user views an item, and enters a segment by it."""
        properties = {"product_id": item}
        began = self._send(user, type="track", event="Product Viewed", properties=properties)
        self.seen.profile_s.append(self._wait(began, lambda: self._viewed(user)))
        self.seen.recommended_s.append(self._wait(began, lambda: item in self._recent(user)))
        began = self._send(user, type="track", event="Order Completed")
        self.seen.entered_s.append(self._wait(began, lambda: "buyers" in self._segments(user)))

    def _log_in(self, user: str) -> None:
        """The user says their e-mail: from then on it finds them."""
        mail = f"{user}@probe.in"
        began = self._send(user, type="identify", context={"traits": {"email": mail}})
        self.seen.joined_s.append(
            self._wait(
                began, lambda: self._profile_id("email", mail) == self._profile_id("user_id", user)
            )
        )

    def _send(self, user: str, **event: Any) -> float:
        name = event.get("event", event["type"])
        said = {"messageId": f"{user}-{name}", "userId": user, "channel": "web", **event}
        began = time.perf_counter()
        self._sender.now(self._topic, user.encode(), msgspec.json.encode(said))
        self._sender.flush()
        return began

    def _wait(self, began: float, known: Callable[[], bool]) -> float:
        while not known():
            assert time.perf_counter() - began < GIVE_UP_S, "a probe is never known"
            time.sleep(PAUSE_S)
        return time.perf_counter() - began

    def _profile(self, kind: str, value: str) -> Any:
        request = profile_service_pb2.GetProfileRequest(lookup=_lookup(kind, value))
        try:
            return self._profiles.GetProfile(request, timeout=10).profile
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return None
            raise

    def _segments(self, user: str) -> Collection[str]:
        """What the store says, as an export or a filter of recommendations reads it."""
        node = self._hasher.node("user_id", user)
        held = self._world.store.memberships.get([node]).get(node)
        return held.segments if held is not None else ()

    def _viewed(self, user: str) -> bool:
        profile = self._profile("user_id", user)
        return profile is not None and bool(profile.interactions)

    def _profile_id(self, kind: str, value: str) -> str:
        profile = self._profile(kind, value)
        return f"no {kind}" if profile is None else str(profile.profile_id)

    def _recent(self, user: str) -> set[str]:
        reply = self._recommendations.Recommend(
            pb.RecommendRequest(
                lookup=_lookup("user_id", user), surface=pb.SURFACE_RECENTLY_VIEWED, limit=10
            ),
            timeout=10,
        )
        return {item.item_id for item in reply.items}


def _lookup(kind: str, value: str) -> common_pb2.Lookup:
    return common_pb2.Lookup(identifiers=[common_pb2.Identifier(type=kind, value=value)])


def most_events_s(world: World, messages: Sequence[Message]) -> float:
    """Events a second that the workers take, given as many as they like."""
    began = time.monotonic()
    world.send(messages)
    world.settle(600)
    return len(messages) / (time.monotonic() - began)


def probe(world: World, address: str, messages: Sequence[Message], rate: float) -> Seen:
    """Produce at `rate` and probe until all is sent; the lag must not have grown."""
    stop = threading.Event()
    probers = [Prober(world, address, f"probe{number}") for number in range(PROBERS)]
    probing = [Background(lambda each=each: each.run(stop)) for each in probers]  # type: ignore[misc]
    world.send(messages, rate=rate)
    lag = world.lag("record") + world.lag("fold")
    stop.set()
    for each in probing:
        each.wait()
    print(f"lag of record and fold at the end: {lag:,} messages, {lag / rate:.1f} s of the load")
    return Seen(
        *(
            sorted(took for each in probers for took in getattr(each.seen, field))
            for field in Seen.__struct_fields__
        )
    )


def prepare_models(world: World, folder: Path) -> None:
    """Models and a catalogue, so that Recommend has something to say."""
    shop = Shop(seed=3, people=100, days=20)
    embedded = Embedded(folder, in_order(shop).messages)
    train_models(embedded.store, embedded.rules, world.folder / "data" / "models")
    embedded.close()
    world.store.catalog.upsert(catalog_of(shop.catalog))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.freshness")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--events", type=int, default=15_000, help="to find out the load (15000)")
    options = parser.parse_args()
    print(
        machine("grpcio", "cassandra-driver", "confluent-kafka"), f"load {os.getloadavg()[0]:.1f}"
    )
    # Enough for either part; what is not needed is not sent.
    messages = streams(options.events + round(options.seconds * 3_000))["busy hour"]
    with servers() as on, closing(on.world("fresh")) as world:
        prepare_models(world, on.folder / "embedded")
        assert world.store.definitions.append(SEGMENTS)
        world.start(*STAGES)
        for stage in STAGES:
            world.joined(stage, 1)
        with serving(world) as port:
            world.send(messages[:2_000])
            world.settle()
            load = most_events_s(world, messages[2_000 : options.events])
            rate = load / 2
            print(f"one worker a stage takes {load:,.0f} events/s; produced: {rate:,.0f} events/s")
            sent = messages[options.events : options.events + round(rate * options.seconds)]
            seen = probe(world, f"127.0.0.1:{port}", sent, rate)
    print(f"\n{'known to':28}{'probes':>8}{'p50 ms':>9}{'p90 ms':>9}{'p99 ms':>9}{'most ms':>9}")
    shown = {
        "GetProfile, after a view": seen.profile_s,
        "Recommend, after a view": seen.recommended_s,
        "GetProfile, after a login": seen.joined_s,
        "a segment, after an order": seen.entered_s,
    }
    for what, took in shown.items():
        places = (at(took, 0.5), at(took, 0.9), at(took, 0.99), took[-1])
        print(f"{what:28}{len(took):8}" + "".join(f"{each * 1e3:9,.0f}" for each in places))
    print()
    for what, took in shown.items():
        print(goal(f"p99 of {what}, s", at(took, 0.99), "<=", FRESH_S))


def at(ordered: Sequence[float], share: float) -> float:
    """The value below which a share of `ordered` lies."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


if __name__ == "__main__":
    main()

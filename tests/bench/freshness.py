"""From Kafka until GetProfile and Recommend know, at half of the load that the workers bear.

`make bench-freshness`. First a burst tells how many events a second the workers take here, servers and clients
sharing the cores; then half as many are produced, and every so often an event of somebody new is sent among
them and asked for until it is there. Latencies therefore include the asking, some milliseconds.
"""

import argparse
import os
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Final

import grpc
import msgspec

from service.pb.onefold.v1 import common_pb2
from service.pb.onefold.v1 import recommendation_service_pb2 as pb
from service.pb.onefold.v1.profile_service_pb2 import GetProfileRequest
from service.pb.onefold.v1.profile_service_pb2_grpc import ProfileServiceStub
from service.pb.onefold.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from simulator.shop import Shop, people_for
from tests.bench.report import goal, machine
from tests.bench.served import serving
from tests.bench.servers import servers
from tests.faults.log import Sender
from tests.faults.stream import WEB, in_order
from tests.faults.workers import STAGES

PROBE_EVERY_S: Final = 0.2
ASK_EVERY_S: Final = 0.01
GIVE_UP_S: Final = 30.0
GOAL_S: Final = 1.0

Visible = Callable[[str], bool]


def probe(sender: Sender, topic: str, name: str, visible: Visible) -> float:
    """Seconds from producing one event of a new user until it is visible."""
    now_ms = time.time_ns() // 1_000_000
    event = {
        "type": "track", "event": "Product Viewed", "messageId": name, "userId": name,
        "originalTimestamp": now_ms, "receivedAt": now_ms, "properties": {"product_id": "P1000"},
    }  # fmt: skip
    began = time.perf_counter()
    sender.now(topic, name.encode(), msgspec.json.encode(event))
    sender.flush()
    while not visible(name):
        if time.perf_counter() - began > GIVE_UP_S:
            raise AssertionError(f"an event was not visible after {GIVE_UP_S:.0f} s")
        time.sleep(ASK_EVERY_S)
    return time.perf_counter() - began


def lookup(user: str) -> common_pb2.Lookup:
    """Somebody by user id."""
    return common_pb2.Lookup(identifiers=[common_pb2.Identifier(type="user_id", value=user)])


def in_profile(stub: ProfileServiceStub) -> Visible:
    """Whether GetProfile knows the user's event."""

    def visible(user: str) -> bool:
        try:
            reply = stub.GetProfile(GetProfileRequest(lookup=lookup(user)))
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            return False
        return bool(reply.profile.event_count)

    return visible


def in_recommendations(stub: RecommendationServiceStub) -> Visible:
    """Whether Recommend counted the user's event."""

    def visible(user: str) -> bool:
        asked = pb.RecommendRequest(
            lookup=lookup(user), surface=pb.SURFACE_RECENTLY_VIEWED, limit=5
        )
        return bool(stub.Recommend(asked).HasField("newest_event_time"))

    return visible


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--burst", type=int, default=15_000)
    parser.add_argument("--seconds", type=float, default=40)
    options = parser.parse_args()
    print(machine("confluent-kafka", "cassandra-driver"), f"load {os.getloadavg()[0]:.1f}")
    with servers() as on, closing(on.world("fresh")) as world:
        world.start(*STAGES)
        for stage in STAGES:
            world.joined(stage, 1)
        stream = in_order(Shop(seed=14, people=people_for(4 * options.burst), days=30)).messages
        world.send(stream[: options.burst])
        world.settle(600)
        began = time.monotonic()
        world.send(stream[options.burst : 2 * options.burst])
        world.settle(600)
        rate = options.burst / (time.monotonic() - began) / 2
        print(f"half load: {rate:,.0f} events/s, of one worker a stage")
        with serving(world) as port, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            ways = {
                "GetProfile": in_profile(ProfileServiceStub(channel)),
                "Recommend": in_recommendations(RecommendationServiceStub(channel)),
            }
            rest = stream[2 * options.burst :][: round(rate * options.seconds)]
            busy = threading.Thread(target=world.send, args=(rest, rate))
            busy.start()
            took: dict[str, list[float]] = {way: [] for way in ways}
            number = 0
            # Connected before the first probe, as a gateway is.
            sender = Sender(world.kafka.brokers)
            probe(sender, world.inputs[WEB], "probe-first", ways["GetProfile"])
            while busy.is_alive():
                for way, visible in ways.items():
                    name = f"probe-{way}-{number}"
                    took[way].append(probe(sender, world.inputs[WEB], name, visible))
                    time.sleep(PROBE_EVERY_S)
                number += 1
            busy.join()
    print("\nvisible in   probes   p50 ms   p99 ms   max ms")
    for way, found in took.items():
        ordered = sorted(found)
        p99 = ordered[int(len(ordered) * 0.99)]
        print(
            f"{way:11}  {len(found):6}  {ordered[len(found) // 2] * 1e3:7,.0f}  {p99 * 1e3:7,.0f}"
            f"  {ordered[-1] * 1e3:7,.0f}"
        )
    print()
    for way, found in took.items():
        p99 = sorted(found)[int(len(found) * 0.99)]
        print(goal(f"seconds until {way} knows, p99", p99, "<=", GOAL_S))


if __name__ == "__main__":
    main()

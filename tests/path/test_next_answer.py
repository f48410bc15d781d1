"""The next answer knows: a track through the collector counts in the next GetProfile and Recommend."""

import json
import urllib.request
from base64 import b64encode
from typing import Any

import grpc
import pytest

from models.protocol import Model
from models.train import train
from models.zoo.counting import Popular, RecentBuyers, Trending
from models.zoo.linear import EASE
from models.zoo.personal import RecentlyViewed
from service.commands.serve import Running
from service.pb.onefold.v1 import common_pb2, profile_service_pb2
from service.pb.onefold.v1 import recommendation_service_pb2 as pb
from service.pb.onefold.v1.profile_service_pb2_grpc import ProfileServiceStub
from service.pb.onefold.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from service.workspace import Workspace
from tests.models.shops import DOG, TEA, shop

Served = tuple[Workspace, Running]


def send(running: Running, path: str, event: dict[str, Any]) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{running.collector.port}{path}",
        json.dumps(event).encode(),
        {"Authorization": "Basic " + b64encode(b"any:").decode()},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert (answer.status, answer.read()) == (200, b"ok")


def lookup(type_name: str, value: str) -> common_pb2.Lookup:
    identifier = common_pb2.Identifier(type=type_name, value=value)
    return common_pb2.Lookup(identifiers=[identifier])


@pytest.fixture
def trained(served: Served) -> Served:
    """With a champion that knows tea from dogs."""
    workspace, _ = served
    grid: list[list[Model]] = [
        [Popular()],
        [RecentBuyers()],
        [Trending()],
        [RecentlyViewed()],
        [EASE(5)],
    ]
    train(shop(300), workspace.registry, workspace.now_ms(), default=lambda: grid)
    workspace.registry.promote("candidate")
    return served


def test_a_view_counts_in_the_next_answer_and_a_login_brings_the_session(trained: Served) -> None:
    _, running = trained
    with grpc.insecure_channel(f"127.0.0.1:{running.rpc.port}") as channel:
        profiles, shop_ = ProfileServiceStub(channel), RecommendationServiceStub(channel)

        def recommended(who: common_pb2.Lookup) -> list[str]:
            request = pb.RecommendRequest(
                surface=pb.SURFACE_FOR_YOU, lookup=who, limit=2, exclude_seen=True
            )
            return [item.item_id for item in shop_.Recommend(request, timeout=10).items]

        def view(item: str, **who: str) -> None:
            event = {"event": "Product Viewed", "properties": {"product_id": item}, **who}
            send(running, "/v1/track", event)

        browser, asha = lookup("anonymous_id", "b1"), lookup("user_id", "asha")
        view("tea", anonymousId="b1")
        assert set(recommended(browser)) <= {*TEA, "salt"}
        view("bone", userId="asha")
        assert set(recommended(asha)) <= {*DOG, "salt"}
        got = profiles.GetProfile(profile_service_pb2.GetProfileRequest(lookup=asha), timeout=10)
        assert got.profile.event_count == 1

        send(
            running,
            "/v1/identify",
            {"anonymousId": "b1", "userId": "asha", "traits": {"plan": "pro"}},
        )
        got = profiles.GetProfile(profile_service_pb2.GetProfileRequest(lookup=asha), timeout=10)
        assert got.profile.event_count == 3
        reply = shop_.Recommend(
            pb.RecommendRequest(surface=pb.SURFACE_RECENTLY_VIEWED, lookup=asha), timeout=10
        )
        assert [item.item_id for item in reply.items] == ["bone", "tea"]
        assert set(recommended(asha)) & set(TEA)


def test_an_unknown_person_gets_a_fallback_and_never_an_error(trained: Served) -> None:
    _, running = trained
    with grpc.insecure_channel(f"127.0.0.1:{running.rpc.port}") as channel:
        request = pb.RecommendRequest(
            surface=pb.SURFACE_FOR_YOU, lookup=lookup("user_id", "nobody")
        )
        reply = RecommendationServiceStub(channel).Recommend(request, timeout=10)
    assert reply.items
    assert reply.fallback
    assert reply.fallback_reason == "no history"


def test_a_promoted_model_answers_soon_after(trained: Served) -> None:
    workspace, running = trained
    before = workspace.registry.resolve("champion")
    train(shop(300, seed=4), workspace.registry, workspace.now_ms() + 1,
          default=lambda: [[Popular()], [RecentBuyers()], [Trending()], [EASE(5)]])  # fmt: skip
    workspace.registry.promote("candidate")
    request = pb.RecommendRequest(surface=pb.SURFACE_TRENDING)
    with grpc.insecure_channel(f"127.0.0.1:{running.rpc.port}") as channel:
        stub = RecommendationServiceStub(channel)
        versions = {stub.Recommend(request, timeout=10).model_version for _ in range(200)}
    assert workspace.registry.resolve("champion") in versions
    assert versions <= {before, workspace.registry.resolve("champion")}

"""A real server on a free port over a real store, and real client stubs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
import pytest

from ingest.deciding import DecidingHere
from service.config import GrpcConfig
from service.pb.onefold.v1 import common_pb2
from service.pb.onefold.v1.catalog_service_pb2_grpc import CatalogServiceStub
from service.pb.onefold.v1.decision_service_pb2_grpc import DecisionServiceStub
from service.pb.onefold.v1.identity_service_pb2_grpc import IdentityServiceStub
from service.pb.onefold.v1.profile_service_pb2_grpc import ProfileServiceStub
from service.pb.onefold.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from service.pb.onefold.v1.segment_service_pb2_grpc import SegmentServiceStub
from service.rpc.recommending import Answered, Asked, Item, Recommending
from service.rpc.server import RpcServer, Served
from tests.workspace import NOON, Workspace

TIMEOUT_S = 10.0
SENSITIVE = "health"
"""The purpose of consent that sensitive items need."""


class RecentItems:
    """A `Recommending` that ships with the tests: the history's items, newest first, else `popular`."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.failure: Exception | None = None

    def recommend(self, asked: Asked) -> Answered:
        self.asked.append(asked)
        if self.failure:
            raise self.failure
        seen = list(dict.fromkeys(each.item for each in asked.history))
        items = [item for item in seen if item not in asked.excluded]
        if not items:
            return Answered(
                items=[Item("popular", 1.0, "popular")], model="popular", fallback="no history"
            )
        return Answered(
            items=[
                Item(item, 1 / (rank + 1), "recent", f"you looked at {item}", item)
                for rank, item in enumerate(items[: asked.limit])
            ],
            model="recent",
            version="3",
            trained_ms=NOON,
        )


class Api:
    """A served workspace and its clients."""

    def __init__(
        self,
        folder: Path,
        options: GrpcConfig | None = None,
        recommending: Callable[[Workspace], Recommending] | None = None,
    ) -> None:
        self.shop = Workspace(folder)
        self.models = RecentItems()
        self.now_ms = NOON
        self.served = Served(
            store=self.shop.store,
            keys=self.shop.keys,
            rules=self.shop.rules,
            reader=self.shop.reader,
            recommending=recommending(self.shop) if recommending else self.models,
            now_ms=lambda: self.now_ms,
            open_deciding=lambda: DecidingHere(self.shop.store, self.shop.rules),
            segments=self.shop.segments,
            segments_of=lambda found: [f"seen {found.profile.events}"],
            sensitive_consent=SENSITIVE,
        )
        self.server = RpcServer(self.served, options or GrpcConfig(port=0, grace_s=0.2)).start()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.server.port}")
        self.profiles = ProfileServiceStub(self.channel)
        self.identity = IdentityServiceStub(self.channel)
        self.decisions = DecisionServiceStub(self.channel)
        self.recommendations = RecommendationServiceStub(self.channel)
        self.catalog = CatalogServiceStub(self.channel)
        self.segments = SegmentServiceStub(self.channel)

    def close(self) -> None:
        self.channel.close()
        self.server.stop()
        self.shop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with Api(tmp_path) as served:
        yield served


def who(profile_id: str = "", **identifiers: str) -> common_pb2.Lookup:
    """A lookup."""
    return common_pb2.Lookup(
        profile_id=profile_id,
        identifiers=[
            common_pb2.Identifier(type=name, value=value) for name, value in identifiers.items()
        ],
    )

"""What the service answers over two stores, with one set of models: it must be the same."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import grpc

from identity.rules import Rules
from models import zoo
from models.data import interactions
from models.registry import Registry
from models.train import train
from service.config import GrpcConfig
from service.pb.onefold.v1 import common_pb2
from service.pb.onefold.v1 import recommendation_service_pb2 as pb
from service.pb.onefold.v1.profile_service_pb2 import GetProfileRequest, GetProfileResponse
from service.pb.onefold.v1.profile_service_pb2_grpc import ProfileServiceStub
from service.pb.onefold.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from service.rpc.served_models import ServedModels
from service.rpc.server import RpcServer, Served
from simulator.catalog import Item
from storage.keys import Keys
from storage.ports import CatalogItem, Store
from storage.profiles import ProfileReader
from tests.faults.embedded import Embedded, Expected
from tests.faults.world import World
from tests.workspace import NOON

SURFACES: Final = (pb.SURFACE_FOR_YOU, pb.SURFACE_BUY_AGAIN, pb.SURFACE_RECENTLY_VIEWED)
USERS_MAX = 150


class Said(NamedTuple):
    """What the service says of one user."""

    profile: GetProfileResponse | None
    """None: that user never came."""
    recommended: Sequence[pb.RecommendResponse]


def compare_recommendations(world: World, expected: Expected) -> int:
    """Train on what one process knows, serve both stores with it; how many items were recommended."""
    users = expected.stream.user_ids[:USERS_MAX]
    embedded = Embedded(expected.folder)
    registry = train_models(embedded.store, embedded.rules, expected.folder / "models")
    for store in (embedded.store, world.store):
        store.catalog.upsert(catalog_of(expected.stream.shop.catalog))
    mine = replies(embedded.store, embedded.keys, embedded.rules, embedded.reader, registry, users)
    others = replies(world.store, world.keys, world.rules, world.reader, registry, users)
    assert (
        interactions(embedded.store, embedded.rules).content_hash()
        == interactions(world.store, world.rules).content_hash()
    ), "the next training would learn something else"
    embedded.close()
    for user, one, other in zip(users, mine, others, strict=True):
        assert one == other, f"{user}: {one} and {other}"
    return sum(len(reply.items) for some in mine for reply in some.recommended)


def train_models(store: Store, rules: Rules, folder: Path) -> Registry:
    """A registry whose champion learned from `store`: one setting of each model."""
    registry = Registry(folder)
    manifest = train(
        interactions(store, rules), registry, NOON,
        default=lambda: [grid[:1] for grid in zoo.default()], test_days=5,
    )  # fmt: skip
    registry.promote(manifest.version, force="a test")
    return registry


def replies(
    store: Store,
    keys: Keys,
    rules: Rules,
    reader: ProfileReader,
    registry: Registry,
    users: Sequence[str],
) -> list[Said]:
    """What a served store says of each user: the profile, and items for some surfaces."""
    served = Served(
        store=store, keys=keys, rules=rules, reader=reader,
        recommending=ServedModels(registry, store.catalog, refresh_s=60.0), now_ms=lambda: NOON,
    )  # fmt: skip
    found = []
    with (
        RpcServer(served, GrpcConfig(port=0, grace_s=0.2)) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        profiles, recommendations = ProfileServiceStub(channel), RecommendationServiceStub(channel)
        for user in users:
            lookup = common_pb2.Lookup(
                identifiers=[common_pb2.Identifier(type="user_id", value=user)]
            )
            profile, recommended = None, []
            try:
                profile = profiles.GetProfile(GetProfileRequest(lookup=lookup))
            except grpc.RpcError as error:
                assert error.code() is grpc.StatusCode.NOT_FOUND  # noqa: PT017  # some never came
            for surface in SURFACES:
                reply = recommendations.Recommend(
                    pb.RecommendRequest(lookup=lookup, surface=surface, limit=10)
                )
                reply.attribution_token = ""  # random bytes
                recommended.append(reply)
            found.append(Said(profile, recommended))
    return found


def catalog_of(items: Sequence[Item]) -> list[CatalogItem]:
    """The simulated shop's products."""
    return [
        CatalogItem(id=item.id, name=item.name, category=item.category, in_stock=item.in_stock)
        for item in items
    ]

"""A thin Python client: recommendations in one line, typed errors, calls tried again where that is safe.

    shop = Onefold("localhost:50051")
    answer = shop.recommend(user_id="u42", filter="price < 500 AND in_stock", limit=10)
    for item in answer.items:
        print(item.id, item.score, item.reason)

Everything else of the API is a call of the generated stubs on `shop.channel`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, NoReturn, Self

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status  # type: ignore[import-untyped]

from service.pb.onefold.v1 import common_pb2
from service.pb.onefold.v1 import recommendation_service_pb2 as pb
from service.pb.onefold.v1.recommendation_service_pb2_grpc import RecommendationServiceStub

TIMEOUT_S: Final = 1.0
"""A page does not wait longer for a row of products."""
RETRYING: Final = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    (
        "grpc.service_config",
        json.dumps(
            {
                "loadBalancingConfig": [{"round_robin": {}}],
                "methodConfig": [
                    {
                        "name": [{}],
                        "retryPolicy": {
                            "maxAttempts": 5,
                            "initialBackoff": "0.1s",
                            "maxBackoff": "2s",
                            "backoffMultiplier": 3,
                            "retryableStatusCodes": ["UNAVAILABLE"],
                        },
                    }
                ],
            }
        ),
    ),
)
"""Calls go round all processes that the address names. One that is replaced answers UNAVAILABLE: the call goes
to another one."""


class OnefoldError(Exception):
    """A call that was refused or got no answer; the message says what to do."""

    def __init__(
        self, code: grpc.StatusCode, message: str, reason: str, fields: Mapping[str, str]
    ) -> None:
        wrong = "; ".join(f"{field}: {text}" for field, text in fields.items())
        super().__init__(f"{code.name}: {wrong or message}")
        self.code = code
        """UNAVAILABLE and DEADLINE_EXCEEDED may be tried again."""
        self.reason = reason
        """For programs, for example INVALID_FILTER; empty if no server answered."""
        self.fields = fields
        """What is wrong with each field of the request."""


@dataclass(frozen=True)
class Item:
    """One recommended item."""

    id: str
    score: float
    reason: str
    """For people, for example "because you bought Paracetamol 500"."""
    code: str
    """The same for programs, for example "because_bought"."""
    because_of: str
    """The item that the reason names; empty if it names none."""
    rule: str
    """The rule of the shop that pinned or promoted it; empty if none did."""


@dataclass(frozen=True)
class Recommendations:
    """An answer. `token` goes into events about it, as the property `attribution_token`."""

    items: Sequence[Item]
    model: str
    version: str
    trained_at: datetime | None
    newest_event: datetime | None
    """When the newest event that counted happened."""
    fallback: str
    """Why another model than the surface's first answered, or none did; empty otherwise."""
    relaxed: Sequence[str]
    """Conditions of the filter that some of the items do not meet."""
    profile_id: str
    """Empty for an unknown person."""
    token: str


class Onefold:
    """A connection to the service; any thread may use it."""

    def __init__(
        self,
        address: str = "localhost:50051",
        *,
        credentials: grpc.ChannelCredentials | None = None,
        metadata: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Without `credentials` the connection is not encrypted. `metadata` goes with every call.

        Calls are spread over all processes that `address` names: `ipv4:10.0.0.1:50051,10.0.0.1:50052`, or
        `dns:///onefold:50051` with several addresses.
        """
        options = list(RETRYING)
        self.channel = (
            grpc.secure_channel(address, credentials, options)
            if credentials
            else grpc.insecure_channel(address, options)
        )
        self._stub = RecommendationServiceStub(self.channel)
        self._metadata = tuple((metadata or {}).items())
        self._timeout_s = timeout_s

    def recommend(
        self, surface: str = "FOR_YOU", *, timeout_s: float | None = None, **what: Any
    ) -> Recommendations:
        """Items for one surface: `row` says what may be asked, and identifiers for whom.

        Identifiers are `user_id=`, `email=`, `phone=`, `anonymous_id=`, `device_id=`, any configured external
        id, or `profile_id=`; None and "" are left out. OnefoldError if it is refused or not answered in time.
        """
        asked = {name: what.pop(name) for name in list(what) if name in _FIELDS}
        request = row(surface, **asked)
        request.lookup.CopyFrom(lookup(**what))
        reply = self._call(self._stub.Recommend, request, timeout_s)
        return _answer(reply, reply.match.profile_id, reply.newest_event_time, reply)

    def recommend_page(
        self,
        rows: Iterable[pb.RecommendRequest],
        *,
        timeout_s: float | None = None,
        **whom: str | None,
    ) -> list[Recommendations]:
        """Items for several rows (see `row`) in one call; no item is shown twice."""
        request = pb.RecommendPageRequest(lookup=lookup(**whom), rows=rows)
        reply = self._call(self._stub.RecommendPage, request, timeout_s)
        return [
            _answer(each, reply.match.profile_id, reply.newest_event_time, reply)
            for each in reply.rows
        ]

    def close(self) -> None:
        """Let go of the connection."""
        self.channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _call(self, method: Any, request: Any, timeout_s: float | None) -> Any:
        try:
            return method(
                request,
                timeout=self._timeout_s if timeout_s is None else timeout_s,
                metadata=self._metadata,
            )
        except grpc.RpcError as error:
            _refuse(error)


def row(
    surface: str = "FOR_YOU",
    *,
    limit: int = 10,
    items: Iterable[str] = (),
    filter: str = "",
    relaxed: bool = False,
    exclude: Iterable[str] = (),
    exclude_seen: bool = False,
    exclude_bought: bool = False,
    diversity: float = 0.0,
    per_category: int = 0,
) -> pb.RecommendRequest:
    """One row of a page: its surface, the items on the page or in the cart, and which items may be shown."""
    if f"SURFACE_{surface.upper()}" not in pb.Surface.keys():  # noqa: SIM118  # no mapping
        names = [name.removeprefix("SURFACE_") for name, number in pb.Surface.items() if number]
        raise ValueError(f"{surface!r} is no surface; there are {', '.join(names)}")
    return pb.RecommendRequest(
        surface=f"SURFACE_{surface.upper()}",
        limit=limit,
        context_item_ids=items,
        filter_expression=filter,
        filter_mode=pb.FILTER_MODE_RELAXED if relaxed else pb.FILTER_MODE_STRICT,
        exclude_item_ids=exclude,
        exclude_seen=exclude_seen,
        exclude_bought=exclude_bought,
        diversity=pb.Diversity(weight=diversity, items_per_category_max=per_category),
    )


_FIELDS: Final = frozenset(
    {
        "limit", "items", "filter", "relaxed", "exclude", "exclude_seen", "exclude_bought",
        "diversity", "per_category",
    }
)  # fmt: skip


def lookup(profile_id: str | None = None, **identifiers: str | None) -> common_pb2.Lookup:
    """For whom; nobody in particular if nothing is given."""
    if profile_id:
        return common_pb2.Lookup(profile_id=profile_id)
    return common_pb2.Lookup(
        identifiers=[
            common_pb2.Identifier(type=name, value=value)
            for name, value in identifiers.items()
            if value
        ]
    )


def _answer(
    reply: pb.RecommendResponse, profile_id: str, newest: Timestamp, owner: Any
) -> Recommendations:
    return Recommendations(
        items=[
            Item(
                each.item_id,
                each.score,
                each.reason.text,
                each.reason.code,
                each.reason.item_id,
                each.rule,
            )
            for each in reply.items
        ],
        model=reply.model,
        version=reply.model_version,
        trained_at=_time(reply.trained_time) if reply.HasField("trained_time") else None,
        newest_event=_time(newest) if owner.HasField("newest_event_time") else None,
        fallback=reply.fallback_reason,
        relaxed=list(reply.relaxed_conditions),
        profile_id=profile_id,
        token=reply.attribution_token,
    )


def _time(message: Timestamp) -> datetime:
    return message.ToDatetime(UTC)


def _refuse(error: Any) -> NoReturn:
    reason, fields = "", {}
    status = rpc_status.from_call(error)
    for packed in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        bad = error_details_pb2.BadRequest()
        if packed.Unpack(info):
            reason = info.reason
        elif packed.Unpack(bad):
            fields = {each.field: each.description for each in bad.field_violations}
    raise OnefoldError(error.code(), error.details() or "no answer", reason, fields) from None

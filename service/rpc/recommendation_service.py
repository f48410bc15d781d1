"""`onefold.v1.RecommendationService`: thin over the readers and the models."""

import os
from collections.abc import Callable, Mapping
from typing import Final

import grpc

from profiles.facts import hash64
from profiles.part import Interaction
from profiles.profile import history
from service.pb.onefold.v1 import common_pb2
from service.pb.onefold.v1 import recommendation_service_pb2 as pb
from service.pb.onefold.v1.recommendation_service_pb2_grpc import RecommendationServiceServicer
from service.rpc import limits
from service.rpc.catalog_service import micros_of
from service.rpc.errors import InvalidArgument, Violation
from service.rpc.messages import MatchMessages, clean, set_time
from service.rpc.paging import Tokens, counted
from service.rpc.parsing import NOBODY, LookupParser, at_most, time_of
from service.rpc.recommending import Answered, Asked, Conditions, Recommending, Surface
from storage.gathering import Answer
from storage.profiles import Found, ProfileReader

SURFACES: Final[Mapping[int, Surface]] = {
    pb.SURFACE_FOR_YOU: Surface.FOR_YOU,
    pb.SURFACE_SIMILAR_ITEMS: Surface.SIMILAR_ITEMS,
    pb.SURFACE_BOUGHT_TOGETHER: Surface.BOUGHT_TOGETHER,
    pb.SURFACE_BUY_AGAIN: Surface.BUY_AGAIN,
    pb.SURFACE_TRENDING: Surface.TRENDING,
    pb.SURFACE_RECENTLY_VIEWED: Surface.RECENTLY_VIEWED,
}
"""Every value of the enum but UNSPECIFIED: a test proves it."""

NEED_CONTEXT: Final = frozenset({Surface.SIMILAR_ITEMS, Surface.BOUGHT_TOGETHER})
TOKEN_FORMAT: Final = 1
_KINDS: Final = range(1, 9)
_RANDOM_BYTES: Final = 9


class RecommendationService(RecommendationServiceServicer):
    """Recommends items for whoever a lookup finds."""

    def __init__(
        self,
        reader: ProfileReader,
        recommending: Recommending,
        lookups: LookupParser,
        matches: MatchMessages,
        tokens: Tokens,
        now_ms: Callable[[], int],
    ) -> None:
        self._reader = reader
        self._recommending = recommending
        self._lookups = lookups
        self._matches = matches
        self._tokens = tokens
        self._now_ms = now_ms

    def Recommend(
        self, request: pb.RecommendRequest, _context: grpc.ServicerContext
    ) -> pb.RecommendResponse:
        """Items for one surface; an unknown person gets a fallback."""
        now_ms = self._now_ms()
        lookup, violations = self._lookups.parse(request.lookup, "lookup")
        if violations:
            raise InvalidArgument(violations)
        surface = surface_of(request)
        session = session_of(request, now_ms)
        asked_for = _Request(request, surface)
        found = None if lookup is NOBODY else self._reader.get(lookup, now_ms)
        known = history(found.profile) if found else []
        done = sorted([*session, *known], reverse=True) if session else known
        answered = self._recommending.recommend(
            asked_for.asked(
                done, now_ms, hidden=found is not None and found.answered_by is Answer.DEVICE_OWNER
            )
        )
        newest_ms = _newest_ms(found, done)
        reply = pb.RecommendResponse()
        fill_answer(reply, answered)
        if newest_ms is not None:
            set_time(reply.newest_event_time, newest_ms)
        if found is not None:
            self._matches.fill(reply.match, found)
        reply.attribution_token = self._tokens.seal(
            (
                TOKEN_FORMAT,
                os.urandom(_RANDOM_BYTES),
                surface,
                answered.model,
                answered.version,
                now_ms,
            )
        )
        return reply


class _Request:
    """A request whose fields are checked before anything is read."""

    def __init__(self, request: pb.RecommendRequest, surface: Surface) -> None:
        at_most("context_item_ids", request.context_item_ids, limits.CONTEXT_MAX)
        at_most("exclude_item_ids", request.exclude_item_ids, limits.EXCLUDED_MAX)
        self._limit = counted(
            "limit", request.limit, limits.RECOMMENDED_DEFAULT, limits.RECOMMENDED_MAX
        )
        self._surface = surface
        self._context = tuple(item for item in request.context_item_ids if item)
        if surface in NEED_CONTEXT and not self._context:
            raise InvalidArgument(
                [Violation("context_item_ids", f"{surface} needs at least one item")]
            )
        self._conditions = conditions_of(request.filter) if request.HasField("filter") else None
        self._excluded = frozenset(request.exclude_item_ids)
        self._exclude_seen = request.exclude_seen
        self._exclude_bought = request.exclude_bought

    def asked(self, done: list[Interaction], now_ms: int, *, hidden: bool) -> Asked:
        return Asked(
            surface=self._surface,
            history=done,
            context_items=self._context,
            excluded=self._excluded,
            exclude_seen=self._exclude_seen,
            exclude_bought=self._exclude_bought,
            conditions=self._conditions,
            limit=self._limit,
            now_ms=now_ms,
            hide_sensitive=hidden,
        )


def surface_of(request: pb.RecommendRequest) -> Surface:
    """The surface; InvalidArgument if there is none."""
    surface = SURFACES.get(request.surface)
    if surface is None:
        raise InvalidArgument([Violation("surface", "must be one of " + ", ".join(Surface))])
    return surface


def session_of(request: pb.RecommendRequest, now_ms: int) -> list[Interaction]:
    """What the caller says happened in this session; nothing of it is later than now."""
    at_most("session_events", request.session_events, limits.SESSION_EVENTS_MAX)
    done = []
    for index, event in enumerate(request.session_events):
        field = f"session_events[{index}]"
        if event.kind not in _KINDS:
            raise InvalidArgument([Violation(f"{field}.kind", "must be a kind of interaction")])
        if not 0 < len(event.item_id) <= limits.ITEM_ID_MAX:
            raise InvalidArgument(
                [Violation(f"{field}.item_id", f"must have 1 to {limits.ITEM_ID_MAX} characters")]
            )
        time_ms = time_of(event.time, f"{field}.time") if event.HasField("time") else now_ms
        done.append(
            Interaction(
                min(time_ms, now_ms),
                hash64(f"session:{index}"),
                index,
                event.item_id,
                event.kind,
                1,
            )
        )
    return done


def conditions_of(message: pb.ItemFilter) -> Conditions:
    """The conditions; InvalidArgument if they cannot be met by anything."""
    at_most("filter.categories", message.categories, limits.FILTER_VALUES_MAX)
    at_most("filter.brands", message.brands, limits.FILTER_VALUES_MAX)
    lowest, highest = (
        _bound(getattr(message, name), f"filter.{name}") if message.HasField(name) else None
        for name in ("price_min", "price_max")
    )
    currencies = {
        money.currency_code.upper()
        for money, bound in ((message.price_min, lowest), (message.price_max, highest))
        if bound is not None
    }
    if len(currencies) > 1:
        raise InvalidArgument([Violation("filter.price_max", "must have price_min's currency")])
    return Conditions(
        categories=tuple(message.categories),
        brands=tuple(message.brands),
        price_min_micros=lowest,
        price_max_micros=highest,
        currency=next(iter(currencies), ""),
        in_stock_only=message.in_stock_only,
    )


def _bound(money: common_pb2.Money, field: str) -> int:
    micros = micros_of(money)
    if micros is None:
        raise InvalidArgument([Violation(field, "must be an amount up to 10^12")])
    return micros


def fill_answer(reply: pb.RecommendResponse, answered: Answered) -> None:
    """Set what the models said."""
    add = reply.items.add
    for item in answered.items:
        entry = add(item_id=clean(item.id), score=item.score)
        reason = entry.reason
        reason.code = item.code
        reason.text = clean(item.text)
        reason.item_id = clean(item.because_of)
    reply.model = answered.model
    reply.model_version = answered.version
    if answered.trained_ms is not None:
        set_time(reply.trained_time, answered.trained_ms)
    reply.fallback = bool(answered.fallback)
    reply.fallback_reason = answered.fallback


def _newest_ms(found: Found | None, done: list[Interaction]) -> int | None:
    newest = [found.profile.last_ms] if found is not None else []
    return max(
        (t for t in [*newest, *(i.time_ms for i in done[:1])] if t is not None), default=None
    )

"""Requests for recommendations become typed values here; what is malformed is said with its field."""

from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from typing import Final

from models.errors import FilterError
from models.filter_text import Check, Filter, both, parse
from models.variety import Variety
from profiles.facts import hash64
from profiles.money import MICROS
from profiles.part import Interaction
from service.pb.onefold.v1 import common_pb2
from service.pb.onefold.v1 import recommendation_service_pb2 as pb
from service.rpc import limits
from service.rpc.catalog_service import micros_of
from service.rpc.errors import InvalidArgument, Violation
from service.rpc.paging import counted
from service.rpc.parsing import at_most, time_of
from service.rpc.recommending import Asked, Surface

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
EXPRESSION: Final = "filter_expression"
_MODES: Final = {
    pb.FILTER_MODE_UNSPECIFIED: False,
    pb.FILTER_MODE_STRICT: False,
    pb.FILTER_MODE_RELAXED: True,
}
_KINDS: Final = range(1, 9)


class Wanted:
    """A request whose fields are checked before anything is read."""

    def __init__(self, request: pb.RecommendRequest, prefix: str = "") -> None:
        """`prefix` is where in a larger request it stands, for messages."""
        self.prefix = prefix
        at_most(f"{prefix}context_item_ids", request.context_item_ids, limits.CONTEXT_MAX)
        at_most(f"{prefix}exclude_item_ids", request.exclude_item_ids, limits.EXCLUDED_MAX)
        self.surface = _surface(request, prefix)
        self._limit = counted(
            f"{prefix}limit", request.limit, limits.RECOMMENDED_DEFAULT, limits.RECOMMENDED_MAX
        )
        self._context = tuple(item for item in request.context_item_ids if item)
        if self.surface in NEED_CONTEXT and not self._context:
            text = f"{self.surface} needs at least one item"
            raise InvalidArgument([Violation(f"{prefix}context_item_ids", text)])
        self._filter = _filter(request, prefix)
        if request.filter_mode not in _MODES:
            raise InvalidArgument([Violation(f"{prefix}filter_mode", "must be STRICT or RELAXED")])
        self._relaxed = _MODES[request.filter_mode]
        self._variety = _variety(request.diversity, prefix)
        self._excluded = frozenset(request.exclude_item_ids)
        self._exclude_seen = request.exclude_seen
        self._exclude_bought = request.exclude_bought

    def asked(
        self,
        done: Sequence[Interaction],
        now_ms: int,
        *,
        hidden: bool,
        segments: Callable[[], Collection[str]] = frozenset,
        shown: Collection[str] = (),
    ) -> Asked:
        """What the models are asked; items that are `shown` elsewhere on the page are left out."""
        return Asked(
            surface=self.surface,
            history=done,
            context_items=self._context,
            excluded=self._excluded.union(shown) if shown else self._excluded,
            exclude_seen=self._exclude_seen,
            exclude_bought=self._exclude_bought,
            filter=self._filter,
            relaxed=self._relaxed,
            variety=self._variety,
            segments=segments,
            limit=self._limit,
            now_ms=now_ms,
            hide_sensitive=hidden,
        )


def rows_of(request: pb.RecommendPageRequest) -> list[Wanted]:
    """The rows of a page."""
    at_most("rows", request.rows, limits.ROWS_MAX)
    at_most("exclude_item_ids", request.exclude_item_ids, limits.EXCLUDED_MAX)
    if not request.rows:
        raise InvalidArgument([Violation("rows", "must name at least one row")])
    wanted = []
    for index, row in enumerate(request.rows):
        prefix = f"rows[{index}]."
        if row.HasField("lookup"):
            raise InvalidArgument([Violation(f"{prefix}lookup", "is the page's: set it there")])
        if row.session_events:
            text = "are the page's: set them there"
            raise InvalidArgument([Violation(f"{prefix}session_events", text)])
        wanted.append(Wanted(row, prefix))
    return wanted


def session_of(events: Sequence[pb.SessionEvent], now_ms: int) -> list[Interaction]:
    """What the caller says happened in this session; nothing of it is later than now."""
    at_most("session_events", events, limits.SESSION_EVENTS_MAX)
    done = []
    for index, event in enumerate(events):
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


def _surface(request: pb.RecommendRequest, prefix: str) -> Surface:
    surface = SURFACES.get(request.surface)
    if surface is None:
        text = "must be one of " + ", ".join(Surface)
        raise InvalidArgument([Violation(f"{prefix}surface", text)])
    return surface


def _variety(message: pb.Diversity, prefix: str) -> Variety:
    # NaN compares false.
    if not 0 <= message.weight <= 1:
        raise InvalidArgument([Violation(f"{prefix}diversity.weight", "must be from 0 to 1")])
    if message.items_per_category_max < 0:
        field = f"{prefix}diversity.items_per_category_max"
        raise InvalidArgument([Violation(field, "must not be negative")])
    return Variety(message.weight, message.items_per_category_max)


def _filter(request: pb.RecommendRequest, prefix: str) -> Filter | None:
    fields = filter_of(request.filter, prefix) if request.HasField("filter") else None
    if not request.filter_expression.strip():
        return fields
    try:
        return both(fields, parse(request.filter_expression))
    except FilterError as error:
        raise refused(error, prefix) from None


def refused(error: FilterError, prefix: str) -> InvalidArgument:
    """A filter that cannot be meant, as callers see it."""
    return InvalidArgument([Violation(prefix + EXPRESSION, str(error))])


def filter_of(message: pb.ItemFilter, prefix: str = "") -> Filter | None:
    """The conditions as an expression; InvalidArgument if they cannot be met by anything."""
    field = f"{prefix}filter."
    at_most(f"{field}categories", message.categories, limits.FILTER_VALUES_MAX)
    at_most(f"{field}brands", message.brands, limits.FILTER_VALUES_MAX)
    lowest, highest = (
        _bound(getattr(message, name), field + name) if message.HasField(name) else None
        for name in ("price_min", "price_max")
    )
    currencies = {
        money.currency_code.upper()
        for money, bound in ((message.price_min, lowest), (message.price_max, highest))
        if bound is not None
    }
    if len(currencies) > 1:
        raise InvalidArgument([Violation(f"{field}price_max", "must have price_min's currency")])
    found: Filter | None = None
    if message.categories:
        found = both(found, Check("category", "IN", tuple(message.categories)))
    if message.brands:
        found = both(found, Check("brand", "IN", tuple(message.brands)))
    if currency := next(iter(currencies), ""):
        found = both(found, Check("currency", "=", (currency,)))
    if lowest is not None:
        found = both(found, Check("price", ">=", (_amount(lowest),)))
    if highest is not None:
        found = both(found, Check("price", "<=", (_amount(highest),)))
    if message.in_stock_only:
        found = both(found, Check("in_stock", ""))
    return found


def _amount(micros: int) -> Decimal:
    return Decimal(micros) / MICROS


def _bound(money: common_pb2.Money, field: str) -> int:
    micros = micros_of(money)
    if micros is None:
        raise InvalidArgument([Violation(field, "must be an amount up to 10^12")])
    return micros

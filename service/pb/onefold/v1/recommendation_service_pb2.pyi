import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from service.pb.onefold.v1 import common_pb2 as _common_pb2
from service.pb.onefold.v1 import profile_service_pb2 as _profile_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Surface(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SURFACE_UNSPECIFIED: _ClassVar[Surface]
    SURFACE_FOR_YOU: _ClassVar[Surface]
    SURFACE_SIMILAR_ITEMS: _ClassVar[Surface]
    SURFACE_BOUGHT_TOGETHER: _ClassVar[Surface]
    SURFACE_BUY_AGAIN: _ClassVar[Surface]
    SURFACE_TRENDING: _ClassVar[Surface]
    SURFACE_RECENTLY_VIEWED: _ClassVar[Surface]

class FilterMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FILTER_MODE_UNSPECIFIED: _ClassVar[FilterMode]
    FILTER_MODE_STRICT: _ClassVar[FilterMode]
    FILTER_MODE_RELAXED: _ClassVar[FilterMode]
SURFACE_UNSPECIFIED: Surface
SURFACE_FOR_YOU: Surface
SURFACE_SIMILAR_ITEMS: Surface
SURFACE_BOUGHT_TOGETHER: Surface
SURFACE_BUY_AGAIN: Surface
SURFACE_TRENDING: Surface
SURFACE_RECENTLY_VIEWED: Surface
FILTER_MODE_UNSPECIFIED: FilterMode
FILTER_MODE_STRICT: FilterMode
FILTER_MODE_RELAXED: FilterMode

class RecommendRequest(_message.Message):
    __slots__ = ("surface", "lookup", "context_item_ids", "limit", "exclude_item_ids", "exclude_seen", "exclude_bought", "session_events", "filter", "filter_expression", "filter_mode", "diversity")
    SURFACE_FIELD_NUMBER: _ClassVar[int]
    LOOKUP_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_SEEN_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_BOUGHT_FIELD_NUMBER: _ClassVar[int]
    SESSION_EVENTS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    FILTER_EXPRESSION_FIELD_NUMBER: _ClassVar[int]
    FILTER_MODE_FIELD_NUMBER: _ClassVar[int]
    DIVERSITY_FIELD_NUMBER: _ClassVar[int]
    surface: Surface
    lookup: _common_pb2.Lookup
    context_item_ids: _containers.RepeatedScalarFieldContainer[str]
    limit: int
    exclude_item_ids: _containers.RepeatedScalarFieldContainer[str]
    exclude_seen: bool
    exclude_bought: bool
    session_events: _containers.RepeatedCompositeFieldContainer[SessionEvent]
    filter: ItemFilter
    filter_expression: str
    filter_mode: FilterMode
    diversity: Diversity
    def __init__(self, surface: _Optional[_Union[Surface, str]] = ..., lookup: _Optional[_Union[_common_pb2.Lookup, _Mapping]] = ..., context_item_ids: _Optional[_Iterable[str]] = ..., limit: _Optional[int] = ..., exclude_item_ids: _Optional[_Iterable[str]] = ..., exclude_seen: _Optional[bool] = ..., exclude_bought: _Optional[bool] = ..., session_events: _Optional[_Iterable[_Union[SessionEvent, _Mapping]]] = ..., filter: _Optional[_Union[ItemFilter, _Mapping]] = ..., filter_expression: _Optional[str] = ..., filter_mode: _Optional[_Union[FilterMode, str]] = ..., diversity: _Optional[_Union[Diversity, _Mapping]] = ...) -> None: ...

class Diversity(_message.Message):
    __slots__ = ("weight", "items_per_category_max")
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    ITEMS_PER_CATEGORY_MAX_FIELD_NUMBER: _ClassVar[int]
    weight: float
    items_per_category_max: int
    def __init__(self, weight: _Optional[float] = ..., items_per_category_max: _Optional[int] = ...) -> None: ...

class RecommendPageRequest(_message.Message):
    __slots__ = ("lookup", "rows", "session_events", "exclude_item_ids")
    LOOKUP_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SESSION_EVENTS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    lookup: _common_pb2.Lookup
    rows: _containers.RepeatedCompositeFieldContainer[RecommendRequest]
    session_events: _containers.RepeatedCompositeFieldContainer[SessionEvent]
    exclude_item_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, lookup: _Optional[_Union[_common_pb2.Lookup, _Mapping]] = ..., rows: _Optional[_Iterable[_Union[RecommendRequest, _Mapping]]] = ..., session_events: _Optional[_Iterable[_Union[SessionEvent, _Mapping]]] = ..., exclude_item_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class RecommendPageResponse(_message.Message):
    __slots__ = ("rows", "match", "newest_event_time")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    MATCH_FIELD_NUMBER: _ClassVar[int]
    NEWEST_EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[RecommendResponse]
    match: _common_pb2.Match
    newest_event_time: _timestamp_pb2.Timestamp
    def __init__(self, rows: _Optional[_Iterable[_Union[RecommendResponse, _Mapping]]] = ..., match: _Optional[_Union[_common_pb2.Match, _Mapping]] = ..., newest_event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SessionEvent(_message.Message):
    __slots__ = ("kind", "item_id", "time")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    kind: _profile_service_pb2.InteractionKind
    item_id: str
    time: _timestamp_pb2.Timestamp
    def __init__(self, kind: _Optional[_Union[_profile_service_pb2.InteractionKind, str]] = ..., item_id: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ItemFilter(_message.Message):
    __slots__ = ("categories", "brands", "price_min", "price_max", "in_stock_only")
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    BRANDS_FIELD_NUMBER: _ClassVar[int]
    PRICE_MIN_FIELD_NUMBER: _ClassVar[int]
    PRICE_MAX_FIELD_NUMBER: _ClassVar[int]
    IN_STOCK_ONLY_FIELD_NUMBER: _ClassVar[int]
    categories: _containers.RepeatedScalarFieldContainer[str]
    brands: _containers.RepeatedScalarFieldContainer[str]
    price_min: _common_pb2.Money
    price_max: _common_pb2.Money
    in_stock_only: bool
    def __init__(self, categories: _Optional[_Iterable[str]] = ..., brands: _Optional[_Iterable[str]] = ..., price_min: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., price_max: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., in_stock_only: _Optional[bool] = ...) -> None: ...

class RecommendResponse(_message.Message):
    __slots__ = ("items", "model", "model_version", "trained_time", "newest_event_time", "fallback", "fallback_reason", "match", "attribution_token", "relaxed_conditions")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    TRAINED_TIME_FIELD_NUMBER: _ClassVar[int]
    NEWEST_EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_REASON_FIELD_NUMBER: _ClassVar[int]
    MATCH_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTION_TOKEN_FIELD_NUMBER: _ClassVar[int]
    RELAXED_CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[RecommendedItem]
    model: str
    model_version: str
    trained_time: _timestamp_pb2.Timestamp
    newest_event_time: _timestamp_pb2.Timestamp
    fallback: bool
    fallback_reason: str
    match: _common_pb2.Match
    attribution_token: str
    relaxed_conditions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, items: _Optional[_Iterable[_Union[RecommendedItem, _Mapping]]] = ..., model: _Optional[str] = ..., model_version: _Optional[str] = ..., trained_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., newest_event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., fallback: _Optional[bool] = ..., fallback_reason: _Optional[str] = ..., match: _Optional[_Union[_common_pb2.Match, _Mapping]] = ..., attribution_token: _Optional[str] = ..., relaxed_conditions: _Optional[_Iterable[str]] = ...) -> None: ...

class RecommendedItem(_message.Message):
    __slots__ = ("item_id", "score", "reason", "rule")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    score: float
    reason: Reason
    rule: str
    def __init__(self, item_id: _Optional[str] = ..., score: _Optional[float] = ..., reason: _Optional[_Union[Reason, _Mapping]] = ..., rule: _Optional[str] = ...) -> None: ...

class Reason(_message.Message):
    __slots__ = ("code", "text", "item_id")
    CODE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    code: str
    text: str
    item_id: str
    def __init__(self, code: _Optional[str] = ..., text: _Optional[str] = ..., item_id: _Optional[str] = ...) -> None: ...

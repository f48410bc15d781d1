import datetime

from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from service.pb.onefold.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InteractionKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INTERACTION_KIND_UNSPECIFIED: _ClassVar[InteractionKind]
    INTERACTION_KIND_VIEWED: _ClassVar[InteractionKind]
    INTERACTION_KIND_CLICKED: _ClassVar[InteractionKind]
    INTERACTION_KIND_ADDED: _ClassVar[InteractionKind]
    INTERACTION_KIND_REMOVED: _ClassVar[InteractionKind]
    INTERACTION_KIND_WISHED: _ClassVar[InteractionKind]
    INTERACTION_KIND_BOUGHT: _ClassVar[InteractionKind]
    INTERACTION_KIND_REVIEWED: _ClassVar[InteractionKind]
    INTERACTION_KIND_SHARED: _ClassVar[InteractionKind]
INTERACTION_KIND_UNSPECIFIED: InteractionKind
INTERACTION_KIND_VIEWED: InteractionKind
INTERACTION_KIND_CLICKED: InteractionKind
INTERACTION_KIND_ADDED: InteractionKind
INTERACTION_KIND_REMOVED: InteractionKind
INTERACTION_KIND_WISHED: InteractionKind
INTERACTION_KIND_BOUGHT: InteractionKind
INTERACTION_KIND_REVIEWED: InteractionKind
INTERACTION_KIND_SHARED: InteractionKind

class Profile(_message.Message):
    __slots__ = ("profile_id", "identifiers", "devices", "traits", "first_seen_time", "last_seen_time", "event_count", "event_counts", "orders", "interactions", "consents", "visit_count", "computed_traits")
    class TraitsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _common_pb2.Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_common_pb2.Value, _Mapping]] = ...) -> None: ...
    class ConsentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bool
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bool] = ...) -> None: ...
    class ComputedTraitsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _common_pb2.Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_common_pb2.Value, _Mapping]] = ...) -> None: ...
    PROFILE_ID_FIELD_NUMBER: _ClassVar[int]
    IDENTIFIERS_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    TRAITS_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEEN_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_TIME_FIELD_NUMBER: _ClassVar[int]
    EVENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    EVENT_COUNTS_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    INTERACTIONS_FIELD_NUMBER: _ClassVar[int]
    CONSENTS_FIELD_NUMBER: _ClassVar[int]
    VISIT_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMPUTED_TRAITS_FIELD_NUMBER: _ClassVar[int]
    profile_id: str
    identifiers: _containers.RepeatedCompositeFieldContainer[_common_pb2.KnownIdentifier]
    devices: _containers.RepeatedCompositeFieldContainer[_common_pb2.KnownIdentifier]
    traits: _containers.MessageMap[str, _common_pb2.Value]
    first_seen_time: _timestamp_pb2.Timestamp
    last_seen_time: _timestamp_pb2.Timestamp
    event_count: int
    event_counts: _containers.RepeatedCompositeFieldContainer[EventCount]
    orders: _containers.RepeatedCompositeFieldContainer[OrderSummary]
    interactions: _containers.RepeatedCompositeFieldContainer[Interaction]
    consents: _containers.ScalarMap[str, bool]
    visit_count: int
    computed_traits: _containers.MessageMap[str, _common_pb2.Value]
    def __init__(self, profile_id: _Optional[str] = ..., identifiers: _Optional[_Iterable[_Union[_common_pb2.KnownIdentifier, _Mapping]]] = ..., devices: _Optional[_Iterable[_Union[_common_pb2.KnownIdentifier, _Mapping]]] = ..., traits: _Optional[_Mapping[str, _common_pb2.Value]] = ..., first_seen_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_seen_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., event_count: _Optional[int] = ..., event_counts: _Optional[_Iterable[_Union[EventCount, _Mapping]]] = ..., orders: _Optional[_Iterable[_Union[OrderSummary, _Mapping]]] = ..., interactions: _Optional[_Iterable[_Union[Interaction, _Mapping]]] = ..., consents: _Optional[_Mapping[str, bool]] = ..., visit_count: _Optional[int] = ..., computed_traits: _Optional[_Mapping[str, _common_pb2.Value]] = ...) -> None: ...

class EventCount(_message.Message):
    __slots__ = ("name", "count", "first_time", "last_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    FIRST_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    count: int
    first_time: _timestamp_pb2.Timestamp
    last_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., count: _Optional[int] = ..., first_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class OrderSummary(_message.Message):
    __slots__ = ("order_count", "revenue", "refund_count", "refunded")
    ORDER_COUNT_FIELD_NUMBER: _ClassVar[int]
    REVENUE_FIELD_NUMBER: _ClassVar[int]
    REFUND_COUNT_FIELD_NUMBER: _ClassVar[int]
    REFUNDED_FIELD_NUMBER: _ClassVar[int]
    order_count: int
    revenue: _common_pb2.Money
    refund_count: int
    refunded: _common_pb2.Money
    def __init__(self, order_count: _Optional[int] = ..., revenue: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., refund_count: _Optional[int] = ..., refunded: _Optional[_Union[_common_pb2.Money, _Mapping]] = ...) -> None: ...

class Interaction(_message.Message):
    __slots__ = ("kind", "item_id", "time", "quantity")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    kind: InteractionKind
    item_id: str
    time: _timestamp_pb2.Timestamp
    quantity: float
    def __init__(self, kind: _Optional[_Union[InteractionKind, str]] = ..., item_id: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., quantity: _Optional[float] = ...) -> None: ...

class GetProfileRequest(_message.Message):
    __slots__ = ("lookup", "read_mask", "interaction_limit")
    LOOKUP_FIELD_NUMBER: _ClassVar[int]
    READ_MASK_FIELD_NUMBER: _ClassVar[int]
    INTERACTION_LIMIT_FIELD_NUMBER: _ClassVar[int]
    lookup: _common_pb2.Lookup
    read_mask: _field_mask_pb2.FieldMask
    interaction_limit: int
    def __init__(self, lookup: _Optional[_Union[_common_pb2.Lookup, _Mapping]] = ..., read_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., interaction_limit: _Optional[int] = ...) -> None: ...

class GetProfileResponse(_message.Message):
    __slots__ = ("profile", "match")
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    MATCH_FIELD_NUMBER: _ClassVar[int]
    profile: Profile
    match: _common_pb2.Match
    def __init__(self, profile: _Optional[_Union[Profile, _Mapping]] = ..., match: _Optional[_Union[_common_pb2.Match, _Mapping]] = ...) -> None: ...

class BatchGetProfilesRequest(_message.Message):
    __slots__ = ("lookups", "read_mask", "interaction_limit")
    LOOKUPS_FIELD_NUMBER: _ClassVar[int]
    READ_MASK_FIELD_NUMBER: _ClassVar[int]
    INTERACTION_LIMIT_FIELD_NUMBER: _ClassVar[int]
    lookups: _containers.RepeatedCompositeFieldContainer[_common_pb2.Lookup]
    read_mask: _field_mask_pb2.FieldMask
    interaction_limit: int
    def __init__(self, lookups: _Optional[_Iterable[_Union[_common_pb2.Lookup, _Mapping]]] = ..., read_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., interaction_limit: _Optional[int] = ...) -> None: ...

class BatchGetProfilesResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ProfileResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ProfileResult, _Mapping]]] = ...) -> None: ...

class ProfileResult(_message.Message):
    __slots__ = ("profile", "match", "error")
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    MATCH_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    profile: Profile
    match: _common_pb2.Match
    error: _common_pb2.EntryError
    def __init__(self, profile: _Optional[_Union[Profile, _Mapping]] = ..., match: _Optional[_Union[_common_pb2.Match, _Mapping]] = ..., error: _Optional[_Union[_common_pb2.EntryError, _Mapping]] = ...) -> None: ...

class ListEventsRequest(_message.Message):
    __slots__ = ("lookup", "page_size", "page_token", "names", "since_time", "until_time", "include_payload")
    LOOKUP_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    UNTIL_TIME_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    lookup: _common_pb2.Lookup
    page_size: int
    page_token: str
    names: _containers.RepeatedScalarFieldContainer[str]
    since_time: _timestamp_pb2.Timestamp
    until_time: _timestamp_pb2.Timestamp
    include_payload: bool
    def __init__(self, lookup: _Optional[_Union[_common_pb2.Lookup, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., names: _Optional[_Iterable[str]] = ..., since_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., include_payload: _Optional[bool] = ...) -> None: ...

class ListEventsResponse(_message.Message):
    __slots__ = ("events", "next_page_token", "match")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MATCH_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    next_page_token: str
    match: _common_pb2.Match
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., match: _Optional[_Union[_common_pb2.Match, _Mapping]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("message_id", "type", "name", "event_time", "receive_time", "source", "identifier_id", "payload")
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    IDENTIFIER_ID_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    message_id: str
    type: str
    name: str
    event_time: _timestamp_pb2.Timestamp
    receive_time: _timestamp_pb2.Timestamp
    source: str
    identifier_id: str
    payload: bytes
    def __init__(self, message_id: _Optional[str] = ..., type: _Optional[str] = ..., name: _Optional[str] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., receive_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., source: _Optional[str] = ..., identifier_id: _Optional[str] = ..., payload: _Optional[bytes] = ...) -> None: ...

import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from service.pb.onefold.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class IdentityVerdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IDENTITY_VERDICT_UNSPECIFIED: _ClassVar[IdentityVerdict]
    IDENTITY_VERDICT_ONE_PERSON: _ClassVar[IdentityVerdict]
    IDENTITY_VERDICT_NOT_ONE_PERSON: _ClassVar[IdentityVerdict]
    IDENTITY_VERDICT_UNKNOWN: _ClassVar[IdentityVerdict]

class IdentityLinkKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IDENTITY_LINK_KIND_UNSPECIFIED: _ClassVar[IdentityLinkKind]
    IDENTITY_LINK_KIND_NAMED_TOGETHER: _ClassVar[IdentityLinkKind]
    IDENTITY_LINK_KIND_DECLARED: _ClassVar[IdentityLinkKind]
    IDENTITY_LINK_KIND_PROBABLE: _ClassVar[IdentityLinkKind]
IDENTITY_VERDICT_UNSPECIFIED: IdentityVerdict
IDENTITY_VERDICT_ONE_PERSON: IdentityVerdict
IDENTITY_VERDICT_NOT_ONE_PERSON: IdentityVerdict
IDENTITY_VERDICT_UNKNOWN: IdentityVerdict
IDENTITY_LINK_KIND_UNSPECIFIED: IdentityLinkKind
IDENTITY_LINK_KIND_NAMED_TOGETHER: IdentityLinkKind
IDENTITY_LINK_KIND_DECLARED: IdentityLinkKind
IDENTITY_LINK_KIND_PROBABLE: IdentityLinkKind

class BatchResolveRequest(_message.Message):
    __slots__ = ("lookups",)
    LOOKUPS_FIELD_NUMBER: _ClassVar[int]
    lookups: _containers.RepeatedCompositeFieldContainer[_common_pb2.Lookup]
    def __init__(self, lookups: _Optional[_Iterable[_Union[_common_pb2.Lookup, _Mapping]]] = ...) -> None: ...

class BatchResolveResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ResolveResult]
    def __init__(self, results: _Optional[_Iterable[_Union[ResolveResult, _Mapping]]] = ...) -> None: ...

class ResolveResult(_message.Message):
    __slots__ = ("match", "identifier_ids", "error")
    MATCH_FIELD_NUMBER: _ClassVar[int]
    IDENTIFIER_IDS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    match: _common_pb2.Match
    identifier_ids: _containers.RepeatedScalarFieldContainer[str]
    error: _common_pb2.EntryError
    def __init__(self, match: _Optional[_Union[_common_pb2.Match, _Mapping]] = ..., identifier_ids: _Optional[_Iterable[str]] = ..., error: _Optional[_Union[_common_pb2.EntryError, _Mapping]] = ...) -> None: ...

class ExplainIdentityRequest(_message.Message):
    __slots__ = ("lookup", "other")
    LOOKUP_FIELD_NUMBER: _ClassVar[int]
    OTHER_FIELD_NUMBER: _ClassVar[int]
    lookup: _common_pb2.Lookup
    other: _common_pb2.Lookup
    def __init__(self, lookup: _Optional[_Union[_common_pb2.Lookup, _Mapping]] = ..., other: _Optional[_Union[_common_pb2.Lookup, _Mapping]] = ...) -> None: ...

class ExplainIdentityResponse(_message.Message):
    __slots__ = ("match", "identifiers", "links", "conflicts", "other_match", "verdict", "chain", "obstacles")
    MATCH_FIELD_NUMBER: _ClassVar[int]
    IDENTIFIERS_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    CONFLICTS_FIELD_NUMBER: _ClassVar[int]
    OTHER_MATCH_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    OBSTACLES_FIELD_NUMBER: _ClassVar[int]
    match: _common_pb2.Match
    identifiers: _containers.RepeatedCompositeFieldContainer[_common_pb2.KnownIdentifier]
    links: _containers.RepeatedCompositeFieldContainer[IdentityLink]
    conflicts: _containers.RepeatedCompositeFieldContainer[IdentityConflict]
    other_match: _common_pb2.Match
    verdict: IdentityVerdict
    chain: _containers.RepeatedCompositeFieldContainer[IdentityLink]
    obstacles: _containers.RepeatedCompositeFieldContainer[IdentityObstacle]
    def __init__(self, match: _Optional[_Union[_common_pb2.Match, _Mapping]] = ..., identifiers: _Optional[_Iterable[_Union[_common_pb2.KnownIdentifier, _Mapping]]] = ..., links: _Optional[_Iterable[_Union[IdentityLink, _Mapping]]] = ..., conflicts: _Optional[_Iterable[_Union[IdentityConflict, _Mapping]]] = ..., other_match: _Optional[_Union[_common_pb2.Match, _Mapping]] = ..., verdict: _Optional[_Union[IdentityVerdict, str]] = ..., chain: _Optional[_Iterable[_Union[IdentityLink, _Mapping]]] = ..., obstacles: _Optional[_Iterable[_Union[IdentityObstacle, _Mapping]]] = ...) -> None: ...

class IdentityObstacle(_message.Message):
    __slots__ = ("rule", "detail", "a", "b", "since_time", "conflict_id")
    RULE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    A_FIELD_NUMBER: _ClassVar[int]
    B_FIELD_NUMBER: _ClassVar[int]
    SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_ID_FIELD_NUMBER: _ClassVar[int]
    rule: str
    detail: str
    a: _common_pb2.KnownIdentifier
    b: _common_pb2.KnownIdentifier
    since_time: _timestamp_pb2.Timestamp
    conflict_id: str
    def __init__(self, rule: _Optional[str] = ..., detail: _Optional[str] = ..., a: _Optional[_Union[_common_pb2.KnownIdentifier, _Mapping]] = ..., b: _Optional[_Union[_common_pb2.KnownIdentifier, _Mapping]] = ..., since_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., conflict_id: _Optional[str] = ...) -> None: ...

class ListConflictsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "rule", "since_time", "counts")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    rule: str
    since_time: _timestamp_pb2.Timestamp
    counts: bool
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., rule: _Optional[str] = ..., since_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., counts: _Optional[bool] = ...) -> None: ...

class ListConflictsResponse(_message.Message):
    __slots__ = ("conflicts", "next_page_token", "counts")
    class CountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    CONFLICTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    conflicts: _containers.RepeatedCompositeFieldContainer[IdentityConflict]
    next_page_token: str
    counts: _containers.ScalarMap[str, int]
    def __init__(self, conflicts: _Optional[_Iterable[_Union[IdentityConflict, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., counts: _Optional[_Mapping[str, int]] = ...) -> None: ...

class IdentityLink(_message.Message):
    __slots__ = ("kind", "a", "b", "first_time", "event_id", "source", "trusted", "last_time", "probability", "refused_by")
    KIND_FIELD_NUMBER: _ClassVar[int]
    A_FIELD_NUMBER: _ClassVar[int]
    B_FIELD_NUMBER: _ClassVar[int]
    FIRST_TIME_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TRUSTED_FIELD_NUMBER: _ClassVar[int]
    LAST_TIME_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    REFUSED_BY_FIELD_NUMBER: _ClassVar[int]
    kind: IdentityLinkKind
    a: _common_pb2.KnownIdentifier
    b: _common_pb2.KnownIdentifier
    first_time: _timestamp_pb2.Timestamp
    event_id: str
    source: str
    trusted: bool
    last_time: _timestamp_pb2.Timestamp
    probability: float
    refused_by: str
    def __init__(self, kind: _Optional[_Union[IdentityLinkKind, str]] = ..., a: _Optional[_Union[_common_pb2.KnownIdentifier, _Mapping]] = ..., b: _Optional[_Union[_common_pb2.KnownIdentifier, _Mapping]] = ..., first_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., event_id: _Optional[str] = ..., source: _Optional[str] = ..., trusted: _Optional[bool] = ..., last_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., probability: _Optional[float] = ..., refused_by: _Optional[str] = ...) -> None: ...

class IdentityConflict(_message.Message):
    __slots__ = ("rule", "a", "b", "detail", "since_time", "id")
    RULE_FIELD_NUMBER: _ClassVar[int]
    A_FIELD_NUMBER: _ClassVar[int]
    B_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    rule: str
    a: _common_pb2.KnownIdentifier
    b: _common_pb2.KnownIdentifier
    detail: str
    since_time: _timestamp_pb2.Timestamp
    id: str
    def __init__(self, rule: _Optional[str] = ..., a: _Optional[_Union[_common_pb2.KnownIdentifier, _Mapping]] = ..., b: _Optional[_Union[_common_pb2.KnownIdentifier, _Mapping]] = ..., detail: _Optional[str] = ..., since_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., id: _Optional[str] = ...) -> None: ...

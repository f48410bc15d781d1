import datetime

from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from service.pb.onefold.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SegmentReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEGMENT_REASON_UNSPECIFIED: _ClassVar[SegmentReason]
    SEGMENT_REASON_EVENT: _ClassVar[SegmentReason]
    SEGMENT_REASON_MERGED: _ClassVar[SegmentReason]
    SEGMENT_REASON_SPLIT: _ClassVar[SegmentReason]
    SEGMENT_REASON_TIME: _ClassVar[SegmentReason]
    SEGMENT_REASON_DEFINED: _ClassVar[SegmentReason]
    SEGMENT_REASON_CONSENT: _ClassVar[SegmentReason]
SEGMENT_REASON_UNSPECIFIED: SegmentReason
SEGMENT_REASON_EVENT: SegmentReason
SEGMENT_REASON_MERGED: SegmentReason
SEGMENT_REASON_SPLIT: SegmentReason
SEGMENT_REASON_TIME: SegmentReason
SEGMENT_REASON_DEFINED: SegmentReason
SEGMENT_REASON_CONSENT: SegmentReason

class SegmentDefinition(_message.Message):
    __slots__ = ("id", "tree")
    ID_FIELD_NUMBER: _ClassVar[int]
    TREE_FIELD_NUMBER: _ClassVar[int]
    id: str
    tree: _struct_pb2.Struct
    def __init__(self, id: _Optional[str] = ..., tree: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class SegmentStatus(_message.Message):
    __slots__ = ("definition", "name", "sensitive", "computed_trait", "people", "devices", "filled", "day", "revision")
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SENSITIVE_FIELD_NUMBER: _ClassVar[int]
    COMPUTED_TRAIT_FIELD_NUMBER: _ClassVar[int]
    PEOPLE_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    FILLED_FIELD_NUMBER: _ClassVar[int]
    DAY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    definition: SegmentDefinition
    name: str
    sensitive: bool
    computed_trait: bool
    people: int
    devices: int
    filled: float
    day: SegmentFlow
    revision: int
    def __init__(self, definition: _Optional[_Union[SegmentDefinition, _Mapping]] = ..., name: _Optional[str] = ..., sensitive: _Optional[bool] = ..., computed_trait: _Optional[bool] = ..., people: _Optional[int] = ..., devices: _Optional[int] = ..., filled: _Optional[float] = ..., day: _Optional[_Union[SegmentFlow, _Mapping]] = ..., revision: _Optional[int] = ...) -> None: ...

class SegmentFlow(_message.Message):
    __slots__ = ("from_time", "entered", "left", "entered_by_identity", "left_by_identity", "entered_by_definition", "left_by_definition")
    FROM_TIME_FIELD_NUMBER: _ClassVar[int]
    ENTERED_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    ENTERED_BY_IDENTITY_FIELD_NUMBER: _ClassVar[int]
    LEFT_BY_IDENTITY_FIELD_NUMBER: _ClassVar[int]
    ENTERED_BY_DEFINITION_FIELD_NUMBER: _ClassVar[int]
    LEFT_BY_DEFINITION_FIELD_NUMBER: _ClassVar[int]
    from_time: _timestamp_pb2.Timestamp
    entered: int
    left: int
    entered_by_identity: int
    left_by_identity: int
    entered_by_definition: int
    left_by_definition: int
    def __init__(self, from_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., entered: _Optional[int] = ..., left: _Optional[int] = ..., entered_by_identity: _Optional[int] = ..., left_by_identity: _Optional[int] = ..., entered_by_definition: _Optional[int] = ..., left_by_definition: _Optional[int] = ...) -> None: ...

class ListSegmentsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListSegmentsResponse(_message.Message):
    __slots__ = ("segments", "revision", "waiting", "broken", "next_page_token")
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    BROKEN_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    segments: _containers.RepeatedCompositeFieldContainer[SegmentStatus]
    revision: int
    waiting: int
    broken: _containers.RepeatedCompositeFieldContainer[SegmentProblem]
    next_page_token: str
    def __init__(self, segments: _Optional[_Iterable[_Union[SegmentStatus, _Mapping]]] = ..., revision: _Optional[int] = ..., waiting: _Optional[int] = ..., broken: _Optional[_Iterable[_Union[SegmentProblem, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetSegmentRequest(_message.Message):
    __slots__ = ("segment_id",)
    SEGMENT_ID_FIELD_NUMBER: _ClassVar[int]
    segment_id: str
    def __init__(self, segment_id: _Optional[str] = ...) -> None: ...

class GetSegmentResponse(_message.Message):
    __slots__ = ("segment",)
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    segment: SegmentStatus
    def __init__(self, segment: _Optional[_Union[SegmentStatus, _Mapping]] = ...) -> None: ...

class CheckSegmentsRequest(_message.Message):
    __slots__ = ("definitions", "remove_ids")
    DEFINITIONS_FIELD_NUMBER: _ClassVar[int]
    REMOVE_IDS_FIELD_NUMBER: _ClassVar[int]
    definitions: _containers.RepeatedCompositeFieldContainer[SegmentDefinition]
    remove_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, definitions: _Optional[_Iterable[_Union[SegmentDefinition, _Mapping]]] = ..., remove_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class SegmentProblem(_message.Message):
    __slots__ = ("segment_id", "path", "message", "suggestion")
    SEGMENT_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SUGGESTION_FIELD_NUMBER: _ClassVar[int]
    segment_id: str
    path: str
    message: str
    suggestion: str
    def __init__(self, segment_id: _Optional[str] = ..., path: _Optional[str] = ..., message: _Optional[str] = ..., suggestion: _Optional[str] = ...) -> None: ...

class CheckSegmentsResponse(_message.Message):
    __slots__ = ("problems", "added_ids", "changed_ids", "removed_ids", "revision", "warnings")
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    ADDED_IDS_FIELD_NUMBER: _ClassVar[int]
    CHANGED_IDS_FIELD_NUMBER: _ClassVar[int]
    REMOVED_IDS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    problems: _containers.RepeatedCompositeFieldContainer[SegmentProblem]
    added_ids: _containers.RepeatedScalarFieldContainer[str]
    changed_ids: _containers.RepeatedScalarFieldContainer[str]
    removed_ids: _containers.RepeatedScalarFieldContainer[str]
    revision: int
    warnings: _containers.RepeatedCompositeFieldContainer[SegmentProblem]
    def __init__(self, problems: _Optional[_Iterable[_Union[SegmentProblem, _Mapping]]] = ..., added_ids: _Optional[_Iterable[str]] = ..., changed_ids: _Optional[_Iterable[str]] = ..., removed_ids: _Optional[_Iterable[str]] = ..., revision: _Optional[int] = ..., warnings: _Optional[_Iterable[_Union[SegmentProblem, _Mapping]]] = ...) -> None: ...

class ApplySegmentsRequest(_message.Message):
    __slots__ = ("definitions", "remove_ids", "revision", "author", "note")
    DEFINITIONS_FIELD_NUMBER: _ClassVar[int]
    REMOVE_IDS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    definitions: _containers.RepeatedCompositeFieldContainer[SegmentDefinition]
    remove_ids: _containers.RepeatedScalarFieldContainer[str]
    revision: int
    author: str
    note: str
    def __init__(self, definitions: _Optional[_Iterable[_Union[SegmentDefinition, _Mapping]]] = ..., remove_ids: _Optional[_Iterable[str]] = ..., revision: _Optional[int] = ..., author: _Optional[str] = ..., note: _Optional[str] = ...) -> None: ...

class ApplySegmentsResponse(_message.Message):
    __slots__ = ("revision", "added_ids", "changed_ids", "removed_ids")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ADDED_IDS_FIELD_NUMBER: _ClassVar[int]
    CHANGED_IDS_FIELD_NUMBER: _ClassVar[int]
    REMOVED_IDS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    added_ids: _containers.RepeatedScalarFieldContainer[str]
    changed_ids: _containers.RepeatedScalarFieldContainer[str]
    removed_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, revision: _Optional[int] = ..., added_ids: _Optional[_Iterable[str]] = ..., changed_ids: _Optional[_Iterable[str]] = ..., removed_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class PreviewSegmentRequest(_message.Message):
    __slots__ = ("definition", "sample")
    DEFINITION_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    definition: SegmentDefinition
    sample: int
    def __init__(self, definition: _Optional[_Union[SegmentDefinition, _Mapping]] = ..., sample: _Optional[int] = ...) -> None: ...

class PreviewSegmentResponse(_message.Message):
    __slots__ = ("people", "devices", "low", "high", "exact", "example_ids", "identifiers", "consent", "overlap")
    class IdentifiersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class ConsentEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class OverlapEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    PEOPLE_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    EXAMPLE_IDS_FIELD_NUMBER: _ClassVar[int]
    IDENTIFIERS_FIELD_NUMBER: _ClassVar[int]
    CONSENT_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    people: int
    devices: int
    low: int
    high: int
    exact: bool
    example_ids: _containers.RepeatedScalarFieldContainer[str]
    identifiers: _containers.ScalarMap[str, int]
    consent: _containers.ScalarMap[str, int]
    overlap: _containers.ScalarMap[str, int]
    def __init__(self, people: _Optional[int] = ..., devices: _Optional[int] = ..., low: _Optional[int] = ..., high: _Optional[int] = ..., exact: _Optional[bool] = ..., example_ids: _Optional[_Iterable[str]] = ..., identifiers: _Optional[_Mapping[str, int]] = ..., consent: _Optional[_Mapping[str, int]] = ..., overlap: _Optional[_Mapping[str, int]] = ...) -> None: ...

class ListProfileSegmentsRequest(_message.Message):
    __slots__ = ("lookup",)
    LOOKUP_FIELD_NUMBER: _ClassVar[int]
    lookup: _common_pb2.Lookup
    def __init__(self, lookup: _Optional[_Union[_common_pb2.Lookup, _Mapping]] = ...) -> None: ...

class ListProfileSegmentsResponse(_message.Message):
    __slots__ = ("match", "segments")
    MATCH_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    match: _common_pb2.Match
    segments: _containers.RepeatedCompositeFieldContainer[SegmentMembership]
    def __init__(self, match: _Optional[_Union[_common_pb2.Match, _Mapping]] = ..., segments: _Optional[_Iterable[_Union[SegmentMembership, _Mapping]]] = ...) -> None: ...

class SegmentMembership(_message.Message):
    __slots__ = ("segment_id", "since")
    SEGMENT_ID_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    segment_id: str
    since: _timestamp_pb2.Timestamp
    def __init__(self, segment_id: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListSegmentMembersRequest(_message.Message):
    __slots__ = ("segment_id", "resume_token")
    SEGMENT_ID_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    segment_id: str
    resume_token: str
    def __init__(self, segment_id: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class ListSegmentMembersResponse(_message.Message):
    __slots__ = ("members", "resume_token")
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    members: _containers.RepeatedCompositeFieldContainer[SegmentMember]
    resume_token: str
    def __init__(self, members: _Optional[_Iterable[_Union[SegmentMember, _Mapping]]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class SegmentMember(_message.Message):
    __slots__ = ("profile_id", "since", "device")
    PROFILE_ID_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    profile_id: str
    since: _timestamp_pb2.Timestamp
    device: bool
    def __init__(self, profile_id: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., device: _Optional[bool] = ...) -> None: ...

class WatchSegmentChangesRequest(_message.Message):
    __slots__ = ("resume_token", "from_now", "segment_ids")
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FROM_NOW_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_IDS_FIELD_NUMBER: _ClassVar[int]
    resume_token: str
    from_now: bool
    segment_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, resume_token: _Optional[str] = ..., from_now: _Optional[bool] = ..., segment_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class SegmentTransition(_message.Message):
    __slots__ = ("id", "segment_id", "profile_id", "entered", "time", "reason", "sequence", "purpose")
    ID_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_ID_FIELD_NUMBER: _ClassVar[int]
    PROFILE_ID_FIELD_NUMBER: _ClassVar[int]
    ENTERED_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    id: str
    segment_id: str
    profile_id: str
    entered: bool
    time: _timestamp_pb2.Timestamp
    reason: SegmentReason
    sequence: int
    purpose: str
    def __init__(self, id: _Optional[str] = ..., segment_id: _Optional[str] = ..., profile_id: _Optional[str] = ..., entered: _Optional[bool] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[_Union[SegmentReason, str]] = ..., sequence: _Optional[int] = ..., purpose: _Optional[str] = ...) -> None: ...

class WatchSegmentChangesResponse(_message.Message):
    __slots__ = ("transitions", "resume_token")
    TRANSITIONS_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    transitions: _containers.RepeatedCompositeFieldContainer[SegmentTransition]
    resume_token: str
    def __init__(self, transitions: _Optional[_Iterable[_Union[SegmentTransition, _Mapping]]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class GetSegmentHistoryRequest(_message.Message):
    __slots__ = ("segment_id", "days", "hourly")
    SEGMENT_ID_FIELD_NUMBER: _ClassVar[int]
    DAYS_FIELD_NUMBER: _ClassVar[int]
    HOURLY_FIELD_NUMBER: _ClassVar[int]
    segment_id: str
    days: int
    hourly: bool
    def __init__(self, segment_id: _Optional[str] = ..., days: _Optional[int] = ..., hourly: _Optional[bool] = ...) -> None: ...

class GetSegmentHistoryResponse(_message.Message):
    __slots__ = ("flows", "size")
    FLOWS_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    flows: _containers.RepeatedCompositeFieldContainer[SegmentFlow]
    size: int
    def __init__(self, flows: _Optional[_Iterable[_Union[SegmentFlow, _Mapping]]] = ..., size: _Optional[int] = ...) -> None: ...

class GetSegmentOverlapRequest(_message.Message):
    __slots__ = ("segment_id", "other_id")
    SEGMENT_ID_FIELD_NUMBER: _ClassVar[int]
    OTHER_ID_FIELD_NUMBER: _ClassVar[int]
    segment_id: str
    other_id: str
    def __init__(self, segment_id: _Optional[str] = ..., other_id: _Optional[str] = ...) -> None: ...

class GetSegmentOverlapResponse(_message.Message):
    __slots__ = ("both", "first", "second")
    BOTH_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    both: int
    first: int
    second: int
    def __init__(self, both: _Optional[int] = ..., first: _Optional[int] = ..., second: _Optional[int] = ...) -> None: ...

class ListSegmentEditsRequest(_message.Message):
    __slots__ = ("segment_id", "page_size", "page_token")
    SEGMENT_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    segment_id: str
    page_size: int
    page_token: str
    def __init__(self, segment_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class SegmentEdit(_message.Message):
    __slots__ = ("revision", "time", "author", "note", "definitions", "removed_ids")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    DEFINITIONS_FIELD_NUMBER: _ClassVar[int]
    REMOVED_IDS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    time: _timestamp_pb2.Timestamp
    author: str
    note: str
    definitions: _containers.RepeatedCompositeFieldContainer[SegmentDefinition]
    removed_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, revision: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., author: _Optional[str] = ..., note: _Optional[str] = ..., definitions: _Optional[_Iterable[_Union[SegmentDefinition, _Mapping]]] = ..., removed_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ListSegmentEditsResponse(_message.Message):
    __slots__ = ("edits", "next_page_token")
    EDITS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    edits: _containers.RepeatedCompositeFieldContainer[SegmentEdit]
    next_page_token: str
    def __init__(self, edits: _Optional[_Iterable[_Union[SegmentEdit, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

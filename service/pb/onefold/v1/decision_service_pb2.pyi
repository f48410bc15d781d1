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

class DecisionKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECISION_KIND_UNSPECIFIED: _ClassVar[DecisionKind]
    DECISION_KIND_MERGE: _ClassVar[DecisionKind]
    DECISION_KIND_SPLIT: _ClassVar[DecisionKind]
    DECISION_KIND_BLOCK: _ClassVar[DecisionKind]

class PersonChangeKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PERSON_CHANGE_KIND_UNSPECIFIED: _ClassVar[PersonChangeKind]
    PERSON_CHANGE_KIND_CREATED: _ClassVar[PersonChangeKind]
    PERSON_CHANGE_KIND_MERGED: _ClassVar[PersonChangeKind]
    PERSON_CHANGE_KIND_SPLIT: _ClassVar[PersonChangeKind]
    PERSON_CHANGE_KIND_RENAMED: _ClassVar[PersonChangeKind]
    PERSON_CHANGE_KIND_REGROUPED: _ClassVar[PersonChangeKind]
    PERSON_CHANGE_KIND_CONFLICT: _ClassVar[PersonChangeKind]
    PERSON_CHANGE_KIND_OWNERSHIP: _ClassVar[PersonChangeKind]
DECISION_KIND_UNSPECIFIED: DecisionKind
DECISION_KIND_MERGE: DecisionKind
DECISION_KIND_SPLIT: DecisionKind
DECISION_KIND_BLOCK: DecisionKind
PERSON_CHANGE_KIND_UNSPECIFIED: PersonChangeKind
PERSON_CHANGE_KIND_CREATED: PersonChangeKind
PERSON_CHANGE_KIND_MERGED: PersonChangeKind
PERSON_CHANGE_KIND_SPLIT: PersonChangeKind
PERSON_CHANGE_KIND_RENAMED: PersonChangeKind
PERSON_CHANGE_KIND_REGROUPED: PersonChangeKind
PERSON_CHANGE_KIND_CONFLICT: PersonChangeKind
PERSON_CHANGE_KIND_OWNERSHIP: PersonChangeKind

class DecisionAction(_message.Message):
    __slots__ = ("merge", "split", "undo", "retract", "block")
    MERGE_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    UNDO_FIELD_NUMBER: _ClassVar[int]
    RETRACT_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    merge: MergeAction
    split: SplitAction
    undo: UndoAction
    retract: RetractAction
    block: BlockAction
    def __init__(self, merge: _Optional[_Union[MergeAction, _Mapping]] = ..., split: _Optional[_Union[SplitAction, _Mapping]] = ..., undo: _Optional[_Union[UndoAction, _Mapping]] = ..., retract: _Optional[_Union[RetractAction, _Mapping]] = ..., block: _Optional[_Union[BlockAction, _Mapping]] = ...) -> None: ...

class MergeAction(_message.Message):
    __slots__ = ("lookups",)
    LOOKUPS_FIELD_NUMBER: _ClassVar[int]
    lookups: _containers.RepeatedCompositeFieldContainer[_common_pb2.Lookup]
    def __init__(self, lookups: _Optional[_Iterable[_Union[_common_pb2.Lookup, _Mapping]]] = ...) -> None: ...

class SplitAction(_message.Message):
    __slots__ = ("sides",)
    SIDES_FIELD_NUMBER: _ClassVar[int]
    sides: _containers.RepeatedCompositeFieldContainer[SplitSide]
    def __init__(self, sides: _Optional[_Iterable[_Union[SplitSide, _Mapping]]] = ...) -> None: ...

class SplitSide(_message.Message):
    __slots__ = ("lookups",)
    LOOKUPS_FIELD_NUMBER: _ClassVar[int]
    lookups: _containers.RepeatedCompositeFieldContainer[_common_pb2.Lookup]
    def __init__(self, lookups: _Optional[_Iterable[_Union[_common_pb2.Lookup, _Mapping]]] = ...) -> None: ...

class UndoAction(_message.Message):
    __slots__ = ("change_id",)
    CHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    change_id: str
    def __init__(self, change_id: _Optional[str] = ...) -> None: ...

class RetractAction(_message.Message):
    __slots__ = ("decision_id",)
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    def __init__(self, decision_id: _Optional[str] = ...) -> None: ...

class BlockAction(_message.Message):
    __slots__ = ("lookup",)
    LOOKUP_FIELD_NUMBER: _ClassVar[int]
    lookup: _common_pb2.Lookup
    def __init__(self, lookup: _Optional[_Union[_common_pb2.Lookup, _Mapping]] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("id", "kind", "operator", "reason", "time", "groups", "undoes", "retraction", "change_ids")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    UNDOES_FIELD_NUMBER: _ClassVar[int]
    RETRACTION_FIELD_NUMBER: _ClassVar[int]
    CHANGE_IDS_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: DecisionKind
    operator: str
    reason: str
    time: _timestamp_pb2.Timestamp
    groups: _containers.RepeatedCompositeFieldContainer[DecisionGroup]
    undoes: str
    retraction: Retraction
    change_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[_Union[DecisionKind, str]] = ..., operator: _Optional[str] = ..., reason: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., groups: _Optional[_Iterable[_Union[DecisionGroup, _Mapping]]] = ..., undoes: _Optional[str] = ..., retraction: _Optional[_Union[Retraction, _Mapping]] = ..., change_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class DecisionGroup(_message.Message):
    __slots__ = ("identifiers",)
    IDENTIFIERS_FIELD_NUMBER: _ClassVar[int]
    identifiers: _containers.RepeatedCompositeFieldContainer[_common_pb2.KnownIdentifier]
    def __init__(self, identifiers: _Optional[_Iterable[_Union[_common_pb2.KnownIdentifier, _Mapping]]] = ...) -> None: ...

class Retraction(_message.Message):
    __slots__ = ("operator", "reason", "time", "change_ids")
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    CHANGE_IDS_FIELD_NUMBER: _ClassVar[int]
    operator: str
    reason: str
    time: _timestamp_pb2.Timestamp
    change_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, operator: _Optional[str] = ..., reason: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., change_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class PersonChange(_message.Message):
    __slots__ = ("id", "kind", "time", "before", "after", "because", "rule", "device_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    BECAUSE_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: PersonChangeKind
    time: _timestamp_pb2.Timestamp
    before: _containers.RepeatedCompositeFieldContainer[PersonSide]
    after: _containers.RepeatedCompositeFieldContainer[PersonSide]
    because: _containers.RepeatedScalarFieldContainer[str]
    rule: str
    device_id: str
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[_Union[PersonChangeKind, str]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., before: _Optional[_Iterable[_Union[PersonSide, _Mapping]]] = ..., after: _Optional[_Iterable[_Union[PersonSide, _Mapping]]] = ..., because: _Optional[_Iterable[str]] = ..., rule: _Optional[str] = ..., device_id: _Optional[str] = ...) -> None: ...

class PersonSide(_message.Message):
    __slots__ = ("profile_id", "identifier_ids")
    PROFILE_ID_FIELD_NUMBER: _ClassVar[int]
    IDENTIFIER_IDS_FIELD_NUMBER: _ClassVar[int]
    profile_id: str
    identifier_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, profile_id: _Optional[str] = ..., identifier_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class PreviewDecisionRequest(_message.Message):
    __slots__ = ("action",)
    ACTION_FIELD_NUMBER: _ClassVar[int]
    action: DecisionAction
    def __init__(self, action: _Optional[_Union[DecisionAction, _Mapping]] = ...) -> None: ...

class PreviewDecisionResponse(_message.Message):
    __slots__ = ("changes", "largest", "limits_exceeded", "refused", "accepted", "segments_gained", "segments_lost", "ownerships")
    class RefusedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class AcceptedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class SegmentsGainedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class SegmentsLostEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    LARGEST_FIELD_NUMBER: _ClassVar[int]
    LIMITS_EXCEEDED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_GAINED_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_LOST_FIELD_NUMBER: _ClassVar[int]
    OWNERSHIPS_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[PersonChange]
    largest: int
    limits_exceeded: _containers.RepeatedScalarFieldContainer[str]
    refused: _containers.ScalarMap[str, int]
    accepted: _containers.ScalarMap[str, int]
    segments_gained: _containers.ScalarMap[str, int]
    segments_lost: _containers.ScalarMap[str, int]
    ownerships: _containers.RepeatedCompositeFieldContainer[PersonChange]
    def __init__(self, changes: _Optional[_Iterable[_Union[PersonChange, _Mapping]]] = ..., largest: _Optional[int] = ..., limits_exceeded: _Optional[_Iterable[str]] = ..., refused: _Optional[_Mapping[str, int]] = ..., accepted: _Optional[_Mapping[str, int]] = ..., segments_gained: _Optional[_Mapping[str, int]] = ..., segments_lost: _Optional[_Mapping[str, int]] = ..., ownerships: _Optional[_Iterable[_Union[PersonChange, _Mapping]]] = ...) -> None: ...

class MakeDecisionRequest(_message.Message):
    __slots__ = ("action", "operator", "reason", "decision_id")
    ACTION_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    action: DecisionAction
    operator: str
    reason: str
    decision_id: str
    def __init__(self, action: _Optional[_Union[DecisionAction, _Mapping]] = ..., operator: _Optional[str] = ..., reason: _Optional[str] = ..., decision_id: _Optional[str] = ...) -> None: ...

class MakeDecisionResponse(_message.Message):
    __slots__ = ("decision", "changes")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    changes: _containers.RepeatedCompositeFieldContainer[PersonChange]
    def __init__(self, decision: _Optional[_Union[Decision, _Mapping]] = ..., changes: _Optional[_Iterable[_Union[PersonChange, _Mapping]]] = ...) -> None: ...

class ListDecisionsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDecisionsResponse(_message.Message):
    __slots__ = ("decisions", "next_page_token")
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    decisions: _containers.RepeatedCompositeFieldContainer[Decision]
    next_page_token: str
    def __init__(self, decisions: _Optional[_Iterable[_Union[Decision, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListPersonChangesRequest(_message.Message):
    __slots__ = ("lookup", "page_size")
    LOOKUP_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    lookup: _common_pb2.Lookup
    page_size: int
    def __init__(self, lookup: _Optional[_Union[_common_pb2.Lookup, _Mapping]] = ..., page_size: _Optional[int] = ...) -> None: ...

class ListPersonChangesResponse(_message.Message):
    __slots__ = ("changes",)
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[PersonChange]
    def __init__(self, changes: _Optional[_Iterable[_Union[PersonChange, _Mapping]]] = ...) -> None: ...

class WatchChangesRequest(_message.Message):
    __slots__ = ("resume_token", "from_now")
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FROM_NOW_FIELD_NUMBER: _ClassVar[int]
    resume_token: str
    from_now: bool
    def __init__(self, resume_token: _Optional[str] = ..., from_now: _Optional[bool] = ...) -> None: ...

class WatchChangesResponse(_message.Message):
    __slots__ = ("change", "resume_token")
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    change: PersonChange
    resume_token: str
    def __init__(self, change: _Optional[_Union[PersonChange, _Mapping]] = ..., resume_token: _Optional[str] = ...) -> None: ...

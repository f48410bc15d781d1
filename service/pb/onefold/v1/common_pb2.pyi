from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Answer(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ANSWER_UNSPECIFIED: _ClassVar[Answer]
    ANSWER_PERSON: _ClassVar[Answer]
    ANSWER_DEVICE_OWNER: _ClassVar[Answer]
    ANSWER_DEVICE: _ClassVar[Answer]
ANSWER_UNSPECIFIED: Answer
ANSWER_PERSON: Answer
ANSWER_DEVICE_OWNER: Answer
ANSWER_DEVICE: Answer

class Identifier(_message.Message):
    __slots__ = ("type", "value")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    type: str
    value: str
    def __init__(self, type: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class Lookup(_message.Message):
    __slots__ = ("profile_id", "identifiers")
    PROFILE_ID_FIELD_NUMBER: _ClassVar[int]
    IDENTIFIERS_FIELD_NUMBER: _ClassVar[int]
    profile_id: str
    identifiers: _containers.RepeatedCompositeFieldContainer[Identifier]
    def __init__(self, profile_id: _Optional[str] = ..., identifiers: _Optional[_Iterable[_Union[Identifier, _Mapping]]] = ...) -> None: ...

class KnownIdentifier(_message.Message):
    __slots__ = ("identifier_id", "type", "value")
    IDENTIFIER_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    identifier_id: str
    type: str
    value: str
    def __init__(self, identifier_id: _Optional[str] = ..., type: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class Match(_message.Message):
    __slots__ = ("profile_id", "answered_by", "matched", "disagreeing")
    PROFILE_ID_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_BY_FIELD_NUMBER: _ClassVar[int]
    MATCHED_FIELD_NUMBER: _ClassVar[int]
    DISAGREEING_FIELD_NUMBER: _ClassVar[int]
    profile_id: str
    answered_by: Answer
    matched: KnownIdentifier
    disagreeing: _containers.RepeatedCompositeFieldContainer[KnownIdentifier]
    def __init__(self, profile_id: _Optional[str] = ..., answered_by: _Optional[_Union[Answer, str]] = ..., matched: _Optional[_Union[KnownIdentifier, _Mapping]] = ..., disagreeing: _Optional[_Iterable[_Union[KnownIdentifier, _Mapping]]] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("string_value", "int_value", "double_value", "bool_value", "json_value")
    STRING_VALUE_FIELD_NUMBER: _ClassVar[int]
    INT_VALUE_FIELD_NUMBER: _ClassVar[int]
    DOUBLE_VALUE_FIELD_NUMBER: _ClassVar[int]
    BOOL_VALUE_FIELD_NUMBER: _ClassVar[int]
    JSON_VALUE_FIELD_NUMBER: _ClassVar[int]
    string_value: str
    int_value: int
    double_value: float
    bool_value: bool
    json_value: str
    def __init__(self, string_value: _Optional[str] = ..., int_value: _Optional[int] = ..., double_value: _Optional[float] = ..., bool_value: _Optional[bool] = ..., json_value: _Optional[str] = ...) -> None: ...

class Money(_message.Message):
    __slots__ = ("currency_code", "units", "nanos")
    CURRENCY_CODE_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    NANOS_FIELD_NUMBER: _ClassVar[int]
    currency_code: str
    units: int
    nanos: int
    def __init__(self, currency_code: _Optional[str] = ..., units: _Optional[int] = ..., nanos: _Optional[int] = ...) -> None: ...

class EntryError(_message.Message):
    __slots__ = ("code", "message")
    class Code(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CODE_UNSPECIFIED: _ClassVar[EntryError.Code]
        CODE_NOT_FOUND: _ClassVar[EntryError.Code]
        CODE_INVALID: _ClassVar[EntryError.Code]
        CODE_REPLY_FULL: _ClassVar[EntryError.Code]
    CODE_UNSPECIFIED: EntryError.Code
    CODE_NOT_FOUND: EntryError.Code
    CODE_INVALID: EntryError.Code
    CODE_REPLY_FULL: EntryError.Code
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: EntryError.Code
    message: str
    def __init__(self, code: _Optional[_Union[EntryError.Code, str]] = ..., message: _Optional[str] = ...) -> None: ...

"""What a call can fail with, and the one table that says how callers see it."""

import logging
import traceback
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final, NamedTuple, NoReturn

import grpc
import msgspec
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status  # type: ignore[import-untyped]

from ingest.deciding import DecisionError, DecisionPending, DecisionRefused, NoSuchDecision
from ingest.log import LogError, LogRefused, LogUnavailable
from ingest.segments.defining import DefiningError, Outdated, Refused
from models.errors import (
    ArtefactError,
    FilterError,
    ModelError,
    NoSuchModel,
    NotEnoughData,
    PromotionRefused,
    RulesError,
    TooManyItems,
)
from models.linking.errors import (
    BadMapping,
    BadRecords,
    BadReview,
    LinkingError,
    NothingToLearn,
)
from storage.errors import (
    KeyMismatch,
    Misconfigured,
    SchemaMismatch,
    StoreError,
    StoreUnavailable,
)

DOMAIN: Final = "onefold.dev"
VIOLATION_BYTES_MAX: Final = 1_500
"""A status is told in headers, three times over and base64 twice; clients take 8 KB of them."""
RETRY_AFTER_S: Final = 1
"""What UNAVAILABLE asks callers to wait: longer than a checkpoint or a failover of a lease."""

_log = logging.getLogger(__name__)


class CallError(Exception):
    """The root of what a call itself is refused for. Messages hold no personal data."""


class Violation(NamedTuple):
    """One thing that is wrong with a request."""

    field: str
    """Path of the field, for example `lookups[3].profile_id`."""
    description: str


class InvalidArgument(CallError):
    """The request is malformed; says every field that is, or as many as an answer has room for."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        sizes = accumulate(len(f"{v.field}: {v.description}".encode()) for v in violations)
        fitting = max(1, sum(size <= VIOLATION_BYTES_MAX for size in sizes))
        self.violations = violations[:fitting]
        told = "; ".join(f"{v.field}: {v.description}" for v in self.violations)
        more = len(violations) - fitting
        super().__init__(f"{told}; and {more:,} more" if more > 0 else told)


class ProfileNotFound(CallError):
    """Nothing is known of any identifier of the lookup."""

    def __init__(self) -> None:
        super().__init__("nothing is known of any identifier of the lookup")


class ItemNotFound(CallError):
    """The catalogue has no such item."""

    def __init__(self) -> None:
        super().__init__("the catalogue has no such item")


class SegmentNotFound(CallError):
    """No segment with that id is in force."""

    def __init__(self) -> None:
        super().__init__("no segment with that id is in force")


class DeadlinePassed(CallError):
    """The caller's deadline, or the server's cap on it, passed before the answer was ready."""

    def __init__(self) -> None:
        super().__init__("the deadline passed before the answer was ready")


class TooManyStreams(CallError):
    """So many streams at once that unary calls would wait."""

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} streams are open already; ask another server, or later")


class CallCancelled(CallError):
    """The caller has gone."""

    def __init__(self) -> None:
        super().__init__("the caller cancelled the call")


class ServerLeaving(CallError):
    """This process is ending: another one answers."""

    def __init__(self) -> None:
        super().__init__("this process is ending; call again")


class Meaning(msgspec.Struct, frozen=True):
    """How callers see an error."""

    code: grpc.StatusCode
    reason: str
    """`ErrorInfo.reason`."""
    text: str = ""
    """What callers read; empty: the error's own message, which then names no file and no person."""


_CODE = grpc.StatusCode
TABLE: Final[Mapping[type[Exception], Meaning]] = {
    InvalidArgument: Meaning(_CODE.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
    ProfileNotFound: Meaning(_CODE.NOT_FOUND, "PROFILE_NOT_FOUND"),
    ItemNotFound: Meaning(_CODE.NOT_FOUND, "ITEM_NOT_FOUND"),
    SegmentNotFound: Meaning(_CODE.NOT_FOUND, "SEGMENT_NOT_FOUND"),
    DeadlinePassed: Meaning(_CODE.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
    CallCancelled: Meaning(_CODE.CANCELLED, "CANCELLED"),
    ServerLeaving: Meaning(_CODE.UNAVAILABLE, "SERVER_LEAVING"),
    TooManyStreams: Meaning(_CODE.RESOURCE_EXHAUSTED, "TOO_MANY_STREAMS"),
    CallError: Meaning(_CODE.INTERNAL, "INTERNAL", "the call failed"),
    StoreUnavailable: Meaning(
        _CODE.UNAVAILABLE, "STORE_UNAVAILABLE", "the store cannot answer now; try again"
    ),
    Misconfigured: Meaning(
        _CODE.FAILED_PRECONDITION,
        "STORE_MISCONFIGURED",
        "the store refuses how it is used; an operator must look at the configuration",
    ),
    SchemaMismatch: Meaning(
        _CODE.FAILED_PRECONDITION,
        "SCHEMA_MISMATCH",
        "the store was written by another version of Onefold; an operator must migrate it",
    ),
    KeyMismatch: Meaning(
        _CODE.FAILED_PRECONDITION,
        "KEY_MISMATCH",
        "the store was written with other keys; an operator must restore them",
    ),
    StoreError: Meaning(_CODE.INTERNAL, "STORE_ERROR", "the store failed"),
    DecisionRefused: Meaning(_CODE.FAILED_PRECONDITION, "DECISION_REFUSED"),
    NoSuchDecision: Meaning(_CODE.NOT_FOUND, "DECISION_NOT_FOUND"),
    DecisionPending: Meaning(_CODE.UNAVAILABLE, "DECISION_PENDING"),
    DecisionError: Meaning(_CODE.INTERNAL, "INTERNAL", "the decision failed"),
    Outdated: Meaning(_CODE.FAILED_PRECONDITION, "SEGMENTS_OUTDATED"),
    Refused: Meaning(_CODE.INVALID_ARGUMENT, "SEGMENTS_REFUSED"),
    DefiningError: Meaning(_CODE.INTERNAL, "INTERNAL", "the segments could not be changed"),
    LogRefused: Meaning(
        _CODE.FAILED_PRECONDITION,
        "LOG_REFUSED",
        "the log refuses how it is used; an operator must look at the configuration",
    ),
    LogUnavailable: Meaning(
        _CODE.UNAVAILABLE, "LOG_UNAVAILABLE", "the log cannot take it now; try again"
    ),
    LogError: Meaning(_CODE.INTERNAL, "LOG_ERROR", "the log failed"),
    NoSuchModel: Meaning(_CODE.NOT_FOUND, "MODEL_NOT_FOUND", "there is no such model"),
    NotEnoughData: Meaning(
        _CODE.FAILED_PRECONDITION, "MODEL_NOT_TRAINED", "there is too little data for this model"
    ),
    TooManyItems: Meaning(
        _CODE.FAILED_PRECONDITION, "MODEL_TOO_LARGE", "there are too many items for this model"
    ),
    FilterError: Meaning(_CODE.INVALID_ARGUMENT, "INVALID_FILTER"),
    RulesError: Meaning(_CODE.FAILED_PRECONDITION, "RULES_WRONG", "the rules for items are wrong"),
    ArtefactError: Meaning(
        _CODE.FAILED_PRECONDITION,
        "MODEL_DAMAGED",
        "the stored model cannot be used; an operator must promote another",
    ),
    PromotionRefused: Meaning(
        _CODE.FAILED_PRECONDITION, "PROMOTION_REFUSED", "a baseline is not beaten"
    ),
    **dict.fromkeys(
        (LinkingError, BadRecords, BadMapping, NothingToLearn, BadReview),
        Meaning(_CODE.INTERNAL, "LINKING_ERROR", "records could not be linked"),
    ),
    ModelError: Meaning(_CODE.INTERNAL, "MODEL_ERROR", "the model failed"),
}
"""Every class of every tree in ROOTS has its row: a test proves it."""

ROOTS: Final = (CallError, StoreError, DecisionError, DefiningError, LogError, ModelError)

UNKNOWN: Final = Meaning(_CODE.INTERNAL, "INTERNAL", "an error of the service; its log says more")


def meaning(error: BaseException) -> Meaning:
    """The row of an error: of its class, or of the nearest class above it."""
    for kind in type(error).__mro__:
        if kind in TABLE:
            return TABLE[kind]
    return UNKNOWN


def status_of(error: BaseException) -> status_pb2.Status:
    """The error as `google.rpc.Status`: one ErrorInfo, and what else helps the caller."""
    row = meaning(error)
    status = status_pb2.Status(
        code=code_pb2.Code.Value(row.code.name), message=row.text or str(error)
    )
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=row.reason, domain=DOMAIN))
    if isinstance(error, InvalidArgument):
        bad = error_details_pb2.BadRequest()
        for violation in error.violations:
            bad.field_violations.add(field=violation.field, description=violation.description)
        status.details.add().Pack(bad)
    if row.code is _CODE.UNAVAILABLE:
        retry = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=RETRY_AFTER_S))
        status.details.add().Pack(retry)
    return status


def refuse(error: BaseException, context: grpc.ServicerContext) -> NoReturn:
    """End the call with the status of `error`; what callers are not told goes to the log."""
    row = meaning(error)
    if row.text:
        # The message of an unforeseen error may quote values: only its class and place are logged.
        where = "".join(traceback.format_tb(error.__traceback__))
        about = f": {error}" if isinstance(error, ROOTS) else ""
        _log.error("%s%s\n%s", type(error).__name__, about, where)
    context.abort_with_status(rpc_status.to_status(status_of(error)))
    raise AssertionError("abort raises")


def tree(root: type[Exception]) -> Iterator[type[Exception]]:
    """`root` and every class below it."""
    yield root
    for below in root.__subclasses__():
        yield from tree(below)

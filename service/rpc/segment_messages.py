"""Segments become messages here, and trees of requests become plain ones."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct, Value

from ingest.segments.asking import Flows
from ingest.segments.defining import Plan
from profiles.segments.catalogue import Edit
from profiles.segments.membership import Reason
from profiles.segments.problems import SegmentError
from service.pb.onefold.v1 import segment_service_pb2 as pb
from service.rpc.errors import InvalidArgument, Violation
from service.rpc.messages import clean, set_time
from storage.segment_ports import Told

REASONS: Final[Mapping[Reason, pb.SegmentReason]] = {
    Reason.EVENT: pb.SEGMENT_REASON_EVENT,
    Reason.MERGED: pb.SEGMENT_REASON_MERGED,
    Reason.SPLIT: pb.SEGMENT_REASON_SPLIT,
    Reason.TIME: pb.SEGMENT_REASON_TIME,
    Reason.DEFINED: pb.SEGMENT_REASON_DEFINED,
    Reason.CONSENT: pb.SEGMENT_REASON_CONSENT,
}
_FLOWS: Final = (
    "entered", "left", "entered_by_identity", "left_by_identity", "entered_by_definition",
    "left_by_definition",
)  # fmt: skip
_EXACT_MAX: Final = 2**53
"""Beyond it a number of a Struct is no longer exact."""


def tree_of(message: Struct, field: str) -> dict[str, Any]:
    """A tree as YAML would give it: whole numbers are ints. InvalidArgument for a number that is none."""
    return {key: _plain(value, f"{field}.{key}") for key, value in message.fields.items()}


def _plain(value: Value, field: str) -> Any:
    match value.WhichOneof("kind"):
        case "number_value":
            number = value.number_value
            if not math.isfinite(number):
                raise InvalidArgument([Violation(field, "is infinite, or no number")])
            return int(number) if number.is_integer() and abs(number) <= _EXACT_MAX else number
        case "struct_value":
            return tree_of(value.struct_value, field)
        case "list_value":
            every = enumerate(value.list_value.values)
            return [_plain(each, f"{field}[{place}]") for place, each in every]
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
    return None


def fill_tree(message: pb.SegmentDefinition, tree: dict[str, Any]) -> None:
    """Set a definition's tree; one that no Struct can hold is left empty."""
    try:
        json_format.ParseDict(tree, message.tree)
    except (json_format.ParseError, ValueError, TypeError):
        message.tree.Clear()


def violations(field: str, errors: Iterable[SegmentError]) -> list[Violation]:
    """What is wrong with the definition that stands in a field."""
    return [Violation(f"{field}.{each.where}".rstrip("."), clean(each.text)) for each in errors]


def fill_problem(message: pb.SegmentProblem, key: str, error: SegmentError) -> None:
    """Set what is wrong with a definition."""
    message.segment_id = clean(key)
    message.path = clean(error.where)
    message.message = clean(error.message)
    message.suggestion = clean(error.suggestion)


def fill_plan(reply: pb.CheckSegmentsResponse | pb.ApplySegmentsResponse, made: Plan) -> None:
    """Set what a plan adds, changes and removes."""
    reply.added_ids.extend(made.added)
    reply.changed_ids.extend(made.changed)
    reply.removed_ids.extend(made.removed)


def fill_flow(message: pb.SegmentFlow, flows: Flows) -> None:
    """Set who entered and left."""
    set_time(message.from_time, flows.from_ms)
    for name in _FLOWS:
        setattr(message, name, getattr(flows, name))


def fill_transitions(reply: pb.WatchSegmentChangesResponse, page: Sequence[Told]) -> None:
    """Set what was told."""
    for told in page:
        transition = told.transition
        message = reply.transitions.add(
            id=transition.message_id, segment_id=transition.segment,
            profile_id=transition.profile_id.hex(), entered=transition.entered,
            reason=REASONS[transition.reason], sequence=transition.sequence,
            purpose=clean(transition.purpose),
        )  # fmt: skip
        set_time(message.time, transition.at_ms)


def fill_edit(message: pb.SegmentEdit, edit: Edit) -> None:
    """Set an edit with all that it defined."""
    message.revision = edit.revision
    message.author, message.note = clean(edit.author), clean(edit.note)
    message.removed_ids.extend(edit.removed)
    set_time(message.time, edit.time_ms)
    for put in edit.put:
        fill_tree(message.definitions.add(id=put.id), put.tree)

"""`onefold.v1.SegmentService`: segments, who is in them, and who comes and goes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import grpc
from google.protobuf import json_format

from identity.nodes import Node, names_device
from ingest.segments import defining
from ingest.segments.asking import Asking, Flows
from ingest.segments.defining import Plan, Refused
from ingest.segments.sampling import Sampler
from profiles.segments.catalogue import Edit
from profiles.segments.membership import Reason
from profiles.segments.tree import ComputedTrait, Definition, Segment
from profiles.segments.write import write
from service.pb.onefold.v1 import segment_service_pb2 as pb
from service.pb.onefold.v1.segment_service_pb2_grpc import SegmentServiceServicer
from service.rpc import limits
from service.rpc.errors import InvalidArgument, ProfileNotFound, SegmentNotFound, Violation
from service.rpc.following import Watchers, follow
from service.rpc.guard import CHECK_EVERY, Gate, check
from service.rpc.messages import MatchMessages, clean, set_time
from service.rpc.paging import Tokens, counted, page_size
from service.rpc.parsing import LookupParser, at_most
from storage.gathering import Answer
from storage.ports import Store, Told
from storage.profiles import ProfileReader

REASONS: Final[Mapping[Reason, pb.SegmentReason]] = {
    Reason.EVENT: pb.SEGMENT_REASON_EVENT,
    Reason.MERGED: pb.SEGMENT_REASON_MERGED,
    Reason.SPLIT: pb.SEGMENT_REASON_SPLIT,
    Reason.TIME: pb.SEGMENT_REASON_TIME,
    Reason.DEFINED: pb.SEGMENT_REASON_DEFINED,
}
_FLOWS: Final = (
    "entered", "left", "entered_by_identity", "left_by_identity", "entered_by_definition",
    "left_by_definition",
)  # fmt: skip


class SegmentService(SegmentServiceServicer):
    """Defines segments and answers about them."""

    def __init__(
        self,
        reader: ProfileReader,
        store: Store,
        asking: Asking,
        sampler: Sampler,
        *,
        lookups: LookupParser,
        matches: MatchMessages,
        tokens: Tokens,
        gate: Gate,
        now_ms: Callable[[], int],
        waiting: Callable[[], int],
    ) -> None:
        self._reader = reader
        self._store = store
        self._asking = asking
        self._sampler = sampler
        self._lookups = lookups
        self._matches = matches
        self._tokens = tokens
        self._gate = gate
        self._now_ms = now_ms
        self._waiting = waiting
        self._watchers = Watchers(limits.WATCHERS_MAX)

    def ListSegments(
        self, _request: pb.ListSegmentsRequest, _context: grpc.ServicerContext
    ) -> pb.ListSegmentsResponse:
        """All that is in force."""
        catalogue = self._asking.catalogue()
        reply = pb.ListSegmentsResponse(revision=catalogue.revision, waiting=self._waiting())
        self._fill_all(reply.segments.add, defining.in_force(catalogue))
        return reply

    def GetSegment(
        self, request: pb.GetSegmentRequest, _context: grpc.ServicerContext
    ) -> pb.GetSegmentResponse:
        """One of them."""
        held = defining.in_force(self._asking.catalogue())
        if request.segment_id not in held:
            raise SegmentNotFound
        reply = pb.GetSegmentResponse()
        self._fill_all(lambda: reply.segment, {request.segment_id: held[request.segment_id]})
        return reply

    def CheckSegments(
        self, request: pb.CheckSegmentsRequest, _context: grpc.ServicerContext
    ) -> pb.CheckSegmentsResponse:
        """What would change."""
        reply = pb.CheckSegmentsResponse(revision=self._asking.catalogue().revision)
        try:
            made = self._plan(request.definitions, request.remove_ids)
        except Refused as error:
            for key, problems in sorted(error.problems.items()):
                for each in problems:
                    reply.problems.add(
                        segment_id=clean(key), path=clean(each.where),
                        message=clean(each.message), suggestion=clean(each.suggestion),
                    )  # fmt: skip
            return reply
        _fill_plan(reply, made)
        return reply

    def ApplySegments(
        self, request: pb.ApplySegmentsRequest, _context: grpc.ServicerContext
    ) -> pb.ApplySegmentsResponse:
        """Make it so; everybody is evaluated for it as soon as that can be done."""
        if not request.author.strip() or len(request.author) > limits.OPERATOR_MAX:
            text = f"is required, and has at most {limits.OPERATOR_MAX:,} characters"
            raise InvalidArgument([Violation("author", text)])
        try:
            made = self._plan(request.definitions, request.remove_ids)
        except Refused as error:
            raise InvalidArgument(
                [
                    Violation(f"definitions[{key}].{each.where}".rstrip("."), each.text)
                    for key, problems in sorted(error.problems.items())
                    for each in problems
                ]
            ) from error
        if request.revision and request.revision != made.revision:
            raise defining.Outdated("the segments have changed; check again")
        edit = defining.apply(
            self._store.definitions, made, author=request.author, note=request.note,
            now_ms=self._now_ms(),
        )  # fmt: skip
        reply = pb.ApplySegmentsResponse(revision=edit.revision if edit else made.revision)
        _fill_plan(reply, made)
        return reply

    def PreviewSegment(
        self, request: pb.PreviewSegmentRequest, context: grpc.ServicerContext
    ) -> pb.PreviewSegmentResponse:
        """What a draft would be."""
        catalogue = self._asking.catalogue()
        made = self._draft(request.definition)
        sample = counted("sample", request.sample, 0, limits.SAMPLE_MAX) or None
        found = self._sampler.preview(
            catalogue, made, self._now_ms(), sample=sample, progress=lambda *_: check(context)
        )
        reply = pb.PreviewSegmentResponse(
            people=found.size.people, devices=found.size.devices, low=found.size.low,
            high=found.size.high, exact=found.size.exact,
            example_ids=[node.hex() for node in found.examples],
        )  # fmt: skip
        for told, counts in (
            (reply.identifiers, found.identifiers), (reply.consent, found.consent),
            (reply.overlap, found.overlap),
        ):  # fmt: skip
            told.update({clean(key): count for key, count in counts.items()})
        return reply

    def ListProfileSegments(
        self, request: pb.ListProfileSegmentsRequest, _context: grpc.ServicerContext
    ) -> pb.ListProfileSegmentsResponse:
        """Evaluated now: what happened a moment ago counts, and so does the time."""
        (resolved,) = self._reader.resolve([self._lookups.one(request.lookup)], self._now_ms())
        if resolved is None:
            raise ProfileNotFound
        reply = pb.ListProfileSegmentsResponse()
        self._matches.fill(reply.match, resolved)
        catalogue = self._asking.catalogue()
        # Somebody else may be sitting at the device.
        hidden = resolved.answered_by is Answer.DEVICE_OWNER
        for key, since_ms in sorted(self._asking.standing(resolved.profile_id).segments.items()):
            if key in catalogue.defined and not (hidden and key in catalogue.sensitive):
                set_time(reply.segments.add(segment_id=key).since, since_ms)
        return reply

    def ListSegmentMembers(
        self, request: pb.ListSegmentMembersRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.ListSegmentMembersResponse]:
        """Everybody in a segment, in batches."""
        self._segment(request.segment_id)
        about = ("members", request.segment_id)
        after = None
        if request.resume_token:
            after = Node(self._tokens.open(request.resume_token, bytes, about, "resume_token"))
        self._asking.settle()
        for number, page in enumerate(self._asking.members(request.segment_id, after)):
            if not number % CHECK_EVERY:
                self._gate.check()
                check(context)
            reply = pb.ListSegmentMembersResponse(
                resume_token=self._tokens.seal(page[-1][0], about)
            )
            for node, since_ms in page:
                member = reply.members.add(profile_id=node.hex(), device=names_device(node))
                set_time(member.since, since_ms)
            yield reply

    def WatchSegmentChanges(
        self, request: pb.WatchSegmentChangesRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchSegmentChangesResponse]:
        """Transitions as they are told."""
        at_most("segment_ids", request.segment_ids, limits.SEGMENTS_MAX)
        memberships, wanted = self._store.memberships, tuple(request.segment_ids)
        after = ""
        if request.resume_token:
            after = self._tokens.open(request.resume_token, str, "transitions", "resume_token")
        elif request.from_now:
            after = memberships.newest()

        def read() -> Sequence[Told]:
            self._asking.settle()
            return memberships.told(after, limits.TRANSITIONS_AT_ONCE, wanted)

        with self._watchers.one():
            for page in follow(read, self._gate, context):
                after = page[-1].token if page else after
                reply = pb.WatchSegmentChangesResponse(
                    resume_token=self._tokens.seal(after, "transitions")
                )
                for told in page:
                    _fill_transition(reply.transitions.add(), told)
                yield reply

    def GetSegmentHistory(
        self, request: pb.GetSegmentHistoryRequest, _context: grpc.ServicerContext
    ) -> pb.GetSegmentHistoryResponse:
        """How its size came about."""
        self._segment(request.segment_id)
        days = counted("days", request.days, 30, 400)
        self._asking.settle()
        reply = pb.GetSegmentHistoryResponse()
        for flows in self._asking.history(request.segment_id, days, hourly=request.hourly):
            _fill_flow(reply.flows.add(), flows)
        (status,) = self._asking.statuses([request.segment_id])
        reply.size = status.people + status.devices
        return reply

    def GetSegmentOverlap(
        self, request: pb.GetSegmentOverlapRequest, _context: grpc.ServicerContext
    ) -> pb.GetSegmentOverlapResponse:
        """How many are in both."""
        for key in (request.segment_id, request.other_id):
            self._segment(key)
        self._asking.settle()
        counts = self._store.memberships.count([request.segment_id, request.other_id])
        return pb.GetSegmentOverlapResponse(
            both=self._asking.overlap(request.segment_id, request.other_id),
            first=sum(counts[request.segment_id]),
            second=sum(counts[request.other_id]),
        )

    def ListSegmentEdits(
        self, request: pb.ListSegmentEditsRequest, _context: grpc.ServicerContext
    ) -> pb.ListSegmentEditsResponse:
        """Who changed what."""
        found = [
            edit
            for edit in reversed(self._store.definitions.since(0))
            if not request.segment_id or request.segment_id in (*_ids(edit), *edit.removed)
        ]
        reply = pb.ListSegmentEditsResponse()
        for edit in found[: page_size(request.page_size)]:
            message = reply.edits.add(
                revision=edit.revision, author=clean(edit.author), note=clean(edit.note),
                removed_ids=edit.removed,
            )  # fmt: skip
            set_time(message.time, edit.time_ms)
            for put in edit.put:
                _fill_tree(message.definitions.add(id=put.id), put.tree)
        return reply

    def _segment(self, key: str) -> Segment:
        segment = self._asking.catalogue().segments.get(key)
        if segment is None:
            raise SegmentNotFound
        return segment

    def _plan(self, definitions: Sequence[pb.SegmentDefinition], removed: Iterable[str]) -> Plan:
        at_most("definitions", definitions, limits.SEGMENTS_MAX)
        trees = {each.id: json_format.MessageToDict(each.tree) for each in definitions}
        if len(trees) < len(definitions):
            raise InvalidArgument([Violation("definitions", "an id is there twice")])
        return defining.plan(self._asking.catalogue(), trees, removed=removed)

    def _draft(self, message: pb.SegmentDefinition) -> Segment:
        try:
            made = self._plan([message], ())
        except Refused as error:
            raise InvalidArgument(
                [
                    Violation(f"definition.{each.where}".rstrip("."), each.text)
                    for problems in error.problems.values()
                    for each in problems
                ]
            ) from error
        drafted = [*made.added.values(), *made.changed.values()]
        if not drafted:
            return self._segment(made.unchanged[0])
        if not isinstance(drafted[0], Segment):
            raise InvalidArgument([Violation("definition", "a computed trait has no members")])
        return drafted[0]

    def _fill_all(
        self, add: Callable[[], pb.SegmentStatus], definitions: Mapping[str, Definition]
    ) -> None:
        self._asking.settle()
        segments = [key for key, each in definitions.items() if isinstance(each, Segment)]
        statuses = {each.id: each for each in self._asking.statuses(segments)}
        filled = self._asking.filled()
        for key, definition in sorted(definitions.items()):
            message = add()
            message.definition.id = key
            _fill_tree(message.definition, write(definition))
            if isinstance(definition, ComputedTrait):
                message.computed_trait = True
                message.name = key
                continue
            message.name = clean(definition.name)
            message.sensitive = definition.sensitive
            status = statuses[key]
            message.people, message.devices = status.people, status.devices
            message.filled = filled.get(key, 0.0)
            message.revision = self._asking.catalogue().defined[key].revision
            _fill_flow(message.day, status.day)


def _ids(edit: Edit) -> list[str]:
    return [put.id for put in edit.put]


def _fill_tree(message: pb.SegmentDefinition, tree: dict[str, Any]) -> None:
    json_format.ParseDict(tree, message.tree)


def _fill_plan(reply: pb.CheckSegmentsResponse | pb.ApplySegmentsResponse, made: Plan) -> None:
    reply.added_ids.extend(made.added)
    reply.changed_ids.extend(made.changed)
    reply.removed_ids.extend(made.removed)


def _fill_flow(message: pb.SegmentFlow, flows: Flows) -> None:
    set_time(message.from_time, flows.from_ms)
    for name in _FLOWS:
        setattr(message, name, getattr(flows, name))


def _fill_transition(message: pb.SegmentTransition, told: Told) -> None:
    transition = told.transition
    message.id = transition.message_id
    message.segment_id = transition.segment
    message.profile_id = transition.profile_id.hex()
    message.entered = transition.entered
    message.reason = REASONS[transition.reason]
    message.sequence = transition.sequence
    set_time(message.time, transition.at_ms)

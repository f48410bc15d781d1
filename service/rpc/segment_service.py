"""`onefold.v1.SegmentService`: segments, who is in them, and who comes and goes."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

import grpc
import msgspec

from identity.nodes import Node, names_device
from ingest.segments import defining
from ingest.segments.asking import Asking
from ingest.segments.defining import Plan, Refused
from ingest.segments.names import known_names
from ingest.segments.sampling import Sampler
from profiles.segments.catalogue import Catalogue, Edit
from profiles.segments.problems import SegmentError, near
from profiles.segments.seen import unseen
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
from service.rpc.segment_messages import (
    fill_edit,
    fill_flow,
    fill_plan,
    fill_problem,
    fill_transitions,
    fill_tree,
    tree_of,
    violations,
)
from storage.gathering import Answer
from storage.ports import Store
from storage.profiles import ProfileReader
from storage.segment_ports import Told

_LIST: Final = "segments"
"""What tokens of ListSegments are about."""


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
        self, request: pb.ListSegmentsRequest, _context: grpc.ServicerContext
    ) -> pb.ListSegmentsResponse:
        """All that is in force, page by page."""
        limit, token = page_size(request.page_size), request.page_token
        after = self._tokens.open(token, str, _LIST) if token else ""
        self._asking.settle()
        catalogue = self._asking.catalogue()
        reply = pb.ListSegmentsResponse(revision=catalogue.revision, waiting=self._waiting())
        held = defining.in_force(catalogue)
        rest = sorted(key for key in held if key > after)
        self._fill_all(reply.segments.add, catalogue, {key: held[key] for key in rest[:limit]})
        size = 0
        for shown, message in enumerate(reply.segments):
            size += message.ByteSize()
            if shown and size > limits.REPLY_BYTES_MAX:
                del reply.segments[shown:]
                break
        if len(reply.segments) < len(rest):
            reply.next_page_token = self._tokens.seal(reply.segments[-1].definition.id, _LIST)
        for key, why in sorted(catalogue.broken.items()):
            fill_problem(reply.broken.add(), key, SegmentError((), why))
        return reply

    def GetSegment(
        self, request: pb.GetSegmentRequest, _context: grpc.ServicerContext
    ) -> pb.GetSegmentResponse:
        """One of them."""
        self._asking.settle()
        catalogue, key = self._asking.catalogue(), request.segment_id
        held = defining.in_force(catalogue)
        _need_known(key, held)
        reply = pb.GetSegmentResponse()
        self._fill_all(lambda: reply.segment, catalogue, {key: held[key]})
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
                    fill_problem(reply.problems.add(), key, each)
            return reply
        reply.revision = made.revision
        fill_plan(reply, made)
        for key, each in self._unseen(made):
            fill_problem(reply.warnings.add(), key, each)
        return reply

    def _unseen(self, made: Plan) -> Iterator[tuple[str, SegmentError]]:
        """Names that nothing ever had, by the id of the new or changed definition that has them."""
        drafted = {**made.added, **made.changed}
        if not drafted:
            return
        known = known_names(self._store)
        computed = {*self._asking.catalogue().computed, *drafted}
        known = msgspec.structs.replace(known, traits=known.traits | computed)
        for key, definition in drafted.items():
            yield from ((key, each) for each in unseen(definition, known))

    def ApplySegments(
        self, request: pb.ApplySegmentsRequest, _context: grpc.ServicerContext
    ) -> pb.ApplySegmentsResponse:
        """Make it so; everybody is evaluated for it as soon as that can be done."""
        if not request.author.strip() or len(request.author) > limits.OPERATOR_MAX:
            text = f"is required, and has at most {limits.OPERATOR_MAX:,} characters"
            raise InvalidArgument([Violation("author", text)])
        if len(request.note) > limits.REASON_MAX:
            raise InvalidArgument([Violation("note", f"at most {limits.REASON_MAX:,} characters")])
        try:
            made = self._plan(request.definitions, request.remove_ids)
        except Refused as error:
            every = [
                found
                for key, errors in sorted(error.problems.items())
                for found in violations(f"definitions[{clean(key)}]", errors)
            ]
            raise InvalidArgument(every) from error
        if request.revision and request.revision != made.revision:
            raise defining.Outdated("the segments have changed; check again")
        edit = defining.apply(
            self._store.definitions, made, author=request.author, note=request.note,
            now_ms=self._now_ms(),
        )  # fmt: skip
        reply = pb.ApplySegmentsResponse(revision=edit.revision if edit else made.revision)
        fill_plan(reply, made)
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
        self._refuse_never_defined(request.segment_ids)
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
                fill_transitions(reply, page)
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
            fill_flow(reply.flows.add(), flows)
        (status,) = self._asking.statuses([request.segment_id])
        reply.size = status.people + status.devices
        return reply

    def GetSegmentOverlap(
        self, request: pb.GetSegmentOverlapRequest, context: grpc.ServicerContext
    ) -> pb.GetSegmentOverlapResponse:
        """How many are in both."""
        self._segment(request.segment_id)
        self._segment(request.other_id, "other_id")
        self._asking.settle()
        counts = self._store.memberships.count([request.segment_id, request.other_id])
        return pb.GetSegmentOverlapResponse(
            both=self._asking.overlap(request.segment_id, request.other_id, lambda: check(context)),
            first=sum(counts[request.segment_id]),
            second=sum(counts[request.other_id]),
        )

    def ListSegmentEdits(
        self, request: pb.ListSegmentEditsRequest, _context: grpc.ServicerContext
    ) -> pb.ListSegmentEditsResponse:
        """Who changed what."""
        reply = pb.ListSegmentEditsResponse()
        room, left = limits.REPLY_BYTES_MAX, page_size(request.page_size)
        about = ("edits", request.segment_id)
        token = request.page_token
        below = self._tokens.open(token, int, about) if token else None
        for edit in reversed(self._store.definitions.since(0)):
            if request.segment_id and request.segment_id not in _concerned(edit):
                continue
            if below is not None and edit.revision >= below:
                continue
            message = pb.SegmentEdit()
            fill_edit(message, edit)
            room -= message.ByteSize()
            if not left or (room < 0 and reply.edits):
                reply.next_page_token = self._tokens.seal(reply.edits[-1].revision, about)
                break
            left -= 1
            reply.edits.append(message)
        return reply

    def _segment(self, key: str, field: str = "segment_id") -> Segment:
        catalogue = self._asking.catalogue()
        _need_known(key, catalogue.segments, field)
        return catalogue.segments[key]

    def _refuse_never_defined(self, ids: Collection[str]) -> None:
        """Somebody who misspells an id would watch nothing for ever; what was removed still has its past."""
        if set(ids) <= self._asking.catalogue().defined.keys():
            return
        ever = {key for edit in self._store.definitions.since(0) for key in _concerned(edit)}
        unknown = [
            Violation(f"segment_ids[{place}]", _never(key, ever))
            for place, key in enumerate(ids)
            if key not in ever
        ]
        if unknown:
            raise InvalidArgument(unknown)

    def _plan(self, definitions: Sequence[pb.SegmentDefinition], removed: Iterable[str]) -> Plan:
        at_most("definitions", definitions, limits.SEGMENTS_MAX)
        trees = {each.id: tree_of(each.tree, f"definitions[{each.id}]") for each in definitions}
        if len(trees) < len(definitions):
            raise InvalidArgument([Violation("definitions", "an id is there twice")])
        return defining.plan(self._asking.catalogue(), trees, removed=removed)

    def _draft(self, message: pb.SegmentDefinition) -> Segment:
        try:
            made = self._plan([message], ())
        except Refused as error:
            (errors,) = error.problems.values()
            raise InvalidArgument(violations("definition", errors)) from error
        held = defining.in_force(self._asking.catalogue())
        unchanged = [held[key] for key in made.unchanged if key in held]
        draft = next(iter([*made.added.values(), *made.changed.values(), *unchanged]), None)
        if not isinstance(draft, Segment):
            raise InvalidArgument([Violation("definition", "a computed trait has no members")])
        return draft

    def _fill_all(
        self,
        add: Callable[[], pb.SegmentStatus],
        catalogue: Catalogue,
        definitions: Mapping[str, Definition],
    ) -> None:
        segments = [key for key, each in definitions.items() if isinstance(each, Segment)]
        statuses = {each.id: each for each in self._asking.statuses(segments)}
        filled = self._asking.filled()
        for key, definition in sorted(definitions.items()):
            message = add()
            message.definition.id = key
            fill_tree(message.definition, write(definition))
            if isinstance(definition, ComputedTrait):
                message.computed_trait = True
                message.name = key
                continue
            message.name = clean(definition.name)
            message.sensitive = definition.sensitive
            status = statuses[key]
            message.people, message.devices = status.people, status.devices
            message.filled = filled.get(key, 0.0)
            message.revision = catalogue.defined[key].revision
            fill_flow(message.day, status.day)


def _need_known(key: str, known: Collection[str], field: str = "segment_id") -> None:
    if not key:
        raise InvalidArgument([Violation(field, "is required")])
    if key not in known:
        raise SegmentNotFound


def _concerned(edit: Edit) -> set[str]:
    return {*(put.id for put in edit.put), *edit.removed}


def _never(key: str, ever: Collection[str]) -> str:
    meant = near(key, ever)
    return "was never defined" + (f"; did you mean {meant}?" if meant else "")

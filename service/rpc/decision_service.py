"""`onefold.v1.DecisionService`: operators say who is who, and others hear of it."""

import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import grpc

from identity.changes import Kind, PersonChange, Published
from identity.decisions import Decision, DecisionKind
from identity.nodes import Node
from identity.resolve import Cluster, Refusal
from identity.rules import Rules
from ingest import deciding
from ingest.deciding import Deciding, DecisionRefused, Draft
from ingest.segments.asking import Asking
from profiles.profile import Member
from service.pb.onefold.v1 import decision_service_pb2 as pb
from service.pb.onefold.v1.common_pb2 import Lookup
from service.pb.onefold.v1.decision_service_pb2_grpc import DecisionServiceServicer
from service.rpc import limits
from service.rpc.errors import InvalidArgument, ProfileNotFound, Violation
from service.rpc.following import Watchers, follow
from service.rpc.guard import Gate, check
from service.rpc.messages import clean, set_identifier, set_time
from service.rpc.paging import Tokens, page_size
from service.rpc.parsing import LookupParser, at_most
from storage.gathering import Answer
from storage.ports import Store
from storage.profiles import ProfileReader

WATCHED_AT_ONCE: Final = 200

_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
KINDS: Final[Mapping[Kind, pb.PersonChangeKind]] = {
    Kind.CREATED: pb.PERSON_CHANGE_KIND_CREATED,
    Kind.MERGED: pb.PERSON_CHANGE_KIND_MERGED,
    Kind.SPLIT: pb.PERSON_CHANGE_KIND_SPLIT,
    Kind.RENAMED: pb.PERSON_CHANGE_KIND_RENAMED,
    Kind.REGROUPED: pb.PERSON_CHANGE_KIND_REGROUPED,
    Kind.CONFLICT: pb.PERSON_CHANGE_KIND_CONFLICT,
    Kind.OWNERSHIP: pb.PERSON_CHANGE_KIND_OWNERSHIP,
}
DECISION_KINDS: Final[Mapping[DecisionKind, pb.DecisionKind]] = {
    DecisionKind.MERGE: pb.DECISION_KIND_MERGE,
    DecisionKind.SPLIT: pb.DECISION_KIND_SPLIT,
    DecisionKind.BLOCK: pb.DECISION_KIND_BLOCK,
}


class DecisionService(DecisionServiceServicer):
    """Makes decisions, and tells of changes."""

    def __init__(
        self,
        reader: ProfileReader,
        store: Store,
        rules: Rules,
        open_deciding: Callable[[], Deciding],
        asking: Asking,
        *,
        lookups: LookupParser,
        tokens: Tokens,
        gate: Gate,
        now_ms: Callable[[], int],
    ) -> None:
        self._reader = reader
        self._store = store
        self._rules = rules
        self._open_deciding = open_deciding
        self._asking = asking
        self._lookups = lookups
        self._tokens = tokens
        self._gate = gate
        self._now_ms = now_ms
        self._watchers = Watchers(limits.WATCHERS_MAX)

    def PreviewDecision(
        self, request: pb.PreviewDecisionRequest, _context: grpc.ServicerContext
    ) -> pb.PreviewDecisionResponse:
        """What a decision would change."""
        draft = Draft("preview", "", "", self._now_ms())
        found = deciding.preview(self._store, self._rules, self._decision(request.action, draft))
        reply = pb.PreviewDecisionResponse()
        after: set[Cluster] = {side for change in found.changes for side in change.after}
        for change in found.changes:
            fill_change(reply.changes.add(), change)
        for change in found.owners:
            fill_change(reply.ownerships.add(), change)
        reply.largest = max((len(side.members) for side in after), default=0)
        for side in sorted(after, key=lambda cluster: cluster.profile_id):
            reply.limits_exceeded.extend(deciding.exceeded(side.members, self._rules))
        reply.refused.update(_by_rule(found.refused))
        reply.accepted.update(_by_rule(found.accepted))
        moves = self._asking.moves(found.changes)
        reply.segments_gained.update(moves.gained)
        reply.segments_lost.update(moves.lost)
        return reply

    def MakeDecision(
        self, request: pb.MakeDecisionRequest, _context: grpc.ServicerContext
    ) -> pb.MakeDecisionResponse:
        """Decide; people are up to date with it when this returns."""
        _check(request)
        decision_id = request.decision_id or uuid.uuid4().hex
        draft = Draft(decision_id, request.operator, request.reason, self._now_ms())
        made = None
        if request.decision_id and request.action.WhichOneof("action") != "retract":
            # Asked again, it is what it was: identifiers may have gone elsewhere since.
            made = self._store.decisions.get([decision_id]).get(decision_id)
        if made is None:
            made = self._decision(request.action, draft)
        if made.applied is None or request.action.WhichOneof("action") == "retract":
            made = self._open_deciding().make(made)
        ids = (made.retraction.applied if made.retraction else made.applied) or ()
        changes = self._store.changes.get(ids)
        reply = pb.MakeDecisionResponse()
        self._fill(reply.decision, made, self._members([made]))
        for change_id in ids:
            if change_id in changes:
                fill_change(reply.changes.add(), changes[change_id])
        return reply

    def ListDecisions(
        self, request: pb.ListDecisionsRequest, _context: grpc.ServicerContext
    ) -> pb.ListDecisionsResponse:
        """Decisions, newest first."""
        size = page_size(request.page_size)
        before = None
        if request.page_token:
            before = self._tokens.open(request.page_token, tuple[int, str], "decisions")
        page = self._store.decisions.list(size, before)
        members = self._members(page)
        reply = pb.ListDecisionsResponse()
        for decision in page:
            self._fill(reply.decisions.add(), decision, members)
        if len(page) == size:
            last = page[-1]
            reply.next_page_token = self._tokens.seal((last.time_ms, last.id), "decisions")
        return reply

    def ListPersonChanges(
        self, request: pb.ListPersonChangesRequest, _context: grpc.ServicerContext
    ) -> pb.ListPersonChangesResponse:
        """The changes of the profiles that a person was, or of whose a device was."""
        (resolved,) = self._reader.resolve([self._lookups.one(request.lookup)], self._now_ms())
        if resolved is None:
            raise ProfileNotFound
        reply = pb.ListPersonChangesResponse()
        for change in self._store.changes.of(resolved.histories, page_size(request.page_size)):
            fill_change(reply.changes.add(), change)
        return reply

    def WatchChanges(
        self, request: pb.WatchChangesRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchChangesResponse]:
        """Changes as they are published."""
        after = 0
        if request.resume_token:
            after = self._tokens.open(request.resume_token, int, "changes", "resume_token")
        with self._watchers.one():
            if request.from_now and not request.resume_token:
                after = self._newest(context)

            def read() -> list[Published]:
                return self._store.changes.history(after, WATCHED_AT_ONCE)

            for page in follow(read, self._gate, context):
                if not page:
                    yield pb.WatchChangesResponse(resume_token=self._tokens.seal(after, "changes"))
                for published in page:
                    after = published.position
                    reply = pb.WatchChangesResponse()
                    fill_change(reply.change, published.change)
                    reply.resume_token = self._tokens.seal(after, "changes")
                    yield reply

    def _newest(self, context: grpc.ServicerContext) -> int:
        after = 0
        while page := self._store.changes.history(after, WATCHED_AT_ONCE * 10):
            check(context)
            after = page[-1].position
        return after

    def _decision(self, action: pb.DecisionAction, draft: Draft) -> Decision:
        match action.WhichOneof("action"):
            case "merge":
                nodes = self._nodes(action.merge.lookups, "action.merge.lookups", 2, 20)
                return deciding.merge(self._store, draft, nodes)
            case "split":
                at_most("action.split.sides", action.split.sides, 20)
                sides = [
                    self._nodes(side.lookups, f"action.split.sides[{index}].lookups", 1, 100)
                    for index, side in enumerate(action.split.sides)
                ]
                return deciding.split(draft, sides)
            case "undo":
                return deciding.undo(self._store, draft, action.undo.change_id)
            case "retract":
                return deciding.retract(self._store, draft, action.retract.decision_id)
            case "block":
                nodes = self._nodes([action.block.lookup], "action.block.lookup", 1, 1)
                return deciding.block(draft, nodes)
        raise InvalidArgument(
            [Violation("action", "set one of merge, split, undo, retract, block")]
        )

    def _nodes(self, lookups: Sequence[Lookup], field: str, least: int, most: int) -> list[Node]:
        if not least <= len(lookups) <= most:
            raise InvalidArgument([Violation(field, f"needs {least} to {most}")])
        wanted = [
            self._lookups.one(each, f"{field}[{index}]") for index, each in enumerate(lookups)
        ]
        nodes = []
        for found in self._reader.resolve(wanted, self._now_ms()):
            if found is None:
                raise ProfileNotFound
            if found.answered_by is not Answer.PERSON:
                raise DecisionRefused(
                    "a device is nobody's for good: name people by user id, e-mail or phone"
                )
            nodes.append(found.matched)
        return nodes

    def _members(self, decisions: Iterable[Decision]) -> dict[Node, Member]:
        nodes = sorted({node for decision in decisions for node in decision.nodes})
        return {member.node: member for member in self._reader.members(nodes)}

    def _fill(
        self, message: pb.Decision, decision: Decision, members: Mapping[Node, Member]
    ) -> None:
        message.id = decision.id
        message.kind = DECISION_KINDS[decision.kind]
        message.operator = clean(decision.operator)
        message.reason = clean(decision.reason)
        set_time(message.time, decision.time_ms)
        for group in decision.groups:
            filled = message.groups.add()
            for node in sorted(group):
                set_identifier(filled.identifiers.add(), members[node])
        message.undoes = decision.undoes
        message.change_ids.extend(decision.applied or ())
        if decision.retraction is not None:
            back = decision.retraction
            message.retraction.operator = clean(back.operator)
            message.retraction.reason = clean(back.reason)
            set_time(message.retraction.time, back.time_ms)
            message.retraction.change_ids.extend(back.applied or ())


def fill_change(message: pb.PersonChange, change: PersonChange) -> None:
    """Set a change of people."""
    message.id = change.id
    message.kind = KINDS[change.kind]
    set_time(message.time, change.time_ms)
    for sides, told in ((change.before, message.before), (change.after, message.after)):
        for side in sides:
            filled = told.add()
            filled.profile_id = side.profile_id.hex()
            filled.identifier_ids.extend(node.hex() for node in sorted(side.members))
    message.because.extend(map(clean, change.because))
    if change.refusal is not None:
        message.rule = change.refusal.rule
    if change.device is not None:
        message.device_id = change.device.hex()


def _by_rule(refusals: Iterable[Refusal]) -> Mapping[str, int]:
    return Counter(refusal.rule for refusal in refusals)


def _check(request: pb.MakeDecisionRequest) -> None:
    violations = [
        Violation(field, f"is required, and has at most {most:,} characters")
        for field, most in (("operator", limits.OPERATOR_MAX), ("reason", limits.REASON_MAX))
        if not getattr(request, field).strip() or len(getattr(request, field)) > most
    ]
    if request.decision_id and not _ID.fullmatch(request.decision_id):
        violations.append(
            Violation("decision_id", "up to 64 letters, digits, dots, dashes and underscores")
        )
    if violations:
        raise InvalidArgument(violations)

"""`onefold.v1.IdentityService`: who an identifier belongs to, and why."""

from collections.abc import Callable, Mapping
from typing import Final

import grpc

from identity.conflicts import conflict_id, of_two
from identity.evidence import NEVER
from identity.explain import Obstacle, Reason, Verdict, steps
from identity.nodes import Node
from identity.resolve import Refusal
from identity.rules import Rules
from profiles.profile import Member
from service.pb.onefold.v1 import identity_service_pb2 as pb
from service.pb.onefold.v1.identity_service_pb2_grpc import IdentityServiceServicer
from service.rpc import limits
from service.rpc.errors import ProfileNotFound
from service.rpc.guard import Deadline
from service.rpc.messages import MatchMessages, clean, set_identifier, set_time
from service.rpc.paging import Tokens, page_size
from service.rpc.parsing import NOBODY, LookupParser, at_most, time_of
from service.rpc.profile_service import set_invalid, set_not_found
from storage import conflicts
from storage.explaining import Pair, Person, explain_pair, explain_person
from storage.ports import Store
from storage.profiles import ProfileReader

Members = Mapping[Node, Member]

KIND_OF: Final[Mapping[str, pb.IdentityLinkKind]] = {
    "link": pb.IDENTITY_LINK_KIND_NAMED_TOGETHER,
    "trusted_link": pb.IDENTITY_LINK_KIND_NAMED_TOGETHER,
    "must_link": pb.IDENTITY_LINK_KIND_DECLARED,
    "match": pb.IDENTITY_LINK_KIND_PROBABLE,
}
VERDICTS: Final[Mapping[Verdict, pb.IdentityVerdict]] = {
    Verdict.ONE_PERSON: pb.IDENTITY_VERDICT_ONE_PERSON,
    Verdict.NOT_ONE_PERSON: pb.IDENTITY_VERDICT_NOT_ONE_PERSON,
    Verdict.UNKNOWN: pb.IDENTITY_VERDICT_UNKNOWN,
}


class IdentityService(IdentityServiceServicer):
    """Answers who is who."""

    def __init__(
        self,
        reader: ProfileReader,
        store: Store,
        rules: Rules,
        lookups: LookupParser,
        matches: MatchMessages,
        tokens: Tokens,
        now_ms: Callable[[], int],
        deadline_max_s: float,
    ) -> None:
        self._reader = reader
        self._store = store
        self._rules = rules
        self._lookups = lookups
        self._matches = matches
        self._tokens = tokens
        self._now_ms = now_ms
        self._deadline_max_s = deadline_max_s

    def BatchResolve(
        self, request: pb.BatchResolveRequest, context: grpc.ServicerContext
    ) -> pb.BatchResolveResponse:
        """Which profile each lookup means; what is wrong with one entry fails no other."""
        at_most("lookups", request.lookups, limits.RESOLVES_MAX)
        deadline = Deadline(context, self._deadline_max_s)
        reply = pb.BatchResolveResponse()
        for start in range(0, len(request.lookups), limits.BATCH_STEP):
            deadline.check()
            wanted = request.lookups[start : start + limits.BATCH_STEP]
            parsed = [self._lookups.parse(each, "lookup") for each in wanted]
            asked = [lookup for lookup, _ in parsed if lookup is not NOBODY]
            answers = iter(self._reader.resolve(asked, self._now_ms()))
            for lookup, violations in parsed:
                result = reply.results.add()
                resolved = None if lookup is NOBODY else next(answers)
                if violations or lookup is NOBODY:
                    set_invalid(result.error, violations)
                elif resolved is None:
                    set_not_found(result.error)
                else:
                    self._matches.fill(result.match, resolved)
                    result.identifier_ids.extend(node.hex() for node in resolved.members)
        return reply

    def ExplainIdentity(
        self, request: pb.ExplainIdentityRequest, _context: grpc.ServicerContext
    ) -> pb.ExplainIdentityResponse:
        """The links that made a person, and those that joined nobody; or why two are one or are not."""
        wanted = [self._lookups.one(request.lookup)]
        if request.HasField("other"):
            wanted.append(self._lookups.one(request.other, "other"))
        found = [each for each in self._reader.resolve(wanted, self._now_ms()) if each is not None]
        if len(found) < len(wanted):
            raise ProfileNotFound
        reply = pb.ExplainIdentityResponse()
        self._matches.fill(reply.match, found[0])
        if len(found) == 1:
            person = explain_person(self._store, found[0].members)
            _fill_person(reply, person, self._members(person.nodes))
            return reply
        pair = explain_pair(self._store, self._rules, found[0], found[1])
        self._matches.fill(reply.other_match, found[1])
        _fill_pair(reply, pair, self._members(pair.nodes))
        return reply

    def ListConflicts(
        self, request: pb.ListConflictsRequest, _context: grpc.ServicerContext
    ) -> pb.ListConflictsResponse:
        """What was not joined, newest first."""
        since_ms = None
        if request.HasField("since_time"):
            since_ms = time_of(request.since_time, "since_time")
        about = ("conflicts", request.rule, since_ms)
        after = None
        if request.page_token:
            after = self._tokens.open(request.page_token, conflicts.Place, about)
        found = conflicts.page(
            self._store,
            page_size(request.page_size),
            rule=request.rule,
            since_ms=since_ms,
            after=after,
        )
        members = self._members({end for each in found.conflicts for end in (each.a, each.b)})
        reply = pb.ListConflictsResponse()
        for refusal in found.conflicts:
            _fill_conflict(reply.conflicts.add(), refusal, members)
        if found.next is not None:
            reply.next_page_token = self._tokens.seal(found.next, about)
        if request.counts:
            reply.counts.update(conflicts.counts(self._store))
        return reply

    def _members(self, nodes: set[Node]) -> Members:
        return {member.node: member for member in self._reader.members(sorted(nodes))}


def _fill_person(reply: pb.ExplainIdentityResponse, person: Person, members: Members) -> None:
    for node in person.members:
        set_identifier(reply.identifiers.add(), members[node])
    for reason in sorted(person.reasons, key=lambda each: (each.first_ms, each.a, each.b)):
        _fill_link(reply.links.add(), reason, reason.a, reason.b, members)
    for refusal in person.refusals:
        _fill_conflict(reply.conflicts.add(), refusal, members)


def _fill_pair(reply: pb.ExplainIdentityResponse, pair: Pair, members: Members) -> None:
    reply.verdict = VERDICTS[pair.verdict]
    for a, reason, b in steps(pair.one, pair.chain):
        _fill_link(reply.chain.add(), reason, a, b, members)
    for obstacle in pair.obstacles:
        _fill_obstacle(reply.obstacles.add(), obstacle, members)


def _fill_link(
    message: pb.IdentityLink, reason: Reason, a: Node, b: Node, members: Members
) -> None:
    message.kind = KIND_OF[reason.kind]
    set_identifier(message.a, members[a])
    set_identifier(message.b, members[b])
    set_time(message.first_time, reason.first_ms)
    if reason.last_ms:
        set_time(message.last_time, max(reason.first_ms, reason.last_ms))
    message.event_id = clean(reason.event_id)
    message.source = clean(reason.source)
    message.trusted = reason.trusted_ms < NEVER
    message.probability = reason.probability or 0.0
    message.refused_by = reason.refused


def _fill_conflict(message: pb.IdentityConflict, refusal: Refusal, members: Members) -> None:
    message.id = conflict_id(refusal)
    message.rule = refusal.rule
    message.detail = clean(refusal.detail)
    set_identifier(message.a, members[refusal.a])
    if of_two(refusal):
        set_identifier(message.b, members[refusal.b])
    set_time(message.since_time, refusal.since_ms)


def _fill_obstacle(message: pb.IdentityObstacle, obstacle: Obstacle, members: Members) -> None:
    message.rule = obstacle.rule
    message.detail = clean(obstacle.detail)
    set_identifier(message.a, members[obstacle.a])
    if obstacle.b is not None:
        set_identifier(message.b, members[obstacle.b])
    if obstacle.since_ms:
        set_time(message.since_time, obstacle.since_ms)
    message.conflict_id = obstacle.conflict

"""`onefold.v1.IdentityService`: who an identifier belongs to, and why."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import grpc

from identity.evidence import NEVER, Link, MustLink
from identity.nodes import Node
from identity.resolve import HUB, Refusal
from profiles.profile import Member
from service.pb.onefold.v1 import identity_service_pb2 as pb
from service.pb.onefold.v1.identity_service_pb2_grpc import IdentityServiceServicer
from service.rpc import limits
from service.rpc.errors import ProfileNotFound
from service.rpc.guard import Deadline
from service.rpc.messages import MatchMessages, clean, set_identifier, set_time
from service.rpc.parsing import NOBODY, LookupParser, at_most
from service.rpc.profile_service import set_invalid, set_not_found
from storage.ports import Store
from storage.profiles import ProfileReader

Members = Mapping[Node, Member]

KIND_OF: Final[Mapping[type[Link | MustLink], pb.IdentityLinkKind]] = {
    Link: pb.IDENTITY_LINK_KIND_NAMED_TOGETHER,
    MustLink: pb.IDENTITY_LINK_KIND_DECLARED,
}


class IdentityService(IdentityServiceServicer):
    """Answers who is who."""

    def __init__(
        self,
        reader: ProfileReader,
        store: Store,
        lookups: LookupParser,
        matches: MatchMessages,
        now_ms: Callable[[], int],
        deadline_max_s: float,
    ) -> None:
        self._reader = reader
        self._store = store
        self._lookups = lookups
        self._matches = matches
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
        """The links that made a person, and those that joined nobody."""
        (resolved,) = self._reader.resolve([self._lookups.one(request.lookup)], self._now_ms())
        if resolved is None:
            raise ProfileNotFound
        evidence = self._store.evidence
        nodes = resolved.members
        links = _within(
            [*evidence.must_links_of(nodes), *evidence.links_of(nodes, limits.LINKS_EACH_MAX)],
            frozenset(nodes),
        )
        refusals = sorted(self._store.people.refusals_of(nodes), key=lambda each: -each.since_ms)[
            : limits.CONFLICTS_MAX
        ]
        named = {
            *nodes,
            *(node for link in links for node in (link.a, link.b)),
            *(node for refusal in refusals for node in (refusal.a, refusal.b)),
        }
        members = {member.node: member for member in self._reader.members(sorted(named))}
        reply = pb.ExplainIdentityResponse()
        self._matches.fill(reply.match, resolved)
        for node in nodes:
            set_identifier(reply.identifiers.add(), members[node])
        for link in links:
            _fill_link(reply.links.add(), link, members)
        for refusal in refusals:
            _fill_conflict(reply.conflicts.add(), refusal, members)
        return reply


def _within(links: Iterable[Link | MustLink], nodes: frozenset[Node]) -> list[Link | MustLink]:
    """The links between two of `nodes`, oldest first."""
    inside = {(type(link), link.a, link.b): link for link in links if {link.a, link.b} <= nodes}
    return sorted(inside.values(), key=lambda link: (link.first_ms, link.a, link.b))


def _fill_link(message: pb.IdentityLink, link: Link | MustLink, members: Members) -> None:
    message.kind = KIND_OF[type(link)]
    set_identifier(message.a, members[link.a])
    set_identifier(message.b, members[link.b])
    set_time(message.first_time, link.first_ms)
    message.event_id = clean(link.first_event)
    message.source = clean(link.source)
    message.trusted = isinstance(link, MustLink) or link.trusted_ms < NEVER


def _fill_conflict(message: pb.IdentityConflict, refusal: Refusal, members: Members) -> None:
    message.rule = refusal.rule
    message.detail = clean(refusal.detail)
    set_identifier(message.a, members[refusal.a])
    if refusal.rule != HUB:
        set_identifier(message.b, members[refusal.b])
    set_time(message.since_time, refusal.since_ms)

"""`onefold.v1.ProfileService`: thin over `storage.profiles.ProfileReader`."""

from collections.abc import Callable
from typing import Final

import grpc
import msgspec

from identity.nodes import Node
from service.pb.onefold.v1 import common_pb2
from service.pb.onefold.v1 import profile_service_pb2 as pb
from service.pb.onefold.v1.profile_service_pb2_grpc import ProfileServiceServicer
from service.rpc import limits
from service.rpc.errors import InvalidArgument, ProfileNotFound, Violation
from service.rpc.guard import Deadline
from service.rpc.messages import MatchMessages, clean, fill_profile, set_time
from service.rpc.paging import Tokens, counted, page_size
from service.rpc.parsing import NOBODY, LookupParser, at_most, mask_of, time_of
from service.rpc.sensitive import Sensitive
from storage.gathering import Answer
from storage.ports import TimelineQuery, TimelineRow
from storage.profiles import Found, Lookup, ProfileReader


class Position(msgspec.Struct, frozen=True, array_like=True):
    """The last row of a page: `TimelineQuery.before`."""

    key_ms: int
    message_id: str
    leaf: bytes


_FULL: Final = "the reply is full; ask for this entry and those after it again"


class ProfileService(ProfileServiceServicer):
    """Reads profiles and timelines."""

    def __init__(
        self,
        reader: ProfileReader,
        lookups: LookupParser,
        matches: MatchMessages,
        sensitive: Sensitive,
        tokens: Tokens,
        now_ms: Callable[[], int],
        deadline_max_s: float,
    ) -> None:
        self._reader = reader
        self._lookups = lookups
        self._matches = matches
        self._sensitive = sensitive
        self._tokens = tokens
        self._now_ms = now_ms
        self._deadline_max_s = deadline_max_s

    def GetProfile(
        self, request: pb.GetProfileRequest, _context: grpc.ServicerContext
    ) -> pb.GetProfileResponse:
        """One person, by profile id or by any identifier."""
        lookup = self._lookups.one(request.lookup)
        mask = mask_of(request.read_mask, pb.Profile)
        limit = _interactions(request.interaction_limit)
        found = self._reader.get(lookup, self._now_ms())
        if found is None:
            raise ProfileNotFound
        reply = pb.GetProfileResponse()
        self._fill(reply, found, mask, limit)
        return reply

    def BatchGetProfiles(
        self, request: pb.BatchGetProfilesRequest, context: grpc.ServicerContext
    ) -> pb.BatchGetProfilesResponse:
        """Many people; what is wrong with one entry fails no other."""
        at_most("lookups", request.lookups, limits.PROFILES_MAX)
        mask = mask_of(request.read_mask, pb.Profile)
        limit = _interactions(request.interaction_limit)
        deadline = Deadline(context, self._deadline_max_s)
        reply = pb.BatchGetProfilesResponse()
        room = limits.REPLY_BYTES_MAX
        for start in range(0, len(request.lookups), limits.BATCH_STEP):
            deadline.check()
            wanted = request.lookups[start : start + limits.BATCH_STEP]
            parsed = [self._lookups.parse(each, "lookup") for each in wanted]
            asked = [lookup for lookup, _ in parsed if lookup is not NOBODY]
            answers = iter(self._reader.get_many(asked, self._now_ms()) if room > 0 else ())
            for lookup, violations in parsed:
                result = reply.results.add()
                if room <= 0:
                    set_full(result.error)
                    continue
                found = None if lookup is NOBODY else next(answers)
                if violations or lookup is NOBODY:
                    set_invalid(result.error, violations)
                elif found is None:
                    set_not_found(result.error)
                else:
                    self._fill(result, found, mask, limit)
                    room = _fit(result, room, first=len(reply.results) == 1)
        return reply

    def ListEvents(
        self, request: pb.ListEventsRequest, _context: grpc.ServicerContext
    ) -> pb.ListEventsResponse:
        """A page of what a person did, newest first."""
        lookup = self._lookups.one(request.lookup)
        about, query = self._query(request, lookup)
        now_ms = self._now_ms()
        (resolved,) = self._reader.resolve([lookup], now_ms)
        rows = self._reader.timeline(lookup, query, now_ms)
        if resolved is None or rows is None:
            raise ProfileNotFound
        reply = pb.ListEventsResponse()
        self._matches.fill(reply.match, resolved)
        guarded = resolved.answered_by is Answer.DEVICE_OWNER
        size = 0
        for index, row in enumerate(rows):
            full = size and size + len(row.raw) * request.include_payload > limits.REPLY_BYTES_MAX
            if full or index == query.limit - 1:
                last = rows[index - 1]
                reply.next_page_token = self._tokens.seal(
                    Position(last.key_ms, last.message_id, last.leaf), about
                )
                break
            event = reply.events.add()
            self._fill_event(event, row, request.include_payload, guarded)
            size += event.ByteSize()
        return reply

    def _query(
        self, request: pb.ListEventsRequest, lookup: Lookup
    ) -> tuple[tuple[object, ...], TimelineQuery]:
        """What a page token is about, and the rows to read: one more than the page has."""
        at_most("names", request.names, limits.NAMES_MAX)
        since = until = None
        if request.HasField("since_time"):
            since = time_of(request.since_time, "since_time")
        if request.HasField("until_time"):
            until = time_of(request.until_time, "until_time")
        if since is not None and until is not None and since >= until:
            raise InvalidArgument([Violation("until_time", "must be later than since_time")])
        names = tuple(request.names)
        about = ("ListEvents", lookup, names, since, until)
        before = None
        if request.page_token:
            last = self._tokens.open(request.page_token, Position, about)
            before = (last.key_ms, last.message_id, Node(last.leaf))
        return about, TimelineQuery(
            limit=page_size(request.page_size) + 1,
            names=names,
            since_ms=since,
            until_ms=until,
            before=before,
        )

    def _fill(
        self,
        reply: pb.GetProfileResponse | pb.ProfileResult,
        found: Found,
        mask: frozenset[str],
        limit: int,
    ) -> None:
        guarded = found.answered_by is Answer.DEVICE_OWNER
        hidden = self._sensitive.among if guarded else None
        fill_profile(reply.profile, found.profile, mask, limit, hidden)
        self._matches.fill(reply.match, found)

    def _fill_event(
        self, event: pb.Event, row: TimelineRow, include_payload: bool, guarded: bool
    ) -> None:
        event.message_id = clean(row.message_id)
        event.type = row.type
        event.name = clean(row.name)
        event.source = clean(row.source)
        event.identifier_id = row.leaf.hex()
        set_time(event.event_time, row.time_ms)
        set_time(event.receive_time, row.received_ms)
        if include_payload and not (guarded and self._sensitive.mentioned_in(row.raw)):
            event.payload = row.raw


def set_invalid(error: common_pb2.EntryError, violations: list[Violation]) -> None:
    """Say what is wrong with an entry; one without violations names nobody."""
    error.code = common_pb2.EntryError.CODE_INVALID
    error.message = "; ".join(f"{v.field}: {v.description}" for v in violations) or "names nobody"


def set_not_found(error: common_pb2.EntryError) -> None:
    """Say that nothing is known of an entry."""
    error.code = common_pb2.EntryError.CODE_NOT_FOUND
    error.message = str(ProfileNotFound())


def set_full(error: common_pb2.EntryError) -> None:
    """Say that the reply has no room for an entry."""
    error.code = common_pb2.EntryError.CODE_REPLY_FULL
    error.message = _FULL


def _fit(result: pb.ProfileResult, room: int, *, first: bool) -> int:
    """The room left after `result`; one that does not fit says so, but the first always does."""
    left = room - result.ByteSize()
    if left < 0 and not first:
        result.Clear()
        set_full(result.error)
    return left


def _interactions(asked: int) -> int:
    return counted("interaction_limit", asked, limits.INTERACTIONS_DEFAULT, limits.INTERACTIONS_MAX)

"""`onefold.v1.RecommendationService`: thin over the readers and the models."""

import os
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import Final

import grpc

from models.attribution import Shown
from models.errors import FilterError
from profiles.part import Interaction
from profiles.profile import history
from service.pb.onefold.v1 import common_pb2
from service.pb.onefold.v1 import recommendation_service_pb2 as pb
from service.pb.onefold.v1.recommendation_service_pb2_grpc import RecommendationServiceServicer
from service.rpc.errors import InvalidArgument
from service.rpc.messages import MatchMessages, clean, set_time
from service.rpc.paging import Tokens
from service.rpc.parsing import NOBODY, LookupParser
from service.rpc.recommend_requests import Wanted, refused, rows_of, session_of
from service.rpc.recommending import Answered, Recommending, Surface
from service.rpc.sensitive import may_see_sensitive
from storage.profiles import Found, ProfileReader

SegmentsOf = Callable[[Found], Collection[str]]
"""The segments of whom a lookup found; asked only where rules for items are for some."""
_RANDOM_BYTES: Final = 9


class RecommendationService(RecommendationServiceServicer):
    """Recommends items for whoever a lookup finds."""

    def __init__(
        self,
        reader: ProfileReader,
        recommending: Recommending,
        lookups: LookupParser,
        matches: MatchMessages,
        tokens: Tokens,
        now_ms: Callable[[], int],
        segments_of: SegmentsOf = lambda found: (),
        sensitive_consent: str = "",
    ) -> None:
        """Nobody is shown sensitive items without the consent `sensitive_consent`; empty: nobody is at all."""
        self._reader = reader
        self._recommending = recommending
        self._lookups = lookups
        self._matches = matches
        self._tokens = tokens
        self._now_ms = now_ms
        self._segments_of = segments_of
        self._sensitive_consent = sensitive_consent

    def Recommend(
        self, request: pb.RecommendRequest, _context: grpc.ServicerContext
    ) -> pb.RecommendResponse:
        """Items for one surface; an unknown person gets a fallback."""
        wanted = Wanted(request)
        whom = self._read(request.lookup, request.session_events)
        reply = pb.RecommendResponse()
        self._answer(reply, wanted, whom)
        self._say_whom(reply, whom)
        return reply

    def RecommendPage(
        self, request: pb.RecommendPageRequest, _context: grpc.ServicerContext
    ) -> pb.RecommendPageResponse:
        """Items for several rows, none of them twice."""
        rows = rows_of(request)
        whom = self._read(request.lookup, request.session_events)
        reply = pb.RecommendPageResponse()
        shown = set(request.exclude_item_ids)
        for wanted in rows:
            row = reply.rows.add()
            self._answer(row, wanted, whom, shown)
            shown.update(item.item_id for item in row.items)
        self._say_whom(reply, whom)
        return reply

    def _say_whom(
        self, reply: pb.RecommendResponse | pb.RecommendPageResponse, whom: "_Whom"
    ) -> None:
        newest_ms = whom.newest_ms()
        if newest_ms is not None:
            set_time(reply.newest_event_time, newest_ms)
        if whom.found is not None:
            self._matches.fill(reply.match, whom.found)

    def _read(self, lookup: common_pb2.Lookup, events: Sequence[pb.SessionEvent]) -> "_Whom":
        now_ms = self._now_ms()
        parsed, violations = self._lookups.parse(lookup, "lookup")
        if violations:
            raise InvalidArgument(violations)
        session = session_of(events, now_ms)
        found = None if parsed is NOBODY else self._reader.active(parsed, now_ms)
        known = history(found.profile) if found else []
        done = sorted([*session, *known], reverse=True) if session else known
        return _Whom(
            found,
            done,
            now_ms,
            hidden=not may_see_sensitive(found, self._sensitive_consent),
            segments_of=self._segments_of,
        )

    def _answer(
        self,
        reply: pb.RecommendResponse,
        wanted: Wanted,
        whom: "_Whom",
        shown: Collection[str] = (),
    ) -> None:
        asked = wanted.asked(
            whom.done, whom.now_ms, hidden=whom.hidden, segments=whom.segments, shown=shown
        )
        try:
            answered = self._recommending.recommend(asked)
        except FilterError as error:
            raise refused(error, wanted.prefix) from None
        fill_answer(reply, answered)
        reply.attribution_token = self._token(wanted.surface, answered, whom.now_ms)

    def _token(self, surface: Surface, answered: Answered, now_ms: int) -> str:
        return self._tokens.seal(
            Shown(
                surface=surface,
                model=answered.model,
                version=answered.version,
                time_ms=now_ms,
                nonce=os.urandom(_RANDOM_BYTES),
            )
        )


class _Whom:
    """For whom a call is, and what they did."""

    def __init__(
        self,
        found: Found | None,
        done: Sequence[Interaction],
        now_ms: int,
        *,
        hidden: bool,
        segments_of: SegmentsOf,
    ) -> None:
        self.found = found
        self.done = done
        self.now_ms = now_ms
        self.hidden = hidden
        self._segments_of = segments_of

    @cached_property
    def _members(self) -> Collection[str]:
        return self._segments_of(self.found) if self.found else ()

    def segments(self) -> Collection[str]:
        """Which segments they are in, read once for a page."""
        return self._members

    def newest_ms(self) -> int | None:
        """When the newest event that counts happened."""
        stored = self.found.profile.last_ms if self.found is not None else None
        done = self.done[0].time_ms if self.done else None
        return max([time_ms for time_ms in (stored, done) if time_ms is not None], default=None)


def fill_answer(reply: pb.RecommendResponse, answered: Answered) -> None:
    """Set what the models said."""
    add = reply.items.add
    for item in answered.items:
        entry = add()
        entry.item_id = clean(item.id)
        entry.score = item.score
        if item.rule:
            entry.rule = clean(item.rule)
        reason = entry.reason
        reason.code = item.code
        reason.text = clean(item.text)
        if item.because_of:
            reason.item_id = clean(item.because_of)
    reply.model = answered.model
    reply.model_version = answered.version
    if answered.trained_ms is not None:
        set_time(reply.trained_time, answered.trained_ms)
    reply.fallback = bool(answered.fallback)
    reply.fallback_reason = clean(answered.fallback)
    reply.relaxed_conditions.extend(map(clean, answered.given_up))

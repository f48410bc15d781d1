"""One export: who may be sent is rendered and delivered, and every run leaves an audit row."""

import gc
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import msgspec

from destinations.audience import CONSENT, MERGED, Audience, Recipient, Transition, message_id_of
from destinations.destination import (
    Destination,
    Letter,
    Mode,
    RendersApart,
    Run,
    Sealed,
    Stated,
    Update,
)
from destinations.errors import DestinationError, ExportRefused
from destinations.gate import Gate, Permission, Tally, Withheld, permitted
from destinations.masking import masked
from destinations.rendering import Rendered, Rendering, updates_of
from identity.nodes import Node
from storage.chunks import chunks
from storage.segment_ports import Deliveries, Delivery

TRANSITIONS: Final = 1_000
"""Transitions, and recipients of a delta, read at a time."""
TOUCHED_MAX: Final = 2_000_000
"""Profiles that one delta of states holds in memory, some 200 bytes each; the rest goes with the next one."""
SAMPLES: Final = 3
NEW_OBJECTS_MAX: Final = 50_000
"""Objects made between two garbage collections of an export. A batch makes some thousand, none of them in a
cycle; with Python's own 700 a third of the time goes into looking through all that is loaded."""

DELIVERED: Final = "delivered"
FAILED: Final = "failed"
REFUSED: Final = "refused"
"""By a rule, of ours or of the destination: trying again changes nothing."""
DRY: Final = "dry run"

_by_segment = attrgetter("segment")

Progress = Callable[[int], None]
"""Hears how many people were looked at so far, and again before the run is finished. May raise to end it."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be exported."""

    name: str
    permission: Permission
    gate: Gate
    mode: Mode
    who: str
    asked: tuple[str, ...] = ()
    """Segments of this run; none: all of the file."""
    dry: bool = False


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    delivery: Delivery
    samples: Sequence[Any] = ()
    """The first rows, masked."""


class Exporter:
    """Runs exports of one destination, one at a time."""

    def __init__(
        self,
        destination: Destination,
        audience: Audience,
        deliveries: Deliveries,
        now_ms: Callable[[], int],
        staging: Path = Path(),
        letter: Letter = lambda raw, why: None,
        progress: Progress = lambda people: None,
    ) -> None:
        self._destination = destination
        self._audience = audience
        self._deliveries = deliveries
        self._now_ms = now_ms
        self._staging = staging
        self._letter = letter
        self._progress = progress
        self._tally = Tally()
        self._looked_at = 0
        self._stamp = 0
        self._samples: list[Any] = []
        self._gate = Gate(())
        self._names: Mapping[str, str] = {}
        self._dry = self._partial = False

    def run(self, order: Order) -> Outcome:
        """Export; a dry run sends and keeps nothing. A DestinationError is in the audit, and raised."""
        started_ms = self._now_ms()
        self._tally, self._looked_at, self._samples = Tally(), 0, []
        self._gate, self._dry, self._partial = order.gate, order.dry, bool(order.asked)
        begun = Delivery(
            id=uuid.uuid4().hex, destination=order.name, kind=self._destination.kind, mode=order.mode,
            who=order.who, started_ms=started_ms, segments=tuple(sorted(order.asked)),
            place=self._destination.place,
        )  # fmt: skip
        try:
            self._names = permitted(order.permission, self._audience, self._tally, order.asked)
            mode = self._mode(order)
            begun = msgspec.structs.replace(begun, segments=tuple(sorted(self._names)), mode=mode)
            self._keep(begun)
            with _seldom_collecting():
                sealed = self._sealed(begun, mode)
        except BaseException as error:
            known = isinstance(error, DestinationError)
            result = REFUSED if isinstance(error, ExportRefused) else FAILED
            self._keep(self._ended(begun, result, detail=str(error) if known else "broken off"))
            raise
        ended = self._ended(begun, DRY if order.dry else DELIVERED, sealed)
        self._keep(ended)
        return Outcome(delivery=ended, samples=self._samples)

    def _mode(self, order: Order) -> Mode:
        held = self._deliveries.positions(order.name).keys()
        # States that were never told can only be told whole.
        untold = self._destination.acknowledges == "run" and not self._names.keys() <= held
        return "full" if untold else order.mode

    def _keep(self, delivery: Delivery) -> None:
        if not self._dry:
            self._deliveries.put([delivery])

    def _ended(
        self, begun: Delivery, result: str, sealed: Sealed | None = None, detail: str = ""
    ) -> Delivery:
        return msgspec.structs.replace(
            begun, ended_ms=self._now_ms(), result=result, people=self._tally.people,
            rows=self._tally.rows, withheld=dict(sorted(self._tally.withheld.items())),
            checksum=sealed.checksum if sealed else "", files=sealed.files if sealed else (), detail=detail,
        )  # fmt: skip

    def _sealed(self, begun: Delivery, mode: Mode) -> Sealed | None:
        destination = self._destination
        run = Run(
            id=begun.id, mode=mode, started_ms=begun.started_ms, segments=self._names,
            staging=self._staging, dry=self._dry, letter=self._letter, partial=self._partial,
        )  # fmt: skip
        try:
            destination.begin(run)
            told = self._told(begun.destination, mode)
            if self._dry:
                destination.abandon()
                return None
            # What is finished counts: whoever may no longer go on must not come so far.
            self._progress(self._looked_at)
            sealed = destination.finish()
        except BaseException:
            destination.abandon()
            raise
        self._acknowledge(begun.destination, told)
        return sealed

    def _acknowledge(self, name: str, told: Mapping[str, str]) -> None:
        if not self._dry:
            self._stamp = max(self._stamp + 1, self._now_ms() * 1_000)
            self._deliveries.acknowledge(name, told, self._stamp)

    def _told(self, name: str, mode: Mode) -> dict[str, str]:
        """Tell everything; how far each segment's transitions are told then."""
        destination, held = self._destination, self._deliveries.positions(name)
        if destination.acknowledges == "batch":
            told = self._events(name)
            # Those that are new there were told whole already.
            again = {each: as_ for each, as_ in self._names.items() if each in held}
            return told | self._full(name, again) if mode == "full" and again else told
        if mode == "delta":
            return self._states(name, only_left=False)
        if not destination.replaces and self._names.keys() <= held.keys():
            self._states(name, only_left=True)
        return self._full(name, self._names)

    def _full(self, name: str, names: Mapping[str, str]) -> dict[str, str]:
        """Every member of segments; the positions that this makes up for."""
        # Read first: what happens meanwhile is told again by the next delta rather than never.
        token = self._audience.newest()
        segments, purposes = sorted(names), self._gate.purposes
        apart = self._destination
        if isinstance(apart, RendersApart) and not self._dry:
            work = Rendering(self._gate, names, apart.renderer())
            with closing(self._audience.each(segments, purposes, work)) as batches:
                for rendered in batches:
                    self._looked_at += rendered.looked_at
                    self._take(rendered, apart)
        else:
            for batch in self._audience.members(segments, purposes):
                self._looked_at += len(batch)
                self._send(updates_of(batch, names, self._gate, self._tally))
        return dict.fromkeys(names, token)

    def _take(self, rendered: Rendered, apart: RendersApart) -> None:
        """Deliver what was rendered of a batch of members, wherever that was."""
        tally = self._tally
        for why, count in rendered.withheld.items():
            tally.withhold(Withheld(why), count)
        tally.people += rendered.people
        if rendered.rows:
            rows = apart.unique(rendered.rows, tally)
            tally.rows += len(rows)
            if rows:
                self._destination.deliver(rows)
        self._progress(self._looked_at)

    def _send(self, updates: Sequence[Update]) -> None:
        if not updates:
            return
        tally = self._tally
        before = tally.stopped
        rows = self._destination.render(updates, tally)
        tally.people += len(updates) - (tally.stopped - before)
        tally.rows += len(rows)
        if self._dry:
            self._take_samples(updates, rows)
        elif rows:
            self._destination.deliver(rows)
        self._progress(self._looked_at)

    def _take_samples(self, updates: Sequence[Update], rows: Sequence[Any]) -> None:
        for row in rows[: SAMPLES - len(self._samples)]:
            self._samples.append(masked(row, [each.recipient for each in updates]))

    def _events(self, name: str) -> dict[str, str]:
        """Transitions one by one, acknowledged batch by batch."""
        held = self._deliveries.positions(name)
        new = {segment: as_ for segment, as_ in self._names.items() if segment not in held}
        told = self._full(name, new) if new else {}
        self._acknowledge(name, told)
        for transitions, so_far in self._transitions(
            {s: held[s] for s in self._names if s in held}
        ):
            self._send(self._told_one_by_one(transitions))
            self._acknowledge(name, so_far)
            told |= so_far
        return told

    def _transitions(
        self, held: Mapping[str, str]
    ) -> Iterator[tuple[list[Transition], dict[str, str]]]:
        """Transitions past the tokens of segments, and how far these are then.

        Segments that are equally far are read together, which all are that were read to the end once.
        """
        for token in sorted(set(held.values())):
            segments = sorted(segment for segment, at in held.items() if at == token)
            newest, after = self._audience.newest(), token
            while True:
                some, following = self._audience.changes(segments, after, TRANSITIONS)
                if not some:
                    break
                self._looked_at += len(some)
                after = following
                heard = [each for each in some if self._gate.concerns(each)]
                yield heard, dict.fromkeys(segments, after)
            if after == token:
                # Nothing was told of them: the next run need not look there again.
                yield [], dict.fromkeys(segments, newest)

    def _told_one_by_one(self, transitions: Sequence[Transition]) -> list[Update]:
        found = self._audience.recipients({each.profile_id for each in transitions})
        updates = []
        for each in transitions:
            recipient = found.get(each.profile_id)
            if recipient is None:
                self._tally.withhold(Withheld.GONE)
                continue
            stated = self._transition(each, recipient)
            if stated is not None:
                updates.append(Update(recipient, (stated,)))
        return updates

    def _transition(self, each: Transition, recipient: Recipient) -> Stated | None:
        """What is said of one transition now; None: nothing."""
        name, consent = self._names[each.segment], recipient.consent
        inside = each.segment in recipient.segments
        why = self._gate.stops(consent)
        if why is not None:
            if not self._gate.withdrawn_by(each, consent):
                self._tally.withhold(why)
                return None
            member = False
        elif each.entered != inside:
            # What undid it comes later, or came with a merge: identifiers are one recipient's.
            self._tally.withhold(Withheld.SUPERSEDED)
            return None
        else:
            member = each.entered
        return Stated(name, member, each.at_ms, each.message_id, each.sequence, each.reason)

    def _states(self, name: str, *, only_left: bool) -> dict[str, str]:
        """What each profile that changed is now, once for each; or only those that left."""
        held = self._deliveries.positions(name)
        told = {segment: held[segment] for segment in self._names}
        touched: dict[Node, dict[str, bool]] = {}
        lost: set[Node] = set()
        for transitions, so_far in self._transitions(dict(told)):
            for each in transitions:
                closed = each.reason == CONSENT and not each.entered
                segments = touched.setdefault(each.profile_id, {})
                segments[each.segment] = segments.get(each.segment, False) or closed
                if each.reason == MERGED:
                    lost.add(each.profile_id)
            told |= so_far
            if len(touched) >= TOUCHED_MAX:
                break
        self._follow(touched, lost)
        for some in chunks(sorted(touched), TRANSITIONS):
            found = self._audience.recipients(some)
            updates = self._changed(some, found, touched)
            if only_left:
                updates = [each for each in updates if not any(s.member for s in each.stated)]
            self._send(updates)
        return told

    def _follow(self, touched: dict[Node, dict[str, bool]], lost: Collection[Node]) -> None:
        """What is to be said of a profile that was merged away is said of the one that it became."""
        for some in chunks(sorted(lost), TRANSITIONS):
            for profile, now in self._audience.recipients(some).items():
                if now.profile_id != profile:
                    segments = touched.setdefault(now.profile_id, {})
                    for segment, closed in touched.pop(profile).items():
                        segments[segment] = segments.get(segment, False) or closed

    def _changed(
        self,
        profiles: Sequence[Node],
        found: Mapping[Node, Recipient],
        touched: Mapping[Node, Mapping[str, bool]],
    ) -> list[Update]:
        updates = []
        for profile in profiles:
            recipient = found.get(profile)
            if recipient is None or recipient.profile_id != profile:
                self._tally.withhold(Withheld.GONE)
                continue
            why = self._gate.stops(recipient.consent)
            inside = recipient.segments if why is None else {}
            # All that it is in, not only what changed: it may have consented only now.
            stated = [
                Stated(name, True, inside[segment])
                for segment, name in self._names.items()
                if segment in inside
            ]
            stated += [
                Stated(self._names[segment], False, 0, reason="" if why is None else CONSENT)
                for segment, closed in touched[profile].items()
                if segment not in inside and (why is None or closed)
            ]
            if stated:
                updates.append(Update(recipient, sorted(stated, key=_by_segment)))
            elif why is not None:
                self._tally.withhold(why)
        return updates


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(NEW_OBJECTS_MAX, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def message_id(update: Update, stated: Stated) -> str:
    """The id of what is told: the transition's, or one that is the same for the same state."""
    return stated.message_id or message_id_of(
        stated.segment, update.recipient.profile_id, f"{stated.member}:{stated.at_ms}"
    )

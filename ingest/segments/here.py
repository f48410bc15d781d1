"""Keep segments current in the process that owns the store (DESIGN §§1.5, 4).

Live events are evaluated in the transaction that folds them, so that the next call knows. What comes in bulk
waits in the store, and so does what time changes: `settle` catches up, and whoever reads calls it first.
"""

import logging
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from identity.evidence import Use
from identity.nodes import Node
from identity.rules import Rules
from ingest.segments.collecting import bring_up_to_date
from ingest.segments.evaluating import (
    NOTHING,
    Evaluator,
    Look,
    Only,
    causes_of,
)
from ingest.segments.filling import LEAVES_AT_ONCE as PIECE
from ingest.segments.filling import Filled, Filler, Filling, Piece
from ingest.segments.moving import Spans, moved
from ingest.segments.order import Order, Position, position_of, share_at
from ingest.segments.waiting import Waiting
from profiles.part import decode, encode
from profiles.segments.catalogue import Catalogue
from profiles.segments.membership import Cause
from storage.catalogues import Catalogues
from storage.ports import EmbeddedStore, Store
from storage.processes import processes_here
from storage.segment_ports import Backfill

AT_ONCE_MAX: Final = 64
"""Profiles that a batch of events has evaluated at once, some 40 ms; with more it is a load, and they wait."""
MOVED_MAX: Final = 1_000
"""Devices of a batch of many requests of which is found out whether visits changed hands."""
BATCH: Final = 200
"""Profiles of one transaction when catching up: events wait no longer than that takes."""
CHANGES_AT_ONCE: Final = 100
"""Changes of people that are followed in one transaction."""
LOOKED_MAX: Final = 100_000
"""Profiles of one load that are remembered as looked at, some 10 MB."""
LEAVES_AT_ONCE: Final = 500
"""Leaves of one transaction of a backfill in this process."""
TOGETHER_MIN: Final = 20_000
"""Leaves from which on other processes help to look at them: before, starting them takes longer."""
PATIENCE_S: Final = 0.1
"""How long what happens meanwhile may wait for them."""
LEAF_SPACE: Final = 1 << 64
"""Leaves are hashes: how far one is in their order says how many are done."""

_logger = logging.getLogger(__name__)
Progress = Callable[[int, float], None]
"""Hears (profiles evaluated, share of all leaves looked at)."""


class Segments:
    """The evaluate stage over an embedded store. Any thread; each step is one transaction."""

    def __init__(
        self,
        store: EmbeddedStore,
        rules: Rules,
        now_ms: Callable[[], int],
        catalogues: Catalogues | None = None,
        *,
        together_min: int = TOGETHER_MIN,
    ) -> None:
        """From so many leaves on, other processes help to fill segments."""
        self._together_min = together_min
        self._store = store
        self._rules = rules
        self._evaluator = Evaluator(store, rules, alone=True)
        self._now_ms = now_ms
        self._catalogues = catalogues or Catalogues(store.definitions)
        self._filler = Filler(store, rules)
        self._filling: Filling | None = None
        self._order = Order(store.parts)
        self._live = False
        self._waiting = Waiting(store)
        self._noted: list[Node] = []
        """To whom something happened since the first piece was asked for that others look at now."""
        self._noted_before = 0
        self._looked: dict[Node, Cause] = {}
        """Profiles that were evaluated in full, and why, since anything but a step wrote."""
        self._looked_at: object = None

    def catalogue(self) -> Catalogue:
        """The segments in force."""
        return self._catalogues.now()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction of the store, in which it is asked once which segments are in force."""
        with self._store.transaction(), self._catalogues.held():
            yield

    def expect_live_events(self) -> None:
        """From now on a batch of many profiles is no load, but what many requests brought at a time.

        They wait, too, but who waits is looked at only for what can have changed.
        """
        self._live = True

    def moved(
        self, grown: Mapping[Node, tuple[Spans, Spans]], uses: Collection[Use]
    ) -> Collection[Node]:
        """Devices with visits that are somebody else's now (`moving.moved`); new `uses` are not stored yet."""
        if not self.catalogue():
            return ()
        devices = grown.keys() | {use.device for use in uses}
        # Who waits as of a load is looked at for everything anyhow.
        if len(devices) > (MOVED_MAX if self._live else AT_ONCE_MAX):
            return devices
        return moved(self._store, self._rules, grown, uses)

    def touch(self, nodes: Mapping[Node, Only], large: Collection[Node] = ()) -> None:
        """Something happened to leaves or devices; call it in the transaction that made it so.

        Each with the segments that this can change. `large` ones wait for whoever asks next: what comes in
        between is looked at once.
        """
        catalogue = self.catalogue()
        if not catalogue:
            return
        causes = self._followed()
        only = {node: looked for node, looked in nodes.items() if node not in causes}
        for node in nodes:
            causes[node] = causes.get(node, Cause(0)) | Cause.EVENT
        self._note(causes)
        waiting = (
            causes if len(causes) > AT_ONCE_MAX else {n: causes[n] for n in large if n in causes}
        )
        if waiting:
            # Of a load each profile is looked at once, when it is over: for every segment.
            load = waiting is causes and not self._live
            self._waiting.add(waiting, {} if load else only, catalogue.revision)
            causes = {node: cause for node, cause in causes.items() if node not in waiting}
        if causes:
            self._evaluate(catalogue, causes, only)

    def _followed(self) -> dict[Node, Cause]:
        """Whom the changes of people concern that came since they were last followed."""
        pending = self._store.pending
        position = pending.followed()
        changes = self._store.changes.history(position or 0, CHANGES_AT_ONCE)
        if changes or position is None:
            pending.follow(changes[-1].position if changes else 0)
        return causes_of(each.change for each in changes)

    def settle(self, seconds: float = math.inf) -> bool:
        """Catch up with what waits and with the time, for so long at most; whether nothing is left."""
        until = time.monotonic() + seconds
        while self.step():
            if time.monotonic() > until:
                return False
        return True

    def step(self, *, whole: bool = True) -> int:
        """One transaction of catching up; 0: nothing is left to do now. If not `whole`, only with the time."""
        if not self._something_waits(whole=whole):
            return 0
        try:
            with self.transaction():
                return self._catch_up(whole=whole)
        except BaseException:
            self._waiting.lose()
            raise

    def _catch_up(self, *, whole: bool) -> int:
        catalogue = self.catalogue()
        # A person's leaves and devices wait each for itself: who was looked at for one was for all.
        if self._looked_at != self._state(catalogue) or len(self._looked) > LOOKED_MAX:
            self._looked.clear()
        self._looked_at = None
        causes = self._followed()
        taken, known = self._waiting.take(
            max(0, BATCH - len(causes)) if whole else 0, catalogue.revision
        )
        only = {node: looked for node, looked in known.items() if node not in causes}
        for _, node, cause in taken:
            causes[node] = causes.get(node, Cause(0)) | cause
        if len(causes) < BATCH:
            for node in self._store.memberships.due(self._now_ms(), BATCH - len(causes)):
                if node not in causes:
                    only[node] = NOTHING
                causes[node] = causes.get(node, Cause(0)) | Cause.TIME
        if causes:
            self._note(causes)
            self._evaluate(catalogue, causes, only, self._looked)
        self._waiting.done(taken)
        self._looked_at = self._state(catalogue)
        return len(causes)

    def waiting(self) -> int:
        """How many leaves, devices and profiles wait."""
        return self._waiting.count()

    def _something_waits(self, *, whole: bool) -> bool:
        pending = self._store.pending
        return bool(
            self.catalogue()
            and (
                (whole and pending.take(1))
                or self._store.changes.history(pending.followed() or 0, 1)
                or self._store.memberships.due(self._now_ms(), 1)
            )
        )

    def fill(self, progress: Progress = lambda profiles, share: None) -> int:
        """Evaluate everybody for what was defined or changed, from where it was left; how many profiles."""
        profiles = 0
        while (state := self.fill_step()) is not None:
            profiles = state.profiles
            progress(profiles, share_of(state))
        return profiles

    def fill_step(self) -> Backfill | None:
        """One transaction of it, and how far that got; None: there is nothing left to fill."""
        state = unfinished(self._store, self.catalogue())
        if state is None:
            self.stop_filling()
            return None
        if self._filling is None and self._store.parts.count() >= self._together_min:
            self._filling = Filling(self._store.opener, self._rules, processes_here())
        if self._filling is None:
            return self._fill_here()
        try:
            return self._fill_together(self._filling, state)
        except BrokenProcessPool:
            _logger.warning("segments: a process that was filling them ended; going on in this one")
            self.stop_filling()
            return self._fill_here()

    def stop_filling(self) -> None:
        """End the processes that look at profiles, if there are any; filling goes on where it was."""
        filling, self._filling = self._filling, None
        if filling is not None:
            filling.close()
        self._noted.clear()

    def _fill_here(self) -> Backfill | None:
        """One transaction of filling in this process."""
        with self._store.transaction():
            catalogue = self.catalogue()
            state = unfinished(self._store, catalogue)
            if state is None:
                return None
            self._order.begin(state)
            leaves, past = self._order.next(position_of(state), LEAVES_AT_ONCE)
            found = self._filler.look(leaves, catalogue, self._now_ms())
            done = self._write_filled(state, past, found)
        self._order.wrote(done, found.devices)
        return done

    def _fill_together(self, filling: Filling, state: Backfill) -> Backfill | None:
        with self._store.transaction():
            # Within a transaction nothing is half done: what is noted later is what a piece does not see.
            self._order.begin(state)
            for at in filling.next_at(position_of(state)):
                leaves, past = self._order.next(at, PIECE)
                mark = self._noted_before + len(self._noted)
                found_later = filling.look(leaves, self._now_ms())
                elsewhere = self._store.written_elsewhere()
                filling.ask(Piece(at, past, leaves, mark, elsewhere, found_later))
        looked = filling.first(PATIENCE_S)
        if looked is None:
            return state
        piece, found = looked
        with self._store.transaction():
            catalogue = self.catalogue()
            now = unfinished(self._store, catalogue)
            stale = (
                now is None or position_of(now) != piece.at or found.revision != catalogue.revision
            )
            if now is None or stale or piece.elsewhere != self._store.written_elsewhere():
                filling.forget()
                return self._fill_here()
            noted = self._noted_since(piece.mark)
            if self._unfollowed():
                filling.forget()
                return state
            if noted:
                looks = {node: Look(Cause.DEFINED) for node in noted}
                affected = self._evaluator.profiles(looks)
                found = found.without(affected.keys() | noted)
                self._evaluate(catalogue, dict.fromkeys(noted, Cause.DEFINED))
            done = self._write_filled(now, piece.past, found)
            self._forget_noted(filling.mark)
        self._order.wrote(done, found.devices)
        return done

    def _write_filled(self, state: Backfill, past: Position | None, found: Filled) -> Backfill:
        self._store.parts.write(found.parts)
        self._store.memberships.write(found.standings, found.told)
        turn, after = past or position_of(state)
        profiles = state.profiles + found.profiles
        done = Backfill(state.revision, after, profiles, past is None, turn=turn)
        self._store.backfills.put(done)
        return done

    def _note(self, nodes: Iterable[Node]) -> None:
        if self._filling is not None:
            self._noted += nodes

    def _noted_since(self, mark: int) -> set[Node]:
        return set(self._noted[max(0, mark - self._noted_before) :])

    def _forget_noted(self, mark: int | None) -> None:
        """What was noted before a mark is in what others look at."""
        keep_from = self._noted_before + len(self._noted) if mark is None else mark
        del self._noted[: keep_from - self._noted_before]
        self._noted_before = keep_from

    def _unfollowed(self) -> bool:
        """Whether people changed in a way that was not followed yet."""
        pending = self._store.pending
        return bool(self._store.changes.history(pending.followed() or 0, 1))

    def _state(self, catalogue: Catalogue) -> object:
        """Another one than before if anything was written since, or segments are others."""
        store = self._store
        return catalogue.revision, store.written_here(), store.written_elsewhere()

    def _evaluate(
        self,
        catalogue: Catalogue,
        causes: Mapping[Node, Cause],
        only: Mapping[Node, Only] = MappingProxyType({}),
        looked: dict[Node, Cause] | None = None,
    ) -> None:
        """Evaluate and write, in the caller's transaction; `looked` is whom it need not look at, and grows."""
        looked = {} if looked is None else looked
        now_ms = self._now_ms()
        found = self._evaluator.evaluate(causes, catalogue, now_ms, only, looked)
        if found.behind:
            self._collect(catalogue, sorted(found.behind))
            found = self._evaluator.evaluate(causes, catalogue, now_ms)
        self._store.memberships.write(found.standings, found.told)
        for node, cause in found.whole.items():
            looked[node] = looked.get(node, cause) | cause
        if found.further:
            # Others may look at them just now, as they were.
            self._note(found.further)
            self._evaluate(catalogue, found.further, looked=looked)

    def _collect(self, catalogue: Catalogue, leaves: Sequence[Node]) -> None:
        """Let parts hold all that the segments in force need."""
        blobs = self._store.parts.read(leaves)
        parts = {leaf: decode(blob) for leaf, blob in blobs.items()}
        changed = bring_up_to_date(self._store, catalogue, parts)
        self._store.parts.write(
            {leaf: (parts[leaf].offset, encode(parts[leaf])) for leaf in changed}
        )


def unfinished(store: Store, catalogue: Catalogue) -> Backfill | None:
    """How far everybody is evaluated for what is defined now; None: nothing is left to do."""
    held = store.backfills.get()
    if held is None or held.revision < catalogue.revision:
        return Backfill(catalogue.revision) if catalogue.revision else None
    return None if held.finished else held


def share_of(state: Backfill) -> float:
    """The share of all leaves that a backfill has looked at, about."""
    if state.finished or state.share:
        return 1.0 if state.finished else state.share
    share = int.from_bytes(state.after[:8], "big") / LEAF_SPACE if state.after else 0.0
    return share_at(position_of(state), share)

"""Keep segments current in the process that owns the store (DESIGN §§1.5, 4).

Live events are evaluated in the transaction that folds them, so that the next call knows. What comes in bulk
waits in the store, and so does what time changes: `settle` catches up, and whoever reads calls it first.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from identity.devices import moves_nothing
from identity.evidence import Use
from identity.nodes import Node
from identity.rules import Rules
from ingest.segments.collecting import bring_up_to_date
from ingest.segments.evaluating import EVERY, Evaluated, Evaluator, Only, causes_of
from profiles.part import decode, encode
from profiles.segments.catalogue import Catalogue
from profiles.segments.membership import Cause
from storage.catalogues import Catalogues
from storage.ports import Backfill, EmbeddedStore, Store

AT_ONCE_MAX: Final = 64
"""Profiles that a batch of events has evaluated at once, some 40 ms; with more it is a load, and they wait."""
BATCH: Final = 200
"""Profiles of one transaction when catching up: events wait no longer than that takes."""
CHANGES_AT_ONCE: Final = 100
"""Changes of people that are followed in one transaction."""
LEAVES_AT_ONCE: Final = 500
"""Leaves of one transaction of a backfill."""
LEAF_SPACE: Final = 1 << 64
"""Leaves are hashes: how far one is in their order says how many are done."""

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
    ) -> None:
        self._store = store
        self._rules = rules
        self._evaluator = Evaluator(store, rules)
        self._now_ms = now_ms
        self._catalogues = catalogues or Catalogues(store.definitions)

    def catalogue(self) -> Catalogue:
        """The segments in force."""
        return self._catalogues.now()

    def touch(self, nodes: Mapping[Node, Only], uses: Sequence[Use] = ()) -> None:
        """Something happened to leaves or devices; call it in the transaction that made it so.

        Each with the segments that this can change. `uses` of devices came with it.
        """
        catalogue = self.catalogue()
        if not catalogue:
            return
        causes = self._followed()
        looks = dict(nodes) | dict.fromkeys(self._changing_hands(uses), EVERY)
        only = {node: looked for node, looked in looks.items() if node not in causes}
        for node in looks:
            causes[node] = causes.get(node, Cause(0)) | Cause.EVENT
        if len(causes) > AT_ONCE_MAX:
            self._store.pending.add(causes)
        elif causes:
            self._evaluate(catalogue, causes, only)

    def _changing_hands(self, uses: Sequence[Use]) -> set[Node]:
        """Devices of which a visit may be somebody else's now."""
        held = self._store.devices.uses_of({use.device for use in uses}) if uses else {}
        return {
            use.device
            for use in uses
            if not moves_nothing(use, held.get(use.device, ()), self._rules)
        }

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

    def step(self) -> int:
        """One transaction of catching up; 0: nothing is left to do now."""
        if not self._waiting():
            return 0
        with self._store.transaction():
            catalogue, causes = self.catalogue(), self._followed()
            taken = self._store.pending.take(max(0, BATCH - len(causes)))
            for _, node, cause in taken:
                causes[node] = causes.get(node, Cause(0)) | cause
            if len(causes) < BATCH:
                for node in self._store.memberships.due(self._now_ms(), BATCH - len(causes)):
                    causes[node] = causes.get(node, Cause(0)) | Cause.TIME
            if causes:
                self._evaluate(catalogue, causes)
            self._store.pending.done(taken)
        return len(causes)

    def waiting(self) -> int:
        """How many leaves, devices and profiles wait."""
        return self._store.pending.count()

    def _waiting(self) -> bool:
        pending = self._store.pending
        return bool(
            self.catalogue()
            and (
                pending.take(1)
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
        if unfinished(self._store, self.catalogue()) is None:
            return None
        with self._store.transaction():
            state = unfinished(self._store, self.catalogue())
            if state is None:
                return None
            leaves = self._store.parts.leaves(state.after, LEAVES_AT_ONCE)
            catalogue = self.catalogue()
            self._collect(catalogue, leaves)
            done = self._evaluate(catalogue, dict.fromkeys(leaves, Cause.DEFINED))
            state = Backfill(
                state.revision,
                leaves[-1] if leaves else state.after,
                state.profiles + done.profiles,
                len(leaves) < LEAVES_AT_ONCE,
            )
            self._store.backfills.put(state)
        return state

    def _evaluate(
        self,
        catalogue: Catalogue,
        causes: Mapping[Node, Cause],
        only: Mapping[Node, Only] = MappingProxyType({}),
    ) -> Evaluated:
        """Evaluate and write, in the caller's transaction."""
        now_ms = self._now_ms()
        found = self._evaluator.evaluate(causes, catalogue, now_ms, only)
        if found.behind:
            self._collect(catalogue, sorted(found.behind))
            found = self._evaluator.evaluate(causes, catalogue, now_ms)
        self._store.memberships.write(found.standings, found.told)
        if found.further:
            self._evaluate(catalogue, found.further)
        return found

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
    return int.from_bytes(state.after[:8], "big") / LEAF_SPACE if state.after else 0.0

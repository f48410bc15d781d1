"""Who waits to be looked at, and at which segments (DESIGN §4)."""

from collections.abc import Mapping
from typing import Final

from identity.nodes import Node
from ingest.segments.evaluating import EVERY, Only
from profiles.segments.membership import Cause
from storage.ports import EmbeddedStore

KNOWN_MAX: Final = 50_000
"""Of so many that wait is remembered at which segments, some 50 MB; of more, each is looked at for all."""
Taken = list[tuple[int, Node, Cause]]


class Waiting:
    """The store's `Pending`, in which this process remembers what it let wait for. Call it in transactions.

    What others let wait, or this process before it began, is looked at for every segment.
    """

    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store
        self._only: dict[Node, Only] = {}
        self._all_known = False
        """Whether nobody waits but those who are in `_only`."""
        self._state: object = None

    def add(self, causes: Mapping[Node, Cause], only: Mapping[Node, Only], revision: int) -> None:
        """Let some wait, each for a look at segments of a revision; where `only` names none, at every one."""
        self._look_around(revision)
        for node in causes:
            looked = only.get(node)
            if node in self._only:
                held = self._only[node]
                self._only[node] = None if looked is None or held is None else held | looked
            elif self._all_known:
                self._only[node] = looked
        self._store.pending.add(causes)

    def take(self, limit: int, revision: int) -> tuple[Taken, dict[Node, Only]]:
        """The next ones, and which segments are to be looked at, where that is not every one."""
        self._look_around(revision)
        taken = self._store.pending.take(limit)
        known = {node: self._only.get(node) for _, node, _ in taken}
        return taken, {node: only for node, only in known.items() if only is not EVERY}

    def done(self, taken: Taken) -> None:
        """They were looked at; `lose` must follow if that is undone."""
        self._store.pending.done(taken)
        for _, node, _ in taken:
            self._only.pop(node, None)

    def lose(self) -> None:
        """Remember nothing: what was written since may be undone."""
        self._only.clear()
        self._all_known = False

    def count(self) -> int:
        """How many wait."""
        return self._store.pending.count()

    def _look_around(self, revision: int) -> None:
        """Forget what others may have changed, and see when there is nobody whom it does not know."""
        state = (revision, self._store.written_elsewhere())
        if state != self._state or len(self._only) > KNOWN_MAX:
            self.lose()
            self._state = state
        if not self._all_known and not self._store.pending.take(1):
            self._only.clear()
            self._all_known = True

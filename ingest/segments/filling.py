"""Look at everybody for segments that were defined or changed, in several processes (DESIGN §4).

Other processes read and evaluate some leaves at a time, each from one snapshot of the store; whoever owns the
store writes what they found, unless something happened to those profiles meanwhile: these it evaluates itself.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import Final

import msgspec

from identity.nodes import Node, names_device
from identity.rules import Rules
from ingest.segments.collecting import bring_up_to_date
from ingest.segments.evaluating import Evaluator, Look, ended, is_itself, profile_of
from ingest.segments.order import Position
from ingest.segments.whole import Whole
from profiles.part import Part, decode_lean, encode
from profiles.segments.catalogue import Catalogue
from profiles.segments.membership import Cause, Standing, Transition
from storage.catalogues import Catalogues
from storage.columns import columns_of
from storage.gathering import Gathered, Gatherer, people_of
from storage.ports import Store
from storage.processes import Processes

LEAVES_AT_ONCE: Final = 2_000
"""Leaves that a process looks at, about, and of one transaction: some 0.2 s of its time, 30 ms to write."""


class Filled(msgspec.Struct, array_like=True):
    """What was found for some leaves, to be written if nothing happened meanwhile."""

    revision: int
    """Of what is defined."""
    profiles: int = 0
    standings: list[Standing] = []
    """Those that changed."""
    told: list[Transition] = []
    parts: dict[Node, tuple[int, bytes]] = {}
    """Those that hold now what segments need."""
    devices: list[Node] = []
    """Those that were looked at, too, with whoever used them."""

    def without(self, nodes: Collection[Node]) -> "Filled":
        """What was found, but for some leaves and profiles, which whoever writes has looked at."""
        return Filled(
            self.revision,
            self.profiles,
            [each for each in self.standings if each.profile_id not in nodes],
            [each for each in self.told if each.profile_id not in nodes],
            {leaf: part for leaf, part in self.parts.items() if leaf not in nodes},
            self.devices,
        )


class Filler:
    """Evaluates the profiles of leaves from what is stored. Whoever calls it writes."""

    def __init__(self, store: Store, rules: Rules) -> None:
        self._store = store
        self._evaluator = Evaluator(store, rules)
        self._gatherer = Gatherer(store, rules, decode_lean)
        self._whole = Whole(store, rules)

    def look(self, leaves: Sequence[Node], catalogue: Catalogue, now_ms: int) -> Filled:
        """What the profiles of leaves are in. A device's is its own, if what happened on it is nobody's."""
        seen = self._whole.look(leaves, catalogue, now_ms)
        if seen is not None:
            return Filled(
                catalogue.revision, seen.profiles, seen.standings, seen.told, devices=seen.devices
            )
        return self.look_one_by_one(leaves, catalogue, now_ms)

    def look_one_by_one(self, leaves: Sequence[Node], catalogue: Catalogue, now_ms: int) -> Filled:
        """The same of any profiles, whatever their parts lack."""
        own = people_of(self._store, [leaf for leaf in leaves if not names_device(leaf)])
        wanted = {own.get(leaf, leaf): None for leaf in leaves}
        held = self._store.memberships.get(wanted.keys() | set(leaves))
        named = self._store.lookups.named(wanted)
        live = [profile_of(node, named[node]) for node in wanted if is_itself(node, named)]
        gathered = self._gatherer.gather(live, named)
        found = Filled(catalogue.revision)
        # A device may stand in several profiles, each with a copy of its part: one of each at a time.
        while behind := _behind(gathered, catalogue):
            for leaf in bring_up_to_date(self._store, catalogue, behind):
                found.parts[leaf] = (behind[leaf].offset, encode(behind[leaf]))
        look = Look(Cause.DEFINED)
        for _, after, told, _ in self._evaluator.stood(
            gathered, held, lambda profile_id: look, catalogue, now_ms
        ):
            found.profiles += 1
            found.told += told
            if after != held.get(after.profile_id, Standing(profile_id=after.profile_id)):
                found.standings.append(after)
        for profile_id, before in held.items():
            if profile_id not in wanted or not is_itself(profile_id, named):
                after, told = ended(before, now_ms)
                found.told += told
                found.standings.append(after)
        return found


def _behind(gathered: Sequence[Gathered], catalogue: Catalogue) -> dict[Node, Part]:
    """Parts that do not hold yet what segments need."""
    return {
        leaf: part
        for each in gathered
        for leaf, part in each.active_parts().items()
        if part.collected_at < catalogue.collects_since
    }


class Piece(msgspec.Struct):
    """Leaves that another process looks at."""

    at: Position
    past: Position | None
    """Where the next one begins; None: it is the last one."""
    leaves: Sequence[Node]
    mark: int
    """How many nodes something had happened to."""
    elsewhere: int
    """The store's count of what others wrote, then."""
    found: "Future[bytes]"


class Filling:
    """Pieces that other processes look at now, in their order. One thread at a time."""

    def __init__(self, opener: Callable[[], Store], rules: Rules, processes: int) -> None:
        """`opener` opens the store for reading in another process."""
        self._processes = Processes(processes, _begin, opener, rules)
        self._pieces: deque[Piece] = deque()

    def next_at(self, at: Position) -> Iterator[Position]:
        """Where pieces begin that can be asked for now, if the first is here; say `ask` for each."""
        if self._pieces and self._pieces[0].at != at:
            self.forget()
        while len(self._pieces) < self._processes.most:
            begins = self._pieces[-1].past if self._pieces else at
            if begins is None:
                return
            yield begins

    def look(self, leaves: Sequence[Node], now_ms: int) -> "Future[bytes]":
        """Let some process look at leaves."""
        return self._processes.ask(_look, leaves, now_ms)

    def ask(self, piece: Piece) -> None:
        """The next piece, which some process looks at."""
        self._pieces.append(piece)

    def first(self, seconds: float) -> tuple[Piece, Filled] | None:
        """The first piece, and what was found for it; None if it takes longer than that."""
        piece = self._pieces[0]
        try:
            found = piece.found.result(seconds)
        except NotYet:
            return None
        self._pieces.popleft()
        return piece, _decode(found)

    @property
    def mark(self) -> int | None:
        """The mark of the first piece."""
        return self._pieces[0].mark if self._pieces else None

    def forget(self) -> None:
        """Nobody needs what is looked at now."""
        for piece in self._pieces:
            piece.found.cancel()
        self._pieces.clear()

    def close(self) -> None:
        """End the processes."""
        self.forget()
        self._processes.close()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Filled).decode


class _Mine:
    """What a process that looks keeps."""

    filler: Filler
    catalogues: Catalogues
    store: Store


def _begin(opener: Callable[[], Store], rules: Rules) -> None:
    _Mine.store = opener()
    _Mine.filler = Filler(_Mine.store, rules)
    _Mine.catalogues = Catalogues(_Mine.store.definitions)


def _look(leaves: Sequence[Node], now_ms: int) -> bytes:
    with columns_of(_Mine.store).snapshot():
        return _encode(_Mine.filler.look(leaves, _Mine.catalogues.now(), now_ms))

"""Who is in which segments, for exports: the store's members and transitions, with the identifiers needed."""

from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from destinations.audience import Audience, Recipient, SegmentInfo, Transition
from identity.nodes import Node, names_device
from identity.rules import Rules
from ingest.segments.evaluating import Evaluator, is_itself, profile_of
from profiles.segments.catalogue import Catalogue
from profiles.segments.membership import Standing
from profiles.segments.references import sensitive
from service.recipients import Opening, Recipients, begin, look, spans
from storage.catalogues import Catalogues
from storage.gathering import Gatherer
from storage.keys import Vault
from storage.ports import Store
from storage.processes import Processes, processes_here
from storage.profiles import Lookup, ProfileReader
from storage.reaching import BATCH, LAST

if TYPE_CHECKING:
    from service.workspace import Workspace

NO_SEGMENTS: Final = Catalogue()
"""Of a recipient nothing is asked but who they are and what they consent to."""
FIRST: Final = Node(b"")
"""Before every node."""
FIRST_SHARE: Final = 256
"""One in so many ids is read here at first: those that begin with 0."""
TOGETHER_MIN: Final = 50_000
"""Members from which on other processes are worth what it takes to begin them: half a second of each."""
T = TypeVar("T")


class StoreAudience:
    """`destinations.audience.Audience` over a store; `types` and `traits` are what a destination may use."""

    def __init__(
        self,
        store: Store,
        rules: Rules,
        reader: ProfileReader,
        vault: Vault,
        catalogues: Catalogues,
        now_ms: Callable[[], int],
        types: Collection[str],
        traits: Collection[str] = (),
        *,
        opening: Opening | None = None,
        together_min: int = TOGETHER_MIN,
    ) -> None:
        """With an `opening`, other processes help to read from so many members on."""
        self._store = store
        self._reader = reader
        self._now_ms = now_ms
        self._known = Recipients(store, rules, reader, vault, types, traits)
        self._opening = opening
        self._together_min = together_min
        self._evaluator = Evaluator(store, rules)
        self._gatherer = Gatherer(store, rules)
        catalogue = catalogues.now()
        marked = sensitive(catalogue.segments)
        self._infos = {
            key: SegmentInfo(key, segment.name, key in marked)
            for key, segment in catalogue.segments.items()
        }

    def segments(self) -> Sequence[str]:
        """See `Audience`."""
        return sorted(self._infos)

    def segment(self, segment: str) -> SegmentInfo | None:
        """See `Audience`."""
        return self._infos.get(segment)

    def members(
        self, segments: Collection[str], purposes: Collection[str] = ()
    ) -> Iterator[Sequence[Recipient]]:
        """See `Audience`: in order of profile id."""
        return self._known.members(segments, purposes, (FIRST, LAST), self._now_ms())

    def each(
        self,
        segments: Collection[str],
        purposes: Collection[str],
        work: Callable[[Sequence[Recipient]], T],
    ) -> Generator[T, None, None]:
        """See `Audience`: in several processes, if there are many members and the store is embedded."""
        if self._opening is None:
            yield from map(work, self.members(segments, purposes))
            return
        now_ms = self._now_ms()
        # Ids are hashes: how many of them begin so tells how many there are.
        first, counted = Node(b"\x01"), 0
        for batch in self._known.members(segments, purposes, (FIRST, first), now_ms):
            counted += len(batch)
            yield work(batch)
        many = counted * FIRST_SHARE
        if many < self._together_min:
            yield from map(work, self._known.members(segments, purposes, (first, LAST), now_ms))
            return
        processes = Processes(
            processes_here(), begin, self._opening, tuple(segments), tuple(purposes), work, now_ms
        )
        try:
            for found in processes.each(look, spans(first, many * 10 // (9 * BATCH) + 1)):
                yield from found
        finally:
            processes.close()

    def recipients(self, profile_ids: Collection[Node]) -> Mapping[Node, Recipient]:
        """See `Audience`: as they are at this moment, also those who are in no segment any more."""
        asked = sorted(profile_ids)
        lookups = [Lookup(profile_id=each) for each in asked]
        resolved = self._reader.resolve(lookups, self._now_ms())
        now_of = {
            each: found.profile_id if not names_device(each) else each
            for each, found in zip(asked, resolved, strict=True)
            if found is not None
        }
        today = sorted(set(now_of.values()))
        held = self._store.memberships.get(today)
        named = self._store.lookups.named(today)
        live = [profile_of(each, named[each]) for each in today if is_itself(each, named)]
        gathered = self._gatherer.gather(live, named)
        reach = self._evaluator.reach(gathered)
        standings = []
        asked_of = self._evaluator.subjects(gathered, NO_SEGMENTS)
        for each, (subject, _) in zip(gathered, asked_of, strict=True):
            key = each.resolved.profile_id
            before = held.get(key) or Standing(profile_id=key)
            standings.append(
                Standing(
                    profile_id=key, segments=before.segments, reach=reach[key],
                    consent=dict(subject.consent) if subject else {},
                )
            )  # fmt: skip
        known = self._known.of(standings, self._now_ms())
        found = {each.profile_id: each for each in known}
        return {each: found[now] for each, now in now_of.items() if now in found}

    def newest(self) -> str:
        """See `Audience`."""
        return self._store.memberships.newest()

    def changes(
        self, segments: Collection[str], after: str, limit: int
    ) -> tuple[Sequence[Transition], str]:
        """See `Audience`."""
        told = self._store.memberships.told(after, limit, sorted(segments))
        found = [
            Transition(
                segment=each.segment, profile_id=each.profile_id, entered=each.entered, at_ms=each.at_ms,
                message_id=each.message_id, sequence=each.sequence, reason=each.reason.value,
                purpose=each.purpose,
            )
            for each in (entry.transition for entry in told)
        ]  # fmt: skip
        return found, told[-1].token if told else after


def open_audience(
    workspace: "Workspace", types: Collection[str], traits: Collection[str]
) -> Audience:
    """The audience of a workspace, with identifiers of `types` and these traits alone."""
    workspace.asking.settle()
    opening = None
    if workspace.config.store.kind == "sqlite":
        opener = workspace.embedded_store.opener
        opening = Opening(
            opener, workspace.config.identity, workspace.keys, tuple(types), tuple(traits)
        )
    return StoreAudience(
        workspace.store, workspace.config.identity, workspace.reader, workspace.keys.vault(),
        workspace.catalogues, workspace.now_ms, types, traits, opening=opening,
    )  # fmt: skip

"""Segments in the store that many processes share: what its evaluate workers read and write."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from identity.decisions import Decision
from identity.incremental import Around
from identity.nodes import Node, names_device
from identity.resolve import Cluster
from profiles.segments.catalogue import Edit
from profiles.segments.membership import NEVER_MS, Standing, Transition
from storage.around import around_of
from storage.identity_ports import Held, Named
from storage.segment_ports import TIMER_SHARDS, Backfill, Kept

if TYPE_CHECKING:
    from tests.ingest.workers.shared_store import View


class _Part:
    def __init__(self, view: "View") -> None:
        self.view = view
        self.held = view.durable

    def point(self, name: str) -> None:
        self.view.point(name)


class Lookups(_Part):
    def around(
        self, limits: Mapping[Node, int], as_one: Iterable[Collection[Node]] = ()
    ) -> tuple[Around, list[Decision]]:
        store = self.view.store
        return around_of(store.evidence, store.people, store.decisions, limits)

    def named(self, nodes: Iterable[Node]) -> dict[Node, Named]:
        self.point("read names")
        wanted = [node for node in nodes if node in self.held.identifiers]
        clusters = self.view.people.clusters_of(wanted)
        uses = self.view.devices.uses_of([node for node in wanted if names_device(node)])
        found = {}
        for node in wanted:
            _, part = self.held.parts.get(node, (0, None))
            cluster = clusters.get(node) or Cluster(node, frozenset({node}))
            found[node] = Named(
                cluster, Held(*self.held.identifiers[node], part), uses.get(node, ())
            )
        return found


class Definitions(_Part):
    def append(self, edit: Edit) -> bool:
        if edit.revision != len(self.held.edits) + 1:
            return False
        self.held.edits.append(edit)
        return True

    def since(self, revision: int) -> list[Edit]:
        return self.held.edits[revision:]


class Evaluations(_Part):
    """`storage.ports.Evaluations`, and what evaluating reads of `Memberships`."""

    def __init__(self, view: "View") -> None:
        super().__init__(view)
        self.sequence = 0

    def get(self, profile_ids: Iterable[Node]) -> dict[Node, Standing]:
        return {node: kept.standing for node, kept in self.kept(profile_ids).items()}

    def kept(self, profile_ids: Iterable[Node]) -> dict[Node, Kept]:
        self.point("read standings")
        found = {node: self.held.kept[node][1] for node in profile_ids if node in self.held.kept}
        return {node: kept for node, kept in found.items() if not kept.standing.empty}

    def keep(self, changes: Sequence[tuple[Kept | None, Kept]], epoch: int) -> None:
        self.sequence += 1
        stamp = (epoch, self.sequence)
        for _, after in changes:
            self.point("standing")
            held = self.held.kept.get(after.standing.profile_id)
            if held is None or stamp > held[0]:
                self.held.kept[after.standing.profile_id] = (stamp, after)

    def tell(self, told: Mapping[tuple[int, int], Sequence[Transition]]) -> None:
        for some in told.values():
            for each in some:
                self.point("transition")
                self.held.told.append(each)

    def timers(
        self, since_ms: Mapping[int, int], until_ms: int, limit: int
    ) -> dict[int, list[tuple[int, Node]]]:
        found: dict[int, list[tuple[int, Node]]] = {shard: [] for shard in since_ms}
        for node, (_, kept) in sorted(self.held.kept.items(), key=lambda each: each[1][1].timer_ms):
            shard = node[-1] % TIMER_SHARDS
            if shard in since_ms and since_ms[shard] <= kept.timer_ms <= min(
                until_ms, NEVER_MS - 1
            ):
                found[shard].append((kept.timer_ms, node))
        return {shard: some[:limit] for shard, some in found.items()}

    def forget_timers(self, shard: int, until_ms: int) -> None:
        """Timers are read off what is kept: there are no others."""


class Backfills(_Part):
    def get(self) -> Backfill | None:
        self.point("read backfill")
        return self.held.backfill

    def put(self, backfill: Backfill) -> None:
        self.point("backfill")
        self.held.backfill = backfill

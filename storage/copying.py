"""Take a grown store along into another one, over the ports alone (`onefold copy`).

Everything written is a register or a row that is the same when written twice, so a copy that was
interrupted goes on where its last batch ended, and repeating it changes nothing. Parts keep their positions:
an embedded store's are below 2^40 and those of a log at or above it, so live events fold on top.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final, TypeVar

import msgspec

from identity.nodes import Node, names_device
from identity.resolve import Cluster, Refusal
from profiles.part import decode
from storage.chunks import chunks
from storage.errors import Misconfigured
from storage.evidence import all_decisions
from storage.identity_ports import Identifiers
from storage.ports import Store, StoredPosition, TimelineQuery, TimelineRow

BATCH: Final = 500
"""Rows in one call: some 30 grouped requests, and 1 MB of events."""
REMEMBERED_MAX: Final = 500_000
"""Nodes remembered as copied, so that their identifiers are not read again: about 60 MB."""
STEPS: Final = (
    "items", "segments", "events", "profiles", "links", "uses", "people", "dead letters", "changes",
    "exports", "files",
)  # fmt: skip
_UNKNOWN: Final = -(1 << 62)
_EVERY: Final = 1 << 40

Progress = Callable[[str, int, int], None]
"""Is told (step, rows done, rows in all or 0 where nobody knows)."""

T = TypeVar("T")


class Copied(msgspec.Struct, kw_only=True):
    """What a copy did."""

    rows: dict[str, int] = {}
    """Rows copied in each step, by this run and those before that it goes on from."""
    resumed: str = ""
    """The step in which it went on; empty: it began anew."""


def copy(
    source: Store,
    target: Store,
    progress: Progress = lambda step, done, total: None,
    *,
    name: str = "store",
    uris: Sequence[str] = (),
    lease: str = "",
) -> Copied:
    """Copy everything of `source`, which nobody writes to meanwhile, into `target`.

    Run again after it was interrupted, it goes on; `name` tells copies of several sources apart. `uris`
    are the files whose positions go along. Misconfigured if the target's people are somebody's already:
    `lease` is the name under which their writer would be known.
    """
    if lease and target.leases.epoch(lease):
        raise Misconfigured(
            "workers have decided there who is who: copy into a store that `onefold migrate` has just made"
        )
    return _Copy(source, target, progress, name).run(uris)


class _Mark(msgspec.Struct):
    """How far a copy is: kept in the target as the position of a file that is called `copy:<name>`."""

    step: int = 0
    cursor: str = ""
    done: int = 0
    rows: dict[str, int] = {}


class _Copy:
    """One run."""

    def __init__(self, source: Store, target: Store, progress: Progress, name: str) -> None:
        self._source, self._target = source, target
        self._progress = progress
        self._uri = f"copy:{name}"
        self._seen: set[Node] = set()
        self._mark = self._read_mark()
        self._total = 0

    def run(self, uris: Sequence[str]) -> Copied:
        """Every step that is left."""
        steps = (
            self._catalog, self._definitions, self._timeline, self._parts, self._links, self._uses,
            self._people, self._dead_letters, self._changes, self._deliveries,
            lambda: self._positions(uris),
        )  # fmt: skip
        went_on = self._mark.step or self._mark.cursor
        resumed = STEPS[self._mark.step] if went_on else ""
        for number in range(self._mark.step, len(steps)):
            self._total = 0
            steps[number]()
            self._mark.rows[STEPS[number]] = self._mark.done
            self._mark = _Mark(step=number + 1, rows=self._mark.rows)
            # The last step's end is the beginning: who copies once more means all of it.
            self._save(self._mark if number + 1 < len(steps) else _Mark())
        return Copied(rows=self._mark.rows, resumed=resumed)

    def _read_mark(self) -> _Mark:
        held = self._target.positions.get([self._uri]).get(self._uri)
        return msgspec.json.decode(held.fingerprint, type=_Mark) if held else _Mark()

    def _save(self, mark: _Mark) -> None:
        text = msgspec.json.encode(mark).decode()
        self._target.positions.put(
            [StoredPosition(uri=self._uri, fingerprint=text, line=mark.step, finished=False)]
        )

    def _advance(self, rows: int, cursor: str | None = None) -> None:
        """`rows` more are in the target; those up to `cursor` need not be read again."""
        self._mark.done += rows
        self._progress(STEPS[self._mark.step], self._mark.done, self._total)
        if cursor is not None:
            self._mark.cursor = cursor
            self._save(self._mark)

    def _catalog(self) -> None:
        self._total = self._source.catalog.count()
        while items := self._source.catalog.list(self._mark.cursor, BATCH):
            self._target.catalog.upsert(items)
            self._advance(len(items), items[-1].id)

    def _definitions(self) -> None:
        # Who is in them follows: the target is filled from its first edit on, as if all were new.
        held = {edit.revision: edit for edit in self._target.definitions.since(0)}
        for edit in self._source.definitions.since(0):
            there = held.get(edit.revision)
            if there is None and self._target.definitions.append(edit):
                there = edit
            if there != edit:
                raise Misconfigured(
                    "other segments are defined there: copy into a store that has none"
                )
            self._advance(1)

    def _timeline(self) -> None:
        self._total = self._source.timeline.count()
        after = _node(self._mark.cursor)
        for rows in _whole_leaves(self._source.timeline.scan(after)):
            # Nothing is looked for in the target: a row written twice at one position is written once.
            self._target.timeline.add(rows, {row.leaf: _UNKNOWN for row in rows})
            self._advance(len(rows), rows[-1].leaf.hex())

    def _parts(self) -> None:
        self._total = self._source.parts.count()
        while leaves := self._source.parts.leaves(_node(self._mark.cursor), BATCH):
            blobs = self._source.parts.read(leaves)
            self._target.parts.write(
                {leaf: (decode(blob).offset, blob) for leaf, blob in blobs.items()}
            )
            self._identify(leaves)
            self._advance(len(leaves), leaves[-1].hex())

    def _links(self) -> None:
        for links in chunks(self._source.evidence.scan_links(), BATCH):
            self._target.evidence.merge_links(links)
            self._identify(node for link in links for node in (link.a, link.b))
            self._advance(len(links))
        for musts in chunks(self._source.evidence.scan_must_links(), BATCH):
            self._target.evidence.merge_must_links(musts)
            self._identify(node for must in musts for node in (must.a, must.b))
            self._advance(len(musts))
        for matches in chunks(self._source.evidence.scan_matches(), BATCH):
            self._target.evidence.merge_matches(matches)
            self._identify(node for match in matches for node in (match.a, match.b))
            self._advance(len(matches))
        for decisions in chunks(all_decisions(self._source), BATCH):
            self._target.decisions.put(decisions)
            self._identify(node for decision in decisions for node in decision.nodes)
            self._advance(len(decisions))

    def _uses(self) -> None:
        for uses in chunks(self._source.devices.scan_uses(), BATCH):
            self._target.devices.merge_uses(uses)
            self._target.owners.put(self._source.owners.of({use.device for use in uses}))
            self._identify(node for use in uses for node in (use.device, use.person))
            self._advance(len(uses))

    def _identify(self, nodes: Iterable[Node]) -> None:
        """Copy the identifiers that `nodes` stand for, and which devices go with those that are devices."""
        new = set(nodes) - self._seen - {Node(b"")}
        devices = [node for node in new if names_device(node)]
        companions = [
            each for some in self._source.devices.companions_of(devices).values() for each in some
        ]
        self._target.devices.merge_companions(companions)
        new |= {each.with_node for each in companions}
        self._copy_values(self._source.identifiers, sorted(new))
        if len(self._seen) > REMEMBERED_MAX:
            self._seen.clear()
        # A companion's own companions are still to be copied where it is met as a leaf or in a use.
        self._seen |= new - {each.with_node for each in companions} | set(devices)

    def _copy_values(self, identifiers: Identifiers, nodes: Sequence[Node]) -> None:
        known = self._target.identifiers.known(nodes)
        self._target.identifiers.put(identifiers.get(node for node in nodes if node not in known))

    def _people(self) -> None:
        clusters, refusals = self._source.people.counts()
        self._total = clusters + refusals
        for some in chunks(self._source.people.scan(), BATCH):
            members = {node for cluster in some for node in cluster.members}
            self._target.people.write(members, some, ())
            self._advance(len(some))
        # Refused links last: writing people replaces all that is known of them.
        for group in _tied(self._source.people.refusals(_EVERY), self._source):
            self._target.people.write(*group)
            self._advance(len(group[2]))

    def _dead_letters(self) -> None:
        self._total = sum(self._source.dead_letters.counts().values())
        while letters := self._source.dead_letters.list(BATCH, int(self._mark.cursor or 0)):
            self._target.dead_letters.add(letters)
            self._advance(len(letters), str(letters[-1].id))

    def _changes(self) -> None:
        # To where it came: followers of the target begin with the first change of all.
        while published := self._source.changes.history(int(self._mark.cursor or 0), BATCH):
            self._target.changes.published([each.change for each in published])
            self._advance(len(published), str(published[-1].position))
        announced = self._source.changes.announced(_EVERY)
        self._target.changes.announce(announced)
        self._advance(len(announced))

    def _deliveries(self) -> None:
        # What was sent, for the audit and for schedules. How far it was told is said in places of the source's
        # own logs: the first export from the target tells everybody.
        while found := self._source.deliveries.list(BATCH, before=_run(self._mark.cursor)):
            self._target.deliveries.put(found)
            self._advance(len(found), f"{found[-1].started_ms}:{found[-1].id}")

    def _positions(self, uris: Sequence[str]) -> None:
        self._total = len(uris)
        for some in chunks(uris, BATCH):
            held = self._source.positions.get(some)
            self._target.positions.put(list(held.values()))
            self._advance(len(held))


def _node(cursor: str) -> Node | None:
    return Node(bytes.fromhex(cursor)) if cursor else None


def _run(cursor: str) -> tuple[int, str] | None:
    """The run of an export that a cursor stands at."""
    started_ms, _, run_id = cursor.partition(":")
    return (int(started_ms), run_id) if cursor else None


def _whole_leaves(rows: Iterator[TimelineRow]) -> Iterator[list[TimelineRow]]:
    """Batches that end where a leaf ends, so that the last leaf is a place to go on from."""
    batch: list[TimelineRow] = []
    for _, some in groupby(rows, key=lambda row: row.leaf):
        batch += some
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


Group = tuple[set[Node], list[Cluster], list[Refusal]]


def _tied(refusals: Sequence[Refusal], source: Store) -> Iterator[Group]:
    """Refusals with the people that they tie together: each group holds all members and ends."""
    group_of: dict[Node, set[Node]] = {}

    def unite(nodes: Iterable[Node]) -> None:
        joined: set[Node] = set()
        for node in nodes:
            joined |= group_of.get(node, {node})
        group_of.update(dict.fromkeys(joined, joined))

    ends = {node for refusal in refusals for node in (refusal.a, refusal.b)}
    clusters = set()
    for some in chunks(sorted(ends), BATCH):
        clusters |= set(source.people.clusters_of(some).values())
    for cluster in clusters:
        unite(cluster.members)
    for refusal in refusals:
        unite((refusal.a, refusal.b))
    groups: dict[int, Group] = {id(nodes): (nodes, [], []) for nodes in group_of.values()}
    for cluster in sorted(clusters, key=lambda each: each.profile_id):
        groups[id(group_of[cluster.profile_id])][1].append(cluster)
    for refusal in refusals:
        groups[id(group_of[refusal.a])][2].append(refusal)
    yield from groups.values()


def differences(
    source: Store, target: Store, sample: int = 200, uris: Sequence[str] = ()
) -> list[str]:
    """What differs: counts, and everything that is known of `sample` leaves, byte for byte."""
    found = [
        f"{what}: {ours} here, {theirs} there"
        for what, ours, theirs in _counts(source, target)
        if ours != theirs
    ]
    leaves = {
        leaf
        for number in range(sample)
        # Places spread evenly over all leaves.
        for leaf in source.parts.leaves(Node((number * (1 << 128) // sample).to_bytes(16)), 1)
    }
    for leaf in sorted(leaves):
        ours, theirs = _known(source, leaf), _known(target, leaf)
        found += [f"{what} of {leaf.hex()} differ" for what in ours if ours[what] != theirs[what]]
    if source.positions.get(uris) != target.positions.get(uris):
        found.append("positions of files differ")
    return found


def _counts(source: Store, target: Store) -> Iterator[tuple[str, Any, Any]]:
    yield "events", source.timeline.count(), target.timeline.count()
    yield "profiles", source.parts.count(), target.parts.count()
    yield "people and conflicts", source.people.counts(), target.people.counts()
    yield "identifiers", source.identifiers.count(), target.identifiers.count()
    yield "items", source.catalog.count(), target.catalog.count()
    yield "dead letters", source.dead_letters.counts(), target.dead_letters.counts()
    yield "links", _length(source.evidence.scan_links()), _length(target.evidence.scan_links())
    yield (
        "must-links",
        _length(source.evidence.scan_must_links()),
        _length(target.evidence.scan_must_links()),
    )
    yield "segments", source.definitions.since(0), target.definitions.since(0)
    yield "uses", _length(source.devices.scan_uses()), _length(target.devices.scan_uses())


def _length(rows: Iterator[Any]) -> int:
    return sum(1 for _ in rows)


def _known(store: Store, leaf: Node) -> dict[str, Any]:
    """Everything that is stored of one leaf."""
    return {
        "parts": store.parts.read([leaf]),
        "events": store.timeline.read([leaf], TimelineQuery(limit=1_000)),
        "identifiers": store.identifiers.get([leaf]),
        "links": sorted(store.evidence.links_of([leaf]), key=lambda link: (link.a, link.b)),
        "uses": store.devices.uses_of([leaf]),
        "companions": store.devices.companions_of([leaf]),
        "people": store.people.clusters_of([leaf]),
        "conflicts": store.people.refusals_of([leaf]),
    }

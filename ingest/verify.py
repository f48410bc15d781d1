"""Prove what is live: fold timelines again, resolve all links again, and compare (DESIGN §9)."""

from collections.abc import Callable, Collection
from functools import partial
from itertools import islice

import msgspec

from identity.event import Source
from identity.nodes import Node
from identity.rules import Rules
from ingest.rebuild import Refolder, by_leaf
from ingest.segments.collecting import bring_up_to_date
from ingest.segments.evaluating import Evaluator
from profiles.part import decode
from profiles.segments.catalogue import Catalogue
from storage.catalogues import Catalogues
from storage.gathering import people_of
from storage.keys import Keys
from storage.ports import Store

DIFFERENCES_MAX = 20
"""Differences that are listed; all are counted."""


class Difference(msgspec.Struct, frozen=True):
    """Something live that does not follow from what is stored."""

    what: str
    """`part`, `leaf`, `person`, `refusal`, `hub`, `device` or `segment`."""
    id: str
    detail: str


class Report(msgspec.Struct):
    """What was compared."""

    parts: int = 0
    events: int = 0
    people: int = 0
    links: int = 0
    evaluated: int = 0
    """Profiles whose segments were worked out again."""
    differences: int = 0
    examples: list[Difference] = []

    @property
    def right(self) -> bool:
        """Whether nothing differed."""
        return not self.differences

    def differ(self, what: str, node: bytes, detail: str) -> None:
        """Note a difference."""
        self.differences += 1
        if len(self.examples) < DIFFERENCES_MAX:
            self.examples.append(Difference(what, node.hex(), detail))


def verify(
    store: Store,
    keys: Keys,
    rules: Rules,
    source_named: Callable[[str], Source],
    *,
    sample: int | None = None,
    progress: Callable[[int], None] = lambda events: None,
    now_ms: int | None = None,
) -> Report:
    """Compare every part (or the first `sample`) with its timeline, all people with all links, and all devices.

    With `now_ms` also the segments of their profiles, unless these are being filled; what still waits to be
    evaluated differs.
    """
    report = Report()
    _verify_people(store, rules, report)
    catalogue = Catalogues(store.definitions).now()
    refolder = Refolder(keys, rules, source_named, catalogue)
    filled = store.backfills.get()
    evaluator = None
    if filled is not None and filled.finished and filled.revision == catalogue.revision:
        evaluator = Evaluator(store, rules)
    for leaves in by_leaf(store.timeline.scan()):
        some = dict(islice(leaves.items(), None if sample is None else sample - report.parts))
        live = {leaf: decode(blob) for leaf, blob in store.parts.read(some).items()}
        # What a segment needs of a part is brought up to date when its leaf is next touched.
        bring_up_to_date(store, catalogue, live)
        for leaf, rows in some.items():
            part = refolder.part(leaf, rows, partial(report.differ, "leaf", leaf))
            report.events += len(rows)
            report.parts += 1
            held = live.get(leaf)
            if held is not None and held.offset > part.offset:
                # It stands past its last event where a message without one had it brought up to date.
                part.offset = held.offset
            if held != part:
                report.differ("part", leaf, "its timeline folds to something else")
            progress(report.events)
        if evaluator is not None and now_ms is not None:
            _verify_segments(store, evaluator, some, catalogue, now_ms, report)
        if sample is not None and report.parts >= sample:
            break
    return report


def _verify_segments(
    store: Store,
    evaluator: Evaluator,
    leaves: Collection[Node],
    catalogue: Catalogue,
    now_ms: int,
    report: Report,
) -> None:
    profile_ids = set(people_of(store, leaves).values())
    held = store.memberships.get(profile_ids)
    for profile_id, standing in evaluator.current(profile_ids, catalogue, now_ms).items():
        report.evaluated += 1
        stored = held[profile_id].segments if profile_id in held else {}
        if wrong := stored.keys() ^ standing.segments.keys():
            report.differ("segment", profile_id, f"in or not in {', '.join(sorted(wrong))}")


def _verify_people(store: Store, rules: Rules, report: Report) -> None:
    # numpy and scipy, which other commands do not need.
    from ingest.comparing import compare

    comparison = compare(store, rules, devices=True)
    report.links = comparison.links
    report.people = comparison.before().people
    for each in comparison.differences():
        report.differ(each.what, each.node, each.detail)

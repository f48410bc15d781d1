"""Prove what is live: fold timelines again, resolve all links again, and compare (DESIGN §9)."""

from collections.abc import Callable
from functools import partial
from itertools import islice

import msgspec

from identity.event import Source
from identity.resolve import HUB, resolve
from identity.rules import Rules
from ingest.rebuild import Refolder, by_leaf
from profiles.part import encode
from storage.evidence import evidence_of
from storage.keys import Keys
from storage.ports import Store

DIFFERENCES_MAX = 20
"""Differences that are listed; all are counted."""


class Difference(msgspec.Struct, frozen=True):
    """Something live that does not follow from what is stored."""

    what: str
    """`part`, `leaf`, `person`, `refusal` or `hub`."""
    id: str
    detail: str


class Report(msgspec.Struct):
    """What was compared."""

    parts: int = 0
    events: int = 0
    people: int = 0
    links: int = 0
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
) -> Report:
    """Compare every part (or the first `sample`) with its timeline, and all people with all links."""
    report = Report()
    _verify_people(store, rules, report)
    refolder = Refolder(keys, rules, source_named)
    for leaves in by_leaf(store.timeline.scan()):
        some = dict(islice(leaves.items(), None if sample is None else sample - report.parts))
        live = store.parts.read(some)
        for leaf, rows in some.items():
            part = refolder.part(leaf, rows, partial(report.differ, "leaf", leaf))
            report.events += len(rows)
            report.parts += 1
            if live.get(leaf) != encode(part):
                report.differ("part", leaf, "its timeline folds to something else")
            progress(report.events)
        if sample is not None and report.parts >= sample:
            break
    return report


def _verify_people(store: Store, rules: Rules, report: Report) -> None:
    evidence = evidence_of(store)
    report.links = len(evidence.links) + len(evidence.must_links)
    expected = resolve(evidence, rules)
    live = frozenset(store.people.scan())
    report.people = len(live)
    for cluster in live ^ expected.clusters:
        where = "live only" if cluster in live else "missing"
        report.differ("person", cluster.profile_id, where)
    stored = store.people.refusals(1 << 40)
    hubs = frozenset(refusal.a for refusal in stored if refusal.rule == HUB)
    refused = frozenset(refusal for refusal in stored if refusal.rule != HUB)
    for refusal in refused ^ expected.refusals:
        where = "live only" if refusal in refused else "missing"
        report.differ("refusal", refusal.a, f"{where}: {refusal.rule}")
    for hub in hubs ^ expected.hubs:
        report.differ("hub", hub, "live only" if hub in hubs else "missing")

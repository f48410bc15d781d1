"""Prove what is live: fold timelines again, resolve all links again, and compare (DESIGN §9)."""

from collections.abc import Callable, Iterator
from itertools import groupby

import msgspec

from identity.event import Event, Source
from identity.extract import Extractor
from identity.nodes import Node
from identity.resolve import HUB, Evidence, resolve
from identity.rules import Rules
from ingest.decode import decode
from profiles.facts import facts_of
from profiles.fold import fold
from profiles.part import Part, encode
from storage.keys import Keys
from storage.ports import Store, TimelineRow

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
    extractor = Extractor(rules, keys.hasher())
    for leaf, rows in groupby(store.timeline.scan(), key=lambda row: row.leaf):
        if sample is not None and report.parts >= sample:
            break
        _verify_part(store, leaf, rows, extractor, source_named, report)
        progress(report.events)
    return report


def refold(
    leaf: Node,
    rows: Iterator[TimelineRow],
    extractor: Extractor,
    source_named: Callable[[str], Source],
    report: Report,
) -> Part:
    """The part that a leaf's timeline folds to."""
    entries = []
    for row in rows:
        report.events += 1
        source = source_named(row.source)
        event = decode(row.raw, row.received_ms, source, row.type)
        if not isinstance(event, Event):
            report.differ("leaf", leaf, f"a stored event no longer decodes: {event.reason}")
            continue
        # The first counted copy's time stands, and the key is what a retry repeats.
        event = msgspec.structs.replace(
            event, time_ms=row.time_ms, key_ms=row.key_ms, message_id=row.message_id
        )
        found = extractor.extract(event, source)
        if found.leaf != leaf:
            report.differ("leaf", leaf, "today's rules store one of its events elsewhere")
        entries.append((row.offset, row.offset, facts_of(event, found.device)))
    part = Part()
    fold(part, leaf, sorted(entries, key=lambda entry: entry[0]))
    return part


def _verify_part(
    store: Store,
    leaf: Node,
    rows: Iterator[TimelineRow],
    extractor: Extractor,
    source_named: Callable[[str], Source],
    report: Report,
) -> None:
    blob = encode(refold(leaf, rows, extractor, source_named, report))
    report.parts += 1
    if store.parts.read([leaf]).get(leaf) != blob:
        report.differ("part", leaf, "its timeline folds to something else")


def _verify_people(store: Store, rules: Rules, report: Report) -> None:
    evidence = Evidence(
        links=list(store.evidence.scan_links()),
        must_links=list(store.evidence.scan_must_links()),
        keep_apart=store.evidence.keep_apart(),
    )
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

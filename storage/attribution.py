"""Whose every stored event is: for training, evaluation and audits, over the whole store at once."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import groupby

import msgspec

from identity.devices import owners_of
from identity.evidence import Use
from identity.nodes import Node, names_device
from identity.resolve import Cluster, resolve
from identity.rules import Rules
from profiles.part import decode, visit_spans
from storage.evidence import evidence_of
from storage.ports import Store


class Attribution:
    """Profile ids of events, today or as they were known at a time.

    Holds every cluster and use in memory (some 200 bytes each); visits are read a device at a time.
    """

    def __init__(self, store: Store, rules: Rules, as_of_ms: int | None = None) -> None:
        self._store = store
        self._rules = rules
        self._as_of_ms = as_of_ms
        self._person = {
            node: cluster.profile_id for cluster in self._clusters() for node in cluster.members
        }
        self._uses = {
            device: list(uses)
            for device, uses in groupby(self._known_uses(), key=lambda use: use.device)
        }
        self._device: Node | None = None
        self._starts: list[int] = []
        self._spans: list[tuple[int, Node | None]] = []

    def profile(self, leaf: Node, time_ms: int) -> Node | None:
        """The profile that an event under `leaf` belongs to; None: a device's, and nobody's.

        Fastest when calls for one device follow each other, as in a scan of the timeline.
        """
        if not names_device(leaf):
            return self._person.get(leaf, leaf)
        if leaf != self._device:
            self._load(leaf)
        at = bisect_right(self._starts, time_ms) - 1
        if at < 0:
            return None
        end_ms, person = self._spans[at]
        return person if time_ms <= end_ms else None

    def person(self, node: Node) -> Node:
        """The profile id of a person identifier."""
        return self._person.get(node, node)

    def _load(self, device: Node) -> None:
        blob = self._store.parts.read([device]).get(device)
        spans = visit_spans(decode(blob)) if blob is not None else []
        owners = owners_of(spans, self._uses.get(device, ()), self.person, self._rules)
        self._device = device
        self._starts = [start for start, _ in spans]
        self._spans = [(end, owner.person) for (_, end), owner in zip(spans, owners, strict=True)]

    def _clusters(self) -> Sequence[Cluster]:
        if self._as_of_ms is None:
            return list(self._store.people.scan())
        return list(resolve(evidence_of(self._store).as_of(self._as_of_ms), self._rules).clusters)

    def _known_uses(self) -> list[Use]:
        uses = list(self._store.devices.scan_uses())
        until = self._as_of_ms
        if until is None:
            return uses
        return [
            msgspec.structs.replace(use, last_ms=min(use.last_ms, until))
            for use in uses
            if use.first_ms <= until
        ]

"""A workspace with segments, for tests: definitions as YAML, and who is in them."""

from pathlib import Path
from typing import Any

import yaml

from identity.decisions import Decision
from identity.rules import Rules
from ingest.deciding import DecidingHere
from profiles.segments.catalogue import Catalogue, Edit, Put
from profiles.segments.membership import Transition
from tests.workspace import NOON, Workspace


class Shop(Workspace):
    """A workspace whose clock stands where its newest event is, until `wait`."""

    def __init__(self, folder: Path, rules: Rules | None = None) -> None:
        super().__init__(folder, rules)
        self.now = NOON

    def define(self, text: str, *, fill: bool = True) -> None:
        """Define segments: a mapping of id to tree."""
        self.define_trees(yaml.safe_load(text), fill=fill)

    def define_trees(self, trees: dict[str, Any], *, fill: bool = True) -> None:
        """Define segments by id; None removes one."""
        removed = tuple(key for key, tree in trees.items() if tree is None)
        put = tuple(Put(key, tree) for key, tree in trees.items() if tree is not None)
        revision = self.segments.catalogue().revision + 1
        edit = Edit(revision=revision, time_ms=self.now, author="asha", put=put, removed=removed)
        assert self.store.definitions.append(edit)
        if fill:
            self.segments.fill()

    def decide(self, decision: Decision) -> None:
        """An operator decides."""
        DecidingHere(self.store, self.rules).make(decision)

    def catalogue(self) -> Catalogue:
        """What is in force."""
        return self.segments.catalogue()

    def settle(self) -> None:
        """Until nothing is left to do, filling included."""
        self.segments.settle()
        self.segments.fill()

    def order(self, user: str, *, at: int | None = None, **fields: Any) -> None:
        """An order by somebody who is logged in."""
        self.see(user=user, at=self.now if at is None else at, event="Order Completed", **fields)

    def wait(self, ms: int) -> None:
        """Time goes by."""
        self.now += ms
        self.segments.settle()

    def members(self, segment: str) -> set[str]:
        """Who is in a segment, by the value of the profile's own identifier."""
        self.segments.settle()
        nodes = [node for node, _ in self.store.memberships.members(segment, None, 1000)]
        return {m.identifier.value for m in self.reader.members(nodes) if m.identifier}

    def told(self) -> list[Transition]:
        """Everything that was told so far."""
        return [each.transition for each in self.store.memberships.told("", 10_000)]

    def story(self, segment: str) -> list[tuple[str, str]]:
        """What was told of a segment: (entered or left, why)."""
        return [
            ("entered" if each.entered else "left", each.reason.value)
            for each in self.told()
            if each.segment == segment
        ]

"""A workspace in a folder, for tests: the real store and pipeline, and short ways to feed and ask them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from identity.event import Event, Source
from identity.nodes import Identifier
from identity.rules import Rules
from ingest.decode import Refused, decode
from ingest.pipeline import Outcome, Pipeline
from ingest.segments.here import Segments
from ingest.sources import Sources
from profiles.profile import Profile
from storage.keys import Keys
from storage.profiles import Found, Lookup, ProfileReader
from storage.sqlite import open_store

NOON = 1_790_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR

KEYS = Keys(b"h" * 32, b"v" * 32)
"""Fixed, so that ids of two workspaces can be compared."""


class Workspace:
    """Everything that one folder holds."""

    def __init__(self, folder: Path, rules: Rules | None = None, *, trusted: bool = False) -> None:
        self.path = folder / "onefold.sqlite"
        self.rules = rules or Rules()
        keys_file = folder / "onefold.keys"
        if not keys_file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            keys_file.write_text(
                f'{{"hash_key": "{KEYS.hash_key.hex()}", "value_key": "{KEYS.value_key.hex()}"}}'
            )
        self.store, self.keys = open_store(self.path, keys_file)
        self.source = Source(name="web", trusted=trusted)
        self.sources = Sources({"web": self.source})
        self.now = NOON
        self.segments = Segments(self.store, self.rules, lambda: self.now)
        self.pipeline = Pipeline(self.store, self.keys, self.rules, self.sources, self.segments)
        self.reader = ProfileReader(self.store, self.rules, self.keys.hasher(), self.keys.vault())
        self._messages = 0

    def take(self, events: Iterable[dict[str, Any]], batch: int = 500) -> list[Outcome]:
        """Feed messages, as from a file that a gateway wrote."""
        decoded = [
            decode(msgspec.json.encode(event), NOON, self.source, believe_received_at=True)
            for event in events
        ]
        outcomes = []
        for start in range(0, len(decoded), batch):
            some = decoded[start : start + batch]
            outcomes.append(
                self.pipeline.process(
                    [each for each in some if isinstance(each, Event)],
                    [each for each in some if isinstance(each, Refused)],
                )
            )
        return outcomes

    def see(
        self, *, browser: str = "", user: str = "", at: int = NOON, view: str = "", **fields: Any
    ) -> None:
        """One event: a product view, or what `fields` say."""
        self._messages += 1
        event: dict[str, Any] = {
            "type": "track", "event": "Product Viewed", "messageId": f"m{self._messages}",
            "anonymousId": browser, "userId": user, "originalTimestamp": at, "receivedAt": at,
            "properties": {"product_id": view} if view else {},
        }  # fmt: skip
        self.take([event | fields])

    def find(self, now: int = NOON, **identifiers: str) -> Found | None:
        """The profile that identifiers mean."""
        named = tuple(Identifier(name, value) for name, value in identifiers.items())
        return self.reader.get(Lookup(identifiers=named), now)

    def profile(self, now: int = NOON, **identifiers: str) -> Profile:
        """The profile that identifiers mean; there must be one."""
        found = self.find(now, **identifiers)
        assert found is not None
        return found.profile

    def everything(self) -> dict[str, Any]:
        """People, ids, refusals and profiles, for comparing two workspaces."""
        nodes = sorted(
            {row.leaf for row in self.store.timeline.scan()}
            | {node for cluster in self.store.people.scan() for node in cluster.members}
        )
        found = self.reader.get_many([Lookup(profile_id=node) for node in nodes], NOON)
        return {
            "people": {(c.profile_id, c.members) for c in self.store.people.scan()},
            "refusals": set(self.store.people.refusals(10**6)),
            "profiles": dict(zip(nodes, found, strict=True)),
            "uses": list(self.store.devices.scan_uses()),
            "links": list(self.store.evidence.scan_links()),
        }

    def close(self) -> None:
        self.store.close()


def viewed(profile: Profile) -> list[str]:
    """Items that a profile viewed, oldest first."""
    return [interaction.item for interaction in reversed(profile.interactions)]


def names(profiles: Sequence[Profile]) -> list[str]:
    """The identifiers of profiles, for messages."""
    return [m.identifier.value for p in profiles for m in p.members if m.identifier]

"""People for tests of destinations, and what happens to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from destinations.audience import MemoryAudience, Recipient, SegmentInfo
from destinations.destination import Destination, Mode
from destinations.gate import Gate, Permission
from destinations.running import Exporter, Order, Outcome
from identity.nodes import Identifier, Node, NodeHasher
from storage.segment_ports import Deliveries
from storage.sqlite import SqliteStore
from tests.workspace import DAY, KEYS, NOON

ADS = "ads"
TODAY = "20260921"
HASHER = NodeHasher(b"k" * 32)
SEGMENTS = (
    SegmentInfo("regulars", "Regulars"),
    SegmentInfo("lapsed", "Lapsed"),
    SegmentInfo("diabetes-care", "Diabetes care", sensitive=True),
)


def node(name: str) -> Node:
    return HASHER.node("user_id", name)


def uuid_of(name: str) -> str:
    text = node(name).hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def person(
    name: str, *segments: str, granted: bool | None = True, since: int = NOON - DAY, **fields: Any
) -> Recipient:
    """Somebody with a user id, an e-mail, a browser, a phone and a GA id."""
    return msgspec.structs.replace(
        Recipient(
            profile_id=node(name),
            identifiers=(
                Identifier("user_id", name),
                Identifier("email", f"{name}@example.com"),
                Identifier("anonymous_id", uuid_of(name)),
                Identifier("advertising_id", uuid_of(name + "-phone")),
                Identifier("ga_client_id", f"{int(node(name)[:4].hex(), 16)}.17"),
                Identifier("ga_app_instance_id", node(name).hex()),
            ),
            consent={} if granted is None else {ADS: granted},
            segments=dict.fromkeys(segments, since),
            traits={"city": "Pune"},
        ),
        **fields,
    )


def some_people(*, batch: int = 1_000) -> MemoryAudience:
    """Asha and Ravi may be sent; Meera has refused, Om has never been asked."""
    audience = MemoryAudience(SEGMENTS, batch=batch)
    audience.put(person("asha", "regulars", "diabetes-care"), NOON)
    audience.put(person("ravi", "regulars", "lapsed"), NOON)
    audience.put(person("meera", "regulars", granted=False), NOON)
    audience.put(person("om", "regulars", granted=None), NOON)
    return audience


def crowd(count: int, *, batch: int = 1_000) -> MemoryAudience:
    audience = MemoryAudience(SEGMENTS, batch=batch)
    for number in range(count):
        audience.put(person(f"p{number}", "regulars"), NOON)
    return audience


def permission(*segments: str, **fields: Any) -> Permission:
    return Permission(segments=segments or ("regulars",), file="exports/x.yaml", **fields)


class Desk:
    """Exports of one workspace to one destination."""

    def __init__(self, folder: Path, audience: MemoryAudience, destination: Destination) -> None:
        self.folder = folder
        self.audience = audience
        self.destination = destination
        self.store = SqliteStore(folder / "onefold.sqlite", KEYS)
        self.deliveries: Deliveries = self.store.deliveries
        self.letters: list[tuple[bytes, str]] = []
        self.now_ms = NOON

    def export(
        self,
        mode: Mode = "full",
        *,
        allowed: Permission | None = None,
        asked: tuple[str, ...] = (),
        dry: bool = False,
        purposes: tuple[str, ...] = (ADS,),
        progress: Callable[[int], None] = lambda people: None,
    ) -> Outcome:
        staging = self.folder / "staging"
        staging.mkdir(exist_ok=True)
        exporter = Exporter(
            self.destination, self.audience, self.deliveries, lambda: self.now_ms, staging,
            lambda raw, why: self.letters.append((raw, why)), progress,
        )  # fmt: skip
        order = Order(
            name="x", permission=allowed or permission(), gate=Gate(purposes), mode=mode, who="test",
            asked=asked, dry=dry,
        )  # fmt: skip
        return exporter.run(order)

    def runs(self) -> list[tuple[str, str]]:
        return [(each.mode, each.result) for each in self.deliveries.list(100)]

    def close(self) -> None:
        self.store.close()
